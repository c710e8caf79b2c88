package engine

import (
	"net"
	"strings"
	"testing"
	"time"

	"respgate/engine/topology"
)

// patient keeps void links for as long as a test takes; the pool of requests in flight is looked at by the test.
func (r *rig) patient() {
	for _, l := range r.e.loops {
		l.call(func() { l.voiding = voiding{keep: int64(patience), silent: int64(patience)} })
	}
}

// moved gives the group another master.
func (r *rig) moved(next *fake) {
	r.t.Helper()
	r.apply(change("g1", func(g *topology.Group) { g.Master = next.master(g.Master.Generation + 1) }))
}

// TestVoidRejected: writes that the old master has paused are refused by it when the proxy follows the new one already. All of
// them are sent again there, in order, with what came behind them.
func TestVoidRejected(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, refusal := range []string{"-READONLY You can't write against a read only replica.\r\n", "-LOADING Redis is loading the dataset in memory\r\n"} {
			r := newRig(t, v, []string{"g1"})
			r.patient()
			old, next := r.servers["g1"], newFake(t)
			a, b := r.dial(), r.dial()
			a.do("+OK\r\n", "SET", "a", "0")
			b.do("+OK\r\n", "SET", "b", "0")
			old.on(func(_ *fakeConn, args []string) (string, bool) {
				return refusal, args[0] == "SET" || args[0] == "EVAL" || args[0] == "INCR"
			})
			old.hold()
			before := len(old.requests())
			a.send(req("SET", "a", "1") + req("GET", "a") + req("EVAL", "s", "1", "a") + req("SET", "a", "2"))
			b.send(req("GET", "b") + req("INCR", "b") + req("GET", "b"))
			until(t, "the old master has them", func() bool { return len(old.requests()) == before+7 })
			r.moved(next)
			a.send(req("SET", "a", "3") + req("GET", "a"))
			until(t, "what came later waits", func() bool { return r.stats("g1").Held == 2 })
			old.open()
			a.want("+OK\r\n" + bulk("1") + bulk("EVAL s 1 a") + "+OK\r\n" + "+OK\r\n" + bulk("3"))
			b.want("$-1\r\n" + bulk("INCR b") + "$-1\r\n")
			if got := len(old.requests()); got != before+7 {
				t.Errorf("%d requests reached the old master after the switch", got-before-7)
			}
			if st := r.stats("g1"); st.Unknown != 0 || st.Held != 0 || st.HeldBytes != 0 || st.Inflight != 0 {
				t.Errorf("after the switch: %+v", st)
			}
			until(t, "no link to the old master is left", func() bool { open, _ := old.connections(); return open == 0 })
			if n := r.happened(EventLinkLost) + r.happened(EventDemoted); n != 0 {
				t.Errorf("%d signs of trouble were told: %s%s", n, r.causes(EventLinkLost), r.causes(EventDemoted))
			}
		}
	})
}

// TestVoidAcknowledged: what the old master still says it has done may be lost: its client is not told that it is done. Nor is
// a value of the old one passed on.
func TestVoidAcknowledged(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		r.patient()
		old, next := r.servers["g1"], newFake(t)
		next.data["k"] = "new"
		a, b := r.dial(), r.dial()
		a.do("+OK\r\n", "SET", "k", "old")
		b.do(bulk("old"), "GET", "k")
		first := true
		old.on(func(_ *fakeConn, args []string) (string, bool) {
			switch {
			case args[0] == "INCR" && first:
				first = false
				return "-READONLY x\r\n", true
			case args[0] == "LPUSH":
				return "-WRONGTYPE x\r\n", true
			}
			return "", false
		})
		old.hold()
		before := len(old.requests())
		a.send(req("GET", "k") + req("APPEND", "k", "1") + req("LPUSH", "k", "x") + req("GET", "k"))
		until(t, "the old master has them", func() bool { return len(old.requests()) == before+4 })
		b.send(req("INCR", "k") + req("APPEND", "k", "2"))
		until(t, "and the other's", func() bool { return len(old.requests()) == before+6 })
		r.moved(next)
		old.open()
		a.want(bulk("new") + unknownOutcome + unknownOutcome + bulk("new"))
		b.wantError("ERR respgate: group 'g1': its master " + old.ln.Addr().String() + " rejected the request, and executed a later one: send it again")
		b.want(unknownOutcome)
		if got := strings.Join(next.requests(), ", "); got != "GET k, GET k" {
			t.Errorf("the new master was sent %q", got)
		}
		if st := r.stats("g1"); st.Unknown != 3 || st.Inflight != 0 {
			t.Errorf("after the switch: %+v", st)
		}
	})
}

