package conf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// changesOf are, for each key, what Diff must say when it goes from its default, or from the base of the test, to another value.
var changesOf = map[string]struct {
	value  string // as the file has it
	old    string
	new    string
	effect Effect
}{
	"admin.listen":            {`"127.0.0.1:1"`, "127.0.0.1:7079", "127.0.0.1:1", Rebind},
	"admin.password":          {"pw-canary", "", "***", Live},
	"admin.stats_password":    {"pw-canary", "", "***", Live},
	"log.level":               {"error", "info", "error", Live},
	"log.format":              {"text", "auto", "text", Restart},
	"metrics.listen":          {`""`, "127.0.0.1:9179", "", Rebind},
	"metrics.twemproxy_stats": {"127.0.0.1:2", "", "127.0.0.1:2", Rebind},
	"limits.max_clients":      {"20000", "10000", "20000", Live},
	"limits.memory":           {"1gb", "512mb", "1gb", Live},
	"loops":                   {"4", "0", "4", Restart},
	"batch":                   {"50us", "150us", "50us", Live},
	"state_dir":               {"/other", "/state", "/other", Restart},
	"proxy_id":                {"other", "id", "other", Restart},

	"listen":               {`"h:2"`, "h:1", "h:2", Rebind},
	"backlog":              {"1024", "512", "1024", Rebind},
	"reuseport":            {"true", "false", "true", Rebind},
	"tcpkeepalive":         {"true", "false", "true", Live},
	"password":             {"pw-canary", "", "***", Live},
	"moving_endpoint":      {"lb:6379", "", "lb:6379", Live},
	"client_buffer":        {"1mb", "32mb", "1mb", Live},
	"pipeline":             {"64kb", "1mb", "64kb", Live},
	"timeout":              {"500", "3s", "500ms", Live},
	"hash":                 {"md5", "fnv1a_64", "md5", Live},
	"hash_tag":             {`"{}"`, "", "{}", Live},
	"distribution":         {"modula", "ketama", "modula", Live},
	"servers":              {"[h:9:2]", "[h:9:1]", "[h:9:2]", Links},
	"server_connections":   {"2", "1", "2", Links},
	"databases":            {"64", "16", "64", Live},
	"session_links":        {"200", "1000", "200", Live},
	"preconnect":           {"true", "false", "true", Live},
	"redis_user":           {"u", "", "u", Links},
	"redis_auth":           {"pw-canary", "***", "***", Links},
	"redis_db":             {"1", "0", "1", Links},
	"auto_eject_hosts":     {"true", "false", "true", Live},
	"server_retry_timeout": {"1s", "30s", "1s", Live},
	"server_failure_limit": {"3", "2", "3", Live},

	"groups":             {"[g, {name: h, weight: 2}]", "[g]", "[g, h (weight 2)]", Links},
	"sentinels":          {"[s:1, s:2, s:4]", "[s:1, s:2, s:3]", "[s:1, s:2, s:4]", Links},
	"sentinel_user":      {"u", "", "u", Links},
	"sentinel_auth":      {"pw-canary", "***", "***", Links},
	"sentinel_heartbeat": {"2s", "1s", "2s", Live},
	"sentinel_missed":    {"4", "3", "4", Live},
	"sentinel_timeout":   {"1s", "2s", "1s", Live},
	"sentinel_links":     {"1", "0", "1", Links},
	"authority_lease":    {"0", "auto", "0", Live},
	"on_authority_lost":  {"serve", "reject", "serve", Live},
	"follow":             {"early", "announced", "early", Live},
	"hold.timeout":       {"1s", "auto", "1s", Live},
	"hold.requests":      {"0", "10000", "0", Live},
	"hold.bytes":         {"1mb", "32mb", "1mb", Live},

	"manager.addresses": {"[m:1, m:2]", "[m:1]", "[m:1, m:2]", Links},
	"manager.cluster":   {"d", "c", "d", Links},
	"manager.user":      {"u", "", "u", Links},
	"manager.password":  {"pw-canary", "***", "***", Links},
	"manager.heartbeat": {"2s", "1s", "2s", Live},
	"manager.timeout":   {"1s", "2s", "1s", Live},
}

// TestDiffOfEveryKey changes each key of the tables, alone, and holds that Diff tells that key and no other.
func TestDiffOfEveryKey(t *testing.T) {
	for i := range globalKeys {
		k := &globalKeys[i]
		if k.Name == poolsKey {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			base := map[string]string{"state_dir": "/state", "proxy_id": "id"}
			if k.Name == "admin.stats_password" {
				base["admin.password"] = "other"
			}
			pools := map[string]string{"pools.p.listen": `"h:1"`, "pools.p.servers": "[h:9:1]"}
			got := diffOf(t, k, "", base, pools)
			if diff := cmp.Diff([]KeyChange{wanted(t, k)}, got.Globals); diff != "" || len(got.PoolsChanged) > 0 {
				t.Errorf("(-want +got)\n%s%v", diff, got.Lines())
			}
			if restart := len(got.Restart()) > 0; restart != (k.Effect == Restart) {
				t.Errorf("Restart: %v", got.Restart())
			}
		})
	}
	for i := range poolKeys {
		k := &poolKeys[i]
		if k.unused {
			continue
		}
		t.Run("pools."+k.Name, func(t *testing.T) {
			got := diffOf(t, k, "pools.p.", map[string]string{"proxy_id": "id", "state_dir": "/state"}, poolWith(k.Name))
			want := map[string][]KeyChange{"p": {wanted(t, k)}}
			if diff := cmp.Diff(want, got.PoolsChanged); diff != "" || len(got.Globals) > 0 {
				t.Errorf("(-want +got)\n%s%v", diff, got.Lines())
			}
		})
	}
}

