package engine

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"respgate/engine/topology"
)

// says makes a server answer requests that begin with words by the reply; the others as before.
func (s *fake) says(replies map[string]string) {
	s.on(func(_ *fakeConn, args []string) (string, bool) {
		line := strings.Join(args, " ")
		for words, reply := range replies {
			if strings.HasPrefix(line, words) {
				return reply, true
			}
		}
		return "", false
	})
}

// vanish ends the connection without waiting for anything.
func (a *app) vanish() {
	a.t.Helper()
	if err := a.conn.(*net.TCPConn).SetLinger(0); err != nil {
		a.t.Fatal(err)
	}
	a.conn.Close()
}

const (
	slowA = "*4\r\n:7\r\n:1700000030\r\n:12\r\n*1\r\n$4\r\nsort\r\n"
	slowB = "*4\r\n:6\r\n:1700000010\r\n:12\r\n*1\r\n$4\r\nkeys\r\n"
	slowC = "*4\r\n:9\r\n:1700000020\r\n:12\r\n*1\r\n$4\r\nscan\r\n"
)

// mergeCases are requests that go to all groups, what each of three says, and the reply.
var mergeCases = []struct {
	request string
	groups  [3]string
	want    string
}{
	{"FLUSHALL", [3]string{"+OK\r\n", "+OK\r\n", "+OK\r\n"}, "+OK\r\n"},
	{"flushdb ASYNC", [3]string{"+OK\r\n", "+OK\r\n", "+OK\r\n"}, "+OK\r\n"},
	{"SWAPDB 0 1", [3]string{"+OK\r\n", "-ERR invalid second DB index\r\n", "+OK\r\n"}, "-ERR invalid second DB index (respgate: group 'g2')\r\n"},
	{"SCRIPT FLUSH", [3]string{"+OK\r\n", "+OK\r\n", "$2\r\nOK\r\n"}, "odd g3"},
	{"SCRIPT LOAD s", [3]string{bulk("sha"), bulk("sha"), bulk("sha")}, bulk("sha")},
	{"FUNCTION LOAD f", [3]string{bulk("lib"), "-ERR Library 'lib' already exists\r\n", bulk("lib")}, "-ERR Library 'lib' already exists (respgate: group 'g2')\r\n"},
	{"DBSIZE", [3]string{":3\r\n", ":40\r\n", ":0\r\n"}, ":43\r\n"},
	{"DBSIZE", [3]string{":3\r\n", ":x\r\n", ":0\r\n"}, "odd g2"},
	{"DBSIZE", [3]string{"+3\r\n", "+3\r\n", "+3\r\n"}, "odd g1"},
	{"LATENCY RESET", [3]string{":1\r\n", ":2\r\n", ":0\r\n"}, ":3\r\n"},
	{"PUBSUB NUMPAT", [3]string{":2\r\n", ":3\r\n", ":2\r\n"}, ":3\r\n"},
	{"SCRIPT EXISTS a b c", [3]string{"*3\r\n:1\r\n:1\r\n:0\r\n", "*3\r\n:1\r\n:0\r\n:0\r\n", "*3\r\n:1\r\n:1\r\n:0\r\n"}, "*3\r\n:1\r\n:0\r\n:0\r\n"},
	{"SCRIPT EXISTS a b", [3]string{"*2\r\n:1\r\n:1\r\n", "*1\r\n:1\r\n", "*2\r\n:1\r\n:1\r\n"}, "odd g2"},
	{"SCRIPT EXISTS a b", [3]string{"*2\r\n:1\r\n:1\r\n", "*2\r\n:1\r\n$1\r\n1\r\n", "*2\r\n:1\r\n:1\r\n"}, "odd g2"},
	{"PUBSUB NUMSUB a b", [3]string{array(bulk("a"), ":1\r\n", bulk("b"), ":0\r\n"), array(bulk("a"), ":0\r\n", bulk("b"), ":7\r\n"), array(bulk("a"), ":1\r\n", bulk("b"), ":0\r\n")},
		array(bulk("a"), ":1\r\n", bulk("b"), ":7\r\n")},
	{"PUBSUB NUMSUB a", [3]string{array(bulk("a"), ":1\r\n"), array(bulk("a"), ":0\r\n"), array(bulk("z"), ":1\r\n")}, "odd g3"},
	{"PUBSUB NUMSUB", [3]string{"*0\r\n", "*0\r\n", "*0\r\n"}, "*0\r\n"},
	{"KEYS *", [3]string{array(bulk("a"), bulk("")), "*0\r\n", array(bulk("b\r\n"))}, array(bulk("a"), bulk(""), bulk("b\r\n"))},
	{"KEYS *", [3]string{"*0\r\n", "*0\r\n", "*0\r\n"}, "*0\r\n"},
	{"KEYS *", [3]string{"*0\r\n", "*-1\r\n", "*0\r\n"}, "odd g2"},
	{"KEYS *", [3]string{":0\r\n", "*0\r\n", "*0\r\n"}, "odd g1"},
	{"LATENCY LATEST", [3]string{"*0\r\n", array(array(bulk("fork"), ":1\r\n")), "*0\r\n"}, array(array(bulk("fork"), ":1\r\n"))},
	{"PUBSUB CHANNELS", [3]string{array(bulk("a"), bulk("b")), array(bulk("b"), bulk("c")), array(bulk("a"))}, array(bulk("a"), bulk("b"), bulk("c"))},
	{"PUBSUB CHANNELS", [3]string{array(bulk("a")), "$1\r\na\r\n", array(bulk("a"))}, "odd g2"},
	{"SLOWLOG GET", [3]string{array(slowA, slowB), "*0\r\n", array(slowC)}, array(slowA, slowC, slowB)},
	{"SLOWLOG GET 2", [3]string{array(slowA, slowB), "*0\r\n", array(slowC)}, array(slowA, slowC)},
	{"SLOWLOG GET -1", [3]string{array(slowB), array(slowA), array(slowC)}, array(slowA, slowC, slowB)},
	{"SLOWLOG GET", [3]string{array(slowA), array("*0\r\n"), array(slowC)}, "odd g2"},
	{"SLOWLOG GET", [3]string{array(slowA), "*0\r\n", array(":1\r\n")}, "odd g3"},
	{"SLOWLOG LEN", [3]string{":1\r\n", ":2\r\n", ":3\r\n"}, ":6\r\n"},
	{"SLOWLOG RESET", [3]string{"+OK\r\n", "+OK\r\n", "+OK\r\n"}, "+OK\r\n"},
	{"RANDOMKEY", [3]string{"$-1\r\n", bulk("k"), "$-1\r\n"}, bulk("k")},
	{"RANDOMKEY", [3]string{"_\r\n", "_\r\n", bulk("k")}, bulk("k")},
	{"RANDOMKEY", [3]string{"_\r\n", "_\r\n", "_\r\n"}, "_\r\n"},
	{"SCRIPT KILL", [3]string{"-NOTBUSY No scripts in execution right now.\r\n", "+OK\r\n", "-NOTBUSY No scripts in execution right now.\r\n"}, "+OK\r\n"},
	{"FUNCTION KILL", [3]string{"-NOTBUSY No\r\n", "-NOTBUSY No\r\n", "-NOTBUSY No\r\n"}, "-NOTBUSY No\r\n"},
	{"SCRIPT KILL", [3]string{"-NOTBUSY No\r\n", "-UNKILLABLE it wrote\r\n", "-NOTBUSY No\r\n"}, "-UNKILLABLE it wrote (respgate: group 'g2')\r\n"},
}

