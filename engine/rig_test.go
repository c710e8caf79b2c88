package engine

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"respgate/engine/poller"
	"respgate/engine/report"
	"respgate/engine/shard"
	"respgate/engine/topology"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("6") // they wait for each other's sockets and for timers more than they compute
	}
	goleak.VerifyTestMain(m)
}

// patience is the longest that a test waits for anything; none of them waits that long unless it fails.
const patience = 50 * time.Second

// variant is a way to run the engine.
type variant struct {
	loops     int
	newPoller func() (poller.Poller, error)
}

// plain is for what does not depend on the poller or the number of loops.
var plain = variant{loops: 1, newPoller: poller.New}

// each runs a test with both pollers and with one loop and two.
func each(t *testing.T, f func(t *testing.T, v variant)) {
	t.Parallel()
	for name, newPoller := range map[string]func() (poller.Poller, error){"best": poller.New, "portable": poller.NewPortable} {
		for _, loops := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s-%d", name, loops), func(t *testing.T) {
				t.Parallel()
				f(t, variant{loops, newPoller})
			})
		}
	}
}

// rig is an engine with one pool "p" of groups, each of a fake server.
type rig struct {
	t       testing.TB
	e       *Engine
	servers map[string]*fake
	snap    *topology.Snapshot

	mu     sync.Mutex
	events []Event
}

// testSettings are a pool's settings that no test waits for.
func testSettings() topology.Settings {
	return topology.Settings{
		Timeout: time.Minute, ConnectTimeout: time.Minute, HoldTimeout: time.Minute, HoldRequests: 1000, HoldBytes: 1 << 20,
		ClientBuffer: 8 << 20, Pipeline: 1 << 20, ServerConnections: 1, VerifyRole: true, Databases: 16,
	}
}

// newRig starts an engine that serves groups; change may adjust the first snapshot.
func newRig(t testing.TB, v variant, groups []string, change ...func(s *topology.Snapshot)) *rig {
	t.Helper()
	r := &rig{t: t, servers: map[string]*fake{}}
	for _, name := range groups {
		r.servers[name] = newFake(t)
	}
	var err error
	r.e, err = New(Options{
		Loops: v.loops, Version: "1.2.3", NewPoller: v.newPoller, Observe: r.observe,
		Fatal: func(err error) { t.Errorf("a loop failed: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.e.Shutdown(ctx); err != nil && err != ErrClosed {
			t.Errorf("Shutdown: %v", err)
		}
	})
	r.snap = &topology.Snapshot{Pools: []*topology.Pool{r.newPool("p", groups)}}
	r.apply(change...)
	return r
}

// newPool is a pool of groups whose masters are the rig's fakes of the same names.
func (r *rig) newPool(name string, groups []string) *topology.Pool {
	p := &topology.Pool{Name: name, Settings: testSettings()}
	// Port 0, spelled differently for each pool: the address is what tells listeners apart.
	p.Listen = topology.Listen{Network: "tcp", Address: "127.0.0.1:" + strings.Repeat("0", len(name)), Backlog: 512}
	for _, g := range groups {
		p.Groups = append(p.Groups, &topology.Group{Name: g, Master: r.servers[g].master(1)})
	}
	setRing(p)
	return p
}

func setRing(p *topology.Pool) {
	var nodes []shard.Node
	for _, g := range p.Groups {
		nodes = append(nodes, shard.Node{Name: g.Name, Weight: 1})
	}
	p.Ring = mustRing(shard.Config{Tag: "{}", Nodes: nodes})
}

func mustRing(cfg shard.Config) *shard.Ring {
	ring, err := shard.New(cfg)
	if err != nil {
		panic(err)
	}
	return ring
}

// try applies a changed copy of the snapshot.
func (r *rig) try(change ...func(s *topology.Snapshot)) error {
	s := *r.snap
	s.Serial++
	s.Pools = nil
	for _, p := range r.snap.Pools {
		q := *p
		q.Groups = nil
		for _, g := range p.Groups {
			h := *g
			q.Groups = append(q.Groups, &h)
		}
		s.Pools = append(s.Pools, &q)
	}
	for _, f := range change {
		f(&s)
	}
	if err := r.e.Apply(&s); err != nil {
		return err
	}
	r.snap = &s
	return nil
}

func (r *rig) apply(change ...func(s *topology.Snapshot)) {
	r.t.Helper()
	if err := r.try(change...); err != nil {
		r.t.Fatalf("Apply: %v", err)
	}
}

// set is a change of the settings of pool "p".
func set(f func(s *topology.Settings)) func(*topology.Snapshot) {
	return func(s *topology.Snapshot) { f(&s.Pool("p").Settings) }
}

// change is a change of a group of pool "p".
func change(name string, f func(g *topology.Group)) func(*topology.Snapshot) {
	return func(s *topology.Snapshot) {
		g, _ := s.Pool("p").Group(name)
		f(g)
	}
}

func (r *rig) observe(ev Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, ev)
}

