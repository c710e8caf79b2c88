package engine

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"respgate/engine/topology"
)

const unknownOutcome = "-ERR respgate: group 'g1': connection to its master was lost after the request was sent; it may or may not have been executed\r\n"

// TestClassA: what has not left to its last byte cannot have been executed: it is sent again, whatever it is.
func TestClassA(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := serveFake(t, &smallBuffers{ln, v.loops})
		r := newRig(t, v, []string{"g1"}, change("g1", func(g *topology.Group) { g.Master = s.master(2) }))
		deaf := make(chan struct{})
		s.on(func(c *fakeConn, args []string) (string, bool) {
			if args[0] == "APPEND" && c.number < v.loops {
				s.mu.Unlock()
				<-deaf // takes nothing more, of this connection
				s.mu.Lock()
				c.conn.Close()
				return "", true
			}
			return "", false
		})
		a, b := r.dial(), r.dial()
		a.send(req("APPEND", "a", "x"))
		b.send(req("APPEND", "b", "x"))
		until(t, "the server has stopped reading", func() bool { return r.stats("g1").Inflight == 2 })
		large := strings.Repeat("x", 7<<20) // more than two sockets take
		a.send(req("SET", "k", large) + req("EVAL", "script", "1", "k"))
		until(t, "a part of it is written", func() bool { return r.pool().ServerSent > 4096 && r.stats("g1").Inflight == 3 })
		close(deaf)
		a.want(unknownOutcome + "+OK\r\n" + bulk("EVAL script 1 k"))
		b.want(unknownOutcome)
		executed := 0
		for _, q := range s.requests() {
			if strings.HasPrefix(q, "SET k") {
				executed++
			}
		}
		if executed != 1 {
			t.Errorf("executed %d times", executed)
		}
	})
}

// smallBuffers makes the first connections take little before somebody reads.
type smallBuffers struct {
	net.Listener
	first int
}

func (l *smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if l.first--; err == nil && l.first >= 0 {
		err = c.(*net.TCPConn).SetReadBuffer(4096)
	}
	return c, err
}

// TestClassC: sent, and no reply: what only reads is asked again; for the rest nobody can say.
func TestClassC(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, tc := range []struct {
			args  []string
			again bool
		}{
			{[]string{"GET", "k"}, true},
			{[]string{"LRANGE", "k", "0", "-1"}, true},
			{[]string{"SET", "k", "v"}, false},
			{[]string{"EVAL", "s", "1", "k"}, false},
			{[]string{"EVAL_RO", "s", "1", "k"}, true},
			{[]string{"HSCAN", "k", "0"}, false},
			{[]string{"INCR", "k"}, false},
		} {
			r := newRig(t, v, []string{"g1"})
			s := r.servers["g1"]
			s.on(func(c *fakeConn, args []string) (string, bool) {
				if args[0] != tc.args[0] {
					return "", false
				}
				if c.number == 0 {
					c.conn.Close()
					return "", true
				}
				return "+again\r\n", true
			})
			a := r.dial()
			a.send(req(tc.args...) + req("ECHO", "next"))
			want := unknownOutcome
			if tc.again {
				want = "+again\r\n"
			}
			a.want(want + bulk("next"))
			if st := r.stats("g1"); tc.again != (st.Retried == 1) || tc.again != (st.Unknown == 0) {
				t.Errorf("%v: %d retried, %d unknown", tc.args, st.Retried, st.Unknown)
			}
		}
	})
}

