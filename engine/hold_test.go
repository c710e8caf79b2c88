package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"respgate/engine/topology"
)

func onHold(g *topology.Group)  { g.Hold, g.Cause = true, "a failover is going on" }
func release(g *topology.Group) { g.Hold, g.Cause = false, "" }
func noMaster(g *topology.Group) {
	g.Master, g.Cause = topology.Master{Generation: g.Master.Generation + 1}, "nobody answers"
}

// TestHold: new requests wait, those in flight finish, other groups go on; and the release keeps the order.
func TestHold(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		x, y := r.key("g1", 0), r.key("g2", 0)
		s := r.servers["g1"]
		s.hold()
		a, b, c := r.dial(), r.dial(), r.dial()
		a.send(req("APPEND", x, "before"))
		until(t, "the first request is there", func() bool { return len(s.requests()) == 1 })
		before := r.stats("g1").Waited
		r.apply(change("g1", onHold))
		var want strings.Builder
		for i := range 10 {
			a.send(req("APPEND", x, fmt.Sprint(i)))
			want.WriteString(bulk("APPEND " + x + " " + fmt.Sprint(i)))
		}
		b.send(req("MGET", x, y) + req("PING"))
		until(t, "they wait", func() bool { return r.stats("g1").Held == 11 })
		if st := r.stats("g1"); st.HeldBytes == 0 || st.Cause != "group 'g1' is on hold: a failover is going on" {
			t.Errorf("group: %+v", st)
		}
		c.do(bulk("APPEND "+y+" c"), "APPEND", y, "c")
		s.open()
		a.want(bulk("APPEND " + x + " before"))
		if got := s.requests(); len(got) != 1 {
			t.Errorf("a request went through the hold: %q", got)
		}
		r.apply(change("g1", release))
		a.want(want.String())
		b.want(array("$-1\r\n", "$-1\r\n") + "+PONG\r\n")
		if st := r.stats("g1"); st.Held != 0 || st.HeldBytes != 0 || st.Expired != 0 || st.HeldMost != 11 || st.Waited-before != 11 {
			t.Errorf("group: %+v", st)
		}
		r.apply(change("g1", onHold))
		if st := r.stats("g1"); st.HeldMost != 0 || st.Waited-before != 11 {
			t.Errorf("group, held again: %+v", st)
		}
		r.apply(change("g1", release))
	})
}

// TestHoldBounds: what does not fit gets an error at once, whether a link is up or not, and replies stay in order.
func TestHoldBounds(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for name, close := range map[string]func(*topology.Group){"is on hold: a failover is going on": onHold, "no verified master for group 'g1': nobody answers": noMaster} {
			r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.HoldRequests, s.HoldBytes = 5, 1000 }))
			next := newFake(t)
			a, b := r.dial(), r.dial()
			a.do(bulk("APPEND k x"), "APPEND", "k", "x")
			r.apply(change("g1", close))
			var sent strings.Builder
			for i := range 8 {
				sent.WriteString(req("APPEND", "k", fmt.Sprint(i)))
			}
			a.send(sent.String())
			until(t, "the hold is full", func() bool { st := r.stats("g1"); return st.Held == 5 && st.Overflows == 3 })
			b.send(req("APPEND", "k", "b") + req("PING"))
			b.wantError("ERR respgate: hold queue of group 'g1' is full (5 requests, ", " bytes wait): ", name)
			b.want("+PONG\r\n")
			r.apply(change("g1", release), change("g1", func(g *topology.Group) { g.Master = next.master(9) }))
			for i := range 5 {
				a.want(bulk("APPEND k " + fmt.Sprint(i)))
			}
			for range 3 {
				a.wantError("ERR respgate: hold queue of group 'g1' is full")
			}
			r.apply(change("g1", close), change("g1", func(g *topology.Group) { g.Master.Generation = 10 }))
			a.send(req("APPEND", "k", strings.Repeat("x", 800)) + req("APPEND", "k", strings.Repeat("y", 300)) + req("PING"))
			until(t, "the bytes are full", func() bool { return r.stats("g1").Overflows == 5 })
			r.apply(change("g1", release), change("g1", func(g *topology.Group) { g.Master = next.master(11) }))
			a.want(bulk("APPEND k " + strings.Repeat("x", 800)))
			a.wantError("ERR respgate: hold queue of group 'g1' is full (1 requests, 8")
			a.want("+PONG\r\n")
		}
	})
}

