package e2e

import (
	"fmt"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// monitored reads MONITOR's lines until one ends with the text.
func monitored(t *testing.T, c *harness.Conn, end string) (line string) {
	t.Helper()
	for {
		r, err := c.Receive()
		if err != nil || r.Kind != '+' {
			t.Fatalf("%s, %v; want a line of MONITOR that ends with %s", r.Text(), err, end)
		}
		if strings.HasSuffix(r.Str, end) {
			return r.Str
		}
	}
}

// TestMonitor holds that MONITOR shows what the servers of every group are asked, in the form that Redis has, with the group's name and
// the server's address, and outlives its server.
func TestMonitor(t *testing.T) {
	t.Parallel()
	for _, groups := range []int{1, 3} {
		for _, hello := range []string{"2", "3"} {
			t.Run(fmt.Sprintf("%d groups, RESP%s", groups, hello), func(t *testing.T) {
				t.Parallel()
				s := startSessions(t, groups)
				m, other := s.dial(hello), s.dial("")
				want(t, m, "OK", "MONITOR")
				see := func(g string, i int) {
					t.Helper()
					key := s.keys[g][0]
					want(t, other, "OK", "SET", key, fmt.Sprint(i), "EX", "100")
					line := monitored(t, m, fmt.Sprintf(`] "SET" "%s" "%d" "EX" "100"`, key, i))
					seconds, rest, _ := strings.Cut(line, " ")
					var at float64
					if _, err := fmt.Sscan(seconds, &at); err != nil || at < 1e9 || !strings.HasPrefix(rest, "[0 cache/"+g+" 127.0.0.1:") {
						t.Errorf("%q, want <seconds> [0 cache/%s <address>] ...", line, g)
					}
				}
				for i := range 30 {
					see(s.names[i%groups], i)
				}
				want(t, other, "OK", "SELECT", "5")
				want(t, other, "OK", "SET", s.keys["g1"][0], "five")
				if line := monitored(t, m, `"SET" "`+s.keys["g1"][0]+`" "five"`); !strings.Contains(line, " [5 cache/g1 ") {
					t.Errorf("%q, want database 5", line)
				}
				want(t, other, "OK", "SELECT", "0")
				// Strange bytes are shown, not sent.
				want(t, other, "OK", "SET", s.keys["g1"][0], "a\r\n+b\x00\xff\"")
				monitored(t, m, `"a\r\n+b\x00\xff\""`)

				// What Redis refuses to one that monitors.
				wantMonitored(t, m, "-ERR Replica can't interact with the keyspace", "GET", s.keys["g1"][0])
				wantMonitored(t, m, "PONG", "PING")

				s.servers["g1"].Kill()
				s.servers["g1"].Restart()
				s.p.WaitLog("subscribed again")
				see("g1", 99)
				m.Close()
				s.spies["g1"].again()
				s.rest()
			})
		}
	}
}

// wantMonitored wants a reply among MONITOR's lines.
func wantMonitored(t *testing.T, c *harness.Conn, text string, args ...string) {
	t.Helper()
	if err := c.Write(harness.Encode(args...)); err != nil {
		t.Fatal(err)
	}
	for {
		r, err := c.Receive()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if r.Text() == text {
			return
		}
		if r.Kind != '+' || !strings.Contains(r.Str, "] \"") {
			t.Fatalf("%v: %s, want %s or a line of MONITOR", args, r.Text(), text)
		}
	}
}

// TestMonitorEnds ends MONITOR by RESET and by leaving: no line comes after, and no server has a monitor left.
func TestMonitorEnds(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3)
	m, other := s.dial(""), s.dial("")
	for range 5 {
		want(t, m, "OK", "MONITOR")
		for _, g := range s.names {
			if err := s.spies[g].counts("O", 1); err != nil {
				t.Error(err)
			}
		}
		wantMonitored(t, m, "RESET", "RESET")
		for _, g := range s.names {
			want(t, other, "OK", "SET", s.keys[g][0], "1")
		}
		want(t, m, "1", "GET", s.keys["g1"][0])
		s.rest()
	}
	want(t, m, "OK", "MONITOR")
	m.Close()
	s.rest()
}

// replies are scripts for play about CLIENT REPLY.
var replies = map[string]string{
	"OFF":               "A> CLIENT REPLY OFF\nA> SET {t}k 1\nA> GET {t}k\nA> NOSUCH\nA> PING\nA CLIENT REPLY ON\nA GET {t}k",
	"OFF, split":        "A> CLIENT REPLY OFF\nA> MSET {t}a 1 {t}b 2\nA> MGET {t}a {t}b\nA CLIENT REPLY ON\nA MGET {t}b {t}a",
	"OFF, transaction":  "A> CLIENT REPLY OFF\nA> MULTI\nA> INCR {t}k\nA> EXEC\nA CLIENT REPLY ON\nA GET {t}k",
	"OFF, blocking":     "B RPUSH {t}l x y\nA> CLIENT REPLY OFF\nA> BLPOP {t}l 0\nA CLIENT REPLY ON\nA LRANGE {t}l 0 -1",
	"OFF, SKIP":         "A> CLIENT REPLY OFF\nA> CLIENT REPLY SKIP\nA> GET {t}k\nA> GET {t}k\nA CLIENT REPLY ON\nA GET {t}k",
	"OFF, RESET":        "A> CLIENT REPLY OFF\nA> SET {t}k 1\nA RESET\nA GET {t}k",
	"SKIP":              "A> CLIENT REPLY SKIP\nA> SET {t}k 1\nA GET {t}k\nA GET {t}k",
	"SKIP twice":        "A> CLIENT REPLY SKIP\nA> CLIENT REPLY SKIP\nA> GET {t}k\nA GET {t}k",
	"SKIP of an error":  "A> CLIENT REPLY SKIP\nA> NOSUCH\nA GET {t}k",
	"SKIP of a pipe":    "A> GET {t}k\nA> CLIENT REPLY SKIP\nA> SET {t}k 1\nA> GET {t}k\nA<\nA<",
	"SKIP in the midst": "A> MULTI\nA> SET {t}k 1\nA> EXEC\nA> CLIENT REPLY SKIP\nA> GET {t}k\nA> INCR {t}k\nA<\nA<\nA<\nA<",
	"ON":                "A CLIENT REPLY ON\nA CLIENT REPLY ON\nA GET {t}k",
	"nonsense":          "A CLIENT REPLY MAYBE\nA CLIENT REPLY\nA CLIENT REPLY ON ON\nA GET {t}k",
}

// TestClientReply compares CLIENT REPLY with what Redis says, and does not.
func TestClientReply(t *testing.T) {
	t.Parallel()
	likeServer(t, oneAndThree, replies, "2", "3")
}
