package e2e

import (
	"fmt"
	"slices"
	"testing"

	"respgate/tests/harness"
)

// trackings are scripts for play about client-side caching.
var trackings = map[string]string{
	"read":            "A CLIENT TRACKING ON\nA GET {t}k\nB SET {t}k 1\nA<\nB SET {t}k 2\nA PING\nA GET {t}k\nB SET {t}k 3\nA<",
	"not read":        "A CLIENT TRACKING ON\nB SET {t}k 1\nA PING",
	"several":         "A CLIENT TRACKING ON\nA MGET {t}a {t}b\nB SET {t}b 1\nA<\nB SET {t}a 1\nA<",
	"own write":       "A CLIENT TRACKING ON\nA GET {t}k\nA SET {t}k 1\nA<\nA GET {t}k",
	"NOLOOP":          "A CLIENT TRACKING ON NOLOOP\nA GET {t}k\nA SET {t}k 1\nA GET {t}k\nB SET {t}k 2\nA<",
	"OFF":             "A CLIENT TRACKING ON\nA GET {t}k\nA CLIENT TRACKING OFF\nB SET {t}k 1\nA PING",
	"ON again":        "A CLIENT TRACKING ON\nA GET {t}k\nA CLIENT TRACKING ON\nB SET {t}k 1\nA<",
	"BCAST":           "A CLIENT TRACKING ON BCAST PREFIX {t}x\nB SET {t}xy 1\nA<\nB SET {t}y 1\nA PING\nB DEL {t}xy\nA<",
	"BCAST, several":  "A CLIENT TRACKING ON BCAST PREFIX {t}x PREFIX {t}y\nB SET {t}y1 1\nA<\nB SET {t}x1 1\nA<",
	"BCAST, overlap":  "A CLIENT TRACKING ON BCAST PREFIX {t}x PREFIX {t}xy\nA GET {t}x",
	"OPTIN":           "A CLIENT TRACKING ON OPTIN\nA GET {t}a\nA CLIENT CACHING YES\nA GET {t}b\nA GET {t}c\nB SET {t}a 1\nB SET {t}c 1\nB SET {t}b 1\nA<\nA PING",
	"OPTIN, MULTI":    "A CLIENT TRACKING ON OPTIN\nA> CLIENT CACHING YES\nA> MULTI\nA> PTTL {t}k\nA> GET {t}k\nA> EXEC\nA<\nA<\nA<\nA<\nA<\nB SET {t}k 1\nA<",
	"OPTOUT":          "A CLIENT TRACKING ON OPTOUT\nA GET {t}a\nA CLIENT CACHING NO\nA GET {t}b\nB SET {t}b 1\nB SET {t}a 1\nA<\nA PING",
	"CACHING alone":   "A CLIENT CACHING YES\nA CLIENT TRACKING ON\nA CLIENT CACHING YES\nA CLIENT TRACKING OFF\nA CLIENT TRACKING ON OPTIN\nA CLIENT CACHING NO\nA CLIENT CACHING MAYBE",
	"nonsense":        "A CLIENT TRACKING\nA CLIENT TRACKING MAYBE\nA CLIENT TRACKING ON NOSUCH\nA CLIENT TRACKING ON OPTIN OPTOUT\nA CLIENT TRACKING ON PREFIX {t}\nA CLIENT TRACKING ON BCAST OPTIN\nA GET {t}k",
	"transaction":     "A CLIENT TRACKING ON\nA WATCH {t}k\nA GET {t}k\nA MULTI\nA GET {t}j\nA EXEC\nB SET {t}j 1\nA<\nB SET {t}k 1\nA<",
	"conflict":        "A CLIENT TRACKING ON\nA WATCH {t}k\nA GET {t}k\nB SET {t}k 1\nA<\nA MULTI\nA INCR {t}k\nA EXEC\nA GET {t}k\nB DEL {t}k\nA<",
	"blocking":        "A CLIENT TRACKING ON\nA GET {t}k\nA> BLPOP {t}l 0\nA~\nB SET {t}k 1\nA<\nB RPUSH {t}l x\nA<\nA GET {t}k\nB SET {t}k 2\nA<",
	"subscribed":      "A CLIENT TRACKING ON\nA SUBSCRIBE {t}ch\nA GET {t}k\nB PUBLISH {t}ch hi\nA<\nB SET {t}k 1\nA<\nA UNSUBSCRIBE {t}ch\nA GET {t}k\nB SET {t}k 2\nA<",
	"script":          "A CLIENT TRACKING ON\nA EVAL \"return redis.call('get',KEYS[1])\" 1 {t}k\nB SET {t}k 1\nA<",
	"SELECT":          "A CLIENT TRACKING ON\nA SELECT 5\nA GET {t}k\nB SELECT 5\nB SET {t}k 1\nA<",
	"RESET":           "A CLIENT TRACKING ON\nA GET {t}k\nA RESET\nB SET {t}k 1\nA PING\nA GET {t}k",
	"INFO":            "A CLIENT TRACKINGINFO\nA CLIENT TRACKING ON\nA CLIENT TRACKINGINFO\nA CLIENT TRACKING OFF\nA CLIENT TRACKINGINFO\nA CLIENT GETREDIR",
	"expired":         "A CLIENT TRACKING ON\nB SET {t}k 1\nA GET {t}k\nB PEXPIRE {t}k 1\nA<",
	"two clients":     "A CLIENT TRACKING ON\nC CLIENT TRACKING ON\nA GET {t}k\nC GET {t}k\nB SET {t}k 1\nA<\nC<",
	"asked in a pipe": "A> CLIENT TRACKING ON\nA> GET {t}a\nA> GET {t}b\nA<\nA<\nA<\nB SET {t}b 1\nA<\nB SET {t}a 1\nA<",
}

