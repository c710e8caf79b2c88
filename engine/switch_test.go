package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"respgate/engine/topology"
)

// TestSwitch: with another generation the links are void: what was in flight is sorted by what is known of it, nothing more
// reaches the old server, and what it still says reaches nobody.
func TestSwitch(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, links := range []int{1, 3} {
			r := newRig(t, v, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.ServerConnections = links }))
			x, y := r.key("g1", 0), r.key("g2", 0)
			old, next := r.servers["g1"], newFake(t)
			var apps []*app
			for range 6 {
				apps = append(apps, r.dial())
			}
			for _, a := range apps {
				a.do(bulk("APPEND "+x+" 0"), "APPEND", x, "0")
				a.do(bulk("APPEND "+y+" 0"), "APPEND", y, "0")
			}
			old.hold()
			before := len(old.requests())
			for i, a := range apps {
				a.send(req("GET", x) + req("APPEND", x, fmt.Sprint(i)) + req("MGET", x, y) + req("APPEND", y, fmt.Sprint(i)))
			}
			until(t, "the old master has them", func() bool { return len(old.requests()) == before+3*len(apps) })
			next.hold()
			next.change(func() { next.data[x] = "new" })
			r.apply(change("g1", func(g *topology.Group) { g.Master = next.master(2) }))
			for i, a := range apps {
				a.send(req("APPEND", x, "later"+fmt.Sprint(i)))
			}
			old.open() // late replies, if anybody listened
			until(t, "the new master has what may be sent again", func() bool { return len(next.requests()) == 3*len(apps) })
			next.open()
			for i, a := range apps {
				a.want(bulk("new") + unknownOutcome + array(bulk("new"), "$-1\r\n") + bulk("APPEND "+y+" "+fmt.Sprint(i)) + bulk("APPEND "+x+" later"+fmt.Sprint(i)))
			}
			if got := len(old.requests()); got != before+3*len(apps) {
				t.Errorf("%d requests reached the old master after the switch", got-before-3*len(apps))
			}
			until(t, "no link to the old master is left", func() bool { open, _ := old.connections(); return open == 0 })
			if _, ever := next.connections(); ever > links*v.loops {
				t.Errorf("%d dials to the new master, at most %d links", ever, links*v.loops)
			}
			st := r.stats("g1")
			if st.Unknown != uint64(len(apps)) || st.Inflight != 0 || st.Held != 0 {
				t.Errorf("after the switch: %+v", st)
			}
		}
	})
}

// TestSwitchBack: also the same node is another one when the generation says so.
func TestSwitchBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"})
	s := r.servers["g1"]
	a := r.dial()
	for i := range 3 {
		a.do(bulk("APPEND k v"), "APPEND", "k", "v")
		if _, ever := s.connections(); ever != i+1 {
			t.Errorf("generation %d: %d connections so far", i+1, ever)
		}
		r.apply(change("g1", func(g *topology.Group) { g.Master.Generation++ }))
	}
	r.apply() // nothing has changed: nothing is touched
	a.do(bulk("APPEND k v"), "APPEND", "k", "v")
	if _, ever := s.connections(); ever != 4 {
		t.Errorf("%d connections, want 4", ever)
	}
}

// TestTimeout: the request gets an error, its late reply is skipped, and its neighbours on the link do not notice.
func TestTimeout(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const limit = time.Second
		r := newRig(t, v, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.Timeout = limit }))
		x, y := r.key("g1", 0), r.key("g2", 0)
		s := r.servers["g1"]
		a, b := r.dial(), r.dial()
		until(t, "the links are up", func() bool {
			a.send(req("ECHO", "x") + req("TOUCH", x) + req("TOUCH", y))
			b.send(req("TOUCH", x))
			echo, kinds := a.line()+a.line(), a.line()[:1]+a.line()[:1]+b.line()[:1] // all of them are read, whatever they say
			return echo == "$1\r\nx\r\n" && kinds == ":::"
		})
		conns, _ := s.connections()
		s.hold()
		read := "-ERR respgate: group 'g1': timed out after 1000 ms waiting for a reply of " + s.ln.Addr().String() + "\r\n"
		written := strings.TrimSuffix(read, "\r\n") + "; it may or may not have been executed\r\n"
		start := time.Now()
		a.send(req("APPEND", x, "late") + req("APPEND", y, "in time") + req("MGET", x, y) + req("DEL", x, y))
		a.want(written + bulk("APPEND "+y+" in time") + read + written)
		if took := time.Since(start); took < limit {
			t.Errorf("timed out after %v", took)
		}
		// Its connection and the others of the link go on, and get their own replies.
		before := len(s.requests())
		r.apply(set(func(s *topology.Settings) { s.Timeout = time.Minute }))
		a.send(req("APPEND", x, "a"))
		b.send(req("APPEND", x, "b"))
		until(t, "both are there", func() bool { return len(s.requests()) == before+2 })
		s.open()
		a.want(bulk("APPEND " + x + " a"))
		b.want(bulk("APPEND " + x + " b"))
		st := r.stats("g1")
		if st.Timeouts != 3 || st.Late != 3 || st.Inflight != 0 {
			t.Errorf("%d timeouts, %d late replies, want 3 and 3; %d in flight; lost: %q", st.Timeouts, st.Late, st.Inflight, r.causes(EventLinkLost))
		}
		if now, _ := s.connections(); now != conns {
			t.Errorf("%d links, there were %d", now, conns)
		}
		if r.happened(EventTimeout) == 0 {
			t.Error("nobody was told")
		}
	})
}

