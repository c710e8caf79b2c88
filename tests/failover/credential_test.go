package failover

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// guarded is a stage whose servers have the passwords.
func guarded(t *testing.T, passwords map[string]string, config ...string) *stage {
	t.Helper()
	s := &stage{t: t, servers: map[string]*harness.Redis{}}
	for range 3 {
		s.fakes = append(s.fakes, harness.StartFakeSentinel(t, 2))
	}
	for _, g := range []string{"g1", "g2"} {
		password, ok := passwords[g]
		if !ok {
			continue
		}
		s.groups = append(s.groups, g)
		s.servers[g] = harness.StartRedis(t, harness.RedisOptions{Password: password, Config: config})
		for _, fake := range s.fakes {
			fake.Name(g, "127.0.0.1", s.servers[g].Port, 1)
		}
	}
	return s
}

// TestFault48WrongPassword gives one group's master a password that the proxy does not have: that group says so, and the
// log does not repeat it without end.
func TestFault48WrongPassword(t *testing.T) {
	t.Parallel()
	s := guarded(t, map[string]string{"g1": "right", "g2": "other"})
	s.open(s.sentinels(), "redis_auth: right", "hold: { timeout: 300ms }")
	s.proxy.WaitMaster("cache", "g1", s.servers["g1"].Addr())
	conn := dial(t, s.addr())
	key := keyIn(t, s.proxy, "g2")
	waitError(t, conn, "WRONGPASS", "SET", key, "1")
	wantError(t, conn, []string{"respgate: ", "group 'g2'"}, "SET", key, "1")
	l := harness.StartLedger(t, harness.LedgerOptions{Addr: s.addr(), Groups: []string{"g1"}, Route: s.proxy.Route("cache")})
	l.Progress(300)
	untouched(t, l.Finish(s.servers))
	lines, told := 0, map[string]time.Time{}
	for line := range strings.Lines(s.proxy.Log()) {
		if !strings.Contains(line, "WRONGPASS") || strings.Contains(line, `"level":"DEBUG"`) {
			continue
		}
		lines++
		at, same := logged(t, line)
		if last, ok := told[same]; ok && at.Sub(last) < 55*time.Second { // once a minute, and a log may be late
			t.Errorf("told %v before as well: %s", at.Sub(last), line)
		}
		told[same] = at
	}
	if lines == 0 || lines > 8 {
		t.Errorf("%d lines of the log tell of the wrong password, want a few", lines)
	}
}

// logged is when a line was logged, and all the rest of it.
func logged(t *testing.T, line string) (at time.Time, rest string) {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(line), &all); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(all["time"]))
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	delete(all, "time")
	return at, fmt.Sprint(all)
}

// TestFault48NewMasterRefuses fails a group over to a master with another password, while the old one lives on and says it
// is a master: what it acknowledged now would be lost, so it is sent nothing more.
func TestFault48NewMasterRefuses(t *testing.T) {
	t.Parallel()
	s := guarded(t, map[string]string{"g1": "right"})
	s.open(s.sentinels(), "redis_auth: right", "hold: { timeout: 500ms }")
	s.proxy.WaitUp("cache")
	conn := dial(t, s.addr())
	want(t, conn, "OK", "SET", "a", "1")
	fresh := harness.StartRedis(t, harness.RedisOptions{Password: "other"})
	s.announce("g1", "127.0.0.1", fresh.Port, 2)
	waitError(t, conn, "WRONGPASS", "SET", "a", "2")
	for range 5 {
		wantError(t, conn, []string{"group 'g1'", fresh.Addr(), "WRONGPASS"}, "SET", "a", "3")
	}
	fresh.Must("CONFIG", "SET", "requirepass", "right")
	fresh.Password = "right"
	s.proxy.WaitMaster("cache", "g1", fresh.Addr())
	waitReply(t, conn, "OK", "SET", "a", "4")
}

// TestFault49PasswordRotated changes the master's password while the proxy is connected, and then the proxy's: links
// that are there go on, and those that come need the new one.
func TestFault49PasswordRotated(t *testing.T) {
	t.Parallel()
	s := guarded(t, map[string]string{"g1": "first"})
	s.open(s.sentinels(), "redis_auth: first", "hold: { timeout: 30s }")
	s.proxy.WaitUp("cache")
	l := s.load()
	l.Progress(50)
	m := s.servers["g1"]
	m.Must("CONFIG", "SET", "requirepass", "second")
	m.Password = "second"
	l.Progress(100)
	c := s.proxy.Config
	c.Pool("cache", append(harness.SentinelLines(s.groups, s.sentinels(), harness.FleetOptions{}), "redis_auth: second", "hold: { timeout: 30s }")...)
	s.proxy.Write(c.String())
	if r := s.proxy.Admin("PROXY", "RELOAD"); r.Kind == '-' {
		t.Fatalf("PROXY RELOAD: %s", r.Text())
	}
	m.Must("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	l.Progress(100)
	got := l.Finish(s.servers)[0]
	sound(t, got, 4) // what was in flight when the links were killed
}

// TestFault50RoleNotPermitted forbids ROLE: INFO tells the same. Without both, the error says which permission is missing.
func TestFault50RoleNotPermitted(t *testing.T) {
	t.Parallel()
	s := guarded(t, map[string]string{"g1": "", "g2": ""}, "user proxy on >secret ~* &* +@all -role")
	s.servers["g2"].Must("ACL", "SETUSER", "proxy", "-info")
	s.open(s.sentinels(), "redis_user: proxy", "redis_auth: secret", "hold: { timeout: 300ms }")
	s.proxy.WaitMaster("cache", "g1", s.servers["g1"].Addr())
	conn := dial(t, s.addr())
	want(t, conn, "OK", "SET", keyIn(t, s.proxy, "g1"), "1")
	key := keyIn(t, s.proxy, "g2")
	waitError(t, conn, "neither ROLE nor INFO is permitted", "SET", key, "1")
	wantError(t, conn, []string{"respgate: ", "group 'g2'", "+role"}, "SET", key, "1")
	s.servers["g2"].Must("ACL", "SETUSER", "proxy", "+info")
	waitReply(t, conn, "OK", "SET", key, "2")
	want(t, conn, fmt.Sprint(2), "GET", key)
}
