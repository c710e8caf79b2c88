package admin

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// redisCLI runs an unmodified redis-cli against the server; input is what is piped into it.
func redisCLI(t *testing.T, address, input string, args ...string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "redis-cli", append([]string{"-h", host, "-p", port}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli (Debian: apt-get install redis-tools) %q: %v\n%s", args, err, out)
	}
	return string(out)
}

const configText = "# Config\r\nconfig_file:/etc/respgate.yml\r\nconfig_digest:c0ffee\r\nconfig_loaded_ms_ago:3600000\r\nconfig_refused_ms_ago:60000\r\n" +
	"config_error:respgate.yml:3: pools.cache.listen: port in use; respgate.yml:9: unknown key\r\n"

func TestRedisCLI(t *testing.T) {
	t.Parallel()
	_, address := start(t, Config{}, newFake(), io.Discard)
	for _, c := range []struct {
		name, input string
		args        []string
		want        string // the whole output
	}{
		{"action", "", []string{"PROXY", "SWITCH", "cache", "g1"}, "OK 127.0.0.1:6379 127.0.0.1:6381 412\n"},
		{"action -3", "", []string{"-3", "proxy", "rotate", "cache"}, "OK\n"},
		{"error", "", []string{"PROXY", "POOLS", "x"}, "NOPOOL no such pool 'x'\n\n"},
		{"map", "", []string{"PROXY", "ROUTE", "cache", "a"}, "key\na\ntag\na\nhash\n3904355907\ngroup\ng1\nmaster\n127.0.0.1:6379\n"},
		{"map -3", "", []string{"-3", "PROXY", "ROUTE", "cache", "a"}, "key a\ntag a\nhash 3904355907\ngroup g1\nmaster 127.0.0.1:6379\n"},
		{"map --no-raw", "", []string{"--no-raw", "PROXY", "ROUTE", "cache", "a"},
			"1)  1) \"key\"\n    2) \"a\"\n    3) \"tag\"\n    4) \"a\"\n    5) \"hash\"\n    6) (integer) 3904355907\n    7) \"group\"\n    8) \"g1\"\n    9) \"master\"\n   10) \"127.0.0.1:6379\"\n"},
		{"piped", "PROXY ROTATE cache\nproxy loglevel\nPING\n", nil, "OK\ninfo\nPONG\n"},
		{"text --raw", "", []string{"--raw", "PROXY", "INFO", "latency"}, "# Latency\r\nlatency_usec_cache:calls=1000,mean=200,p50=100,p99=1000,p99.9=10000\r\nlatency_usec_sessions:calls=0,mean=0,p50=0,p99=0,p99.9=0\r\n"},
		{"text --no-raw", "", []string{"--no-raw", "PROXY", "INFO", "config"}, configText},
		{"text -3", "", []string{"-3", "PROXY", "INFO", "config"}, configText},
		{"help", "", []string{"help", "proxy", "switch"},
			"\r\n  \x1b[1mPROXY SWITCH\x1b[0m \x1b[90mpool group [host port]\x1b[0m\r\n  \x1b[33msummary:\x1b[0m Makes a replica the master of a group, or of ALL, through Sentinel, or points the group at a node that says it is a master\r\n" +
				"  \x1b[33msince:\x1b[0m 1.0.0\r\n  \x1b[33mgroup:\x1b[0m proxy\r\n\r\n"},
	} {
		if diff := cmp.Diff(c.want, redisCLI(t, address, c.input, c.args...)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
	}
}

func TestRedisCLIJSON(t *testing.T) {
	t.Parallel()
	_, address := start(t, Config{}, newFake(), io.Discard)
	var pools []map[string]any
	if err := json.Unmarshal([]byte(redisCLI(t, address, "", "--json", "PROXY", "POOLS")), &pools); err != nil {
		t.Fatal(err)
	}
	if len(pools) != 2 || pools[0]["name"] != "cache" || pools[0]["clients"] != 12.0 || pools[1]["state"] != "degraded" {
		t.Errorf("pools %v", pools)
	}
	// redis-cli shows a verbatim string as it is, in every mode.
	expect(t, redisCLI(t, address, "", "--json", "PROXY", "INFO", "config"), configText)
}

// TestRedisCLIHelp reads every page of help that redis-cli makes of COMMAND DOCS.
func TestRedisCLIHelp(t *testing.T) {
	t.Parallel()
	_, address := start(t, Config{}, newFake(), io.Discard)
	group := redisCLI(t, address, "", "help", "@proxy")
	for _, c := range newTable().all() {
		words := strings.Split(c.full, "|")
		page := redisCLI(t, address, "", append([]string{"help"}, words...)...)
		if !strings.Contains(page, c.summary) || !strings.Contains(page, syntax(c.arguments)) || strings.Contains(page, "null") {
			t.Errorf("%s: page of help\n%s", c.full, page)
		}
		if c.group == "proxy" && !strings.Contains(group, c.summary) {
			t.Errorf("%s: not in help @proxy", c.full)
		}
	}
}

func TestRedisCLIAuth(t *testing.T) {
	t.Parallel()
	_, address := start(t, Config{Password: "secret", StatsPassword: "look"}, newFake(), io.Discard)
	expect(t, redisCLI(t, address, "", "-a", "secret", "--no-auth-warning", "PROXY", "ROTATE", "cache"), "OK\n")
	expect(t, redisCLI(t, address, "", "--user", "default", "--pass", "look", "--no-auth-warning", "-3", "PROXY", "LOGLEVEL"), "info\n")
	expect(t, redisCLI(t, address, "", "PROXY", "POOLS"), "NOAUTH Authentication required.\n\n")
	if got := redisCLI(t, address, "", "-a", "look", "--no-auth-warning", "PROXY", "ROTATE", "cache"); !strings.HasPrefix(got, "NOPERM ") {
		t.Errorf("stats password: %q", got)
	}
}

func TestGoRedis(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		_, address := start(t, Config{Password: "secret"}, newFake(), io.Discard)
		client := redis.NewClient(&redis.Options{Addr: address, Password: "secret", Protocol: protocol, ClientName: "tool", MaxRetries: -1})
		ctx := t.Context()
		if err := client.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := client.ClientList(ctx).Result(); err != nil || !strings.Contains(got, "name=tool") || !strings.Contains(got, "lib-name=go-redis") {
			t.Errorf("RESP%d: client list %q, %v", protocol, got, err)
		}
		if got, err := client.Do(ctx, "PROXY", "SWITCH", "cache", "g1").Text(); err != nil || got != "OK 127.0.0.1:6379 127.0.0.1:6381 412" {
			t.Errorf("RESP%d: switch %q, %v", protocol, got, err)
		}
		if got, err := client.Info(ctx).Result(); err != nil || !strings.Contains(got, "redis_version:"+redisVersion) || !strings.Contains(got, "used_memory:") {
			t.Errorf("RESP%d: info %q, %v", protocol, got, err)
		}
		if got, err := client.ConfigGet(ctx, "*").Result(); err != nil || got["maxclients"] != "10000" {
			t.Errorf("RESP%d: config %v, %v", protocol, got, err)
		}
		if got, err := client.Command(ctx).Result(); err != nil || got["proxy"] == nil || got["proxy"].Arity != -2 {
			t.Errorf("RESP%d: command %v, %v", protocol, got, err)
		}
		if got, err := client.Do(ctx, "PROXY", "MASTERS", "cache", "g1").Slice(); err != nil || len(got) != 1 {
			t.Errorf("RESP%d: masters %v, %v", protocol, got, err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}
