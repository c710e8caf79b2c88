package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"respgate/engine/topology"
)

// stateful makes a fake keep what a session has on a connection, as a server does: MULTI, WATCH, subscriptions. What is
// executed is noted, with the number of the connection.
type stateful struct {
	*fake
	conns    map[*fakeConn]*connState
	executed []string          // under the fake's lock, like all of this
	refuse   map[string]string // what a command, in capitals, is answered instead; it changes nothing then
	silent   map[string]bool   // commands that are not answered, though done
}

type connState struct {
	multi, aborted, blocked bool
	queue                   [][]string
	subs                    []string
}

// newSessionRig starts an engine over groups g1 and up whose servers are stateful.
func newSessionRig(t *testing.T, v variant, groups int, settings func(s *topology.Settings)) (r *rig, servers []*stateful) {
	t.Helper()
	var names []string
	for i := range groups {
		names = append(names, fmt.Sprintf("g%d", i+1))
	}
	r = newRig(t, v, names, set(func(s *topology.Settings) {
		s.SessionLinks = 100
		if settings != nil {
			settings(s)
		}
	}))
	for _, name := range names {
		servers = append(servers, makeStateful(r.servers[name]))
	}
	return r, servers
}

func makeStateful(f *fake) *stateful {
	s := &stateful{fake: f, conns: map[*fakeConn]*connState{}, refuse: map[string]string{}, silent: map[string]bool{}}
	f.on(s.handle)
	return s
}

func (s *stateful) handle(c *fakeConn, args []string) (string, bool) {
	name := strings.ToUpper(args[0])
	st := s.conns[c]
	if st == nil {
		st = &connState{}
		s.conns[c] = st
	}
	if text := s.refuse[name]; text != "" {
		st.aborted = st.aborted || st.multi
		if name == "EXEC" {
			*st = connState{subs: st.subs}
		}
		return text, true
	}
	reply, handled := s.do(c, st, name, args)
	if s.silent[name] {
		return "", true
	}
	return reply, handled
}

func (s *stateful) do(c *fakeConn, st *connState, name string, args []string) (string, bool) {
	switch name {
	case "RESET":
		*st, c.proto3 = connState{}, false
		return "+RESET\r\n", true
	case "MULTI":
		st.multi = true
		return "+OK\r\n", true
	case "WATCH", "UNWATCH", "MONITOR":
		return "+OK\r\n", true
	case "DISCARD":
		*st = connState{subs: st.subs}
		return "+OK\r\n", true
	case "EXEC":
		was := *st
		*st = connState{subs: st.subs}
		switch {
		case !was.multi:
			return "-ERR EXEC without MULTI\r\n", true
		case was.aborted:
			return "-EXECABORT Transaction discarded because of previous errors.\r\n", true
		}
		var replies []string
		for _, q := range was.queue {
			replies = append(replies, s.execute(c, q))
		}
		return array(replies...), true
	case "SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE":
		if name[0] == 'S' || name[1] == 'S' {
			st.subs = append(st.subs, args[1])
		} else {
			st.subs = slices.DeleteFunc(st.subs, func(n string) bool { return n == args[1] })
		}
		return fmt.Sprintf(">3\r\n%s%s:%d\r\n", bulk(strings.ToLower(name)), bulk(args[1]), len(st.subs)), true
	case "CLIENT":
		if strings.EqualFold(args[1], "id") {
			return fmt.Sprintf(":%d\r\n", c.number+1), true
		}
		return "+OK\r\n", true
	case "BLPOP":
		st.blocked = true
		return "", true
	case "HELLO", "AUTH", "SELECT", "ROLE", "INFO", "PING":
		return "", false
	}
	if st.multi {
		st.queue = append(st.queue, args)
		return "+QUEUED\r\n", true
	}
	return s.execute(c, args), true
}

func (s *stateful) execute(c *fakeConn, args []string) string {
	s.executed = append(s.executed, fmt.Sprintf("%d: %s", c.number, strings.Join(args, " ")))
	return c.answer(args)
}

// done are the commands that were executed, without the connections' numbers.
func (s *stateful) done() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.executed {
		_, e, _ = strings.Cut(e, ": ")
		list = append(list, e)
	}
	return list
}

// say has every connection with the subscription send bytes.
func (s *stateful) say(name, text string) {
	s.change(func() {
		for c := range s.conns {
			if slices.Contains(s.conns[c].subs, name) && !c.closed {
				c.replies = append(c.replies, text)
			}
		}
	})
}

// asked waits until the server has been asked.
func (s *stateful) asked(t *testing.T, request string) {
	t.Helper()
	until(t, request+" is at the server", func() bool { return slices.Contains(s.requests(), request) })
}