// refusedTrackings are scripts for play in which a change of the mode is refused. Over several groups the links are replaced then, and the
// client is told to forget everything.
var refusedTrackings = map[string]string{
	"other mode": "A CLIENT TRACKING ON BCAST\nA CLIENT TRACKING ON\nA CLIENT TRACKING ON OPTIN\nA CLIENT TRACKING OFF\nA CLIENT TRACKING ON OPTIN",
}

// TestTracking compares client-side caching with what Redis says.
func TestTracking(t *testing.T) {
	t.Parallel()
	likeServer(t, []int{1}, refusedTrackings, "3")
	likeServer(t, oneAndThree, trackings, "3")
}

// track opens a RESP3 connection with client-side caching.
func (s *sessions) track(args ...string) *harness.Conn {
	s.t.Helper()
	c := s.dial("3")
	want(s.t, c, "OK", append([]string{"CLIENT", "TRACKING", "ON"}, args...)...)
	return c
}

// TestTrackingOverGroups holds that invalidations come from every group, those of a split request too.
func TestTrackingOverGroups(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3)
	other := s.dial("")
	var keys []string
	for _, g := range s.names {
		keys = append(keys, s.keys[g][0])
	}
	c := s.track()
	for range 20 {
		want(t, other, "OK", "MSET", keys[0], "1", keys[1], "2", keys[2], "3")
		want(t, c, "[1 2 3]", append([]string{"MGET"}, keys...)...)
		want(t, other, "OK", "MSET", keys[0], "4", keys[1], "5", keys[2], "6")
		var gone []string
		for range keys {
			r, err := c.Receive()
			if err != nil || r.Kind != '>' || len(r.Elems) != 2 || r.Elems[0].Str != "invalidate" || len(r.Elems[1].Elems) != 1 {
				t.Fatalf("%s, %v; want an invalidation", r.Text(), err)
			}
			gone = append(gone, r.Elems[1].Elems[0].Str)
		}
		slices.Sort(gone)
		if want := slices.Sorted(slices.Values(keys)); !slices.Equal(gone, want) {
			t.Fatalf("invalidated: %v, want %v", gone, want)
		}
	}
	// One that hears of everything.
	all := s.track("BCAST")
	for _, k := range keys {
		want(t, other, "1", "DEL", k)
		receive(t, all, "[invalidate ["+k+"]]")
	}
	all.Close()
	c.Close()
	s.rest()
}

// TestTrackingIsFlushed kills and restarts a server of clients that cache: they are told to forget everything, in every mode, and
// hear of changes at the server that is there now.
func TestTrackingIsFlushed(t *testing.T) {
	t.Parallel()
	for _, groups := range []int{1, 3} {
		for name, mode := range map[string][]string{"default": nil, "BCAST": {"BCAST", "PREFIX", "s:"}, "OPTIN": {"OPTIN"}} {
			t.Run(fmt.Sprintf("%d groups, %s", groups, name), func(t *testing.T) {
				t.Parallel()
				s := startSessions(t, groups)
				key := s.keys["g1"][0]
				c, other := s.track(mode...), s.dial("")
				read := func() {
					t.Helper()
					if name == "OPTIN" {
						flushed(t, c, "OK", "CLIENT", "CACHING", "YES")
					}
					flushed(t, c, "(nil)", "GET", key)
				}
				read()
				for i := range 2 {
					s.servers["g1"].Kill()
					receive(t, c, "[invalidate (nil)]")
					s.servers["g1"].Restart()
					read()
					want(t, other, "OK", "SET", key, fmt.Sprint(i))
					receive(t, c, "[invalidate ["+key+"]]")
				}
				c.Close()
				s.spies["g1"].again()
				s.rest()
			})
		}
	}
}

// flushed wants a reply, before which the client may be told once more to forget everything.
func flushed(t *testing.T, c *harness.Conn, text string, args ...string) {
	t.Helper()
	r, err := c.Do(args...)
	for err == nil && r.Text() == "[invalidate (nil)]" {
		r, err = c.Receive()
	}
	if err != nil || r.Text() != text {
		t.Fatalf("%v: %s, %v; want %s", args, r.Text(), err, text)
	}
}

// TestTrackingFollowsMaster fails a group over: what was cached of the old master is void, and the new one tells of changes.
func TestTrackingFollowsMaster(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{}, "hold: { timeout: 25s }")
	addr := p.Config.Addr("cache")
	key := keysIn(t, p, "cache", "s", 1)["g1"][0]
	c, other := dial(t, addr), dial(t, addr)
	if _, err := c.Do("HELLO", "3"); err != nil {
		t.Fatal(err)
	}
	want(t, c, "OK", "CLIENT", "TRACKING", "ON")
	want(t, other, "OK", "SET", key, "1")
	want(t, c, "1", "GET", key)
	want(t, other, "1", "WAIT", "1", "0")
	old := f.Group("g1").Master
	f.Failover("g1")
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	receive(t, c, "[invalidate (nil)]")
	flushed(t, c, "1", "GET", key)
	want(t, other, "OK", "SET", key, "2")
	receive(t, c, "[invalidate ["+key+"]]")
}