// TestHungServerIsGivenUp: a node that rejected a write and then hangs does not keep what waits for it.
func TestHungServerIsGivenUp(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		a := r.dial()
		a.do("+OK\r\n", "SET", "k", "0")
		r.apply(set(func(s *topology.Settings) { s.Timeout = time.Second }))
		first := true
		s.on(func(c *fakeConn, args []string) (string, bool) {
			if isGreeting(args) || c.number > 0 {
				return "", false
			}
			if first {
				first = false
				return "-READONLY x\r\n", true
			}
			return "", true // and never a word again
		})
		a.send(req("SET", "k", "1") + req("SET", "k", "2") + req("GET", "k"))
		a.want("+OK\r\n") // on the next link
		a.wantError("ERR respgate: group 'g1': timed out after 1000 ms")
		a.wantError("ERR respgate: group 'g1': timed out after 1000 ms")
	})
}

// TestSilentLinkIsReplaced: a server that says nothing, with nobody waiting for it any more, keeps no room on its link for ever.
func TestSilentLinkIsReplaced(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		a := r.dial()
		a.do("+OK\r\n", "SET", "k", "0")
		r.apply(set(func(s *topology.Settings) { s.Timeout = 100 * time.Millisecond }))
		s.on(func(c *fakeConn, args []string) (string, bool) { return "", c.number == 0 && !isGreeting(args) })
		a.send(req("SET", "k", "1"))
		a.wantError("ERR respgate: group 'g1': timed out after 100 ms")
		until(t, "the link is lost for its silence", func() bool { return r.happened(EventLinkLost) == 1 })
		if got := r.causes(EventLinkLost); !strings.Contains(got, "not a byte came for ") {
			t.Errorf("lost because: %s", got)
		}
		r.apply(set(func(s *topology.Settings) { s.Timeout = time.Minute }))
		a.do("+OK\r\n", "SET", "k", "2") // on the next link
	})
}

// TestRetiredLinkIsGivenUp: a link that was replaced goes when its last request has timed out, whatever the server does.
func TestRetiredLinkIsGivenUp(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.HoldTimeout = patience }))
		s := r.servers["g1"]
		a := r.dial()
		a.do("+OK\r\n", "SET", "k", "0")
		s.on(func(c *fakeConn, args []string) (string, bool) { return "", c.number == 0 && args[0] == "SET" }) // no answer any more
		a.send(req("SET", "k", "1"))
		until(t, "it is there", func() bool { return len(s.requests()) == 2 })
		r.apply(set(func(s *topology.Settings) { s.Timeout, s.ServerPassword = time.Second, "pw" }))
		a.send(req("SET", "k", "2")) // waits for the old link: it must not overtake
		a.wantError("ERR respgate: group 'g1': timed out after 1000 ms")
		a.want("+OK\r\n")
		until(t, "the old link is gone", func() bool { open, _ := s.connections(); return open == 1 })
	})
}

// TestReplacedLinksKeepOrder: when a pool's server_connections or credentials change, a client's next request takes another
// link, and does not overtake what is in flight on the old one.
func TestReplacedLinksKeepOrder(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.ServerConnections = 3 }))
		s := r.servers["g1"]
		var apps []*app
		for range 6 {
			apps = append(apps, r.dial())
		}
		for round, f := range []func(*topology.Settings){
			func(s *topology.Settings) { s.ServerConnections = 1 },
			func(s *topology.Settings) { s.ServerPassword = "pw" },
			func(s *topology.Settings) { s.ServerConnections = 4; s.ServerPassword = "" },
		} {
			s.hold()
			before := len(s.requests())
			for i, a := range apps {
				a.send(req("APPEND", fmt.Sprint("k", i), fmt.Sprint(round)))
			}
			until(t, "all are there", func() bool { return len(s.requests()) == before+6 })
			r.apply(set(f))
			for i, a := range apps {
				a.send(req("GET", fmt.Sprint("k", i)))
			}
			r.e.Stats()
			s.open()
			for i, a := range apps {
				a.want(bulk(fmt.Sprintf("APPEND k%d %d", i, round)) + "$-1\r\n")
			}
			last := map[string]string{}
			for _, q := range s.requests()[before:] {
				var cmd, key string
				_, _ = fmt.Sscan(q, &cmd, &key)
				if cmd == "GET" && last[key] != "APPEND" {
					t.Errorf("round %d: GET %s overtook", round, key)
				}
				last[key] = cmd
			}
		}
	})
}
