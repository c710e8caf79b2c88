package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// TestConsole asks everything an operator asks, with redis-cli, of a proxy that works.
func TestConsole(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{})
	_, port, _ := strings.Cut(p.Config.Admin, ":")
	health(t, p.Config.Addr("cache"))
	for _, step := range []struct {
		args  []string
		parts []string
	}{
		{[]string{"PROXY", "HELP"}, []string{"PROXY", "SWITCH", "ROTATE", "ROUTE", "RELOAD"}},
		{[]string{"PROXY", "POOLS"}, []string{"name", "cache", "state", "up", "groups-up", "2"}},
		{[]string{"--json", "PROXY", "POOLS", "cache"}, []string{`"name":"cache"`, `"state":"up"`, `"source":"file"`, `"groups":2`}},
		{[]string{"--json", "PROXY", "MASTERS"}, []string{`"group":"g1"`, `"group":"g2"`, f.Group("g1").Master.Addr()}},
		{[]string{"--json", "PROXY", "SENTINELS", "cache"}, []string{`"active":1`, `"state":"watching"`, f.Sentinels[2].Addr()}},
		{[]string{"-3", "PROXY", "ROUTE", "cache", "{x}a"}, []string{"tag x", "group g"}},
		{[]string{"--json", "PROXY", "SESSIONS"}, []string{`"pool":"cache"`, `"transactions":0`, `"group-links-max":1000`}},
		{[]string{"--json", "PROXY", "CONFIG", "cache", "g1", "GET", "maxmemory"}, []string{`"server":"` + f.Group("g1").Master.Addr(), `"name":"maxmemory","value":"0","cause":""`}},
		{[]string{"PROXY", "INFO", "sessions"}, []string{"# Sessions", "subscribers", "session-links-max", "1000"}},
		{[]string{"PROXY", "CONFIG", "cache", "nosuch", "GET", "*"}, []string{"NOGROUP no such group 'nosuch' in pool 'cache'"}},
		{[]string{"PROXY", "INFO"}, []string{"# "}},
		{[]string{"PROXY", "INFO", "POOLS"}, []string{"cache", "up"}},
		{[]string{"PROXY", "INFO", "MASTERS"}, []string{"g1", f.Group("g1").Master.Addr()}},
		{[]string{"PROXY", "INFO", "SENTINELS"}, []string{f.Sentinels[0].Addr()}},
		{[]string{"PING"}, []string{"PONG"}},
		{[]string{"INFO"}, []string{"redis_version"}},
		{[]string{"COMMAND", "DOCS", "proxy"}, []string{"switch"}},
		{[]string{"PROXY", "POOLS", "nosuch"}, []string{"NOPOOL no such pool 'nosuch'"}},
		{[]string{"PROXY", "MASTERS", "cache", "nosuch"}, []string{"NOGROUP no such group 'nosuch' in pool 'cache'"}},
		{[]string{"PROXY", "SWITCH"}, []string{"ERR wrong number of arguments for 'proxy|switch' command"}},
		{[]string{"CLIENT", "LIST"}, []string{"id="}},
	} {
		r := harness.Run(t, "redis-cli", append([]string{"-p", port}, step.args...)...)
		out := r.Stdout + r.Stderr
		for _, part := range step.parts {
			if !strings.Contains(out, part) {
				t.Errorf("redis-cli %s: no %q in\n%s", strings.Join(step.args, " "), part, out)
			}
		}
	}
	for path, part := range map[string]string{"/metrics": "respgate_build_info", "/livez": "", "/readyz": ""} {
		status, body, err := p.HTTP(path)
		if err != nil || status != http.StatusOK || !strings.Contains(body, part) {
			t.Errorf("%s: status %d, %v; no %q", path, status, err, part)
		}
	}
}

