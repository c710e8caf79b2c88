package e2e

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"respgate/tests/harness"
)

// transactions are scripts for play, in every shape that MULTI and WATCH have.
var transactions = map[string]string{
	"empty":              "A MULTI\nA EXEC\nA MULTI\nA DISCARD\nA GET {t}none",
	"all types":          "A MULTI\nA SET {t}s 1\nA INCR {t}s\nA GET {t}s\nA RPUSH {t}l a b\nA LRANGE {t}l 0 -1\nA HSET {t}h f v\nA HGETALL {t}h\nA GET {t}none\nA EXEC",
	"wrong arity":        "A MULTI\nA SET {t}a\nA SET {t}a 1\nA EXEC\nA GET {t}a",
	"arity at the end":   "A MULTI\nA SET {t}a 1\nA GET\nA EXEC\nA GET {t}a\nA MULTI\nA GET {t}a\nA EXEC",
	"unknown command":    "A MULTI\nA NOSUCH {t}a\nA SET {t}a 1\nA EXEC\nA GET {t}a",
	"error at run time":  "A SET {t}s x\nA MULTI\nA INCR {t}s\nA LPUSH {t}s 1\nA SET {t}s 2\nA EXEC\nA GET {t}s",
	"DISCARD":            "A MULTI\nA SET {t}a 1\nA DISCARD\nA GET {t}a\nA EXEC",
	"DISCARD of errors":  "A MULTI\nA SET {t}a 1\nA NOSUCH\nA DISCARD\nA MULTI\nA SET {t}a 2\nA EXEC",
	"nested":             "A MULTI\nA MULTI\nA SET {t}a 1\nA MULTI\nA EXEC\nA EXEC",
	"without MULTI":      "A EXEC\nA DISCARD\nA UNWATCH\nA GET {t}a",
	"arguments":          "A MULTI x\nA EXEC\nA WATCH\nA MULTI\nA EXEC x\nA SET {t}a 1\nA EXEC",
	"conflict":           "A SET {t}k 1\nA WATCH {t}k\nB SET {t}k 2\nA MULTI\nA SET {t}k 3\nA EXEC\nA GET {t}k\nA MULTI\nA SET {t}k 4\nA EXEC",
	"conflict in MULTI":  "A WATCH {t}k\nA MULTI\nA SET {t}k 3\nB SET {t}k 2\nA EXEC\nA GET {t}k",
	"own conflict":       "A WATCH {t}k\nA SET {t}k 1\nA MULTI\nA SET {t}k 2\nA EXEC\nA GET {t}k",
	"no conflict":        "A WATCH {t}k\nB SET {t}other 1\nB GET {t}k\nA GET {t}k\nA MULTI\nA SET {t}k 2\nA EXEC",
	"several watched":    "A WATCH {t}a {t}b\nA WATCH {t}c\nB SET {t}b 1\nA MULTI\nA SET {t}a 2\nA EXEC\nA GET {t}a",
	"watched by two":     "A WATCH {t}k\nB WATCH {t}k\nA MULTI\nB MULTI\nA INCR {t}k\nB INCR {t}k\nB EXEC\nA EXEC\nA GET {t}k",
	"empty conflict":     "A WATCH {t}k\nB SET {t}k 1\nA MULTI\nA EXEC\nA MULTI\nA GET {t}k\nA EXEC",
	"empty and watched":  "A WATCH {t}k\nA MULTI\nA EXEC\nB SET {t}k 1\nA MULTI\nA GET {t}k\nA EXEC",
	"conflict and error": "A WATCH {t}k\nB SET {t}k 1\nA MULTI\nA NOSUCH\nA EXEC\nA GET {t}k",
	"UNWATCH":            "A WATCH {t}k\nB SET {t}k 1\nA UNWATCH\nA MULTI\nA SET {t}k 2\nA EXEC",
	"UNWATCH in MULTI":   "A WATCH {t}k\nA MULTI\nA UNWATCH\nA SET {t}k 2\nA EXEC\nA GET {t}k",
	"WATCH in MULTI":     "A MULTI\nA WATCH {t}k\nA SET {t}k 1\nA WATCH {t}k\nA EXEC\nA GET {t}k",
	"EXEC unwatches":     "A WATCH {t}k\nA MULTI\nA SET {t}k 1\nA EXEC\nB SET {t}k 2\nA MULTI\nA GET {t}k\nA EXEC",
	"DISCARD unwatches":  "A WATCH {t}k\nA MULTI\nA SET {t}k 1\nA DISCARD\nB SET {t}k 2\nA MULTI\nA GET {t}k\nA EXEC",
	"RESET unwatches":    "A WATCH {t}k\nB SET {t}k 2\nA RESET\nA MULTI\nA SET {t}k 3\nA EXEC",
	"RESET in MULTI":     "A MULTI\nA SET {t}k 1\nA RESET\nA GET {t}k\nA EXEC",
	"keyless first":      "A MULTI\nA PING\nA ECHO hi\nA SET {t}k 1\nA PING\nA EXEC",
	"keyless only":       "A MULTI\nA PING\nA ECHO hi\nA EXEC\nA PING",
	"keyless discarded":  "A MULTI\nA PING\nA DISCARD\nA PING",
	"keyless and error":  "A MULTI\nA PING\nA GET\nA SET {t}k 1\nA EXEC\nA GET {t}k",
	"several keys":       "A MULTI\nA MSET {t}a 1 {t}b 2\nA MGET {t}a {t}none {t}b\nA DEL {t}a {t}b\nA EXISTS {t}a\nA EXEC",
	"script":             "A MULTI\nA EVAL \"return redis.call('incr',KEYS[1])\" 1 {t}n\nA EVAL \"return redis.error_reply('MY error')\" 1 {t}n\nA EXEC",
	"does not block":     "A MULTI\nA BLPOP {t}l 0\nA RPUSH {t}l x\nA BLPOP {t}l 0\nA XREAD BLOCK 0 STREAMS {t}x 0\nA EXEC",
	"PUBLISH":            "B> SUBSCRIBE {t}ch\nB<\nA MULTI\nA PUBLISH {t}ch hi\nA SET {t}k 1\nA EXEC\nB<",
	"SELECT":             "A MULTI\nA SELECT 5\nA SET {t}k five\nA SELECT 0\nA SET {t}k zero\nA EXEC\nA GET {t}k\nA SELECT 5\nA GET {t}k",
	"SELECT at the end":  "A MULTI\nA SET {t}k zero\nA SELECT 5\nA SET {t}k five\nA EXEC\nA GET {t}k\nA MULTI\nA GET {t}k\nA EXEC\nA SELECT 0\nA GET {t}k",
	"SELECT discarded":   "A SET {t}k zero\nA MULTI\nA SELECT 5\nA SET {t}k five\nA DISCARD\nA GET {t}k",
	"SELECT before":      "A SELECT 5\nA WATCH {t}k\nB SET {t}k zero\nA MULTI\nA SET {t}k five\nA EXEC\nA GET {t}k\nB GET {t}k",
	"replies unread":     "A> MULTI\nA> SET {t}k 1\nA> INCR {t}k\nA> EXEC\nA> GET {t}k\nA<\nA<\nA<\nA<\nA<",
	"one after another":  "A> MULTI\nA> INCR {t}k\nA> EXEC\nA> INCR {t}k\nA> MULTI\nA> INCR {t}k\nA> DISCARD\nA> INCR {t}k\nA> MULTI\nA> INCR {t}k\nA> EXEC\nA<\nA<\nA<\nA<\nA<\nA<\nA<\nA<\nA<\nA<\nA<",
}