const (
	execAbort   = "-EXECABORT Transaction discarded because of previous errors.\r\n"
	discarded   = "-ERR respgate: group 'g1': connection to its master was lost: the transaction was discarded, nothing of it was executed\r\n"
	doubtful    = "-ERR respgate: group 'g1': connection to its master was lost after the request was sent; it may or may not have been executed\r\n"
	messageHead = ">3\r\n$7\r\nmessage\r\n"
)

// TestTransactionLinkLost loses the link at each point of a transaction. Nothing is executed that the client is not told of.
func TestTransactionLinkLost(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, c := range []struct {
			name     string
			before   string // requests that are answered before, whatever they say
			silent   string // the command that is not answered
			flight   string // requests under way when the link is lost
			want     string // replies to them
			after    string // requests after that
			finally  string // replies to them
			executed string
		}{
			{name: "watching", before: "WATCH a", after: "MULTI|SET a 1|EXEC", finally: "+OK\r\n+QUEUED\r\n*-1\r\n"},
			{name: "watching, and no more", before: "WATCH a", after: "UNWATCH|MULTI|SET a 1|EXEC", finally: "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n", executed: "SET a 1"},
			{name: "watching, and again", before: "WATCH a", after: "WATCH a|MULTI|SET a 1|EXEC", finally: "+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n"},
			{name: "watching and MULTI", before: "WATCH a|MULTI", after: "SET a 1|EXEC", finally: discarded + execAbort},
			{name: "WATCH on its way", silent: "WATCH", flight: "WATCH a", want: doubtful, after: "MULTI|SET a 1|EXEC", finally: "+OK\r\n+QUEUED\r\n*-1\r\n"},
			{name: "queued", before: "MULTI|SET a 1", after: "SET a 2|EXEC", finally: discarded + execAbort},
			{name: "queued, and EXEC", before: "MULTI|SET a 1", after: "EXEC|GET a", finally: execAbort + "$-1\r\n", executed: "GET a"},
			{name: "queued, and DISCARD", before: "MULTI|SET a 1", after: "DISCARD|EXEC", finally: "+OK\r\n-ERR EXEC without MULTI\r\n"},
			{name: "being queued", before: "MULTI", silent: "SET", flight: "SET a 1|SET a 2", want: discarded + discarded, after: "EXEC", finally: execAbort},
			{name: "EXEC on its way", before: "MULTI|SET a 1", silent: "EXEC", flight: "EXEC", want: doubtful, after: "EXEC|MULTI|SET a 2|EXEC", finally: "-ERR EXEC without MULTI\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n", executed: "SET a 1|SET a 2"},
			{name: "EXEC on its way, more behind", before: "MULTI|SET a 1", silent: "EXEC", flight: "EXEC|GET a", want: doubtful + "$1\r\n1\r\n", executed: "SET a 1|GET a"},
			{name: "DISCARD on its way", before: "MULTI|SET a 1", silent: "DISCARD", flight: "DISCARD", want: "+OK\r\n", after: "GET a", finally: "$-1\r\n", executed: "GET a"},
			{name: "no command yet", before: "MULTI", after: "SET a 1|EXEC", finally: "+QUEUED\r\n*1\r\n+OK\r\n", executed: "SET a 1"},
		} {
			r, servers := newSessionRig(t, v, 1, nil)
			s := servers[0]
			a := r.dial()
			a.do("+PONG\r\n", "PING")
			for _, line := range lines(c.before) {
				a.send(req(strings.Fields(line)...))
				a.line()
			}
			if c.silent != "" {
				s.change(func() { s.silent[c.silent] = true })
			}
			for _, line := range lines(c.flight) {
				a.send(req(strings.Fields(line)...))
			}
			if c.flight != "" {
				s.asked(t, strings.Split(c.flight, "|")[0])
			}
			s.change(func() { clear(s.silent) })
			had, ever := s.connections()
			s.dropAll()
			if c.before != "" && had > 0 || c.flight != "" {
				until(t, "the link is gone", func() bool { open, now := s.connections(); return open == 0 || now > ever })
				r.settled()
			}
			a.want(c.want)
			for _, line := range lines(c.after) {
				a.send(req(strings.Fields(line)...))
			}
			a.want(c.finally)
			if got := strings.Join(s.done(), "|"); got != c.executed {
				t.Errorf("%s: executed %q, want %q", c.name, got, c.executed)
			}
			if t.Failed() {
				t.Fatalf("%s: at the latest", c.name)
			}
		}
	})
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "|")
}

// settled waits until no link of the group g1 is up that its server has closed: the counters say how many the loops know.
func (r *rig) settled() {
	r.t.Helper()
	until(r.t, "the loops have noticed", func() bool {
		open, _ := r.servers["g1"].connections()
		return r.stats("g1").Links <= open
	})
}