// TestDemoted: rejected as a replica rejects, everything waits, in order, for a master; none of it reaches the old one.
func TestDemoted(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, text := range []string{"-READONLY You can't write against a read only replica.\r\n", "-MASTERDOWN Link with MASTER is down\r\n"} {
			r := newRig(t, v, []string{"g1"})
			old, next := r.servers["g1"], newFake(t)
			a, b := r.dial(), r.dial()
			a.do("+OK\r\n", "SET", "a", "0")
			b.do("+OK\r\n", "SET", "b", "0")
			old.on(func(_ *fakeConn, args []string) (string, bool) {
				return text, !isGreeting(args)
			})
			old.change(func() { old.role = "slave" })
			var sent [2]strings.Builder
			for i := range 20 {
				fmt.Fprint(&sent[0], req("SET", "a", fmt.Sprint(i)), req("GET", "a"))
				fmt.Fprint(&sent[1], req("SET", "b", fmt.Sprint(i)), req("GET", "b"))
			}
			a.send(sent[0].String())
			b.send(sent[1].String())
			until(t, "the demotion is seen and everything waits", func() bool { return r.happened(EventDemoted) > 0 && r.stats("g1").Held == 80 })
			if got := r.causes(EventDemoted); !strings.Contains(got, text[1:8]) {
				t.Errorf("cause %q", got)
			}
			before := len(old.requests())
			r.apply(change("g1", func(g *topology.Group) { g.Master = next.master(2) }))
			for i := range 20 {
				a.want("+OK\r\n" + bulk(fmt.Sprint(i)))
				b.want("+OK\r\n" + bulk(fmt.Sprint(i)))
			}
			if got := len(old.requests()); got != before {
				t.Errorf("%d requests reached the old master after the switch", got-before)
			}
			st := r.stats("g1")
			if st.Unknown != 0 || st.Held != 0 || st.HeldBytes != 0 {
				t.Errorf("after the switch: %+v", st)
			}
		}
	})
}

// TestRejectionIsAnAnswer: without roles (a fixed list of servers) the client gets what the server says.
func TestRejectionIsAnAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"}, set(func(s *topology.Settings) { s.VerifyRole = false }))
	s := r.servers["g1"]
	a := r.dial()
	for _, text := range []string{"-READONLY no\r\n", "-MASTERDOWN no\r\n", "-BUSY x\r\n", "-OOM x\r\n", "-MISCONF x\r\n", "-NOREPLICAS x\r\n", "-READONLYX no\r\n", "-CLUSTERDOWN\r\n"} {
		s.on(func(*fakeConn, []string) (string, bool) { return text, true })
		if r.stats("g1").Links == 0 {
			s.on(nil)
			a.do("+OK\r\n", "SET", "k", "v")
			s.on(func(*fakeConn, []string) (string, bool) { return text, true })
		}
		a.do(text, "SET", "k", "v")
	}
	if _, ever := s.connections(); ever != 1 {
		t.Errorf("%d connections", ever)
	}
}

// TestLoading: a server that is loading is asked again until it has loaded, as long as the hold lasts.
func TestLoading(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		a := r.dial()
		a.do("+OK\r\n", "SET", "k", "0")
		asked := 0
		s.on(func(_ *fakeConn, args []string) (string, bool) {
			if isGreeting(args) {
				return "", false
			}
			asked++
			return "-LOADING Redis is loading the dataset in memory\r\n", asked <= 7
		})
		a.send(req("SET", "k", "1") + req("GET", "k") + req("SET", "k", "2") + req("GET", "k"))
		a.want("+OK\r\n" + bulk("1") + "+OK\r\n" + bulk("2"))
		if _, ever := s.connections(); ever != 1 {
			t.Errorf("%d connections: the link to a loading server should stay", ever)
		}
		r.apply(set(func(s *topology.Settings) { s.HoldTimeout = 50 * time.Millisecond }))
		s.change(func() { asked = -1 << 30 })
		a.send(req("SET", "k", "1"))
		// The proxy's own words while it rests, the server's when the time is up as its reply comes.
		if got := a.line(); !strings.HasPrefix(got, "-ERR respgate: group 'g1': its master "+s.ln.Addr().String()+" is loading its data (waited ") && !strings.HasPrefix(got, "-LOADING ") {
			t.Errorf("reply %q", got)
		}
	})
}

