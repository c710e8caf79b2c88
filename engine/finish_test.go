package engine

import (
	"net"
	"slices"
	"strings"
	"testing"

	"respgate/engine/topology"
)

// finishing is a hold that transactions may end in.
func finishing(g *topology.Group) { g.Hold, g.Finish, g.Cause = true, true, "planned switch-over" }

// transactions answers as a server within MULTI does.
func transactions(c *fakeConn, args []string) (string, bool) {
	switch args[0] {
	case "MULTI", "DISCARD", "WATCH":
		return "+OK\r\n", true
	case "EXEC":
		return array("+OK\r\n"), true
	case "INCR":
		return "+QUEUED\r\n", true
	}
	return "", false
}

// ofClients are the requests that a server got, without what the proxy asks about its links.
func ofClients(s *fake) string {
	return strings.Join(slices.DeleteFunc(s.requests(), func(q string) bool { return q == "CLIENT ID" }), ", ")
}

// TestTransactionFinishes: a planned switch lets a transaction that was begun come to its end, and nothing else through.
func TestTransactionFinishes(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, watch := range []bool{false, true} {
			r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.SessionLinks = 10 }))
			s := r.servers["g1"]
			s.on(transactions)
			a, b, c := r.dial(), r.dial(), r.dial()
			if watch {
				a.do("+OK\r\n", "WATCH", "k")
			}
			a.do("+OK\r\n", "MULTI")
			a.do("+QUEUED\r\n", "INCR", "k")
			c.do("+OK\r\n", "MULTI") // of which no server knows yet
			until(t, "it is counted", func() bool { return r.stats("g1").Transactions == 1 })
			r.apply(change("g1", finishing))
			b.send(req("GET", "k"))
			c.send(req("INCR", "k") + req("EXEC"))
			until(t, "the others wait", func() bool { return r.stats("g1").Held >= 2 })
			a.do("+QUEUED\r\n", "INCR", "k")
			a.send(req("EXEC") + req("GET", "k"))
			a.want(array("+OK\r\n"))
			until(t, "it has ended, and what follows it waits", func() bool {
				st := r.stats("g1")
				return st.Transactions == 0 && st.Inflight == 0 && st.Held >= 3
			})
			next := newFake(t)
			next.on(transactions)
			r.apply(change("g1", func(g *topology.Group) { g.Master = next.master(2); g.Hold, g.Finish = false, false }))
			a.want("$-1\r\n")
			b.want("$-1\r\n")
			c.want("+QUEUED\r\n" + array("+OK\r\n"))
			want := "MULTI, INCR k, INCR k, EXEC"
			if watch {
				want = "WATCH k, " + want
			}
			if got := ofClients(s); got != want {
				t.Errorf("the old master was sent %q", got)
			}
		}
	})
}

// TestTransactionIsHeld: in any other hold, and when a switch does not wait any longer, a transaction waits, and ends with its
// master.
func TestTransactionIsHeld(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, first := range []func(*topology.Group){onHold, finishing} {
			r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.SessionLinks = 10 }))
			s := r.servers["g1"]
			s.on(transactions)
			a := r.dial()
			a.do("+OK\r\n", "MULTI")
			a.do("+QUEUED\r\n", "INCR", "k")
			r.apply(change("g1", first))
			r.apply(change("g1", func(g *topology.Group) { g.Finish = false }))
			a.send(req("INCR", "k") + req("EXEC"))
			until(t, "it waits", func() bool { return r.stats("g1").Held == 2 })
			next := newFake(t)
			r.apply(change("g1", func(g *topology.Group) { g.Master = next.master(2); g.Hold = false }))
			a.wantError("ERR respgate: group 'g1': connection to its master was lost: the transaction was discarded")
			a.wantError("ERR respgate: group 'g1': connection to its master was lost: the transaction was discarded")
			if got := ofClients(s); got != "MULTI, INCR k" {
				t.Errorf("the old master was sent %q", got)
			}
			a.do("$-1\r\n", "GET", "k")
		}
	})
}

// TestTransactionIsTakenBack: of a transaction that was begun when its group was on hold already, nothing more leaves either
// when the switch does not wait any longer.
func TestTransactionIsTakenBack(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := serveFake(t, &smallBuffers{ln, 100})
		r := newRig(t, v, []string{"g1"}, change("g1", func(g *topology.Group) { g.Master = s.master(2) }), set(func(s *topology.Settings) { s.SessionLinks = 10 }))
		deaf := make(chan struct{})
		s.on(func(c *fakeConn, args []string) (string, bool) {
			if args[0] == "INCR" && args[1] == "deaf" {
				s.mu.Unlock()
				<-deaf
				s.mu.Lock()
			}
			return transactions(c, args)
		})
		a := r.dial()
		a.do("+OK\r\n", "WATCH", "k")
		s.hold()
		a.send(req("MULTI"))
		until(t, "the server has it", func() bool { return strings.Contains(ofClients(s), "MULTI") })
		r.apply(change("g1", finishing))
		s.open()
		a.want("+OK\r\n")
		r.narrow()
		a.send(req("INCR", "deaf"))
		sent := r.pool().ServerSent
		a.send(req("INCR", strings.Repeat("x", 200<<10)) + req("INCR", "last"))
		until(t, "a part is written", func() bool { return r.pool().ServerSent > sent+4096 })
		until(t, "the last one is there", func() bool {
			n := 0
			for _, l := range r.e.loops {
				l.call(func() {
					l.pools["p"].byName["g1"].each(func(s *server) {
						if s.lane != nil && s.lane.link() != nil {
							n = s.lane.link().inflight.count
						}
					})
				})
			}
			return n == 3
		})
		r.apply(change("g1", func(g *topology.Group) { g.Finish = false }))
		if held := r.stats("g1").Held; held != 1 {
			t.Errorf("%d requests came back", held)
		}
		close(deaf)
		next := newFake(t)
		r.apply(change("g1", func(g *topology.Group) { g.Master = next.master(3); g.Hold = false }))
		for {
			text := a.line()
			if strings.HasPrefix(text, "-ERR respgate: group 'g1': connection to its master was lost: the transaction was discarded") {
				break
			}
			if text != "+QUEUED\r\n" {
				t.Fatalf("reply %q", text)
			}
		}
		if got := ofClients(s); strings.Contains(got, "last") {
			t.Error("what came back was sent to the old master")
		}
	})
}