func TestMerges(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		groups := []string{"g1", "g2", "g3"}
		r := newRig(t, v, groups, set(func(s *topology.Settings) { s.SessionLinks = 8 }))
		two, three := r.dial(), r.dial()
		two.do("+PONG\r\n", "PING")
		three.send(req("HELLO", "3"))
		three.want(hello("7.0.15", 2, true))
		for _, tc := range mergeCases {
			for i, g := range groups {
				r.servers[g].says(map[string]string{tc.request: tc.groups[i]})
			}
			want := tc.want
			if g, odd := strings.CutPrefix(want, "odd "); odd {
				name := strings.ToLower(strings.Join(strings.Fields(tc.request)[:min(2, len(strings.Fields(tc.request)))], "|"))
				if first, _, _ := strings.Cut(name, "|"); first == "dbsize" || first == "keys" {
					name = first
				}
				want = "-ERR respgate: group '" + g + "': " + r.servers[g].ln.Addr().String() + " answered " + name + " with a reply of another shape\r\n"
			}
			for _, a := range []*app{two, three} {
				a.do(want, strings.Fields(tc.request)...)
				// Behind another request, which is answered later: what waits for its turn is the same.
				r.servers["g2"].hold()
				a.send(req("APPEND", r.key("g2", 0), "x") + req(strings.Fields(tc.request)...) + req("PING"))
				r.servers["g2"].open()
				a.want(bulk("APPEND "+r.key("g2", 0)+" x") + want + "+PONG\r\n")
			}
		}
		r.idle()
	})
}

