package engine

import (
	"strings"
	"testing"
	"time"

	"respgate/engine/topology"
)

const noReplicas = "-NOREPLICAS Not enough good replicas to write.\r\n"

// lacking is a rig whose group has got another master, which refuses writes for want of replicas while short says so.
func lacking(t *testing.T, v variant, changes ...func(*topology.Snapshot)) (r *rig, s *fake, short *bool) {
	t.Helper()
	r = newRig(t, v, []string{"g1", "g2"}, changes...)
	s, short = newFake(t), new(bool)
	*short = true
	s.data["old"] = "1"
	s.on(func(_ *fakeConn, args []string) (string, bool) {
		switch args[0] {
		case "SET", "MSET", "INCR", "EVAL", "BLPOP":
			return noReplicas, *short
		}
		return "", false
	})
	r.apply(change("g1", func(g *topology.Group) { g.Master = s.master(2) }))
	return r, s, short
}

// in is a key of group g1 with that beginning.
func (r *rig) in(name string) string {
	p := r.snap.Pool("p")
	_, want := p.Group("g1")
	for p.Ring.Index([]byte(name)) != want {
		name += "x"
	}
	return name
}

// TestShortage: what a new master refuses for want of replicas waits, in order with all else of its clients; reads of others
// do not. When a write is taken all are.
func TestShortage(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, s, short := lacking(t, v)
		ka, kb, old := r.in("a"), r.in("b"), r.in("old")
		s.change(func() { s.data[old] = "1" })
		a, b, c := r.dial(), r.dial(), r.dial()
		a.send(req("SET", ka, "1") + req("GET", ka) + req("SET", ka, "2") + req("GET", ka))
		b.send(req("INCR", kb))
		until(t, "the writes wait", func() bool { return r.stats("g1").Held == 5 })
		until(t, "it has been asked again", func() bool { return r.stats("g1").Retried > 10 })
		for range 50 {
			c.do(bulk("1"), "GET", old)
		}
		b.send(req("GET", kb))
		until(t, "it waits behind the write of its client", func() bool { return r.stats("g1").Held >= 5 && len(s.requests()) > 50 })
		if cause := r.stats("g1").Cause; !strings.Contains(cause, "min-replicas-to-write") {
			t.Errorf("cause %q", cause)
		}
		s.change(func() { *short = false; s.seen = nil })
		a.want("+OK\r\n" + bulk("1") + "+OK\r\n" + bulk("2"))
		b.want(bulk("INCR "+kb) + "$-1\r\n")
		if st := r.stats("g1"); st.Held != 0 || st.HeldBytes != 0 || st.Inflight != 0 || st.Unknown != 0 || r.happened(EventDemoted) != 0 {
			t.Errorf("in the end: %+v", st)
		}
		if _, ever := s.connections(); ever > v.loops {
			t.Errorf("%d connections", ever)
		}
		c.do("+OK\r\n", "SET", old, "2")
	})
}

// TestShortageLasts: in the end the client gets what the server says, and whoever only reads is served all the time.
func TestShortageLasts(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, s, _ := lacking(t, v, set(func(s *topology.Settings) { s.HoldTimeout = 400 * time.Millisecond }))
		k := r.in("k")
		a, b := r.dial(), r.dial()
		start := time.Now()
		a.send(req("SET", k, "1") + req("GET", k))
		for range 20 {
			b.do("$-1\r\n", "GET", k)
		}
		a.want(noReplicas + "$-1\r\n")
		if took := time.Since(start); took < 200*time.Millisecond {
			t.Errorf("it has waited for %v", took)
		}
		until(t, "the time is over", func() bool { return time.Since(start) > 600*time.Millisecond })
		before := len(s.requests())
		a.do(noReplicas, "SET", k, "1")
		if got := len(s.requests()); got != before+1 {
			t.Errorf("a steady master was asked %d times", got-before)
		}
	})
}

// TestShortageOfASteadyMaster: the first master that a group is known to have has no others to wait for, nor has one of a list.
func TestShortageOfASteadyMaster(t *testing.T) {
	t.Parallel()
	for _, roles := range []bool{true, false} {
		r, s, _ := lacking(t, plain, set(func(s *topology.Settings) { s.VerifyRole = roles }))
		steady := r.servers["g2"]
		steady.on(func(_ *fakeConn, args []string) (string, bool) { return noReplicas, args[0] == "SET" })
		a := r.dial()
		a.do(noReplicas, "SET", r.key("g2", 0), "1")
		if !roles {
			a.do(noReplicas, "SET", r.key("g1", 0), "1")
			if got := s.requests(); len(got) != 1 {
				t.Errorf("the server saw %q", got)
			}
		}
	}
}

