package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"respgate/engine/report"
	"respgate/engine/topology"
)

func message(channel, text string) string {
	return messageHead + bulk(channel) + bulk(text)
}

// confirmation is what a client is told of a subscription; mark is > or *.
func confirmation(mark, word, name string, n int) string {
	return fmt.Sprintf("%s3\r\n%s%s:%d\r\n", mark, bulk(word), bulk(name), n)
}

// subscribed waits until so many connections of the server have the subscription.
func (s *stateful) subscribed(t *testing.T, name string, n int) {
	t.Helper()
	until(t, fmt.Sprintf("%d subscriptions to %s", n, name), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		have := 0
		for c := range s.fake.conns {
			if st := s.conns[c]; st != nil && !c.closed && slices.Contains(st.subs, name) {
				have++
			}
		}
		return have == n
	})
}

// TestSubscribeWaitsForAll: nobody is told that it is subscribed before the last group has confirmed, and messages that come before are
// behind the confirmation.
func TestSubscribeWaitsForAll(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 3, nil)
		slow := servers[2]
		slow.hold()
		a := r.dial()
		a.send(req("SUBSCRIBE", "ch") + req("PING"))
		servers[0].subscribed(t, "ch", 1)
		servers[1].subscribed(t, "ch", 1)
		servers[0].say("ch", message("ch", "early"))
		slow.open()
		got := map[string]bool{}
		a.want(confirmation("*", "subscribe", "ch", 1))
		for range 2 { // in which order PING is answered is nobody's business
			if a.peek(3) == "*2\r" {
				a.want("*2\r\n$4\r\npong\r\n$0\r\n\r\n")
				got["pong"] = true
			} else {
				a.want("*" + message("ch", "early")[1:])
				got["message"] = true
			}
		}
		if len(got) != 2 {
			t.Errorf("%v", got)
		}
		for i, s := range servers {
			s.say("ch", message("ch", fmt.Sprint(i)))
			a.want("*" + message("ch", fmt.Sprint(i))[1:])
		}
	})
}

// peek looks at the next bytes.
func (a *app) peek(n int) string {
	a.t.Helper()
	b, err := a.r.Peek(n)
	if err != nil {
		a.t.Fatalf("%q, %v", b, err)
	}
	return string(b)
}

// TestFeedSaysStrangeThings: what a server sends unasked reaches a client only if it is a message of a subscription; nothing breaks.
func TestFeedSaysStrangeThings(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 1, nil)
		s := servers[0]
		a, b := r.dial(), r.dial()
		a.send(req("HELLO", "3"))
		a.hello()
		a.do(confirmation(">", "subscribe", "ch", 1), "SUBSCRIBE", "ch")
		b.do(confirmation("*", "subscribe", "ch", 1), "SUBSCRIBE", "ch")
		for _, strange := range []string{
			message("other", "x"), ">3\r\n$8\r\npmessage\r\n$2\r\nch\r\n$1\r\nx\r\n", ">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$2\r\nch\r\n$1\r\nx\r\n",
			">0\r\n", ">1\r\n:1\r\n", ">2\r\n+message\r\n+ch\r\n", ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", ">2\r\n$10\r\ninvalidate\r\n_\r\n",
			confirmation(">", "subscribe", "ch", 1), confirmation(">", "unsubscribe", "ch", 0), ">3\r\n$9\r\nsubscribe\r\n$-1\r\n:0\r\n",
			">2\r\n>1\r\n:1\r\n*0\r\n", ">3\r\n$6\r\nMOVING\r\n:1\r\n:2\r\n", "+OK\r\n", "-ERR out of the blue\r\n", ":1\r\n", "$-1\r\n", ">3\r\n%0\r\n~0\r\n#t\r\n",
		} {
			s.say("ch", strange)
			s.say("ch", message("ch", "after"))
			if strings.HasPrefix(strange, ">2\r\n$10\r\ninvalidate") {
				until(t, "it has come", func() bool { return a.peek(1) == ">" })
				if a.peek(len(strange)) == strange {
					a.want(strange)
				}
			}
			a.want(message("ch", "after"))
			b.want("*" + message("ch", "after")[1:])
			a.do("+PONG\r\n", "PING")
			b.do("*2\r\n$4\r\npong\r\n$0\r\n\r\n", "PING")
			if open, ever := s.connections(); open != ever {
				t.Errorf("%q: %d of %d connections are left", strange, open, ever)
			}
		}
	})
}