// TestPasswords runs everything with passwords: masters, sentinels, clients, console. None is ever printed.
func TestPasswords(t *testing.T) {
	t.Parallel()
	const master, sentinel, client, operator = "m4ster-secret", "s3ntinel-secret", "cl1ent-secret", "0perator-secret"
	f := fleet(t, harness.FleetOptions{Groups: []string{"g1"}, Password: master, SentinelPassword: sentinel})
	c := harness.NewConfig(t)
	addr := c.SentinelPool("cache", f, fmt.Sprintf("password: %q", client))
	p := harness.StartProxy(t, c)
	p.WaitUp("cache")
	conn := dial(t, addr)
	wantPrefix(t, conn, "-NOAUTH ", "GET", "a")
	wantPrefix(t, conn, "-WRONGPASS ", "AUTH", "wrong")
	want(t, conn, "OK", "AUTH", client)
	want(t, conn, "OK", "SET", "a", "value-secret")
	other := dial(t, addr)
	if r, err := other.Do("HELLO", "3", "AUTH", "default", client); err != nil || r.Kind != '%' {
		t.Errorf("HELLO 3 AUTH: %s, %v", r.Text(), err)
	}
	want(t, other, "value-secret", "GET", "a")

	want(t, conn, "1", "WAIT", "1", "0")
	old := f.Group("g1").Master
	f.Failover("g1")
	p.WaitMaster("cache", "g1", f.WaitMaster("g1", old).Addr())
	want(t, conn, "value-secret", "GET", "a")

	// A wrong password for the masters: only this pool says so.
	c.Pool("locked-out", "groups: [g1]", "sentinels: ["+strings.Join(f.SentinelAddrs(), ", ")+"]", fmt.Sprintf("sentinel_auth: %q", sentinel),
		"redis_auth: \"wr0ng-secret\"", "hold: { timeout: 300ms }")
	p.Write(c.String())
	harness.Eventually(t, harness.Patience, "the console names the cause", func() error {
		r := p.Admin("PROXY", "MASTERS", "locked-out")
		if !strings.Contains(r.Text(), "WRONGPASS") {
			return errorText(r)
		}
		return nil
	})
	wantPrefix(t, dial(t, c.Addr("locked-out")), "-ERR respgate: ", "GET", "a")
	want(t, conn, "value-secret", "GET", "a")
	for _, secret := range []string{master, sentinel, client, "wr0ng-secret", "value-secret"} {
		if strings.Contains(p.Log(), secret) {
			t.Errorf("the log has %q", secret)
		}
		for _, args := range [][]string{{"PROXY", "INFO"}, {"PROXY", "MASTERS"}, {"PROXY", "POOLS"}, {"PROXY", "SENTINELS"}} {
			if strings.Contains(p.Admin(args...).Text(), secret) {
				t.Errorf("%v shows %q", args, secret)
			}
		}
	}

	// The console with a password of its own.
	locked := harness.NewConfig(t)
	locked.ServersPool("one", []string{old.Addr() + ":1 a"})
	text := strings.Replace(locked.String(), "admin: { listen", fmt.Sprintf("admin: { password: %q, stats_password: %q, listen", operator, "stats-only"), 1)
	p2 := harness.StartProxyText(t, locked, text)
	admin := dial(t, locked.Admin)
	wantPrefix(t, admin, "-NOAUTH ", "PROXY", "POOLS")
	wantPrefix(t, admin, "-WRONGPASS ", "AUTH", "no")
	want(t, admin, "OK", "AUTH", "stats-only")
	wantPrefix(t, admin, "[[name one", "PROXY", "POOLS")
	wantPrefix(t, admin, "-NOPERM ", "PROXY", "RELOAD")
	want(t, admin, "OK", "AUTH", operator)
	if r, err := admin.Do("PROXY", "RELOAD"); err != nil || r.Kind == '-' {
		t.Errorf("PROXY RELOAD: %s, %v", r.Text(), err)
	}
	if strings.Contains(p2.Log(), operator) {
		t.Error("the log has the console's password")
	}
}

type errorReply string

func (e errorReply) Error() string { return string(e) }

func errorText(r harness.Reply) error { return errorReply(r.Text()) }

