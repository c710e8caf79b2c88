package e2e

import (
	"strings"
	"testing"

	"respgate/tests/harness"
)

// TestServerSettings reads and changes settings of real servers through the console: of one master, of all, with a server
// that refuses, with one that is gone.
func TestServerSettings(t *testing.T) {
	t.Parallel()
	const password = "m4ster-secret"
	a := harness.StartRedis(t, harness.RedisOptions{Password: password})
	b := harness.StartRedis(t, harness.RedisOptions{Password: password, Config: []string{"maxmemory 64mb"}})
	strict := harness.StartRedis(t, harness.RedisOptions{Password: password, Config: []string{`rename-command CONFIG ""`}})
	c := harness.NewConfig(t)
	auth := "redis_auth: " + password
	c.ServersPool("pair", []string{a.Addr() + ":1 a", b.Addr() + ":1 b"}, auth)
	c.ServersPool("mixed", []string{a.Addr() + ":1 a", strict.Addr() + ":1 strict", b.Addr() + ":1 b"}, auth)
	c.ServersPool("locked-out", []string{a.Addr() + ":1 a"}, "redis_auth: wr0ng-secret")
	p := harness.StartProxy(t, c)
	p.WaitUp("pair", "mixed", "locked-out")

	get := func(pool, group, pattern string) map[string]map[string]string {
		t.Helper()
		byGroup := map[string]map[string]string{}
		for _, r := range p.Rows("PROXY", "CONFIG", pool, group, "GET", pattern) {
			if byGroup[r["group"]] == nil {
				byGroup[r["group"]] = map[string]string{"server": r["server"], "cause": r["cause"]}
			}
			byGroup[r["group"]][r["name"]] = r["value"]
		}
		return byGroup
	}
	expect := func(want string, args ...string) {
		t.Helper()
		if got := p.Admin(append([]string{"PROXY", "CONFIG"}, args...)...).Text(); !strings.HasPrefix(got, want) {
			t.Errorf("PROXY CONFIG %s: %q, want %q...", strings.Join(args, " "), got, want)
		}
	}
	memory := func(want string, r *harness.Redis) {
		t.Helper()
		if got := r.Must("CONFIG", "GET", "maxmemory").Map()["maxmemory"]; got != want {
			t.Errorf("%s has maxmemory %s, want %s", r.Addr(), got, want)
		}
	}

	rows := get("pair", "ALL", "maxmemory")
	if rows["a"]["maxmemory"] != "0" || rows["b"]["maxmemory"] != "67108864" || rows["a"]["server"] != a.Addr() || rows["b"]["server"] != b.Addr() {
		t.Errorf("maxmemory of all: %v", rows)
	}
	whole := get("pair", "a", "*")
	if len(whole) != 1 || len(whole["a"]) < 100 || whole["a"]["requirepass"] != "***" || whole["a"]["masterauth"] != "***" || whole["a"]["masteruser"] != "" {
		t.Errorf("everything of a: %v", whole)
	}
	expect("OK", "pair", "b", "SET", "maxmemory", "32mb")
	memory("0", a)
	memory("33554432", b)
	expect("OK", "pair", "all", "SET", "maxmemory", "48mb")
	memory("50331648", a)
	memory("50331648", b)
	expect("-ERR group 'a', server "+a.Addr()+": ERR ", "pair", "ALL", "SET", "maxmemory", "lots")
	expect("-ERR group 'a', server "+a.Addr()+": ERR ", "pair", "a", "SET", "nosuch", "1")
	expect("-ERR group 'a', server "+a.Addr()+": AUTH: WRONGPASS", "locked-out", "a", "GET", "*")

	// One of three refuses: what came before it is done, what comes behind it is not tried.
	expect("-ERR group 'strict', server "+strict.Addr()+": ERR unknown command", "mixed", "ALL", "SET", "maxmemory", "16mb")
	memory("16777216", a)
	memory("50331648", b)
	rows = get("mixed", "ALL", "maxmemory")
	if !strings.Contains(rows["strict"]["cause"], "unknown command") || rows["a"]["maxmemory"] != "16777216" || rows["b"]["maxmemory"] != "50331648" {
		t.Errorf("maxmemory of three: %v", rows)
	}

	b.Kill()
	expect("-ERR group 'b', server "+b.Addr()+": dial tcp", "pair", "b", "SET", "maxmemory", "1mb")
	for _, secret := range []string{password, "wr0ng-secret"} {
		if strings.Contains(p.Log(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	for _, want := range []string{"config set", "maxmemory"} {
		p.WaitLog(want)
	}
}