// TestHoldExpires: each waits as long as it may, and is told what for.
func TestHoldExpires(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.HoldTimeout = 40 * time.Millisecond }))
		x, y := r.key("g1", 0), r.key("g2", 0)
		a := r.dial()
		for want, f := range map[string]func(*topology.Group){
			"ERR respgate: group 'g1' is on hold: a failover is going on ":     onHold,
			"ERR respgate: no verified master for group 'g1': nobody answers ": noMaster,
			"ERR respgate: no verified master for group 'g1' ":                 func(g *topology.Group) { noMaster(g); g.Cause = "" },
		} {
			r.apply(change("g1", f))
			a.send(req("SET", x, "1") + req("GET", x) + req("PING") + req("MGET", x, y) + req("GET", y))
			a.wantWaited(want, 40)
			a.wantWaited(want, 40)
			a.want("+PONG\r\n")
			a.wantWaited(want, 40)
			a.want("$-1\r\n")
			r.apply(change("g1", func(g *topology.Group) { release(g); g.Master = r.servers["g1"].master(g.Master.Generation + 1) }))
		}
		if got := len(r.servers["g1"].requests()); got != 0 {
			t.Errorf("%d requests reached the server", got)
		}
		if st := r.stats("g1"); st.Expired != 9 {
			t.Errorf("%d expired, want 9", st.Expired)
		}
	})
}

// wantWaited wants the error of a request that waited for at least so many milliseconds.
func (a *app) wantWaited(prefix string, least int) {
	a.t.Helper()
	got := a.line()
	var ms int
	rest, ok := strings.CutPrefix(got, "-"+prefix)
	if _, err := fmt.Sscanf(rest[max(strings.LastIndex(rest, "(waited"), 0):], "(waited %d ms)", &ms); !ok || err != nil || ms < least {
		a.t.Fatalf("reply %q, want one that begins with %q and tells of at least %d ms", got, prefix, least)
	}
}

// TestNothingIsHeld: with hold.requests 0 the first requests fail, and bring the link up for those that follow.
func TestNothingIsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"}, set(func(s *topology.Settings) { s.HoldRequests = 0 }))
	a := r.dial()
	a.send(req("SET", "k", "v"))
	a.wantError("ERR respgate: hold queue of group 'g1' is full (0 requests, 0 bytes wait): group 'g1': connecting to its master")
	until(t, "the link is up", func() bool { return r.stats("g1").Links == 1 })
	a.do("+OK\r\n", "SET", "k", "v")
}

// TestRequestsOfTheGone do not take the places of those who wait.
func TestRequestsOfTheGone(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.HoldRequests = 100 }), change("g1", onHold))
		var sent strings.Builder
		for range 100 {
			sent.WriteString(req("SET", "k", "gone"))
		}
		for range 2 * v.loops { // one of them, at least, on each loop
			a := r.dial()
			a.send(sent.String())
			until(t, "its requests are handled", func() bool { return r.pool().Requests%100 == 0 && r.pool().Requests > 0 })
			a.reset()
			until(t, "it is gone", func() bool { return r.e.clients.Load() == 0 })
		}
		b := r.dial()
		b.send(req("SET", "k", "b"))
		until(t, "it was read", func() bool { return r.pool().Requests%100 == 1 })
		if st := r.stats("g1"); v.loops == 1 && st.Held != 1 {
			t.Errorf("held: %d, want the living one's alone", st.Held)
		}
		if v.loops == 1 {
			r.apply(change("g1", release))
			b.want("+OK\r\n")
			if got := r.servers["g1"].requests(); len(got) != 1 {
				t.Errorf("the server saw %q", got)
			}
		}
	})
}

