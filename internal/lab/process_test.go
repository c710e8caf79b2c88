package lab

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 30 * time.Second

// eventually polls a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-limit.C:
			t.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}

func newProcess(t *testing.T, argv ...string) *process {
	t.Helper()
	return &process{role: "test", argv: argv, log: filepath.Join(t.TempDir(), "log")}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	exits := make(chan exit, 4)
	polite := newProcess(t, "sleep", "600")
	frozen := newProcess(t, "sleep", "600")
	short := newProcess(t, "sh", "-c", "echo hello; exit 3")
	never := newProcess(t, "sleep", "600") // not started
	for _, p := range []*process{polite, frozen, short} {
		if err := p.start(exits); err != nil {
			t.Fatal(err)
		}
	}
	frozen.signal(syscall.SIGSTOP)
	eventually(t, "the short one ends", func() bool { return !short.running() })
	end([]*process{polite, frozen, short, never}, nil)
	hows := map[*process]string{}
	for range 3 {
		e := <-exits
		hows[e.process] = e.how
		if e.pid != e.process.pid {
			t.Errorf("pid %d, want %d", e.pid, e.process.pid)
		}
	}
	for p, want := range map[*process]string{polite: "signal: terminated", frozen: "signal: terminated", short: "exit status 3"} {
		if hows[p] != want || p.running() {
			t.Errorf("%v: ended by %q, want %q", p.argv, hows[p], want)
		}
	}
	if got := short.logTail(); got != "hello" {
		t.Errorf("log %q", got)
	}
}

// TestEndDeaf checks that one that does not listen is killed when the user has lost patience.
func TestEndDeaf(t *testing.T) {
	t.Parallel()
	exits := make(chan exit, 1)
	p := newProcess(t, "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 600 & wait; done")
	if err := p.start(exits); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is deaf", func() bool { return p.logTail() == "deaf" })
	hurry := make(chan os.Signal, 1)
	hurry <- syscall.SIGINT
	end([]*process{p}, hurry)
	if e := <-exits; e.how != "signal: killed" {
		t.Errorf("ended by %q", e.how)
	}
	// Its own child goes with the process group.
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "/no/such/program")
	err := p.start(make(chan exit, 1))
	if err == nil || !strings.Contains(err.Error(), "start test: ") || p.running() {
		t.Errorf("%v, running %v", err, p.running())
	}
}

func TestLogTail(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "true")
	if err := os.WriteFile(p.log, bytes.Repeat([]byte("line\n"), 10000), 0o600); err != nil {
		t.Fatal(err)
	}
	if tail := p.logTail(); len(tail) > 2048 || !strings.HasSuffix(tail, "\nline") {
		t.Errorf("%d bytes, %q", len(tail), tail)
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := l.Addr().(*net.TCPAddr).Port
	var one, two ports
	defer one.release()
	defer two.release()
	seen := map[int]bool{}
	for range 3 {
		for _, p := range []*ports{&one, &two} {
			port, err := p.next(busy)
			if err != nil {
				t.Fatal(err)
			}
			if port <= busy {
				t.Errorf("port %d is not free", port)
			}
			if seen[port] && (p == &one || runtime.GOOS == "linux") {
				t.Errorf("port %d was given out twice", port)
			}
			seen[port] = true
		}
	}
}
