package e2e

import (
	"fmt"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// blockings are scripts for play with commands that wait, most of them until another connection serves them.
var blockings = map[string]string{
	"BLPOP":               "A> BLPOP {t}l 0\nA~\nB RPUSH {t}l x\nA<\nB EXISTS {t}l",
	"BRPOP":               "A> BRPOP {t}l 0\nA~\nB LPUSH {t}l x y\nA<\nB DEL {t}l",
	"at once":             "B RPUSH {t}l x y\nA BLPOP {t}l 0\nA BRPOP {t}l 10\nB EXISTS {t}l",
	"several keys":        "A> BLPOP {t}a {t}b {t}c 0\nA~\nB RPUSH {t}b 1\nA<",
	"BLMOVE":              "A> BLMOVE {t}a {t}b LEFT RIGHT 0\nA~\nB RPUSH {t}a 1\nA<\nB LRANGE {t}b 0 -1",
	"BRPOPLPUSH":          "A> BRPOPLPUSH {t}a {t}b 0\nA~\nB RPUSH {t}a 1\nA<\nB LRANGE {t}b 0 -1",
	"BLMPOP":              "A> BLMPOP 0 2 {t}a {t}b LEFT COUNT 2\nA~\nB RPUSH {t}b 1 2 3\nA<\nB LRANGE {t}b 0 -1",
	"BZPOPMIN":            "A> BZPOPMIN {t}a {t}b 0\nA~\nB ZADD {t}b 1.5 m 2 n\nA<",
	"BZPOPMAX":            "A> BZPOPMAX {t}a 0\nA~\nB ZADD {t}a 1.5 m 2 n\nA<",
	"BZMPOP":              "A> BZMPOP 0 1 {t}a MAX COUNT 5\nA~\nB ZADD {t}a 1.5 m 2 n\nA<",
	"XREAD":               "B XADD {t}x 1-1 f v\nA> XREAD BLOCK 0 STREAMS {t}x 1-1\nA~\nB XADD {t}x 2-1 f w\nA<\nA XREAD COUNT 1 STREAMS {t}x 0",
	"XREADGROUP":          "A XGROUP CREATE {t}x grp 0 MKSTREAM\nA> XREADGROUP GROUP grp me BLOCK 0 STREAMS {t}x >\nA~\nB XADD {t}x 1-1 f v\nA<\nA XACK {t}x grp 1-1",
	"time-outs":           "A BLPOP {t}l 0.01\nA BLMOVE {t}a {t}b LEFT LEFT 0.01\nA BRPOPLPUSH {t}a {t}b 0.01\nA BLMPOP 0.01 1 {t}a LEFT\nA BZPOPMIN {t}a 0.01\nA BZMPOP 0.01 1 {t}a MIN\nA XREAD BLOCK 10 STREAMS {t}x $",
	"after a time-out":    "A BLPOP {t}l 0.01\nB RPUSH {t}l x\nB LRANGE {t}l 0 -1\nA BLPOP {t}l 0.01",
	"wrong type":          "A SET {t}s x\nA BLPOP {t}s 0\nA XREAD BLOCK 0 STREAMS {t}s 0\nA GET {t}s",
	"becomes wrong type":  "A> BLPOP {t}l 0\nA~\nB SET {t}l x\nB DEL {t}l\nB RPUSH {t}l y\nA<",
	"bad time-outs":       "A BLPOP {t}l abc\nA BLPOP {t}l -1\nA BLPOP {t}l\nA XREAD BLOCK -1 STREAMS {t}x 0\nA GET {t}s",
	"requests behind":     "B SET {t}k 1\nA> BLPOP {t}l 0\nA> GET {t}k\nA> SET {t}k 3\nA> BLPOP {t}l 0\nA> GET {t}k\nA~\nB SET {t}k 2\nB RPUSH {t}l x y\nA<\nA<\nA<\nA<\nA<",
	"transaction behind":  "A> BLPOP {t}l 0\nA> MULTI\nA> INCR {t}k\nA> EXEC\nA~\nB RPUSH {t}l x\nA<\nA<\nA<\nA<",
	"under WATCH":         "A WATCH {t}k\nA> BLPOP {t}l 0\nA~\nB RPUSH {t}l x\nA<\nA MULTI\nA INCR {t}k\nA EXEC",
	"under WATCH, then":   "A WATCH {t}l\nA> BLPOP {t}l 0\nA~\nB RPUSH {t}l x\nA<\nA MULTI\nA INCR {t}k\nA EXEC",
	"served in MULTI":     "A> BLPOP {t}l 0\nA~\nB MULTI\nB RPUSH {t}l x\nB RPUSH {t}l y\nB LRANGE {t}l 0 -1\nB EXEC\nA<\nB LRANGE {t}l 0 -1",
	"one after the other": "A> BLPOP {t}l 0\nA~\nB RPUSH {t}l x\nA<\nA> BLPOP {t}l 0\nA~\nB RPUSH {t}l y\nA<",
	"other database":      "A SELECT 5\nA> BLPOP {t}l 0\nA~\nB RPUSH {t}l zero\nB SELECT 5\nB RPUSH {t}l five\nA<\nB SELECT 0\nB LRANGE {t}l 0 -1",
	"binary":              "A> BLPOP {t}\x01\xff 0\nA~\nB RPUSH {t}\x01\xff \x02\xfe\nA<",
}

// TestBlocking compares commands that wait with what Redis says.
func TestBlocking(t *testing.T) {
	t.Parallel()
	likeServer(t, oneAndThree, blockings, "2", "3")
}

// TestBlockingOverGroups holds that a command waits at one group only.
func TestBlockingOverGroups(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3)
	a, b := s.keys["g1"][0], s.keys["g2"][0]
	c := s.dial("")
	for _, args := range [][]string{
		{"BLPOP", a, b, "0"}, {"BRPOP", b, a, "0"}, {"BLMOVE", a, b, "LEFT", "LEFT", "0"}, {"BZPOPMIN", a, b, "0"}, {"BLMPOP", "0", "2", a, b, "LEFT"},
		{"XREAD", "BLOCK", "0", "STREAMS", a, b, "0", "0"},
	} {
		wantPrefix(t, c, "-CROSSSLOT Keys in request don't hash to the same group", args...)
	}
	want(t, c, "PONG", "PING")
	s.rest()
}