// TestScriptsAreNotSentAgain: a script may raise any error, after having written: what are not Redis' exact words are its own.
func TestScriptsAreNotSentAgain(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, text := range []string{"-READONLY script\r\n", "-LOADING script\r\n", "-MASTERDOWN script\r\n", "-ERR You can't write against a read only replica.\r\n"} {
			r := newRig(t, v, []string{"g1"})
			s := r.servers["g1"]
			s.on(func(_ *fakeConn, args []string) (string, bool) { return text, args[0] == "EVAL" || args[0] == "FCALL" })
			a := r.dial()
			a.send(req("EVAL", "s", "1", "k") + req("SET", "k", "v") + req("FCALL", "f", "1", "k"))
			a.want(text + "+OK\r\n" + text)
			for range 20 {
				a.do(text, "EVAL", "s", "1", "k")
			}
			if got := s.requests(); len(got) != 23 {
				t.Errorf("the server saw %q", got)
			}
			if _, ever := s.connections(); ever != 1 || r.happened(EventDemoted) != 0 || r.stats("g1").Retried != 0 {
				t.Errorf("%q: %d connections, demotions: %s", text, ever, r.causes(EventDemoted))
			}
		}
	})
}

// TestScriptsRefused: in Redis' exact words a replica says that it has executed nothing: scripts wait and are sent again in
// order, like any other request.
func TestScriptsRefused(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, text := range []string{
			"-READONLY You can't write against a read only replica.\r\n",
			"-READONLY You can't write against a read only replica. script: beef354d82996a708aa0deac229a63225ff0dd9c, on @user_script:1.\r\n",
			"-READONLY Can not run script with write flag on readonly replica\r\n",
			"-ERR Error running script (call to f_beef354d82996a708aa0deac229a63225ff0dd9c): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.\r\n",
			"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
		} {
			r := newRig(t, v, []string{"g1"})
			old, next := r.servers["g1"], newFake(t)
			old.on(func(_ *fakeConn, args []string) (string, bool) { return text, !isGreeting(args) && args[0] != "TOUCH" })
			a, b := r.dial(), r.dial()
			a.do(":0\r\n", "TOUCH", "k")
			b.do(":0\r\n", "TOUCH", "k")
			old.change(func() { old.role = "slave" })
			a.send(req("EVAL", "s", "1", "k") + req("EVALSHA", "abc", "1", "k") + req("FCALL", "f", "1", "k"))
			b.send(req("EVAL", "s", "1", "b"))
			until(t, "all wait", func() bool { return r.stats("g1").Held == 4 && r.happened(EventDemoted) > 0 })
			before := len(old.requests())
			r.apply(change("g1", func(g *topology.Group) { g.Master = next.master(2) }))
			a.want(bulk("EVAL s 1 k") + bulk("EVALSHA abc 1 k") + bulk("FCALL f 1 k"))
			b.want(bulk("EVAL s 1 b"))
			if got := len(old.requests()); got != before {
				t.Errorf("%q: %d requests reached the old master after the switch", text, got-before)
			}
		}
	})
}

// TestScriptRefusedTwice: two masters that refuse a script are two, however many masters other groups have had in between.
func TestScriptRefusedTwice(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		a, first, second, last := r.dial(), r.servers["g1"], newFake(t), newFake(t)
		a.do(":0\r\n", "TOUCH", "k")
		for _, s := range []*fake{first, second} {
			s.on(func(_ *fakeConn, args []string) (string, bool) {
				if args[0] != "EVAL" {
					return "", false
				}
				s.role = "slave"
				return "-READONLY You can't write against a read only replica.\r\n", true
			})
		}
		a.send(req("EVAL", "s", "1", "k"))
		until(t, "the first has refused it", func() bool { return r.stats("g1").Retried == 1 })
		r.apply(change("g1", func(g *topology.Group) { g.Master = second.master(1 + 255) }))
		until(t, "the second has refused it", func() bool { return len(second.requests()) == 1 })
		r.apply(change("g1", func(g *topology.Group) { g.Master = last.master(1 + 2*255) }))
		a.want(bulk("EVAL s 1 k"))
	})
}

