package engine

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"respgate/engine/topology"
)

// pour writes text n times and reports the end on a channel: writing blocks as long as the proxy does not read.
func (a *app) pour(text string, n int) (done chan error) {
	done = make(chan error, 1)
	batch := max(1, 16384/len(text))
	go func() {
		for left := n; left > 0; left -= batch {
			if _, err := io.WriteString(a.conn, strings.Repeat(text, min(batch, left))); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return done
}

// drink wants a reply n times.
func (a *app) drink(reply string, n int) {
	a.t.Helper()
	batch := max(1, 16384/len(reply))
	for left := n; left > 0; left -= batch {
		a.want(strings.Repeat(reply, min(batch, left)))
	}
}

// stopped waits until the proxy has stopped reading: what it has received does not grow any more while iterations go by.
func (r *rig) stopped(what string) {
	r.t.Helper()
	last, same := uint64(0), 0
	until(r.t, what, func() bool {
		now := r.pool().Received
		if same++; now != last {
			last, same = now, 0
		}
		return same > 50
	})
}

// TestSlowReader: a client that sends and does not read is not read any more; nothing is lost, memory is bounded, and the
// others do not notice.
func TestSlowReader(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const buffer = 1 << 20
		n := 50_000
		if raced {
			n /= 4
		}
		r := newRig(t, v, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.ClientBuffer, s.Pipeline = buffer, 1<<18 }))
		x, y := r.key("g1", 0), r.key("g2", 0)
		value := strings.Repeat("v", 400) // so many of them are 20 MB
		slow, other := r.dial(), r.dial()
		for k, s := range map[string]*fake{x: r.servers["g1"], y: r.servers["g2"]} {
			s.change(func() { s.data[k] = value })
		}
		other.do(array(bulk(value), bulk(value)), "MGET", x, y)
		done := slow.pour(req("GET", x), n)
		r.stopped("the slow client is stalled")
		if used := r.e.memory(); used > 4*buffer {
			t.Errorf("%d bytes of buffers for a client that may have %d", used, buffer)
		}
		if p := r.pool(); p.Stalls == 0 {
			t.Error("no stall was counted")
		}
		for range 10 {
			other.do(array(bulk(value), bulk(value)), "MGET", x, y)
			other.do(bulk(value), "GET", x)
		}
		slow.drink(bulk(value), n)
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.idle()
	})
}

// idle waits until nothing is in flight, and wants no buffer in use after the usual look at what can be given back.
func (r *rig) idle() {
	r.t.Helper()
	until(r.t, "nothing is in flight", func() bool {
		for _, g := range r.pool().Groups {
			if g.Inflight+g.Held > 0 {
				return false
			}
		}
		return true
	})
	until(r.t, "all buffers are given back", func() bool {
		for _, l := range r.e.loops {
			l.call(func() { l.trim(l.now) })
		}
		total := int64(0)
		for _, l := range r.e.Stats().Loops {
			total += l.BufferBytes + l.BufferIdle
		}
		return total == 0
	})
}

// TestAMillionPings: answered by the proxy itself, without reading.
func TestAMillionPings(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"}, set(func(s *topology.Settings) { s.ClientBuffer = 1 << 20 }))
	slow, other := r.dial(), r.dial()
	n := 1_000_000
	if raced {
		n /= 8
	}
	done := slow.pour("PING\r\n", n)
	r.stopped("the slow client is stalled")
	if used := r.e.memory(); used > 2<<20 {
		t.Errorf("%d bytes of buffers", used)
	}
	other.do("+OK\r\n", "SET", "k", "v")
	slow.drink("+PONG\r\n", n)
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.idle()
}

// TestPipelineBound: no more of a client's requests are in flight than `pipeline` has bytes.
func TestPipelineBound(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const bound, n = 10_000, 5000
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.Pipeline = bound }))
		s := r.servers["g1"]
		a, b := r.dial(), r.dial()
		a.do("+OK\r\n", "SET", "k", "v")
		b.do("+OK\r\n", "SET", "k", "v")
		s.hold()
		text := req("GET", "k")
		done := a.pour(text, n)
		r.stopped("the client is not read any more")
		if got := r.stats("g1").Inflight * len(text); got > bound+len(text) {
			t.Errorf("%d bytes in flight, at most %d", got, bound)
		}
		b.send(text)
		until(t, "another client's request goes through", func() bool { return r.stats("g1").Inflight*len(text) > bound })
		s.open()
		b.want(bulk("v"))
		a.drink(bulk("v"), n)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestMemoryLimit: at limits.memory those who fill it are not read, until what is there has been; others do not notice.
func TestMemoryLimit(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const limit = 1 << 20
		r := newRig(t, v, []string{"g1"}, func(s *topology.Snapshot) { s.Limits.Memory = limit })
		value := strings.Repeat("v", 1<<20)
		s := r.servers["g1"]
		s.change(func() { s.data["k"] = value })
		a, b := r.dial(), r.dial()
		b.do("+PONG\r\n", "PING")
		const n = 12 // more than sockets take
		a.send(strings.Repeat(req("GET", "k"), n))
		until(t, "every loop has stopped reading", func() bool { return r.e.Stats().MemoryHits >= uint64(v.loops) && r.e.memory() > limit })
		done := b.pour(req("PING", strings.Repeat("p", 1000)), 10_000) // 10 MB, all of which would be answered
		r.stopped("nobody who fills the memory is read")
		r.dial().do("+PONG\r\n", "PING")
		b2 := r.dial()
		b2.do(bulk("x"), "ECHO", "x")
		b2.do(bulk("y"), "ECHO", "y")
		if used := r.e.memory(); used > n*limit+limit {
			t.Errorf("%d bytes of buffers", used)
		}
		a.drink(bulk(value), n)
		b.drink(bulk(strings.Repeat("p", 1000)), 10_000)
		if err := <-done; err != nil {
			t.Error(err)
		}
		a.do("+PONG\r\n", "PING")
		r.idle()
	})
}