// TestBlockedLongerThanTimeout blocks for longer than any other request may take.
func TestBlockedLongerThanTimeout(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 1, "timeout: 1500ms")
	key := s.keys["g1"][0]
	for _, c := range []struct{ hello, raw string }{{"2", "*-1\r\n"}, {"3", "_\r\n"}} {
		conn := s.dial(c.hello)
		r, err := conn.Do("BLPOP", key, "4")
		if err != nil || string(r.Raw) != c.raw {
			t.Errorf("RESP%s: BLPOP of nothing: %q, %v; want %q", c.hello, r.Raw, err, c.raw)
		}
		want(t, conn, "PONG", "PING")
	}
	s.rest()
}

// TestBlockedClientLeaves has clients leave while they are blocked, as a whole and by halves, with requests behind: the server
// forgets them, and what is pushed then is for others.
func TestBlockedClientLeaves(t *testing.T) {
	t.Parallel()
	for _, groups := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d groups", groups), func(t *testing.T) {
			t.Parallel()
			s := startSessions(t, groups)
			key := s.keys["g1"][0]
			leave := map[string]func(c *harness.Conn) error{
				"FIN":   func(c *harness.Conn) error { c.Close(); return nil },
				"RST":   (*harness.Conn).Reset,
				"QUIT?": func(c *harness.Conn) error { defer c.Close(); return c.Write(harness.Encode("QUIT")) },
				"pipeline": func(c *harness.Conn) error {
					defer c.Close()
					return c.Write(strings.Repeat(harness.Encode("RPUSH", key, "of the client that has left"), 100))
				},
				"half": (*harness.Conn).CloseWrite,
			}
			for how, f := range leave {
				for _, args := range [][]string{{"BLPOP", key, "0"}, {"BLMOVE", key, "to:{" + key + "}", "LEFT", "LEFT", "0"}, {"XREAD", "BLOCK", "0", "STREAMS", "x:{" + key + "}", "$"}} {
					c := s.dial("")
					if err := c.Write(harness.Encode(args...)); err != nil {
						t.Fatal(err)
					}
					s.blocked("g1", 1)
					if err := f(c); err != nil {
						t.Fatal(err)
					}
					s.blocked("g1", 0)
					other := s.dial("")
					want(t, other, "1", "RPUSH", key, how)
					want(t, other, "["+key+" "+how+"]", "BLPOP", key, "0")
					want(t, other, "0", "EXISTS", "to:{"+key+"}", key)
				}
			}
			s.rest()
		})
	}
}