// TestKeysByReference: a merged reply of many keys is in one piece again, however the servers' came.
func TestKeysByReference(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		all := map[string]string{}
		for _, g := range []string{"g1", "g2"} {
			var b strings.Builder
			for i := range 20_000 {
				b.WriteString(bulk(fmt.Sprintf("%s:%d", g, i)))
			}
			all[g] = b.String()
			r.servers[g].says(map[string]string{"KEYS": "*20000\r\n" + all[g]})
			r.servers[g].change(func() { r.servers[g].cuts = []int{1, 5000, 3, 70_000} })
		}
		a := r.dial()
		for range 3 {
			a.do("*40000\r\n"+all["g1"]+all["g2"], "KEYS", "*")
		}
		r.idle()
	})
}

// TestFanoutOnHold: a request to all groups waits for the one that is on hold, and the error of its expiry is the reply.
func TestFanoutOnHold(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"}, change("g2", onHold))
		for _, s := range r.servers {
			s.says(map[string]string{"DBSIZE": ":2\r\n"})
		}
		a := r.dial()
		a.send(req("DBSIZE"))
		until(t, "g2's part is held", func() bool { return r.stats("g2").Held == 1 })
		r.apply(change("g2", func(g *topology.Group) { g.Hold, g.Cause = false, "" }))
		a.want(":4\r\n")
		r.apply(change("g2", onHold), set(func(s *topology.Settings) { s.HoldTimeout = time.Millisecond }))
		a.send(req("DBSIZE") + req("KEYS", "*") + req("PING"))
		a.wantError("ERR respgate: group 'g2' is on hold: ")
		a.wantError("ERR respgate: group 'g2' is on hold: ")
		a.want("+PONG\r\n")
		r.idle()
	})
}

// TestFanoutOfLostGroup: reads are sent again, what may have been executed is not.
func TestFanoutOfLostGroup(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		for _, s := range r.servers {
			s.says(map[string]string{"DBSIZE": ":2\r\n", "FLUSHALL": "+OK\r\n"})
		}
		a := r.dial()
		a.do(":4\r\n", "DBSIZE")
		for request, want := range map[string]string{
			"DBSIZE":   ":4\r\n",
			"FLUSHALL": "-ERR respgate: group 'g2': connection to its master was lost after the request was sent; it may or may not have been executed\r\n",
		} {
			s := r.servers["g2"]
			s.hold()
			before := len(s.requests())
			a.send(req(request))
			until(t, "g2 has the request", func() bool { return len(s.requests()) == before+1 })
			s.dropAll()
			s.open()
			a.want(want)
		}
		// A client that goes takes its request along.
		r.servers["g1"].hold()
		a.send(req("DBSIZE"))
		a.vanish()
		until(t, "the client is gone", func() bool { return r.pool().Clients == 0 })
		r.servers["g1"].open()
		r.idle()
	})
}