// hello reads the reply to HELLO 3.
func (a *app) hello() {
	a.t.Helper()
	head := a.line()
	if !strings.HasPrefix(head, "%") {
		a.t.Fatalf("HELLO: %q", head)
	}
	for !strings.HasPrefix(a.line(), "*0") { // modules, the last field
	}
}

// TestPushOnLane: pushes on a lane that brings no messages are dropped, in the midst of a transaction and of its replies.
func TestPushOnLane(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 1, nil)
		s := servers[0]
		s.change(func() {
			inner := s.script
			s.script = func(c *fakeConn, args []string) (string, bool) {
				reply, handled := inner(c, args)
				if c.proto3 && handled && reply != "" && !isGreeting(args) && args[0] != "CLIENT" {
					reply = message("stray", "x") + reply + message("stray", "y")
				}
				return reply, handled
			}
		})
		a := r.dial()
		a.send(req("HELLO", "3"))
		a.hello()
		for range 3 {
			a.do("+OK\r\n", "WATCH", "k")
			a.do("+OK\r\n", "MULTI")
			a.do("+QUEUED\r\n", "SET", "k", "1")
			a.do("*1\r\n+OK\r\n", "EXEC")
			a.do("$1\r\n1\r\n", "GET", "k")
		}
	})
}

// TestFeedInPieces: messages, large and small, in pieces of any size.
func TestFeedInPieces(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, cuts := range [][]int{{1}, {2, 3, 1}, {7, 4096}, {100_000}} {
			r, servers := newSessionRig(t, v, 1, nil)
			s := servers[0]
			s.change(func() { s.cuts = cuts })
			sizes, value := []int{0, 1, 10, 300}, strings.Repeat("v", 300)
			if cuts[0] > 5 {
				sizes = append(sizes, 5000, 70_000, 300_000)
			}
			two, three := r.dial(), r.dial()
			three.send(req("HELLO", "3"))
			three.hello()
			two.do(confirmation("*", "subscribe", "ch", 1), "SUBSCRIBE", "ch")
			three.do(confirmation(">", "subscribe", "ch", 1), "SUBSCRIBE", "ch")
			for _, n := range sizes {
				text := message("ch", strings.Repeat("x", n))
				s.say("ch", text)
				two.want("*" + text[1:])
				three.want(text)
			}
			three.do("+OK\r\n", "MULTI")
			three.do("+QUEUED\r\n", "SET", "k", value)
			s.say("ch", message("ch", "between"))
			three.want(message("ch", "between"))
			three.do("*1\r\n+OK\r\n", "EXEC")
			two.want("*" + message("ch", "between")[1:])
		}
	})
}

// TestFeedLost: subscriptions outlive links, again and again; the client notices nothing but what it has missed, and the event comes.
func TestFeedLost(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 2, nil)
		a := r.dial()
		a.do(confirmation("*", "subscribe", "ch", 1), "SUBSCRIBE", "ch")
		a.send(req("SUBSCRIBE", "gone") + req("UNSUBSCRIBE", "gone"))
		a.want(confirmation("*", "subscribe", "gone", 2) + confirmation("*", "unsubscribe", "gone", 1))
		for i := range 4 {
			s := servers[i%2]
			s.dropAll()
			s.subscribed(t, "ch", 1)
			s.subscribed(t, "gone", 0)
			s.say("ch", message("ch", fmt.Sprint(i)))
			a.want("*" + message("ch", fmt.Sprint(i))[1:])
		}
		until(t, "the event", func() bool { return r.happened(report.EventResubscribed) > 0 })
		// And a change of the master.
		next := makeStateful(newFake(t))
		r.apply(change("g1", func(g *topology.Group) { g.Master = next.master(2) }))
		next.subscribed(t, "ch", 1)
		next.say("ch", message("ch", "from the next"))
		a.want("*" + message("ch", "from the next")[1:])
		until(t, "the old master is left", func() bool { open, _ := servers[0].connections(); return open == 0 })
		_ = a.conn.Close()
		next.subscribed(t, "ch", 0)
		servers[1].subscribed(t, "ch", 0)
	})
}