// TestResetRefused: a link that cannot be cleaned is closed, and nobody else gets it.
func TestResetRefused(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, answer := range []string{"-ERR unknown command 'RESET'\r\n", "$5\r\nRESET\r\n", ":1\r\n", "-NOPERM this user has no permissions to run the 'reset' command\r\n"} {
			r, servers := newSessionRig(t, v, 1, func(s *topology.Settings) { s.SessionLinks = 1 })
			s := servers[0]
			s.change(func() { s.refuse["RESET"] = answer })
			a, b := r.dial(), r.dial()
			a.do("+OK\r\n", "MULTI")
			a.do("+QUEUED\r\n", "SET", "k", "stray")
			_ = a.conn.Close()
			until(t, "the link is closed", func() bool { open, ever := s.connections(); return ever == 1 && open == 0 })
			until(t, "the link is given back", func() bool {
				b.send(req("WATCH", "k"))
				return b.line() == "+OK\r\n"
			})
			b.do("+OK\r\n", "MULTI")
			b.do("+QUEUED\r\n", "SET", "k", "1")
			b.do("*1\r\n+OK\r\n", "EXEC")
			s.mu.Lock()
			got := strings.Join(s.executed, "|")
			s.mu.Unlock()
			if got != "1: SET k 1" {
				t.Errorf("%q: executed %q, want one SET on the second connection", answer, got)
			}
		}
	})
}

// TestResetUnanswered: while a link is being cleaned nobody gets it, and one that does not answer is given up.
func TestResetUnanswered(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 1, func(s *topology.Settings) { s.ConnectTimeout = 300 * time.Millisecond })
		s := servers[0]
		s.change(func() { s.silent["RESET"] = true })
		a, b := r.dial(), r.dial()
		a.do("+OK\r\n", "WATCH", "k")
		_ = a.conn.Close()
		s.asked(t, "RESET")
		b.do("+OK\r\n", "MULTI")
		b.do("+QUEUED\r\n", "SET", "k", "1")
		b.do("*1\r\n+OK\r\n", "EXEC")
		s.mu.Lock()
		got := strings.Join(s.executed, "|")
		s.mu.Unlock()
		if got != "1: SET k 1" {
			t.Errorf("executed %q, want one SET on the second connection", got)
		}
		until(t, "the link that does not answer is closed", func() bool { open, ever := s.connections(); return ever == 2 && open == 1 })
	})
}

// TestTransactionRejected: a server that is no master any more, or not ready, refuses commands in a transaction: the client is
// told, nothing is executed, and nothing of it is sent again.
func TestTransactionRejected(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const readonly, loading, busy = "-READONLY You can't write against a read only replica.\r\n", "-LOADING Redis is loading the dataset in memory\r\n", "-BUSY Redis is busy running a script.\r\n"
		for _, c := range []struct{ command, reply, want string }{
			{"SET", readonly, "+OK\r\n" + readonly + execAbort},
			{"SET", loading, "+OK\r\n" + loading + execAbort},
			{"SET", busy, "+OK\r\n" + busy + execAbort},
			{"EXEC", readonly, "+OK\r\n+QUEUED\r\n" + readonly},
			{"EXEC", "-EXECABORT Transaction discarded because of: " + readonly[1:], "+OK\r\n+QUEUED\r\n-EXECABORT Transaction discarded because of: " + readonly[1:]},
			{"EXEC", loading, "+OK\r\n+QUEUED\r\n" + loading},
		} {
			r, servers := newSessionRig(t, v, 1, nil)
			s := servers[0]
			s.change(func() { s.refuse[c.command] = c.reply })
			a := r.dial()
			a.send(req("MULTI") + req("SET", "k", "1") + req("EXEC"))
			a.want(c.want)
			if n := strings.Count(strings.Join(s.requests(), "|"), "SET k 1"); n != 1 || len(s.done()) != 0 {
				t.Errorf("%s %q: sent %d times, executed %q", c.command, c.reply, n, s.done())
			}
			s.change(func() { clear(s.refuse) })
			a.send(req("MULTI") + req("SET", "k", "2") + req("EXEC"))
			a.want("+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n")
			if got := strings.Join(s.done(), "|"); got != "SET k 2" {
				t.Errorf("%s %q: executed %q", c.command, c.reply, got)
			}
		}
		// MULTI itself is refused, as an ACL may: the client has its OK already, the next command tells; nothing is executed.
		r, servers := newSessionRig(t, v, 1, nil)
		s := servers[0]
		s.change(func() { s.refuse["MULTI"] = loading })
		a := r.dial()
		a.do("+OK\r\n", "MULTI")
		a.do(loading, "GET", "k")
		a.do(execAbort, "EXEC")
		if got := s.done(); len(got) != 0 {
			t.Errorf("executed %q", got)
		}
	})
}