// happened counts the events of a kind.
func (r *rig) happened(k report.EventKind) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.events {
		if ev.Kind == k {
			n++
		}
	}
	return n
}

// causes are what the events of a kind say, one a line.
func (r *rig) causes(k report.EventKind) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, ev := range r.events {
		if ev.Kind == k {
			b.WriteString(ev.Cause + "\n")
		}
	}
	return b.String()
}

// address is where a pool listens.
func (r *rig) address(pool string) (network, address string) {
	at := r.snap.Pool(pool).Listen
	if at.Network == "unix" {
		return at.Network, at.Address
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	return at.Network, localName(r.e.listeners[listenKey{at.Network, at.Address}].fd)
}

// key is the i-th key of a group of pool "p".
func (r *rig) key(group string, i int) string {
	p := r.snap.Pool("p")
	_, want := p.Group(group)
	for n := 0; ; n++ {
		k := "k" + strconv.Itoa(n)
		if p.Ring.Index([]byte(k)) == want {
			if i == 0 {
				return k
			}
			i--
		}
	}
}

// pool and stats are the counters now.
func (r *rig) pool() *report.Pool               { return r.e.Stats().Pools["p"] }
func (r *rig) stats(group string) *report.Group { return r.pool().Groups[group] }

// until waits for a condition.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// app is the connection of an application.
type app struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (r *rig) dial() *app { return r.dialPool("p") }

func (r *rig) dialPool(pool string) *app {
	r.t.Helper()
	network, address := r.address(pool)
	conn, err := net.Dial(network, address)
	if err != nil {
		r.t.Fatal(err)
	}
	return newApp(r.t, conn)
}

func newApp(t testing.TB, conn net.Conn) *app {
	t.Cleanup(func() {
		if c, ok := conn.(*net.TCPConn); ok {
			_ = c.SetLinger(0) // what it still waits for need not be waited for
		}
		conn.Close()
	})
	return &app{t: t, conn: conn, r: bufio.NewReader(patient{conn})}
}

// patient gives each read as long as a test waits for anything.
type patient struct{ net.Conn }

func (c patient) Read(b []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return c.Conn.Read(b)
}

func (a *app) send(text string) {
	a.t.Helper()
	_ = a.conn.SetWriteDeadline(time.Now().Add(patience))
	defer a.conn.SetWriteDeadline(time.Time{})
	if _, err := io.WriteString(a.conn, text); err != nil {
		a.t.Fatalf("send: %v", err)
	}
}

// want reads exactly the bytes of a reply, or of several.
func (a *app) want(text string) {
	a.t.Helper()
	b := make([]byte, len(text))
	n, err := io.ReadFull(a.r, b)
	if err != nil || string(b) != text {
		rest := ""
		if string(b[:n]) != text[:n] && a.r.Buffered() > 0 {
			more, _ := a.r.Peek(min(a.r.Buffered(), 200))
			rest = string(more)
		}
		a.t.Fatalf("reply\n %q (then %q, %v), want\n %q", clip(string(b[:n]), 600), rest, err, clip(text, 600))
	}
}

// do sends a request and wants a reply.
func (a *app) do(want string, args ...string) {
	a.t.Helper()
	a.send(req(args...))
	a.want(want)
}

// line reads a reply of one line.
func (a *app) line() string {
	a.t.Helper()
	s, err := a.r.ReadString('\n')
	if err != nil {
		a.t.Fatalf("reply %q: %v", s, err)
	}
	return s
}

// wantError reads an error reply and compares it up to the first blank-separated part that differs from one run to the next.
func (a *app) wantError(prefix string, parts ...string) {
	a.t.Helper()
	got := a.line()
	ok := strings.HasPrefix(got, "-"+prefix)
	for _, part := range parts {
		ok = ok && strings.Contains(got, part)
	}
	if !ok {
		a.t.Fatalf("reply %q, want an error that begins with %q and has %q", got, prefix, parts)
	}
}

// wantClosed wants the end of the connection, with nothing before it.
func (a *app) wantClosed() {
	a.t.Helper()
	rest, err := io.ReadAll(a.r)
	if len(rest) > 0 || err != nil {
		a.t.Fatalf("%q (%v), want the end of the connection", clip(string(rest), 300), err)
	}
}

func (a *app) closeWrite() {
	a.t.Helper()
	if err := a.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		a.t.Fatal(err)
	}
}
