package e2e

import (
	"errors"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// TestLateMulti: a MULTI that the server answers after the pool's time-out is not left to the next client.
func TestLateMulti(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 1, "timeout: 2s")
	a := s.dial("")
	want(t, a, "(nil)", "BLPOP", "none", "0.01") // a link that can be had again
	want(t, a, "OK", "MULTI")
	s.servers["g1"].Freeze()
	wantPrefix(t, a, "-ERR respgate: group 'g1': timed out after", "SET", "k", "stray")
	s.servers["g1"].Thaw()
	wantPrefix(t, a, "-EXECABORT", "EXEC")
	s.rest()
	for range 3 {
		b := s.dial("")
		want(t, b, "(nil)", "BLPOP", "none", "0.01")
		want(t, b, "OK", "MULTI")
		want(t, b, "QUEUED", "GET", "k")
		want(t, b, "[(nil)]", "EXEC")
	}
}

// TestWatchAfterLoss: what a client watches on a new link, after the one before was lost, is not left to the next client.
func TestWatchAfterLoss(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 1)
	a, b := s.dial(""), s.dial("")
	want(t, a, "OK", "WATCH", "wa")
	s.spies["g1"].do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	want(t, a, "OK", "WATCH", "wb")
	want(t, a, "OK", "UNWATCH")
	want(t, b, "OK", "SET", "wb", "1")
	want(t, b, "OK", "WATCH", "other")
	want(t, b, "OK", "MULTI")
	want(t, b, "QUEUED", "SET", "z", "1")
	want(t, b, "[OK]", "EXEC")
}

// TestMessageTooLarge: a message that a subscriber cannot be given ends its connection; not a byte of it is taken for replies.
func TestMessageTooLarge(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 1, "client_buffer: 16kb")
	for _, hello := range []string{"", "3"} {
		sub := s.dial(hello)
		if r, err := sub.Do("SUBSCRIBE", "c"); err != nil || r.Err() != nil {
			t.Fatalf("SUBSCRIBE: %s, %v", r.Text(), err)
		}
		payload := strings.Repeat(strings.Repeat("X", 900)+"\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n+INJECTED\r\n", 200)
		s.spies["g1"].do("PUBLISH", "c", payload)
		if got, err := sub.EOF(); err != nil || got != "" {
			t.Errorf("RESP %q: %.100q, %v; want the end of the connection", hello, got, err)
		}
	}
	want(t, s.dial(""), "PONG", "PING")
}

// TestNothingIsHeld: where no request may wait, sessions work as long as the server does, and nobody hangs.
func TestNothingIsHeld(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 1, "hold: { requests: 0 }")
	c := s.dial("")
	for range 3 {
		want(t, c, "(nil)", "BLPOP", "none", "0.01")
		want(t, c, "OK", "MULTI")
		want(t, c, "QUEUED", "SET", "a", "b")
		want(t, c, "[OK]", "EXEC")
	}
	s.servers["g1"].Kill()
	harness.Eventually(t, harness.Patience, "it is noticed", func() error {
		r, err := c.Do("GET", "a")
		if err == nil && r.Kind != '-' {
			return errors.New("it still answers")
		}
		return err
	})
	want(t, c, "OK", "MULTI")
	wantPrefix(t, c, "-ERR respgate: ", "SET", "a", "c")
	wantPrefix(t, c, "-EXECABORT", "EXEC")
	wantPrefix(t, c, "-ERR respgate: ", "BLPOP", "none", "0")
}

// TestSelectInMulti: the client is where EXEC has left the server, in every group, and nowhere else.
func TestSelectInMulti(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 2)
	ka, kb := s.keys["g1"][0], s.keys["g2"][0]
	c := s.dial("3")
	want(t, c, "OK", "MSET", ka, "zero", kb, "zero")
	want(t, c, "OK", "CLIENT", "TRACKING", "ON")
	for _, step := range []struct{ db, key, value string }{{"3", "null", "null"}, {"99", "null", "null"}, {"0", "zero", "zero"}} {
		want(t, c, "OK", "MULTI")
		want(t, c, "QUEUED", "EXISTS", ka)
		want(t, c, "QUEUED", "SELECT", step.db)
		if r, err := c.Do("EXEC"); err != nil || r.Err() != nil {
			t.Fatalf("EXEC: %s, %v", r.Text(), err)
		}
		for _, k := range []string{ka, kb} {
			r, err := c.Do("GET", k)
			for err == nil && r.Kind == '>' { // links at another database were given up: what was cached is void
				r, err = c.Receive()
			}
			if got := r.Text(); err != nil || (got == "zero") != (step.value == "zero") {
				t.Errorf("after SELECT %s: GET %s: %s, %v", step.db, k, got, err)
			}
		}
	}
}

// TestSelectRefused: a database that the servers do not have is an error for the client that asks for it, and nobody else's concern.
func TestSelectRefused(t *testing.T) {
	t.Parallel()
	s := startSessionsOver(t, 1, []string{"databases 4"}, "auto_eject_hosts: true", "server_failure_limit: 1")
	c, other := s.dial(""), s.dial("")
	want(t, other, "OK", "SET", "k", "1")
	want(t, c, "OK", "SELECT", "9")
	for range 5 {
		wantPrefix(t, c, "-ERR respgate: group 'g1': its master "+s.servers["g1"].Addr()+" refuses: SELECT: ERR DB index is out of range", "GET", "k")
		want(t, other, "1", "GET", "k")
	}
	want(t, c, "OK", "SELECT", "0")
	want(t, c, "1", "GET", "k")
}

// TestPipelineBehindBlocking: a client that leaves while it is blocked is noticed whatever it has sent behind the command.
func TestPipelineBehindBlocking(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 1)
	c := s.dial("")
	if err := c.Write(harness.Encode("BLPOP", "queue", "0") + strings.Repeat(harness.Encode("PING"), 30000)); err != nil {
		t.Fatal(err)
	}
	s.blocked("g1", 1)
	c.Close()
	s.blocked("g1", 0)
	want(t, s.dial(""), "1", "RPUSH", "queue", "v")
	want(t, s.dial(""), "1", "LLEN", "queue")
}

// TestUnsubscribeFromFrozenServer: UNSUBSCRIBE never fails.
func TestUnsubscribeFromFrozenServer(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 1, "timeout: 2s", "hold: { timeout: 2s }")
	c := s.dial("")
	want(t, c, "[subscribe q 1]", "SUBSCRIBE", "q")
	s.servers["g1"].Freeze()
	defer s.servers["g1"].Thaw()
	want(t, c, "[unsubscribe q 0]", "UNSUBSCRIBE", "q")
	want(t, c, "PONG", "PING")
}