// TestSessionsAreSeen has clients with state of their own: the console and the metrics count them by kind, and the connections
// they take by group, with the bound and who did not get one.
func TestSessionsAreSeen(t *testing.T) {
	t.Parallel()
	a, b := harness.StartRedis(t, harness.RedisOptions{}), harness.StartRedis(t, harness.RedisOptions{})
	c := harness.NewConfig(t)
	addr := c.ServersPool("pair", []string{a.Addr() + ":1 a", b.Addr() + ":1 b"}, "session_links: 4", "databases: 7")
	p := harness.StartProxy(t, c)
	p.WaitUp("pair")
	shows := func(want map[string]string, row func() map[string]string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, fmt.Sprintf("the console shows %v", want), func() error {
			got := row()
			for k, v := range want {
				if got[k] != v {
					return fmt.Errorf("%s is %q, want %q, in %v", k, got[k], v, got)
				}
			}
			return nil
		})
	}
	pool := func() map[string]string { return p.Rows("PROXY", "SESSIONS", "pair")[0] }
	shows(map[string]string{"transactions": "0", "blocked": "0", "subscribers": "0", "links": "0", "group-links-max": "4", "refused": "0", "busiest-group": ""}, pool)

	keys := keysIn(t, p, "pair", "key", 1)
	inA, inB := keys["a"][0], keys["b"][0]
	transaction, blocked, subscriber, monitor := dial(t, addr), dial(t, addr), dial(t, addr), dial(t, addr)
	want(t, transaction, "OK", "WATCH", inA)
	if err := blocked.Write(harness.Encode("BLPOP", inA, "0")); err != nil {
		t.Fatal(err)
	}
	wantPrefix(t, subscriber, "[subscribe news", "SUBSCRIBE", "news")
	want(t, monitor, "OK", "MONITOR")
	shows(map[string]string{
		"transactions": "1", "blocked": "1", "subscribers": "1", "monitors": "1", "tracking": "0",
		"links": "6", "links-idle": "0", "busiest-group": "a", "busiest-links": "4", "refused": "0",
	}, pool)
	wantPrefix(t, dial(t, addr), "-ERR respgate: no session link free: group 'a' has 4, in use", "BLPOP", inA, "1")
	group := func(name string) func() map[string]string {
		return func() map[string]string { return p.Master("pair", name) }
	}
	shows(map[string]string{"session-links": "4", "session-links-idle": "0", "session-links-max": "4", "sessions-refused": "1"}, group("a"))
	shows(map[string]string{"session-links": "2", "sessions-refused": "0"}, group("b"))
	for _, part := range []string{"session_links", "databases"} {
		if !strings.Contains(p.Admin("PROXY", "INFO", "limits").Text(), part) {
			t.Errorf("PROXY INFO limits lacks %s", part)
		}
	}
	for name, value := range map[string]float64{
		`respgate_pinned_sessions{kind="blocked",pool="pair"}`:                                              1,
		`respgate_pinned_sessions{kind="monitor",pool="pair"}`:                                              1,
		`respgate_session_connections{group="a",pool="pair",state="used"}`:                                  4,
		`respgate_sessions_refused_total{group="a",pool="pair"}`:                                            1,
		`respgate_limit_hits_total{limit="session_links",scope="pool 'pair' group 'a'",unit="connections"}`: 1,
	} {
		if got, err := p.Metric(name); err != nil || got != value {
			t.Errorf("%s is %v, %v; want %v", name, got, err, value)
		}
	}

	// Back they go, clean; the subscriber's and the monitor's cannot be reused at once, or at all.
	want(t, transaction, "OK", "UNWATCH")
	want(t, dial(t, addr), "1", "RPUSH", inA, "x")
	if r, err := blocked.Receive(); err != nil || r.Text() != "["+inA+" x]" {
		t.Errorf("BLPOP: %s, %v", r.Text(), err)
	}
	subscriber.Close()
	monitor.Close()
	shows(map[string]string{"transactions": "0", "blocked": "0", "subscribers": "0", "monitors": "0", "links": "0", "busiest-group": "", "refused": "1"}, pool)
	want(t, dial(t, addr), "(nil)", "BLPOP", inB, "0.01")
}

// TestHostileConsole sends garbage to the admin port.
func TestHostileConsole(t *testing.T) {
	t.Parallel()
	r := harness.StartRedis(t, harness.RedisOptions{})
	c := harness.NewConfig(t)
	c.ServersPool("one", []string{r.Addr() + ":1 a"})
	p := harness.StartProxy(t, c)
	p.WaitUp("one")
	attack := func() {
		for _, send := range []string{
			"*1048577\r\n", "*1\r\n$536870913\r\n", "*1\r\n$-2\r\n", "*-5\r\n", strings.Repeat("*1\r\n", 100_000), "\x00\xff\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("x", 1<<20), "*2\r\n$5\r\nPROXY\r\n", "\r\n\r\n",
		} {
			conn, err := harness.Dial(c.Admin)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Write(send) // it may be closed before all is sent
			_ = conn.CloseWrite()
			_, _ = conn.EOF()
			conn.Close()
		}
		if got := p.Admin("PING"); got.Text() != "PONG" {
			t.Errorf("PING: %s", got.Text())
		}
	}
	attack()
	before := p.Baseline()
	attack()
	p.WaitBaseline(before)
}