// TestTransactions compares every shape of a transaction with what Redis says.
func TestTransactions(t *testing.T) {
	t.Parallel()
	likeServer(t, oneAndThree, transactions, "2", "3")
}

// TestTransactionOverGroups holds that a transaction is one group's: keys of another are refused with both names, and nothing of
// it is executed.
func TestTransactionOverGroups(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3)
	a, b, b2 := s.keys["g1"][0], s.keys["g2"][0], s.keys["g2"][1]
	crossed := func(c *harness.Conn, args ...string) {
		t.Helper()
		r, err := c.Do(args...)
		if err != nil || !strings.HasPrefix(r.Text(), "-CROSSSLOT Keys in request don't hash to the same group") || !strings.Contains(r.Str, "'g1'") || !strings.Contains(r.Str, "'g2'") {
			t.Errorf("%v: %s (%v), want -CROSSSLOT with both groups", args, r.Text(), err)
		}
	}
	c := s.dial("")
	want(t, c, "OK", "MULTI")
	want(t, c, "QUEUED", "SET", a, "1")
	crossed(c, "SET", b, "1")
	wantPrefix(t, c, "-EXECABORT Transaction discarded", "EXEC")
	want(t, c, "[(nil) (nil)]", "MGET", a, b)
	// WATCH binds as well; what is watched stays watched.
	want(t, c, "OK", "WATCH", a)
	crossed(c, "WATCH", b)
	want(t, c, "OK", "SET", b, "outside of the transaction")
	want(t, s.dial(""), "OK", "SET", a, "touched")
	want(t, c, "OK", "MULTI")
	want(t, c, "QUEUED", "GET", a)
	want(t, c, "(nil)", "EXEC")
	want(t, c, "OK", "WATCH", a)
	want(t, c, "OK", "MULTI")
	crossed(c, "GET", b)
	wantPrefix(t, c, "-EXECABORT Transaction discarded", "EXEC")
	// One request with keys of two groups, before anything is bound and after.
	want(t, c, "OK", "MULTI")
	wantPrefix(t, c, "-CROSSSLOT Keys in request don't hash to the same group", "MGET", a, b)
	wantPrefix(t, c, "-EXECABORT Transaction discarded", "EXEC")
	want(t, c, "OK", "MULTI")
	want(t, c, "QUEUED", "GET", a)
	wantPrefix(t, c, "-CROSSSLOT Keys in request don't hash to the same group", "MGET", a, b)
	want(t, c, "OK", "DISCARD")
	// Free again for another group.
	want(t, c, "OK", "MULTI")
	want(t, c, "QUEUED", "MSET", b, "1", b2, "2")
	want(t, c, "QUEUED", "MGET", b2, b)
	want(t, c, "[OK [2 1]]", "EXEC")
	wantPrefix(t, c, "-CROSSSLOT Keys in request don't hash to the same group", "WATCH", a, b)
	s.rest()
}