// TestBusyLinkWaits: behind a link that is slow clients are not read, rather than refused; what waits is not thrown away
// before a reply would have been.
func TestBusyLinkWaits(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) {
			s.HoldTimeout, s.HoldRequests, s.HoldBytes = 10*time.Millisecond, 1, 1
			s.Pipeline = 64 << 20
		}))
		s := r.servers["g1"]
		a := r.dial()
		until(t, "the link is up", func() bool {
			a.send(req("SET", "k", "v"))
			return a.line() == "+OK\r\n"
		})
		s.hold()
		before := len(s.requests())
		const n = 200
		value := strings.Repeat("v", 10_000)
		go func() {
			for range n {
				if _, err := a.conn.Write([]byte(req("APPEND", "k", value))); err != nil {
					return
				}
			}
		}()
		until(t, "the link is full and the client is paused", func() bool {
			st := r.stats("g1")
			return st.Inflight > 0 && st.Held > 0 && st.OldestHeld > 20*time.Millisecond
		})
		st := r.stats("g1")
		if bytes := int64(st.Inflight) * 10_000; bytes > 2*maxInflight || st.HeldBytes > 3*stallPending {
			t.Errorf("%d bytes in flight, %d wait", bytes, st.HeldBytes)
		}
		if !strings.Contains(st.Cause, "is behind with its replies") {
			t.Errorf("cause %q", st.Cause)
		}
		s.open()
		for range n {
			a.want(bulk("APPEND k " + value))
		}
		if got := len(s.requests()) - before; got != n {
			t.Errorf("%d requests reached the server, want %d", got, n)
		}
	})
}

// TestStalledClientsAreReleased: a client that waited for a busy link does not wait for ever when the group goes away, or on
// hold.
func TestStalledClientsAreReleased(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for name, f := range map[string]func(*rig){
			"group removed": func(r *rig) {
				r.apply(func(s *topology.Snapshot) {
					p := s.Pool("p")
					p.Groups = p.Groups[1:]
					setRing(p)
				})
			},
			"on hold": func(r *rig) {
				r.apply(change("g1", onHold), set(func(s *topology.Settings) { s.HoldTimeout = 20 * time.Millisecond; s.Timeout = 20 * time.Millisecond }))
			},
		} {
			r := newRig(t, v, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.Pipeline = 64 << 20 }))
			x := r.key("g1", 0)
			s := r.servers["g1"]
			a := r.dial()
			a.do(bulk("APPEND "+x+" v"), "APPEND", x, "v")
			s.hold()
			value := strings.Repeat("v", 10_000)
			go func() {
				for range 150 {
					if _, err := a.conn.Write([]byte(req("APPEND", x, value))); err != nil {
						return
					}
				}
				_, _ = a.conn.Write([]byte(req("ECHO", "end")))
			}()
			until(t, "the client is stalled", func() bool { return r.stats("g1").HeldBytes > stallPending })
			f(r)
			if name == "group removed" {
				s.open()
			}
			for line := a.line(); line != "end\r\n"; line = a.line() {
			}
		}
	})
}

func TestAccess(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		x, y := r.key("g1", 0), r.key("g2", 0)
		s := r.servers["g1"]
		a := r.dial()
		a.do("+OK\r\n", "SET", x, "1")
		s.hold()
		a.send(req("SET", x, "2"))
		until(t, "it is in flight", func() bool { return len(s.requests()) == 2 })
		access := func(g *topology.Group, what topology.Access) { g.Access, g.Reason = what, "no sentinel is reachable" }
		denied := "-ERR respgate: group 'g1': no sentinel is reachable\r\n"

		r.apply(change("g1", func(g *topology.Group) { access(g, topology.Fence) }))
		s.open()
		a.want("+OK\r\n") // what was in flight finishes
		a.do(bulk("2"), "GET", x)
		a.do(denied, "SET", x, "3")
		a.do(denied, "EVAL", "s", "1", x)
		a.do(array(bulk("2"), "$-1\r\n"), "MGET", x, y)
		a.do(denied, "MSET", x, "3", y, "3")

		r.apply(change("g1", func(g *topology.Group) { access(g, topology.Reject) }))
		a.do(denied, "GET", x)
		a.do(denied, "MGET", x, y)
		a.do("+OK\r\n", "SET", y, "1")
		a.do("+PONG\r\n", "PING")
		if got := r.pool().Errors["no-authority"]; got != 5 {
			t.Errorf("%d counted, want 5", got)
		}
		r.apply(change("g1", func(g *topology.Group) { access(g, topology.Serve) }))
		a.do(bulk("2"), "GET", x)
	})
}