func TestMaxClients(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, func(s *topology.Snapshot) { s.Limits.MaxClients = 3 })
		var apps []*app
		for range 3 {
			a := r.dial()
			a.do("+PONG\r\n", "PING")
			apps = append(apps, a)
		}
		for range 2 {
			a := r.dial()
			a.want("-ERR max number of clients reached\r\n")
			a.wantClosed()
		}
		if st := r.e.Stats(); st.ClientHits != 2 || st.Clients != 3 || st.Pools["p"].Rejected["max_clients"] != 2 {
			t.Errorf("hits %d, clients %d, rejected %v", st.ClientHits, st.Clients, st.Pools["p"].Rejected)
		}
		apps[0].conn.Close()
		until(t, "there is a place again", func() bool { return r.e.clients.Load() == 2 })
		r.dial().do("+PONG\r\n", "PING")
		r.apply(func(s *topology.Snapshot) { s.Limits.MaxClients = 0 })
		for range 20 {
			r.dial().do("+PONG\r\n", "PING")
		}
	})
}

// TestManyArguments: a request of many small arguments is read in large steps, however little each promises.
func TestManyArguments(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		a := r.dial()
		const n = 20_000
		args := make([]string, 0, n+1)
		args = append(args, "EXISTS")
		for i := range n {
			args = append(args, fmt.Sprint("key", i))
		}
		before := uint64(0)
		for _, l := range r.e.Stats().Loops {
			before += l.Iterations
		}
		a.do(":0\r\n", args...)
		after := uint64(0)
		for _, l := range r.e.Stats().Loops {
			after += l.Iterations
		}
		if after-before > n/4 { // 300 KB: by a few bytes at a time it would be about one an argument
			t.Errorf("%d iterations to read and answer one request", after-before)
		}
		a.conn.Close()
		r.idle()
	})
}

// TestClosingHasAnEnd: a client that is being closed and does not read its last replies is closed all the same.
func TestClosingHasAnEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"})
	value := strings.Repeat("v", 7<<20)
	s := r.servers["g1"]
	s.change(func() { s.data["k"] = value })
	a := r.dial()
	if err := a.conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	a.send(req("GET", "k") + req("GET", "k") + req("QUIT"))
	l := r.e.loops[0]
	until(t, "it is being closed and everything is there for it", func() (closing bool) {
		l.call(func() {
			c := l.pools["p"].clients
			closing = c.state == clientClosing && c.timer != nil && c.queue.count == 0
		})
		return closing
	})
	l.call(func() { l.wheel.Advance(l.now + closingTime/2) })
	if r.e.clients.Load() != 1 {
		t.Error("it was closed too early")
	}
	l.call(func() { l.wheel.Advance(l.now + 2*closingTime) })
	until(t, "it is gone", func() bool { return r.e.clients.Load() == 0 })
	r.idle()
}

// TestSwamped: replies that turn out far larger than those before, at the memory limit, for a client that does not read: they
// are dropped with an error each, in their places, rather than kept.
func TestSwamped(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const limit = 1 << 20
		r := newRig(t, v, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.ClientBuffer = limit }), func(s *topology.Snapshot) { s.Limits.Memory = limit })
		x, y := r.key("g1", 0), r.key("g2", 0)
		value := strings.Repeat("v", 512<<10)
		s := r.servers["g1"]
		a := r.dial()
		small := a.pour(req("GET", x), 1000) // for the proxy to get used to
		a.drink("$-1\r\n", 1000)
		if err := <-small; err != nil {
			t.Fatal(err)
		}
		s.change(func() { s.data[x] = value })
		s.hold()
		const n = 25
		for range n {
			a.send(req("GET", x) + req("MGET", x, y))
		}
		until(t, "they are in flight", func() bool { return r.stats("g1").Inflight == 2*n })
		s.open()
		until(t, "all are answered", func() bool { return r.stats("g1").Inflight == 0 })
		if used := r.e.memory(); used > 5*limit {
			t.Errorf("%d bytes of buffers for %d bytes of replies", used, 2*n*len(value))
		}
		whole, dropped := 0, 0
		for i := range 2 * n {
			switch head := a.line(); {
			case head[0] == '-':
				dropped++
				if !strings.Contains(head, " was dropped: limits.memory is reached") {
					t.Fatalf("reply %d: %q", i, head)
				}
				continue
			case head[0] == '*' && i%2 == 1:
				a.want(bulk(value) + "$-1\r\n")
			case head[0] == '$' && i%2 == 0:
				a.want(value + "\r\n")
			default:
				t.Fatalf("reply %d: %q", i, head)
			}
			whole++
		}
		if dropped == 0 || whole == 0 {
			t.Errorf("%d dropped, %d whole", dropped, whole)
		}
		a.do("+PONG\r\n", "PING")
		r.idle()
	})
}