// TestUnblock ends the wait of a client from another one, by the id that the proxy has given it.
func TestUnblock(t *testing.T) {
	t.Parallel()
	for _, groups := range []int{1, 3} {
		s := startSessions(t, groups)
		key := s.keys["g1"][0]
		a, b := s.dial(""), s.dial("")
		id, err := a.Do("CLIENT", "ID")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			how []string
			raw string
		}{{nil, "*-1\r\n"}, {[]string{"TIMEOUT"}, "*-1\r\n"}, {[]string{"ERROR"}, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"}} {
			unblock := append([]string{"CLIENT", "UNBLOCK", fmt.Sprint(id.Int)}, c.how...)
			want(t, b, "0", unblock...)
			if err := a.Write(harness.Encode("BLPOP", key, "0")); err != nil {
				t.Fatal(err)
			}
			s.blocked("g1", 1)
			want(t, b, "1", unblock...)
			if r, err := a.Receive(); err != nil || string(r.Raw) != c.raw {
				t.Errorf("BLPOP, %v: %q, %v; want %q", unblock, r.Raw, err, c.raw)
			}
			want(t, a, "PONG", "PING")
		}
		want(t, b, "0", "CLIENT", "UNBLOCK", "123456789")
		s.rest()
	}
}

// TestWait asks how many replicas have what was written: without one, with one in every group, and beside other work.
func TestWait(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3)
	c := s.dial("")
	want(t, c, "OK", "SET", s.keys["g1"][0], "1")
	want(t, c, "0", "WAIT", "0", "0")
	want(t, c, "0", "WAIT", "1", "20")
	wantPrefix(t, c, "-ERR", "WAIT", "x", "0")
	wantPrefix(t, c, "-ERR", "WAIT", "1", "-1")
	s.rest()

	f, p := stack(t, harness.FleetOptions{})
	keys := keysIn(t, p, "cache", "w", 1)
	c = dial(t, p.Config.Addr("cache"))
	for i := range 5 {
		for _, g := range f.GroupNames() {
			want(t, c, "OK", "SET", keys[g][0], fmt.Sprint(i))
		}
		want(t, c, "1", "WAIT", "1", "20000")
		for _, g := range f.Groups {
			if got := g.Replicas[0].Must("GET", keys[g.Name][0]).Text(); got != fmt.Sprint(i) {
				t.Errorf("WAIT has returned and the replica of %s has %s, want %d", g.Name, got, i)
			}
		}
	}
}

// TestBlockedCrowd has as many blocked clients as a pool lends links, each served by a push of another, in order.
func TestBlockedCrowd(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3, "session_links: 200")
	const clients = 300
	keyOf := func(i int) string { return fmt.Sprintf("crowd:%d:{%s}", i, s.keys[s.names[i%3]][0]) }
	var conns []*harness.Conn
	for i := range clients {
		c := s.dial(fmt.Sprint(2 + i%2))
		if err := c.Write(harness.Encode("BLPOP", keyOf(i), "0") + harness.Encode("GET", keyOf(i))); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, g := range s.names {
		s.blocked(g, clients/3)
	}
	c := s.dial("")
	for i := range clients {
		want(t, c, "1", "RPUSH", keyOf(i), fmt.Sprint(i))
	}
	for i, conn := range conns {
		if r, err := conn.Receive(); err != nil || r.Text() != fmt.Sprintf("[%s %d]", keyOf(i), i) {
			t.Errorf("client %d: %s, %v", i, r.Text(), err)
		}
		if r, err := conn.Receive(); err != nil || !r.Null {
			t.Errorf("client %d: GET: %s, %v", i, r.Text(), err)
		}
	}
	s.rest()
}