// poolWith returns a pool of a source that the key has an effect in.
func poolWith(key string) map[string]string {
	pool := map[string]string{"pools.p.listen": `"h:1"`, "pools.p.redis_auth": "old-canary", "pools.p.sentinel_auth": "old-canary"}
	switch {
	case strings.HasPrefix(key, "manager."):
		pool["pools.p.manager.addresses"], pool["pools.p.manager.cluster"] = "[m:1]", "c"
		pool["pools.p.manager.password"] = "old-canary"
	case key == "servers":
		pool["pools.p.servers"] = "[h:9:1]"
	default:
		pool["pools.p.groups"], pool["pools.p.sentinels"] = "[g]", "[s:1, s:2, s:3]"
	}
	return pool
}

func wanted(t *testing.T, k *key) KeyChange {
	t.Helper()
	c, ok := changesOf[k.Name]
	if !ok {
		t.Fatalf("%s has no row in changesOf", k.Name)
	}
	return KeyChange{Key: k.Name, Old: c.old, New: c.new, Effect: c.effect}
}

// diffOf compares the file of the keys given with the one where k has its other value.
func diffOf(t *testing.T, k *key, prefix string, global, pool map[string]string) Changes {
	t.Helper()
	keys := map[string]string{}
	for _, m := range []map[string]string{global, pool} {
		for name, v := range m {
			keys[name] = v
		}
	}
	before, err := Parse("f.yml", []byte(fileOf(keys)))
	must(t, err)
	keys[prefix+k.Name] = changesOf[k.Name].value
	after, err := Parse("f.yml", []byte(fileOf(keys)))
	must(t, err)
	changes := Diff(before, after)
	if text := strings.Join(changes.Lines(), "\n"); strings.Contains(text, "canary") || changes.Empty() {
		t.Errorf("lines: %s", text)
	}
	if back := Diff(after, before); len(back.Lines()) != len(changes.Lines()) {
		t.Errorf("backwards: %v", back.Lines())
	}
	return changes
}

// fileOf writes dotted keys as a file.
func fileOf(keys map[string]string) string {
	tree := map[string]any{}
	for name, v := range keys {
		at, parts := tree, strings.Split(name, ".")
		for _, part := range parts[:len(parts)-1] {
			if at[part] == nil {
				at[part] = map[string]any{}
			}
			at = at[part].(map[string]any)
		}
		at[parts[len(parts)-1]] = v
	}
	return flow(tree)
}

func flow(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return v.(string)
	}
	var fields []string
	for name, inner := range m {
		fields = append(fields, name+": "+flow(inner))
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

func TestDiffOfNothing(t *testing.T) {
	one, err := Parse("f.yml", []byte(`pools: {a: {listen: "h:1", servers: ["h:9:1"]}, b: {listen: "h:2", servers: ["h:9:1"]}}`))
	must(t, err)
	for _, c := range []struct {
		name          string
		before, after *Config
		want          []string
	}{
		{"both", nil, nil, nil},
		{"the same", one, one, nil},
		{"start", nil, one, []string{"pools.a: added", "pools.b: added"}},
		{"end", one, nil, []string{"pools.a: removed", "pools.b: removed"}},
	} {
		got := Diff(c.before, c.after)
		if diff := cmp.Diff(c.want, got.Lines()); diff != "" || got.Empty() != (len(c.want) == 0) {
			t.Errorf("%s: empty %v (-want +got)\n%s", c.name, got.Empty(), diff)
		}
	}
}

// Of long lists only what differs is shown, and not without end.
func TestDiffOfLongLists(t *testing.T) {
	groups := func(from, to int) *Config {
		list := ""
		for i := from; i < to; i++ {
			list += fmt.Sprintf("group%d,", i)
		}
		cfg, err := Parse("f.yml", []byte(`{proxy_id: p, pools: {a: {listen: "h:1", sentinels: [s:1], groups: [`+list+`]}}}`))
		must(t, err)
		return cfg
	}
	got := Diff(groups(0, 1000), groups(2, 1001)).PoolsChanged["a"][0]
	want := KeyChange{Key: "groups", Old: "[group0, group1] (1000 in all)", New: "[group1000] (999 in all)", Effect: Links}
	if got != want {
		t.Errorf("%+v", got)
	}
	if got := Diff(groups(0, 500), groups(500, 1000)).PoolsChanged["a"][0]; len(got.Old) > 500 || !strings.HasSuffix(got.Old, ", ...] (500 in all)") {
		t.Errorf("%+v", got)
	}
}