// TestScriptLies: a script that gives itself out for refused by a master is executed twice, costs its group one look at the
// master, and nobody else a reply.
func TestScriptLies(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const text = "-READONLY You can't write against a read only replica.\r\n"
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		s.on(func(_ *fakeConn, args []string) (string, bool) { return text, args[0] == "EVAL" })
		a, b := r.dial(), r.dial()
		a.do("+OK\r\n", "SET", "a", "0")
		b.do("+OK\r\n", "SET", "b", "0")
		s.hold()
		before := len(s.requests())
		a.send(req("EVAL", "lie", "1", "k"))
		until(t, "it is there", func() bool { return len(s.requests()) == before+1 })
		b.send(req("GET", "b") + req("SET", "b", "1") + req("GET", "b"))
		until(t, "all are there", func() bool { return len(s.requests()) == before+4 })
		s.open()
		b.want(bulk("0") + "+OK\r\n" + bulk("1"))
		a.want(text)
		lies := 0
		for _, q := range s.requests() {
			if strings.HasPrefix(q, "EVAL") {
				lies++
			}
		}
		if n := r.happened(EventDemoted); lies != 2 || n != 1 {
			t.Errorf("executed %d times, %d demotions told: %s", lies, n, r.causes(EventDemoted))
		}
	})
}

// TestScriptLiesAgain: a loop of such scripts costs one look at the master in a second.
func TestScriptLiesAgain(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const text = "-READONLY You can't write against a read only replica.\r\n"
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		s.on(func(_ *fakeConn, args []string) (string, bool) { return text, args[0] == "EVAL" })
		a := r.dial()
		start := time.Now()
		for range 200 {
			a.do(text, "EVAL", "lie", "1", "k")
		}
		limit := 1 + int(time.Since(start)/time.Second)
		if n := r.happened(EventDemoted); n == 0 || n > limit {
			t.Errorf("%d demotions told, want 1 to %d", n, limit)
		}
		if _, ever := s.connections(); ever > 1+limit {
			t.Errorf("%d connections, want at most %d", ever, 1+limit)
		}
	})
}

// TestScriptLieOvertaken: a write of the same client that was executed behind such a script takes its turn away.
func TestScriptLieOvertaken(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		s.on(func(_ *fakeConn, args []string) (string, bool) {
			return "-READONLY You can't write against a read only replica.\r\n", args[0] == "EVAL"
		})
		a := r.dial()
		a.do("+OK\r\n", "SET", "a", "0")
		s.hold()
		before := len(s.requests())
		a.send(req("EVAL", "lie", "1", "k") + req("SET", "a", "1"))
		until(t, "both are there", func() bool { return len(s.requests()) == before+2 })
		s.open()
		a.wantError("ERR respgate: group 'g1': its master " + s.ln.Addr().String() + " rejected the request, and executed a later one: send it again")
		a.want("+OK\r\n")
	})
}

// TestScriptLoading: a server that is loading refuses scripts in Redis' words, and they wait; a script that says so of itself
// is not believed for ever.
func TestScriptLoading(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const text = "-LOADING Redis is loading the dataset in memory\r\n"
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		asked, loading := 0, maxRetries+3 // it is waited for as long as for any request
		s.on(func(_ *fakeConn, args []string) (string, bool) {
			if args[0] != "EVAL" {
				return "", false
			}
			asked++
			return text, asked <= loading
		})
		r.dial().do(bulk("EVAL s 1 k"), "EVAL", "s", "1", "k")

		liar := newFake(t)
		s.change(func() { asked, loading = 0, 1<<30; liar.on(s.script) })
		s = liar
		r = newRig(t, v, []string{"g1"}, change("g1", func(g *topology.Group) { g.Master = liar.master(2) }))
		r.apply(set(func(s *topology.Settings) { s.HoldTimeout = 3 * time.Duration(loadingRest) }))
		a := r.dial()
		a.send(req("EVAL", "s", "1", "k"))
		if got := a.line(); got != text && !strings.Contains(got, " is loading its data (waited ") { // whichever looks first
			t.Errorf("reply %q", got)
		}
		s.change(func() {
			if asked < 2 || asked > 4 {
				t.Errorf("asked %d times", asked)
			}
		})
	})
}