// TestAnyGroup: what any server can answer is asked of one that is up.
func TestAnyGroup(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2", "g3"}, change("g1", onHold))
		for g, s := range r.servers {
			s.on(func(_ *fakeConn, args []string) (string, bool) {
				return bulk(g + " " + strings.Join(args, " ")), !isGreeting(args)
			})
		}
		a := r.dial()
		a.do(bulk("g2 LOLWUT"), "LOLWUT")
		a.do(bulk("g2 COMMAND GETKEYS GET a"), "COMMAND", "GETKEYS", "GET", "a")
		a.do(bulk("g3 GET "+r.key("g3", 0)), "GET", r.key("g3", 0))
		r.apply(change("g2", onHold), change("g1", func(g *topology.Group) { g.Hold = false }))
		a.do(bulk("g3 FUNCTION LIST"), "FUNCTION", "LIST") // it is connected, which g1 may turn out not to be
		r.apply(change("g3", onHold))
		a.do(bulk("g1 COMMAND"), "COMMAND")
		r.apply(change("g1", onHold))
		a.send(req("XGROUP", "HELP"))
		until(t, "g1 holds the request", func() bool { return r.stats("g1").Held == 1 })
		r.apply(change("g1", func(g *topology.Group) { g.Hold = false }))
		a.want(bulk("g1 XGROUP HELP"))
	})
}

// TestPublish: a channel belongs to a group, as a key does.
func TestPublish(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1", "g2"})
	a := r.dial()
	for _, g := range []string{"g1", "g2", "g1"} {
		ch := r.key(g, 3)
		a.do(bulk("PUBLISH "+ch+" m"), "PUBLISH", ch, "m")
		if got := r.servers[g].requests(); !slices.Contains(got, "PUBLISH "+ch+" m") {
			t.Errorf("%s saw %q", g, got)
		}
	}
	r.apply(change("g1", func(g *topology.Group) { g.Access, g.Reason = topology.Fence, "fenced" }))
	a.do("-ERR respgate: group 'g1': fenced\r\n", "PUBLISH", r.key("g1", 0), "m")
	a.do("-ERR respgate: group 'g1': fenced\r\n", "FLUSHALL")
}

// TestManyKeysOneGroup: commands on several keys are served where the keys share a group, and refused with Redis' own error code where they do not.
func TestManyKeysOneGroup(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		a := r.dial()
		x, y, z := r.key("g1", 0), r.key("g1", 1), r.key("g2", 0)
		for _, line := range []string{
			"MSETNX % v & v", "RENAME % &", "RENAMENX & %", "SMOVE % & m", "BITOP AND % % &", "ZUNIONSTORE % 2 % &", "ZINTERSTORE & 1 % WEIGHTS 2",
			"ZDIFFSTORE % 1 &", "SORT % LIMIT 0 1 STORE &", "COPY % & REPLACE", "PFMERGE % &", "PFCOUNT % &", "SDIFFSTORE % & &", "GEOSEARCHSTORE % & FROMMEMBER m BYRADIUS 1 m",
			"LMOVE % & LEFT RIGHT", "RPOPLPUSH % &", "ZRANGESTORE % & 0 1", "LMPOP 2 % & LEFT", "GEORADIUS % 1 1 1 m STORE &", "XREAD STREAMS % & 0 0", "EVAL s 2 % &", "LCS % &",
		} {
			near := strings.NewReplacer("%", x, "&", y).Replace(line)
			a.do(bulk(near), strings.Fields(near)...)
			far := strings.NewReplacer("%", x, "&", z).Replace(line)
			a.do(string(crossSlotReply), strings.Fields(far)...)
		}
		for _, sent := range r.servers["g2"].requests() {
			t.Errorf("g2 was sent %q", sent)
		}
	})
}