// TestLikeValkey: what a MULTI or WATCH within a transaction does to it, and READONLY, is what the servers would do.
func TestLikeValkey(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const queued = "+QUEUED\r\n"
		const noCluster = "-ERR This instance has cluster support disabled\r\n"
		for _, c := range []struct{ version, readonly, multi, watch, exec string }{
			{"7.2.4", noCluster, "-ERR MULTI calls can not be nested\r\n", "-ERR WATCH inside MULTI is not allowed\r\n", "*1\r\n+OK\r\n"},
			{"7.2.4\r\nvalkey_version:7.2.7", noCluster, "-ERR MULTI calls can not be nested\r\n", "-ERR WATCH inside MULTI is not allowed\r\n", "*1\r\n+OK\r\n"},
			{"7.2.4\r\nvalkey_version:8.0.1", "+OK\r\n", "-ERR Command not allowed inside a transaction\r\n", "-ERR Command not allowed inside a transaction\r\n", execAbort},
		} {
			r, servers := newSessionRig(t, v, 1, nil)
			servers[0].change(func() { servers[0].version = c.version })
			a := r.dial()
			a.do("$-1\r\n", "GET", "k")
			a.do(c.readonly, "READONLY")
			for _, refused := range []struct{ request, reply string }{{req("MULTI"), c.multi}, {req("WATCH", "k"), c.watch}} {
				a.send(req("MULTI") + req("SET", "k", "1") + refused.request + req("EXEC"))
				a.want("+OK\r\n" + queued + refused.reply + c.exec)
				a.send(req("MULTI") + refused.request + req("SET", "k", "1") + req("EXEC"))
				a.want("+OK\r\n" + refused.reply + queued + c.exec)
			}
		}
	})
}

// TestTransactionOnHold: a transaction that begins while its group is on hold waits, and is whole when the group is released; one that is
// caught by a change of the master is not executed, at neither of them.
func TestTransactionOnHold(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 1, nil)
		s := servers[0]
		r.apply(change("g1", onHold))
		a := r.dial()
		a.do("+OK\r\n", "MULTI")
		a.send(req("SET", "k", "1") + req("GET", "k"))
		until(t, "it waits", func() bool { return r.stats("g1").Held > 0 })
		if got := s.requests(); len(got) > 0 && slices.Contains(got, "SET k 1") {
			t.Errorf("it was sent during the hold: %q", got)
		}
		r.apply(change("g1", release))
		a.want("+QUEUED\r\n+QUEUED\r\n")
		r.apply(change("g1", onHold)) // what is begun is finished
		a.send(req("EXEC"))
		r.apply(change("g1", release))
		a.want("*2\r\n+OK\r\n$1\r\n1\r\n")

		next := newFake(t)
		fresh := makeStateful(next)
		b := r.dial()
		b.do("+OK\r\n", "WATCH", "k")
		a.do("+OK\r\n", "MULTI")
		a.do("+QUEUED\r\n", "SET", "k", "2")
		c := r.dial()
		c.send(req("BLPOP", "list", "0"))
		s.asked(t, "BLPOP list 0")
		r.apply(change("g1", func(g *topology.Group) { g.Master = next.master(2) }))
		c.want(doubtful)
		a.do(execAbort, "EXEC")
		b.send(req("MULTI") + req("SET", "k", "3") + req("EXEC"))
		b.want("+OK\r\n+QUEUED\r\n*-1\r\n")
		a.send(req("MULTI") + req("SET", "k", "4") + req("EXEC"))
		a.want("+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n")
		if got := strings.Join(append(s.done(), fresh.done()...), "|"); got != "SET k 1|GET k|SET k 4" {
			t.Errorf("executed %q", got)
		}
	})
}

// TestBlockedIsNotTimedOut: what waits at the server for as long as it says costs no other request its link, and outlives the time-out of others.
func TestBlockedIsNotTimedOut(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 1, func(s *topology.Settings) { s.Timeout = 100 * time.Millisecond })
		s := servers[0]
		a, b := r.dial(), r.dial()
		a.send(req("BLPOP", "list", "0") + req("PING"))
		s.asked(t, "BLPOP list 0")
		if st := r.stats("g1"); st.Inflight != 0 { // or a planned switch would wait for it
			t.Errorf("%d requests in flight, want none: what blocks is not work under way", st.Inflight)
		}
		s.change(func() { s.silent["APPEND"] = true })
		for range 3 { // longer than a link may be silent
			b.send(req("APPEND", "k", "x"))
			b.wantError("ERR respgate: group 'g1': ")
		}
		s.change(func() {
			for c, st := range s.conns {
				if st.blocked {
					c.replies = append(c.replies, array(bulk("list"), bulk("x")))
				}
			}
		})
		a.want(array(bulk("list"), bulk("x")) + "+PONG\r\n")
	})
}
