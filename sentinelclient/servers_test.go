package sentinelclient

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"respgate/internal/respconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eventually polls a condition with a deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// server is a redis-server or redis-sentinel of a test.
type server struct {
	addr Address
	cmd  *exec.Cmd
	once sync.Once
}

func (s *server) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("%v: %v: %v", s.addr, sig, err)
	}
}

// kill ends the process as kill -9 does.
func (s *server) kill() {
	s.once.Do(func() {
		_ = s.cmd.Process.Kill() // it may have ended already
		_ = s.cmd.Wait()         // "signal: killed"
	})
}

// do sends one command and returns the reply, an error reply included.
func (s *server) do(args ...string) (respconn.Value, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := respconn.Dial(ctx, "tcp", s.addr.String(), respconn.Limits{})
	if err != nil {
		return respconn.Value{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return respconn.Value{}, err
	}
	return c.Do(args...)
}

// freePort is one that was free a moment ago; startServer tries again with
// another one if it is not any more.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startServer runs program with a configuration made for a port and waits until
// it answers PING.
func startServer(t *testing.T, program string, config func(port int) string) *server {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is needed for this test (Debian: apt-get install redis-server redis-sentinel): %v", program, err)
	}
	for range 5 {
		port := freePort(t)
		dir := t.TempDir()
		file := filepath.Join(dir, "conf")
		text := fmt.Sprintf("port %d\nbind 127.0.0.1 -::1\ndir %q\nlogfile \"\"\n%s", port, dir, config(port))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &server{addr: Address{"127.0.0.1", port}, cmd: exec.Command(program, file)}
		var out lockedBuffer
		s.cmd.Stdout, s.cmd.Stderr = &out, &out
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.kill)
		exited := false
		eventually(t, fmt.Sprintf("%s on port %d answers", program, port), func() bool {
			if strings.Contains(out.String(), "in use") || strings.Contains(out.String(), "Failed listening") {
				exited = true
				return true
			}
			v, err := s.do("PING")
			return err == nil && (v.Str == "PONG" || v.IsError())
		})
		if !exited {
			return s
		}
		s.kill()
	}
	t.Fatalf("%s found no port", program)
	return nil
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// setup is a pool of real servers: groups of a master and a replica, and
// sentinels that watch them all.
type setup struct {
	masters, replicas map[string]*server
	sentinels         []*server
	password          string
}

func startSetup(t *testing.T, sentinels int, downAfter int, groups ...string) *setup {
	return startSetupWith(t, sentinels, downAfter, "", groups...)
}

func startSetupWith(t *testing.T, sentinels int, downAfter int, password string, groups ...string) *setup {
	t.Helper()
	s := &setup{masters: map[string]*server{}, replicas: map[string]*server{}, password: password}
	auth := ""
	if password != "" {
		auth = fmt.Sprintf("requirepass %s\nmasterauth %s\n", password, password)
	}
	redis := "save \"\"\nrepl-diskless-sync yes\nrepl-diskless-sync-delay 0\n" + auth
	monitor := ""
	for _, g := range groups {
		m := startServer(t, "redis-server", func(int) string { return redis })
		s.masters[g] = m
		s.replicas[g] = startServer(t, "redis-server", func(int) string {
			return redis + fmt.Sprintf("replicaof 127.0.0.1 %d\n", m.addr.Port)
		})
		monitor += fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d\nsentinel down-after-milliseconds %s %d\nsentinel failover-timeout %s 5000\n",
			g, m.addr.Port, sentinels/2+1, g, downAfter, g)
		if password != "" {
			monitor += fmt.Sprintf("sentinel auth-pass %s %s\n", g, password)
		}
	}
	for range sentinels {
		s.sentinels = append(s.sentinels, startServer(t, "redis-sentinel", func(int) string { return monitor }))
	}
	eventually(t, "the sentinels know each other and the replicas", func() bool {
		for _, sn := range s.sentinels {
			for _, g := range groups {
				v, err := sn.do("SENTINEL", "MASTER", g)
				if err != nil {
					return false
				}
				info, err := parseMasterInfo(v, g)
				if err != nil || info.Sentinels != sentinels || info.Replicas != 1 {
					return false
				}
				if v, err := sn.do("SENTINEL", "CKQUORUM", g); err != nil || v.IsError() {
					return false
				}
			}
		}
		return true
	})
	return s
}

func (s *setup) config(groups ...string) Config {
	c := Config{Pool: "p", Groups: groups, Lease: LeaseAuto, Master: Credentials{Password: s.password}}
	for _, sn := range s.sentinels {
		c.Sentinels = append(c.Sentinels, Sentinel{Address: sn.addr})
	}
	return c
}

// views collects what a monitor delivers.
type views struct {
	mu   sync.Mutex
	last *View
	all  []*View
}

func (v *views) deliver(w *View) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = w
	v.all = append(v.all, w)
}

// get is the last view, an empty one before the first.
func (v *views) get() *View {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last == nil {
		return &View{}
	}
	return v.last
}

func (v *views) group(name string) GroupView {
	return v.get().Groups[name]
}

// any reports whether a view so far had something.
func (v *views) any(f func(*View) bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, w := range v.all {
		if f(w) {
			return true
		}
	}
	return false
}

// startMonitor runs a monitor until the end of the test; its log goes to the
// test's.
func startMonitor(t *testing.T, cfg Config) (*Monitor, *views) {
	t.Helper()
	var v views
	m := Start(cfg, v.deliver, slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(m.Close)
	return m, &v
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}