// TestShortageOfOthers: of a request over several groups only the fragment waits that was refused; a transaction is refused as a
// whole, by its server's own words.
func TestShortageOfOthers(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, s, short := lacking(t, v, set(func(s *topology.Settings) { s.SessionLinks = 10 }))
		k1, k2 := r.key("g1", 0), r.key("g2", 0)
		a, b := r.dial(), r.dial()
		a.send(req("MSET", k1, "1", k2, "2"))
		until(t, "a fragment waits", func() bool { return r.stats("g1").Held == 1 && len(r.servers["g2"].requests()) == 1 })
		s.change(func() {
			plainly := s.script
			s.script = func(c *fakeConn, args []string) (string, bool) {
				switch args[0] {
				case "MULTI":
					return "+OK\r\n", true
				case "EXEC":
					return "-EXECABORT Transaction discarded because of previous errors.\r\n", true
				}
				return plainly(c, args)
			}
		})
		b.send(req("MULTI") + req("SET", k1, "1") + req("EXEC"))
		b.want("+OK\r\n" + noReplicas + "-EXECABORT Transaction discarded because of previous errors.\r\n")
		s.change(func() { *short = false })
		a.want("+OK\r\n")
		if got := r.servers["g2"].requests(); len(got) != 1 {
			t.Errorf("the other group saw %q", got)
		}
	})
}

// TestShortageOfScripts: by Redis' words a script has written nothing and waits; by its own it has its answer, and one that
// lies is not sent again for ever, and holds nobody up.
func TestShortageOfScripts(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const words = "-NOREPLICAS Not enough good replicas to write. script: beef, on @user_script:1.\r\n"
		r, s, short := lacking(t, v)
		k := r.in("k")
		s.change(func() {
			plainly := s.script
			s.script = func(c *fakeConn, args []string) (string, bool) {
				switch {
				case args[0] == "EVAL" && args[1] == "own":
					return "-NOREPLICAS script\r\n", true
				case args[0] == "EVAL" && args[1] == "lie":
					return words, true
				case args[0] == "EVAL":
					return words, *short
				}
				return plainly(c, args)
			}
		})
		a, b, c := r.dial(), r.dial(), r.dial()
		b.do("-NOREPLICAS script\r\n", "EVAL", "own", "1", k)
		b.send(req("EVAL", "lie", "1", k))
		a.send(req("EVAL", "s", "1", k))
		until(t, "they wait", func() bool { return r.stats("g1").Held == 2 })
		c.send(req("SET", k, "1"))
		until(t, "they wait", func() bool { return r.stats("g1").Retried > 5 })
		s.change(func() { *short = false })
		c.want("+OK\r\n")
		a.want(bulk("EVAL s 1 " + k))
		b.want(words)
		lies := 0
		for _, q := range s.requests() {
			if strings.HasPrefix(q, "EVAL lie") {
				lies++
			}
		}
		if lies > maxRetries+8 {
			t.Errorf("a lie was executed %d times", lies)
		}
	})
}

// TestShortageOfTheOldMaster: a master whose replicas have left it for the new one refuses what it has not executed: it goes to
// the new one, be it refused while the group is on hold, or when the group has left it.
func TestShortageOfTheOldMaster(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, held := range []bool{true, false} {
			r := newRig(t, v, []string{"g1"})
			s, next := r.servers["g1"], newFake(t)
			a := r.dial()
			a.do("+OK\r\n", "SET", "k", "0")
			s.on(func(_ *fakeConn, args []string) (string, bool) { return noReplicas, args[0] == "SET" })
			s.hold()
			a.send(req("SET", "k", "1") + req("SET", "k", "2"))
			until(t, "they are there", func() bool { return len(s.requests()) == 3 })
			for _, l := range r.e.loops {
				l.call(func() { l.voiding.keep = int64(time.Minute) })
			}
			moved := change("g1", func(g *topology.Group) { g.Hold, g.Master = false, next.master(2) })
			if held {
				r.apply(change("g1", func(g *topology.Group) { g.Hold = true }))
				s.open()
				until(t, "they wait", func() bool { return r.stats("g1").Held == 2 })
				r.apply(moved)
			} else {
				r.apply(moved)
				s.open()
			}
			a.want("+OK\r\n+OK\r\n")
			if got := strings.Join(next.requests(), ", "); got != "SET k 1, SET k 2" {
				t.Errorf("the new master saw %q", got)
			}
			if st := r.stats("g1"); st.Held != 0 || st.HeldBytes != 0 || st.Unknown != 0 {
				t.Errorf("in the end: %+v", st)
			}
		}
	})
}

// TestShortageEndsWithItsMaster: what waits for the replicas of a master that is left goes to the next one, in order.
func TestShortageEndsWithItsMaster(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, _, _ := lacking(t, v)
		next, k := newFake(t), r.in("k")
		a := r.dial()
		a.send(req("SET", k, "1") + req("GET", k) + req("SET", k, "2"))
		until(t, "they wait", func() bool { return r.stats("g1").Held >= 2 })
		r.apply(change("g1", func(g *topology.Group) { g.Master = next.master(3) }))
		a.want("+OK\r\n" + bulk("1") + "+OK\r\n")
		gone := r.dial()
		gone.send(req("GET", k))
		gone.want(bulk("2"))
		if st := r.stats("g1"); st.Held != 0 || st.HeldBytes != 0 || st.Unknown != 0 {
			t.Errorf("in the end: %+v", st)
		}
	})
}