// TestScriptLoadingBesideOthers: a server that answers others is not loading, whatever a script says.
func TestScriptLoadingBesideOthers(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const text = "-LOADING Redis is loading the dataset in memory\r\n"
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		s.on(func(_ *fakeConn, args []string) (string, bool) { return text, args[0] == "EVAL" })
		a, others := r.dial(), []*app{r.dial(), r.dial()}
		for _, b := range append(others, a) {
			b.do(":0\r\n", "TOUCH", "k")
		}
		s.hold()
		before := len(s.requests())
		a.send(req("EVAL", "s", "1", "k"))
		until(t, "it is there", func() bool { return len(s.requests()) == before+1 })
		for _, b := range others {
			b.send(req("TOUCH", "k"))
		}
		until(t, "all are there", func() bool { return len(s.requests()) == before+3 })
		s.open()
		a.want(text)
		for _, b := range others {
			b.want(":0\r\n")
		}
		if got := s.requests()[before:]; len(got) != 4 {
			t.Errorf("the server saw %q", got)
		}
	})
}

// TestOvertaking: the node rejects a write and takes a later one of the same pipeline. The earlier one can no longer be
// executed in its place; what only read is asked again.
func TestOvertaking(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		a := r.dial()
		a.do("+OK\r\n", "SET", "k", "0")
		rejected := 0
		s.on(func(_ *fakeConn, args []string) (string, bool) {
			if args[0] == "INCR" && rejected == 0 {
				rejected++
				return "-LOADING x\r\n", true
			}
			return "", false
		})
		s.hold()
		a.send(req("INCR", "k") + req("GET", "k") + req("SET", "k", "9") + req("GET", "k"))
		until(t, "all are there", func() bool { return len(s.requests()) == 5 })
		s.open()
		a.wantError("ERR respgate: group 'g1': its master " + s.ln.Addr().String() + " rejected the request, and executed a later one: send it again")
		a.wantError("ERR respgate: group 'g1': its master")
		a.want("+OK\r\n" + bulk("9"))
		// Reads alone do not stand in the way.
		rejected = 0
		s.hold()
		before := len(s.requests())
		a.send(req("INCR", "k") + req("GET", "k"))
		until(t, "both are there", func() bool { return len(s.requests()) == before+2 })
		s.open()
		a.want(bulk("INCR k") + bulk("9"))
		if got := strings.Join(s.requests()[before:], ", "); got != "INCR k, GET k, INCR k, GET k" {
			t.Errorf("the server saw %q", got)
		}
	})
}

