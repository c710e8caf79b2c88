package managerclient

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"respgate/internal/respconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeManager answers every request of every connection with what answer returns: raw bytes, so that it can lie in any way. A nil answer closes the
// connection, an empty one stalls.
type fakeManager struct {
	l       net.Listener
	mu      sync.Mutex
	answer  func(args []string) []byte
	conns   []net.Conn
	started sync.WaitGroup
}

func newFakeManager(t *testing.T, answer func(args []string) []byte) *fakeManager {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeManager{l: l, answer: answer}
	f.started.Go(f.accept)
	t.Cleanup(f.stop)
	return f
}

func (f *fakeManager) addr() string { return f.l.Addr().String() }

func (f *fakeManager) accept() {
	for {
		c, err := f.l.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns = append(f.conns, c)
		f.mu.Unlock()
		f.started.Go(func() { f.serve(c) })
	}
}

func (f *fakeManager) serve(c net.Conn) {
	defer c.Close()
	conn := respconn.NewServer(c, respconn.RequestLimits{})
	for {
		args, err := conn.ReadRequest()
		if err != nil {
			return
		}
		f.mu.Lock()
		answer := f.answer
		f.mu.Unlock()
		b := answer(args)
		if b == nil {
			return
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func (f *fakeManager) say(answer func(args []string) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fakeManager) stop() {
	f.l.Close()
	f.mu.Lock()
	for _, c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.started.Wait()
}

func always(s string) func([]string) []byte { return func([]string) []byte { return []byte(s) } }

// topologyBytes is an honest answer.
func topologyBytes(version uint64, groups ...string) string {
	b := fmt.Sprintf("*6\r\n$7\r\nversion\r\n:%d\r\n$6\r\ngroups\r\n*%d\r\n", version, len(groups))
	for _, g := range groups {
		b += fmt.Sprintf("$%d\r\n%s\r\n", len(g), g)
	}
	return b + "$9\r\nsentinels\r\n*1\r\n*2\r\n$9\r\n127.0.0.1\r\n$5\r\n26379\r\n"
}

// honest answers as the protocol says.
func honest(version uint64, groups ...string) func([]string) []byte {
	return func(args []string) []byte {
		if len(args) < 4 || args[3] == fmt.Sprint(version) {
			return fmt.Appendf(nil, "*2\r\n$7\r\nversion\r\n:%d\r\n", version)
		}
		return []byte(topologyBytes(version, groups...))
	}
}

// logBuffer is a logger's output that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// subject is a client with what it delivered.
type subject struct {
	*Client
	topologies chan Topology
	logs       *logBuffer
}

func start(t *testing.T, cfg Config) *subject {
	t.Helper()
	s := &subject{topologies: make(chan Topology, 1000), logs: &logBuffer{}}
	cfg.Pool, cfg.ProxyID = "cache", "p1"
	if cfg.Cluster == "" {
		cfg.Cluster = "c1"
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 10 * time.Millisecond
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	s.Client = Start(cfg, func(topology Topology) { s.topologies <- topology }, slog.New(slog.NewTextHandler(s.logs, nil)))
	t.Cleanup(s.Close)
	return s
}

func (s *subject) next(t *testing.T) Topology {
	t.Helper()
	select {
	case topology := <-s.topologies:
		return topology
	case <-time.After(20 * time.Second):
		t.Fatalf("no topology; %+v\n%s", s.Status(), s.logs)
	}
	return Topology{}
}

// until polls a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func (s *subject) status(i int) Status {
	list := s.Status()
	if i >= len(list) {
		return Status{}
	}
	return list[i]
}

func TestClientTakesAndReports(t *testing.T) {
	t.Parallel()
	applied := make(chan []string, 1000)
	answer := honest(3, "g1", "g2")
	f := newFakeManager(t, func(args []string) []byte {
		select {
		case applied <- args:
		default:
		}
		return answer(args)
	})
	s := start(t, Config{Addresses: []string{f.addr()}, Heartbeat: time.Hour})
	got := s.next(t)
	want := Topology{Version: 3, Groups: []Group{{"g1", 1}, {"g2", 1}}, Sentinels: []string{"127.0.0.1:26379"}, Manager: f.addr()}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if args := <-applied; !cmp.Equal(args[:7], []string{"MANAGER", "HEARTBEAT", "c1", "0", "p1", "applied", "0"}) {
		t.Errorf("first heartbeat %q", args)
	}
	s.Applied(3) // told at once, an hour before the next heartbeat
	if args := <-applied; !cmp.Equal(args[:7], []string{"MANAGER", "HEARTBEAT", "c1", "3", "p1", "applied", "3"}) {
		t.Errorf("second heartbeat %q", args)
	}
	until(t, "applied in the status", func() bool { return s.status(0).Applied == 3 && s.status(0).State == "connected" })
}

// Managers that lie, stall or send garbage: what the pool has stays, and the honest manager behind them is found.
func TestClientAgainstBadManagers(t *testing.T) {
	t.Parallel()
	stall := []byte{}
	for name, tt := range map[string]struct {
		answer   func([]string) []byte
		rejected bool
	}{
		"http":            {always("HTTP/1.1 400 Bad Request\r\n\r\n"), true},
		"closes":          {func([]string) []byte { return nil }, false},
		"stalls":          {func([]string) []byte { return stall }, false},
		"half an answer":  {always("*2\r\n$7\r\nver"), false},
		"huge bulk":       {always("$9999999999\r\n"), true},
		"huge array":      {always("*2147483647\r\n"), true},
		"negative":        {always("*-7\r\n"), true},
		"nested":          {always(strings.Repeat("*1\r\n", 100_000)), true},
		"100,000 entries": {always("*6\r\n$7\r\nversion\r\n:9\r\n$6\r\ngroups\r\n*100000\r\n" + strings.Repeat("+g\r\n", 100_000)), true},
		"empty lists":     {always("*6\r\n$7\r\nversion\r\n:9\r\n$6\r\ngroups\r\n*0\r\n$9\r\nsentinels\r\n*0\r\n"), true},
		"lower version":   {always(topologyBytes(2, "gX")), true},
		"other content":   {always(topologyBytes(3, "gX")), true},
		"two replies":     {always("*2\r\n$7\r\nversion\r\n:3\r\n*2\r\n$7\r\nversion\r\n:3\r\n"), true},
		"error":           {always("-ERR no such cluster 'c1'\r\n"), false},
		"integer":         {always(":3\r\n"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := newFakeManager(t, honest(3, "g1"))
			good := newFakeManager(t, honest(4, "g1", "g2"))
			timeout := 10 * time.Second
			if !tt.rejected {
				timeout = 300 * time.Millisecond // what stalls is told by it alone
			}
			s := start(t, Config{Addresses: []string{bad.addr(), good.addr()}, Timeout: timeout})
			if got := s.next(t); got.Version == 4 { // a slow machine: the first manager ran into the timeout
				return
			}
			s.Applied(3)
			bad.say(tt.answer)
			if got := s.next(t); got.Version != 4 || got.Manager != good.addr() || len(got.Groups) != 2 {
				t.Fatalf("got %+v", got)
			}
			if st := s.status(0); st.Cause == "" || tt.rejected != (st.Rejected > 0) {
				t.Errorf("the bad one: %+v", st)
			}
		})
	}
}

// The only manager turns bad and good again: its alarm is logged once, the topology stays, the next version is taken.
func TestClientRecovers(t *testing.T) {
	t.Parallel()
	f := newFakeManager(t, honest(3, "g1"))
	s := start(t, Config{Addresses: []string{f.addr()}})
	s.next(t)
	s.Applied(3)
	f.say(always(topologyBytes(2, "gX")))
	until(t, "five refusals", func() bool { return s.status(0).Rejected >= 5 })
	if st := s.status(0); st.Version != 3 || st.Told != 2 || st.Applied != 3 || !strings.HasPrefix(st.Cause, "lower version: ") {
		t.Errorf("%+v", st)
	}
	f.say(honest(5, "g1", "g2"))
	if got := s.next(t); got.Version != 5 {
		t.Errorf("got %+v", got)
	}
	if n := strings.Count(s.logs.String(), "manager answer refused"); n != 1 {
		t.Errorf("%d alarms of one cause within a minute:\n%s", n, s.logs)
	}
}

// The manager is gone at the next start: the last good topology, which control had applied, comes from the disk. One that was never applied does not.
func TestClientStartsFromDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newFakeManager(t, honest(3, "g1"))
	s := start(t, Config{Addresses: []string{f.addr()}, StateDir: dir})
	s.next(t)
	s.Applied(3)
	until(t, "the file", func() bool { _, err := newStore(dir, "cache", "c1").load(); return err == nil })
	f.say(honest(4, "g9"))
	if got := s.next(t); got.Version != 4 {
		t.Fatalf("got %+v", got)
	}
	s.Refused(4, "not here")
	s.Close()
	f.stop()

	s = start(t, Config{Addresses: []string{f.addr()}, StateDir: dir})
	if got := s.next(t); !got.FromDisk || got.Version != 3 || got.Groups[0].Name != "g1" {
		t.Errorf("got %+v", got)
	}
	s.Close()

	s = start(t, Config{Addresses: []string{f.addr()}, StateDir: dir, Cluster: "c2"})
	until(t, "the alarm", func() bool { return strings.Contains(s.logs.String(), "the file is of another cluster") })
	if len(s.topologies) > 0 {
		t.Errorf("got %+v", <-s.topologies)
	}
}

func TestClientWithoutManagerAndDisk(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := start(t, Config{Addresses: []string{l.Addr().String()}})
	until(t, "a cause", func() bool { return strings.Contains(s.status(0).Cause, "refused") })
	if st := s.status(0); st.Version != 0 || len(s.topologies) > 0 {
		t.Errorf("%+v", st)
	}
}

func TestClientReconfigure(t *testing.T) {
	t.Parallel()
	one := newFakeManager(t, honest(3, "g1"))
	two := newFakeManager(t, honest(1, "h1"))
	s := start(t, Config{Addresses: []string{one.addr()}})
	s.next(t)
	s.Reconfigure(Config{Pool: "cache", Cluster: "c2", Addresses: []string{two.addr()}, Heartbeat: 10 * time.Millisecond})
	if got := s.next(t); got.Version != 1 || got.Manager != two.addr() {
		t.Errorf("got %+v", got)
	}
	if st := s.status(0); st.Address != two.addr() || st.Cluster != "c2" {
		t.Errorf("%+v", st)
	}
}

// The password goes to the manager and nowhere else, whatever the manager answers to it.
func TestClientPassword(t *testing.T) {
	t.Parallel()
	const secret = "s3cret-word"
	var mu sync.Mutex
	open := false
	answer := honest(3, "g1")
	f := newFakeManager(t, func(args []string) []byte {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case args[0] != "AUTH":
			return answer(args)
		case open && cmp.Equal(args, []string{"AUTH", "proxy", secret}):
			return []byte("+OK\r\n")
		}
		return []byte("-ERR unknown command 'AUTH', with args beginning with: '" + secret + "'\r\n")
	})
	s := start(t, Config{Addresses: []string{f.addr()}, User: "proxy", Password: secret})
	until(t, "a cause", func() bool { return strings.Contains(s.status(0).Cause, "AUTH refused with ERR") })
	mu.Lock()
	open = true
	mu.Unlock()
	s.next(t)
	if strings.Contains(s.logs.String(), secret) || strings.Contains(fmt.Sprint(s.Status()), secret) {
		t.Error("the password was told")
	}
}

// Control may call back from within deliver, and Close is safe at any moment.
func TestClientCallsFromDeliver(t *testing.T) {
	t.Parallel()
	f := newFakeManager(t, honest(3, "g1"))
	ready := make(chan *Client, 1)
	done := make(chan struct{})
	c := Start(Config{Pool: "cache", Cluster: "c1", Addresses: []string{f.addr()}}, func(topology Topology) {
		c := <-ready
		c.Applied(topology.Version)
		c.Refused(topology.Version+1, "no")
		close(done)
	}, slog.New(slog.DiscardHandler))
	ready <- c
	<-done
	c.Close()
	c.Applied(3)
	c.Close()
}