// TestVoidSilent: an old master that says nothing, or goes, is waited for a tenth of a second at the most.
func TestVoidSilent(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, end := range []func(r *rig, old *fake){
			func(*rig, *fake) {},
			func(r *rig, old *fake) { r.patient(); r.moved(newFake(r.t)); old.dropAll() },
			func(r *rig, _ *fake) { r.patient(); r.moved(newFake(r.t)); r.moved(newFake(r.t)) }, // and another switch
		} {
			r := newRig(t, v, []string{"g1"})
			old, next := r.servers["g1"], newFake(t)
			a := r.dial()
			a.do("+OK\r\n", "SET", "k", "0")
			old.hold()
			a.send(req("APPEND", "k", "1") + req("APPEND", "k", "2") + req("TOUCH", "k"))
			until(t, "the old master has them", func() bool { return len(old.requests()) == 4 })
			end(r, old)
			r.moved(next)
			a.want(unknownOutcome + unknownOutcome + ":0\r\n")
			a.do("+OK\r\n", "SET", "k", "1")
		}
	})
}

// TestVoidAtOnce: where there is nothing to wait for nobody waits: only reads are in flight, or the server has been silent for
// long.
func TestVoidAtOnce(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		r.patient()
		old, next := r.servers["g1"], newFake(t)
		a := r.dial()
		a.do("+OK\r\n", "SET", "k", "0")
		old.hold()
		a.send(req("GET", "k") + req("TOUCH", "k"))
		until(t, "the old master has them", func() bool { return len(old.requests()) == 3 })
		r.moved(next)
		a.want("$-1\r\n" + ":0\r\n")

		next.hold()
		a.send(req("APPEND", "k", "1") + req("GET", "k"))
		until(t, "the next one has them", func() bool { return len(next.requests()) == 4 })
		for _, l := range r.e.loops {
			l.call(func() { l.voiding.silent = int64(time.Second) })
			l.call(func() {
				l.pools["p"].byName["g1"].each(func(s *server) {
					for _, k := range s.links {
						if k != nil && k.inflight.head != nil {
							k.heard -= int64(time.Minute)
							k.inflight.head.sent -= int64(time.Minute)
						}
					}
				})
			})
		}
		last := newFake(t)
		r.moved(last)
		a.want(unknownOutcome + "$-1\r\n")

		last.hold()
		last.on(func(_ *fakeConn, args []string) (string, bool) { return "-READONLY x\r\n", args[0] == "APPEND" })
		a.send(req("APPEND", "k", "1"))
		until(t, "the last one has it", func() bool { return strings.Contains(strings.Join(last.requests(), ","), "APPEND") })
		for _, l := range r.e.loops {
			l.call(func() { l.voiding.silent = 0 })
		}
		r.apply(change("g1", func(g *topology.Group) {
			g.Master = newFake(t).master(g.Master.Generation + 1)
			g.Master.Relieved = true // it lives, and its writes are paused
		}))
		if n := r.stats("g1").Inflight; n != 1 {
			t.Errorf("%d requests are waited for", n)
		}
		last.open()
		a.want(bulk("APPEND k 1"))
	})
}

// TestVoidUnsent: what has not left for the old master leaves for the new one only, whatever the old one says of the rest.
func TestVoidUnsent(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		old, next := serveFake(t, &smallBuffers{ln, v.loops}), newFake(t)
		r := newRig(t, v, []string{"g1"}, change("g1", func(g *topology.Group) { g.Master = old.master(2) }))
		r.patient()
		deaf := make(chan struct{})
		old.on(func(c *fakeConn, args []string) (string, bool) {
			if args[0] != "APPEND" {
				return "", false
			}
			old.mu.Unlock()
			<-deaf
			old.mu.Lock()
			return "-READONLY x\r\n", true
		})
		a := r.dial()
		a.send(req("APPEND", "k", "x"))
		until(t, "the server has stopped reading", func() bool { return r.stats("g1").Inflight == 1 })
		large := strings.Repeat("x", 7<<20) // more than two sockets take
		a.send(req("SET", "k", large) + req("EVAL", "script", "1", "k"))
		until(t, "a part of it is written", func() bool { return r.pool().ServerSent > 4096 && r.stats("g1").Inflight == 2 })
		r.moved(next)
		close(deaf)
		a.want(bulk("APPEND k x") + "+OK\r\n" + bulk("EVAL script 1 k"))
		var names []string
		for _, q := range next.requests() {
			names = append(names, strings.Fields(q)[0])
		}
		if got := strings.Join(names, " "); got != "APPEND SET EVAL" {
			t.Errorf("the new master saw %s", got)
		}
		if got := old.requests(); len(got) != 1 {
			t.Errorf("the old master saw %d requests", len(got))
		}
	})
}