// TestPoolRejects: new connections and new requests get the reason; those in flight finish.
func TestPoolRejects(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		a := r.dial()
		a.do("+OK\r\n", "SET", "k", "1")
		s.hold()
		a.send(req("SET", "k", "2") + req("GET", "k"))
		until(t, "both are in flight", func() bool { return len(s.requests()) == 3 })
		r.apply(func(s *topology.Snapshot) {
			s.Pool("p").Access, s.Pool("p").Reason = topology.Reject, "the sentinel link is being replaced"
		})
		a.send(req("GET", "k") + req("PING"))
		b := r.dial()
		b.want("-ERR respgate: the sentinel link is being replaced (pool 'p')\r\n")
		b.wantClosed()
		s.open()
		a.want("+OK\r\n" + bulk("2") + "-ERR respgate: the sentinel link is being replaced (pool 'p')\r\n+PONG\r\n")
		if p := r.pool(); p.Rejected["rejecting"] != 1 || p.Errors["no-authority"] != 1 {
			t.Errorf("rejected %v, errors %v", p.Rejected, p.Errors)
		}
		r.apply(func(s *topology.Snapshot) { s.Pool("p").Access = topology.Serve })
		a.do(bulk("2"), "GET", "k")
		r.dial().do(bulk("2"), "GET", "k")
	})
}

// TestColdLink: while the first link is on its way a client that sends much is not read, rather than refused.
func TestColdLink(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.HoldRequests, s.HoldBytes, s.Pipeline = 10, 1000, 64<<20 }))
		s := r.servers["g1"]
		greet := make(chan struct{})
		s.on(func(_ *fakeConn, args []string) (string, bool) {
			if args[0] == "ROLE" {
				s.mu.Unlock()
				<-greet
				s.mu.Lock()
			}
			return "", false
		})
		a := r.dial()
		const n = 20_000 // 420 KB
		done := a.pour(req("GET", "k"), n)
		r.stopped("the client is not read any more")
		if st := r.stats("g1"); st.Held <= 10 || st.HeldBytes > 2*stallPending || st.Overflows > 0 {
			t.Errorf("%d bytes wait, %d requests were refused", st.HeldBytes, st.Overflows)
		}
		close(greet)
		a.drink("$-1\r\n", n)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestHoldEndsWithANewDial: what was begun while the master was out of reach may wait for a lost packet for ever; the end of
// the hold, which says that it answers, connects anew.
func TestHoldEndsWithANewDial(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		s.on(func(*fakeConn, []string) (string, bool) { return "", true })
		a := r.dial()
		a.send(req("APPEND", "k", "v"))
		until(t, "the handshake has begun", func() bool { open, _ := s.connections(); return open > 0 })
		r.apply(change("g1", onHold))
		s.on(func(c *fakeConn, _ []string) (string, bool) { return "", c.number == 0 }) // the first connection leads nowhere
		until(t, "the request is through", func() bool {
			r.apply(change("g1", onHold))
			r.apply(change("g1", release))
			return len(s.requests()) > 0
		})
		a.want(bulk("APPEND k v"))
		if happened := r.happened(EventDialFailed); happened > 0 {
			t.Errorf("%d failed dials: the end of a hold is none", happened)
		}
	})
}

// TestHoldEndsForLanes: what waits for a link of its own does not wait for the back-off of its dials either.
func TestHoldEndsForLanes(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.SessionLinks = 10 }))
		s := r.servers["g1"]
		a := r.dial()
		s.on(func(_ *fakeConn, args []string) (string, bool) { return "-ERR not now\r\n", args[0] == "ROLE" })
		r.apply(change("g1", onHold))
		a.send(req("BLPOP", "k", "0"))
		until(t, "dials have failed, and the next one is far away", func() (far bool) {
			for _, l := range r.e.loops {
				l.call(func() {
					l.pools["p"].byName["g1"].each(func(s *server) {
						if s.lane != nil && s.links[0] == nil && s.failures > 0 {
							s.redialAt, far = l.now+int64(time.Hour), true
						}
					})
				})
			}
			return far
		})
		s.on(nil)
		r.apply(change("g1", release))
		a.want(bulk("BLPOP k 0"))
	})
}