// TestNothingOvertaken: what succeeds on a node that was demoted has written nothing: its reply is passed on, and what the
// node has refused, of its own client or of others, waits for the new master.
func TestNothingOvertaken(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const refusal = "-READONLY You can't write against a read only replica.\r\n"
		for _, args := range [][]string{
			{"HSCAN", "k", "0"}, {"SCAN", "0"}, {"PUBLISH", "c", "x"}, {"SCRIPT", "LOAD", "x"}, {"EVAL", "s", "1", "k"},
		} {
			r := newRig(t, v, []string{"g1"})
			old, next := r.servers["g1"], newFake(t)
			apps := []*app{r.dial(), r.dial(), r.dial(), r.dial()}
			for _, a := range apps {
				a.do("+OK\r\n", "SET", "k", "0")
			}
			old.on(func(_ *fakeConn, args []string) (string, bool) {
				switch args[0] {
				case "SET":
					return refusal, true
				case "PUBLISH":
					return ":1\r\n", true
				case "SCAN", "HSCAN":
					return array(bulk("0"), "*0\r\n"), true
				}
				return "", false
			})
			old.hold()
			old.change(func() { old.role = "slave" })
			before := len(old.requests())
			for _, a := range apps {
				a.send(req("SET", "k", "1"))
			}
			until(t, "the writes are there", func() bool { return len(old.requests()) == before+len(apps) })
			for _, a := range apps[2:] {
				a.send(req(args...))
			}
			until(t, "all are there", func() bool { return len(old.requests()) == before+len(apps)+2 })
			old.open()
			until(t, "the refused ones wait", func() bool { return r.stats("g1").Held >= len(apps) })
			r.moved(next)
			for _, a := range apps[:2] {
				a.want("+OK\r\n")
			}
			for _, a := range apps[2:] {
				a.want("+OK\r\n")
				if got := a.line(); got[0] == '-' {
					t.Errorf("%s: reply %q", args[0], got)
				}
			}
			if st := r.pool(); st.Errors["rejected"] != 0 || st.Groups["g1"].Unknown != 0 {
				t.Errorf("%s: errors %v", args[0], st.Errors)
			}
		}
	})
}

// TestOvertakenByOwnWrite: a node that has refused a write, and takes a later one, was made a master in between. Only the
// client of both is told; what it refused of others is sent again.
func TestOvertakenByOwnWrite(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		a, b := r.dial(), r.dial()
		a.do("+OK\r\n", "SET", "a", "0")
		b.do("+OK\r\n", "SET", "b", "0")
		refused := map[string]bool{}
		s.on(func(_ *fakeConn, args []string) (string, bool) {
			if args[0] != "INCR" || refused[args[1]] {
				return "", false
			}
			refused[args[1]] = true
			return "-READONLY You can't write against a read only replica.\r\n", true
		})
		s.hold()
		before := len(s.requests())
		a.send(req("INCR", "a"))
		b.send(req("INCR", "b"))
		until(t, "both are there", func() bool { return len(s.requests()) == before+2 })
		a.send(req("SET", "a", "1"))
		until(t, "the later write is there", func() bool { return len(s.requests()) == before+3 })
		s.open()
		a.wantError("ERR respgate: group 'g1': its master " + s.ln.Addr().String() + " rejected the request, and executed a later one: send it again")
		a.want("+OK\r\n")
		b.want(bulk("INCR b"))
	})
}

// curt hangs up in the middle of what is large.
type curt struct{ net.Listener }

type curtConn struct {
	net.Conn
	left int
}

func (l curt) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &curtConn{c, 64 << 10}, c.(*net.TCPConn).SetReadBuffer(4096)
}

func (c *curtConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.Close()
	}
	n, err := c.Conn.Read(p)
	c.left -= n
	return n, err
}

// TestTooLargeForItsServer: what its server hangs up for is given up soon, and others do not suffer from it.
func TestTooLargeForItsServer(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := serveFake(t, curt{ln})
		r := newRig(t, v, []string{"g1"}, change("g1", func(g *topology.Group) { g.Master = s.master(2) }), set(func(s *topology.Settings) { s.HoldBytes = 1 << 30 }))
		a := r.dial()
		a.do(":0\r\n", "TOUCH", "k")
		large := req("SET", "k", strings.Repeat("x", 7<<20)) // more than two sockets take
		a.send(large + req("SET", "k", "1") + req("GET", "k"))
		a.wantError(fmt.Sprintf("ERR respgate: group 'g1': connection to its master %s was lost again before the last of the %d bytes of the request: it was not executed", s.ln.Addr(), len(large)))
		a.want("+OK\r\n" + bulk("1"))
		if st := r.stats("g1"); st.Unknown != 0 || st.Held != 0 || st.HeldBytes != 0 || st.Inflight != 0 {
			t.Errorf("in the end: %+v", st)
		}
		if _, ever := s.connections(); ever > maxBegun+3 { // the last one may have been lost right after a good one
			t.Errorf("%d connections", ever)
		}
	})
}