// TestTransactionBytes sends transactions in one piece with what stands before and behind them, and byte by byte.
func TestTransactionBytes(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3)
	large := strings.Repeat("0123456789abcdef", 8<<10)
	for _, g := range s.names {
		a, b := s.keys[g][0], s.keys[s.names[(len(g)+1)%3]][1]
		var text, reply strings.Builder
		say := func(answer string, args ...string) {
			text.WriteString(harness.Encode(args...))
			reply.WriteString(answer)
		}
		say("+OK\r\n", "SET", a, "0")
		say("+OK\r\n", "SET", b, "before")
		say("+OK\r\n", "WATCH", a)
		say("+OK\r\n", "MULTI")
		for range 3 {
			say("+QUEUED\r\n", "INCR", a)
		}
		say("*3\r\n:1\r\n:2\r\n:3\r\n", "EXEC")
		say("$1\r\n3\r\n", "GET", a)
		say("$6\r\nbefore\r\n", "GET", b)
		say("+OK\r\n", "MULTI")
		say("+QUEUED\r\n", "INCR", a)
		say("+OK\r\n", "DISCARD")
		say("$1\r\n3\r\n", "GET", a)
		say("+PONG\r\n", "PING")
		for _, step := range []int{text.Len(), 1, 7} {
			c := s.dial("")
			done := make(chan error, 1)
			go func() {
				for rest := text.String(); rest != ""; {
					n := min(step, len(rest))
					if err := c.Write(rest[:n]); err != nil {
						done <- err
						return
					}
					rest = rest[n:]
				}
				done <- nil
			}()
			if err := c.Expect([]byte(reply.String())); err != nil {
				t.Errorf("%s, %d bytes at a time: %v", g, step, err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			c.Close()
		}
		// Values larger than any buffer.
		c := s.dial("")
		want(t, c, "OK", "MULTI")
		for range 8 {
			want(t, c, "QUEUED", "SET", a, large)
			want(t, c, "QUEUED", "GET", a)
		}
		r, err := c.Do("EXEC")
		if err != nil || len(r.Elems) != 16 {
			t.Fatalf("EXEC: %d replies, %v", len(r.Elems), err)
		}
		for i := 1; i < 16; i += 2 {
			if r.Elems[i].Str != large {
				t.Errorf("reply %d has %d bytes, want %d", i, len(r.Elems[i].Str), len(large))
			}
		}
	}
	s.rest()
}

// TestTransactionCrowd has 200 clients count in transactions under WATCH: not one step is lost or done twice.
func TestTransactionCrowd(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3)
	const clients, steps, counters = 200, 4, 8
	var all sync.WaitGroup
	var conflicts atomic.Int64
	count := func(i int) error {
		key := fmt.Sprintf("counter:%d", i%counters)
		c, err := harness.Dial(s.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		hello := fmt.Sprint(2 + i%2)
		if _, err := c.Do("HELLO", hello); err != nil {
			return err
		}
		for done := 0; done < steps; {
			var replies []harness.Reply
			for _, text := range []string{ // in two steps: in one, hardly anybody comes in between
				harness.Encode("WATCH", key) + harness.Encode("GET", key), harness.Encode("MULTI") + harness.Encode("INCR", key) + harness.Encode("EXEC"),
			} {
				if err := c.Write(text); err != nil {
					return err
				}
				for range strings.Count(text, "*") {
					r, err := c.Receive()
					if err != nil {
						return err
					}
					replies = append(replies, r)
				}
			}
			was, exec := replies[1], replies[4]
			switch {
			case replies[0].Str != "OK" || replies[2].Str != "OK" || replies[3].Str != "QUEUED":
				return fmt.Errorf("%s %s %s", replies[0].Text(), replies[2].Text(), replies[3].Text())
			case exec.Null:
				conflicts.Add(1)
			case len(exec.Elems) != 1:
				return fmt.Errorf("EXEC: %s", exec.Text())
			default:
				now := 0
				_, _ = fmt.Sscan(was.Str, &now) // none yet: 0
				if int(exec.Elems[0].Int) != now+1 {
					return fmt.Errorf("EXEC: %s, while %s was watched", exec.Text(), was.Text())
				}
				done++
			}
		}
		return nil
	}
	for i := range clients {
		all.Go(func() {
			if err := count(i); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	all.Wait()
	c := s.dial("")
	for i := range counters {
		want(t, c, fmt.Sprint(clients*steps/counters), "GET", fmt.Sprintf("counter:%d", i))
	}
	t.Logf("%d transactions, %d conflicts", clients*steps, conflicts.Load())
	s.rest()
}