// TestSubscribeUnanswered: a group that does not confirm costs the client an error, and nothing else.
func TestSubscribeUnanswered(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 2, nil)
		within := func(d time.Duration) {
			t.Helper()
			r.apply(set(func(s *topology.Settings) { s.Timeout, s.HoldTimeout = d, d }))
		}
		key := r.key("g1", 0)
		a := r.dial()
		a.do("+OK\r\n", "SET", key, "1")
		servers[1].change(func() { servers[1].silent["SUBSCRIBE"] = true })
		within(100 * time.Millisecond)
		a.send(req("SUBSCRIBE", "ch"))
		a.wantError("ERR respgate: not subscribed: not confirmed by every group within ", " ms; groups that have not: 'g2'\r\n")
		servers[1].change(func() { servers[1].silent["MONITOR"] = true })
		a.send(req("MONITOR"))
		a.wantError("ERR respgate: not subscribed: not confirmed by every group within ", " ms; groups that have not: 'g2'\r\n")
		within(time.Minute)
		a.do("*3\r\n"+bulk("unsubscribe")+"$-1\r\n:0\r\n", "UNSUBSCRIBE")
		a.do("$1\r\n1\r\n", "GET", key)
		servers[1].change(func() { clear(servers[1].silent) })
		a.do(confirmation("*", "subscribe", "ch", 1), "SUBSCRIBE", "ch")
		for i, s := range servers {
			s.say("ch", message("ch", fmt.Sprint(i)))
			a.want("*" + message("ch", fmt.Sprint(i))[1:])
		}
		// What comes late is about what was given up, not about what is asked next.
		late := r.dial()
		late.do(confirmation("*", "subscribe", "zero", 1), "SUBSCRIBE", "zero")
		servers[1].hold()
		within(100 * time.Millisecond)
		late.send(req("SUBSCRIBE", "one"))
		late.wantError("ERR respgate: not subscribed: ")
		late.send(req("SUBSCRIBE", "two"))
		servers[1].asked(t, "subscribe two")
		servers[1].let(2) // one is begun, and ended
		late.wantError("ERR respgate: not subscribed: ")
		within(time.Minute)
		servers[1].open()
		late.do(confirmation("*", "subscribe", "three", 2), "SUBSCRIBE", "three")
		// A server that refuses.
		b := r.dial()
		servers[0].change(func() { servers[0].refuse["SUBSCRIBE"] = "-NOPERM no permission\r\n" })
		b.send(req("SUBSCRIBE", "secret"))
		b.wantError("NOPERM no permission", "group 'g1'")
		b.do("$1\r\n1\r\n", "GET", key)
	})
}

// TestTrackingIsFlushedOnce: a client that caches is told to forget everything when a link is lost, once, however often dialling fails afterwards.
func TestTrackingIsFlushedOnce(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 1, nil)
		s := servers[0]
		a := r.dial()
		a.send(req("HELLO", "3"))
		a.hello()
		a.do("+OK\r\n", "CLIENT", "TRACKING", "ON")
		a.do("_\r\n", "GET", "k")
		s.change(func() { s.role = "slave" }) // which makes each new link fail
		s.dropAll()
		_, first := s.connections()
		until(t, "some more links have failed", func() bool { _, ever := s.connections(); return ever >= first+3 })
		s.change(func() { s.role = "master" })
		a.want(">2\r\n$10\r\ninvalidate\r\n_\r\n")
		a.do("_\r\n", "GET", "k")
		a.do("+PONG\r\n", "PING")
		if got := s.requests(); !slices.Contains(got, "CLIENT TRACKING ON") {
			t.Errorf("%q", got)
		}
	})
}