// TestFanoutOfSessions: what a session asks of all groups goes over its own links.
func TestFanoutOfSessions(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		groups := []string{"g1", "g2", "g3"}
		r := newRig(t, v, groups, set(func(s *topology.Settings) { s.SessionLinks = 8 }))
		for i, g := range groups {
			r.servers[g].says(map[string]string{
				"WAIT 9": fmt.Sprintf(":%d\r\n", 3-i), "WAITAOF": fmt.Sprintf("*2\r\n:%d\r\n:%d\r\n", i, 2-i), "PING": "+PONG\r\n", "CLIENT TRACKING": "+OK\r\n", "RESET": "+RESET\r\n",
				"CLIENT ID": fmt.Sprintf(":%d\r\n", 70+i), "WAIT 1": "", "MULTI": "+OK\r\n", "CONFIG": "-ERR no\r\n",
			})
		}
		a := r.dial()
		a.do(":1\r\n", "WAIT", "9", "0")
		a.do("*2\r\n:0\r\n:0\r\n", "WAITAOF", "1", "1", "0")
		a.send(req("HELLO", "3") + req("CLIENT", "TRACKING", "ON"))
		a.want("%7\r\n")
		for line := a.line(); line != "*0\r\n"; line = a.line() {
		}
		a.want("+OK\r\n")
		for _, g := range groups {
			if !slices.Contains(r.servers[g].requests(), "CLIENT TRACKING ON") {
				t.Errorf("%s was not told: %q", g, r.servers[g].requests())
			}
		}
		a.do("+OK\r\n", "SELECT", "3")
		a.do("_\r\n", "GET", r.key("g2", 0))
		// A client that goes while it waits leaves nothing behind.
		a.send(req("WAIT", "1", "0"))
		until(t, "the servers have it", func() bool {
			for _, g := range groups {
				if !slices.Contains(r.servers[g].requests(), "WAIT 1 0") {
					return false
				}
			}
			return true
		})
		a.vanish()
		until(t, "the client is gone", func() bool { return r.pool().Clients == 0 })
		// Within MULTI a command that any server can answer is its group's; one about all of them is refused.
		b := r.dial()
		b.do("+OK\r\n", "MULTI")
		b.do("+QUEUED\r\n", "COMMAND", "COUNT")
		b.wantRefusal("DBSIZE")
		r.idle()
	})
}

// TestKillWithoutLink: SCRIPT KILL needs links of its own, and says so.
func TestKillWithoutLink(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1", "g2"})
	a := r.dial()
	for range 2 {
		a.send(req("SCRIPT", "KILL"))
		a.wantError("ERR respgate: no session link free: group 'g1' has 0, in use")
	}
	a.do("+PONG\r\n", "PING")
}

// TestKillOfBusyServer: a link to a server that runs a script and says nothing but -BUSY is good for ending it, and for nothing else.
func TestKillOfBusyServer(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.SessionLinks = 1 }))
		s := r.servers["g1"]
		s.on(func(_ *fakeConn, args []string) (string, bool) {
			if args[0] == "SCRIPT" {
				return "+OK\r\n", true
			}
			return "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n", true
		})
		a := r.dial()
		a.do("+OK\r\n", "SCRIPT", "KILL")
		s.on(nil)
		a.do("+OK\r\n", "SET", "k", "v")
		s.says(map[string]string{"MULTI": "+OK\r\n", "EXEC": "*1\r\n$1\r\nv\r\n", "GET": "+QUEUED\r\n"})
		a.do("+OK\r\n", "MULTI")
		a.do("+QUEUED\r\n", "GET", "k")
		a.do("*1\r\n$1\r\nv\r\n", "EXEC")
		if _, ever := s.connections(); ever != 3 { // the unverified one, the shared one, the transaction's
			t.Errorf("%d connections", ever)
		}
	})
}

// wantRefusal sends a request and wants to be told that the command is not supported.
func (a *app) wantRefusal(name string) {
	a.t.Helper()
	a.send(req(name))
	a.wantError("ERR respgate: command '" + strings.ToLower(name) + "' is not supported: ")
}