// TestSessionsOfRemovedGroup: a group that leaves the pool takes what belongs to it along, and nobody waits for it.
func TestSessionsOfRemovedGroup(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 2, nil)
		key := r.key("g2", 0)
		open, watcher, blocked, subscriber := r.dial(), r.dial(), r.dial(), r.dial()
		open.do("+OK\r\n", "MULTI")
		open.do("+QUEUED\r\n", "SET", key, "stray")
		watcher.do("+OK\r\n", "WATCH", key)
		blocked.send(req("BLPOP", key, "0") + req("PING"))
		servers[1].asked(t, "BLPOP "+key+" 0")
		subscriber.do(confirmation("*", "subscribe", "ch", 1), "SUBSCRIBE", "ch")
		r.apply(func(s *topology.Snapshot) {
			p := s.Pool("p")
			p.Groups = p.Groups[:1]
			setRing(p)
		})
		servers[0].say("ch", message("ch", "still"))
		subscriber.want("*" + message("ch", "still")[1:])
		servers[1].subscribed(t, "ch", 0)
		servers[1].change(func() {
			for c, st := range servers[1].conns {
				if st.blocked {
					c.replies = append(c.replies, array(bulk(key), bulk("last")))
				}
			}
		})
		if head := blocked.line(); head[0] != '-' && head[0] != '*' {
			t.Errorf("BLPOP: %q", head)
		} else if head[0] == '*' {
			blocked.want(bulk(key) + bulk("last"))
		}
		blocked.want("+PONG\r\n")
		open.send(req("EXEC"))
		if got := open.line(); got[0] != '-' && got != "*1\r\n" {
			t.Errorf("EXEC: %q", got)
		} else if got[0] == '*' {
			open.want("+OK\r\n")
		}
		watcher.send(req("MULTI") + req("GET", key) + req("EXEC"))
		watcher.want("+OK\r\n")
		watcher.line()
		watcher.line()
		for _, a := range []*app{open, blocked} {
			a.do("+OK\r\n", "SET", key, "1")
		}
		until(t, "its links are closed", func() bool { left, _ := servers[1].connections(); return left == 0 })
	})
}

// only is a change that leaves pool "p" with some of the groups that it began with.
func (r *rig) only(names ...string) func(*topology.Snapshot) {
	return func(s *topology.Snapshot) {
		p := s.Pool("p")
		p.Groups = nil
		for _, name := range names {
			p.Groups = append(p.Groups, &topology.Group{Name: name, Master: r.servers[name].master(1)})
		}
		setRing(p)
	}
}

// TestRemovedGroupConfirmsNothing: what waits for the word of every group does not wait for one that leaves the pool, and a group
// that comes meanwhile does not speak for another.
func TestRemovedGroupConfirmsNothing(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 3, nil)
		r.apply(r.only("g1", "g2"))
		leaver := r.dial()
		leaver.do(confirmation("*", "subscribe", "ch", 1), "SUBSCRIBE", "ch")
		servers[1].change(func() {
			for _, name := range []string{"SUBSCRIBE", "UNSUBSCRIBE", "MONITOR"} {
				servers[1].silent[name] = true
			}
		})
		begins, monitor := r.dial(), r.dial()
		leaver.send(req("UNSUBSCRIBE", "ch"))
		begins.send(req("SUBSCRIBE", "two"))
		monitor.send(req("MONITOR"))
		for _, s := range servers[:2] {
			s.asked(t, "unsubscribe ch")
			s.asked(t, "subscribe two")
			s.asked(t, "MONITOR")
		}
		until(t, "the other group has confirmed", func() bool { return r.monitors("g1") == 1 })
		r.apply(r.only("g1", "g2", "g3"))
		until(t, "the new group has confirmed", func() bool { return r.monitors("g3") == 1 })
		if n := r.waiting(); n != 3 {
			t.Errorf("%d clients wait for the word of g2, want 3", n)
		}
		r.apply(r.only("g1", "g3"))
		leaver.want(confirmation("*", "unsubscribe", "ch", 0))
		begins.want(confirmation("*", "subscribe", "two", 1))
		monitor.want("+OK\r\n")
	})
}

// TestSubscribersOfOtherGroups: subscribers stay subscribed when a reload replaces every group of the pool at once.
func TestSubscribersOfOtherGroups(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, servers := newSessionRig(t, v, 3, nil)
		r.apply(r.only("g1", "g2"))
		c := r.dial()
		c.do(confirmation("*", "subscribe", "ch", 1), "SUBSCRIBE", "ch")
		r.apply(r.only("g3"))
		servers[2].asked(t, "subscribe ch")
	})
}

// sessionsOf looks at all sessions of pool "p".
func (r *rig) sessionsOf(f func(*session)) {
	for _, l := range r.e.loops {
		l.call(func() {
			for s := range l.pools["p"].sessions {
				f(s)
			}
		})
	}
}

// monitors are the clients whose MONITOR a group has confirmed.
func (r *rig) monitors(group string) (n int) {
	r.sessionsOf(func(s *session) {
		if ln := s.feeds[s.client.pool.byName[group]]; ln != nil && ln.watched {
			n++
		}
	})
	return n
}

// waiting are the clients that wait for the word of every group.
func (r *rig) waiting() (n int) {
	r.sessionsOf(func(s *session) {
		if s.call != nil {
			n++
		}
	})
	return n
}
