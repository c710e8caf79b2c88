package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// three starts a pool "cache" over three servers of a fixed list.
func three(t *testing.T, lines ...string) ([]*harness.Redis, *harness.Proxy) {
	t.Helper()
	var servers []*harness.Redis
	var list []string
	for i := range 3 {
		s := harness.StartRedis(t, harness.RedisOptions{})
		servers = append(servers, s)
		list = append(list, fmt.Sprintf("%s:1 g%d", s.Addr(), i+1))
	}
	c := harness.NewConfig(t)
	c.ServersPool("cache", list, lines...)
	p := harness.StartProxy(t, c)
	p.WaitUp("cache")
	return servers, p
}

// fill writes n keys of each of three types through the proxy and returns them by type.
func fill(t *testing.T, c *harness.Conn, n int) map[string][]string {
	t.Helper()
	byType := map[string][]string{}
	for i := range n {
		s, h, z := harness.Scatter("fan:string:", i), harness.Scatter("fan:hash:", i), harness.Scatter("fan:zset:", i)
		if err := c.Write(harness.Encode("SET", s, "v") + harness.Encode("HSET", h, "f", "v") + harness.Encode("ZADD", z, "1", "m")); err != nil {
			t.Fatal(err)
		}
		byType["string"], byType["hash"], byType["zset"] = append(byType["string"], s), append(byType["hash"], h), append(byType["zset"], z)
	}
	for range 3 * n {
		if r, err := c.Receive(); err != nil || r.Err() != nil {
			t.Fatalf("writing keys: %s, %v", r.Text(), err)
		}
	}
	return byType
}

func all(byType map[string][]string) []string {
	return slices.Concat(slices.Collect(maps.Values(byType))...)
}

// scanAll walks from a cursor to the end, or until stop says so, and returns the keys and where it stopped.
func scanAll(t *testing.T, c *harness.Conn, cursor string, stop func(cursor uint64) bool, more ...string) (keys []string, at string) {
	t.Helper()
	for {
		r, err := c.Do(append([]string{"SCAN", cursor}, more...)...)
		if err != nil || len(r.Elems) != 2 {
			t.Fatalf("SCAN %s: %s, %v", cursor, r.Text(), err)
		}
		for _, e := range r.Elems[1].Elems {
			keys = append(keys, e.Str)
		}
		cursor = r.Elems[0].Str
		n, err := strconv.ParseUint(cursor, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 || stop != nil && stop(n) {
			return keys, cursor
		}
	}
}

// sameKeys compares what was found with what there is; a key may be found more than once.
func sameKeys(t *testing.T, what string, found, want []string) {
	t.Helper()
	found, want = slices.Compact(slices.Sorted(slices.Values(found))), slices.Sorted(slices.Values(want))
	if !slices.Equal(found, want) {
		t.Errorf("%s: %d keys, want %d", what, len(found), len(want))
	}
}

// TestFanout runs what concerns all groups over three real servers, in both protocols.
func TestFanout(t *testing.T) {
	t.Parallel()
	servers, p := three(t)
	for _, hello := range []string{"2", "3"} {
		c := dial(t, p.Config.Addr("cache"))
		if r, err := c.Do("HELLO", hello); err != nil || r.Err() != nil {
			t.Fatalf("HELLO %s: %s, %v", hello, r.Text(), err)
		}
		byType := fill(t, c, 1000)
		keys := all(byType)
		want(t, c, "3000", "DBSIZE")
		for i, s := range servers {
			if n := s.Must("DBSIZE").Int; n < 300 {
				t.Fatalf("server %d has %d keys: the groups are not all used", i, n)
			}
		}
		found := func(args ...string) (keys []string) {
			t.Helper()
			r, err := c.Do(args...)
			if err != nil || r.Kind != '*' {
				t.Fatalf("%v: %s, %v", args, r.Text(), err)
			}
			for _, e := range r.Elems {
				keys = append(keys, e.Str)
			}
			return keys
		}
		sameKeys(t, "KEYS *", found("KEYS", "*"), keys)
		sameKeys(t, "KEYS hash", found("KEYS", "*fan:hash:*"), byType["hash"])
		sameKeys(t, "KEYS none", found("KEYS", "none*"), nil)
		scan := func(args ...string) []string {
			t.Helper()
			keys, _ := scanAll(t, c, "0", nil, args...)
			return keys
		}
		sameKeys(t, "SCAN", scan(), keys)
		sameKeys(t, "SCAN COUNT", scan("COUNT", "1000"), keys)
		sameKeys(t, "SCAN MATCH", scan("MATCH", "*fan:zset:*", "COUNT", "50"), byType["zset"])
		sameKeys(t, "SCAN TYPE", scan("TYPE", "hash"), byType["hash"])
		sameKeys(t, "SCAN TYPE none", scan("TYPE", "stream", "COUNT", "500"), nil)
		want(t, c, "-ERR invalid cursor", "SCAN", "abc")
		want(t, c, "-ERR syntax error (respgate: group 'g1')", "SCAN", "0", "COUNT", "0")
		for range 20 {
			r, err := c.Do("RANDOMKEY")
			if err != nil || !slices.Contains(keys, r.Str) {
				t.Fatalf("RANDOMKEY: %s, %v", r.Text(), err)
			}
		}

		scripts(t, c, byType["string"])
		want(t, c, "0", "PUBLISH", "channel", "m")
		want(t, c, "[a 0 b 0]", "PUBSUB", "NUMSUB", "a", "b")
		want(t, c, "[]", "PUBSUB", "CHANNELS")
		want(t, c, "0", "PUBSUB", "NUMPAT")
		want(t, c, "OK", "SLOWLOG", "RESET")
		wantPrefix(t, c, "0", "LATENCY", "RESET")
		want(t, c, "embstr", "OBJECT", "ENCODING", byType["string"][0])
		if r, err := c.Do("MEMORY", "USAGE", byType["hash"][1]); err != nil || r.Int < 30 {
			t.Errorf("MEMORY USAGE: %s, %v", r.Text(), err)
		}
		want(t, c, "0", "WAIT", "0", "10")
		want(t, c, "default", "ACL", "WHOAMI")
		wantPrefix(t, c, "[OBJECT <subcommand>", "OBJECT", "HELP")
		for _, refused := range []string{"LASTSAVE", "ROLE", "MEMORY STATS", "DEBUG SLEEP 0", "CONFIG SET maxmemory 1", "SAVE"} {
			wantPrefix(t, c, "-ERR respgate: command '", strings.Fields(refused)...)
		}
		want(t, c, "OK", "SWAPDB", "0", "1")
		want(t, c, "0", "DBSIZE")
		want(t, c, "OK", "SWAPDB", "0", "1")
		want(t, c, "3000", "DBSIZE")
		wantPrefix(t, c, "-ERR DB index is out of range (respgate: group 'g", "SWAPDB", "0", "99")
		want(t, c, "1", "MOVE", byType["string"][0], "3")
		want(t, c, "2999", "DBSIZE")
		want(t, c, "OK", "FLUSHDB")
		want(t, c, "0", "DBSIZE")
		if r, err := c.Do("RANDOMKEY"); err != nil || !r.Null {
			t.Errorf("RANDOMKEY of nothing: %s, %v", r.Text(), err)
		}
		want(t, c, "OK", "FLUSHALL", "ASYNC")
		commandsOfAny(t, c, servers[0], hello)
		unblockWait(t, p, c)
	}
}

// unblockWait ends a WAIT that waits at every server.
func unblockWait(t *testing.T, p *harness.Proxy, waiting *harness.Conn) {
	t.Helper()
	id, err := waiting.Do("CLIENT", "ID")
	if err != nil || id.Kind != ':' {
		t.Fatalf("CLIENT ID: %s, %v", id.Text(), err)
	}
	if err := waiting.Write(harness.Encode("WAIT", "1", "0")); err != nil {
		t.Fatal(err)
	}
	other := dial(t, p.Config.Addr("cache"))
	harness.Eventually(t, harness.Patience, "it can be unblocked", func() error {
		if r, err := other.Do("CLIENT", "UNBLOCK", id.Text()); err != nil || r.Int != 1 {
			return fmt.Errorf("%s, %v", r.Text(), err)
		}
		return nil
	})
	if r, err := waiting.Receive(); err != nil || r.Text() != "0" {
		t.Errorf("WAIT that was unblocked: %s, %v", r.Text(), err)
	}
}

// scripts are loaded into every group, and run in that of their keys.
func scripts(t *testing.T, c *harness.Conn, keys []string) {
	t.Helper()
	const text = "return redis.call('get', KEYS[1])"
	r, err := c.Do("SCRIPT", "LOAD", text)
	if err != nil || len(r.Str) != 40 {
		t.Fatalf("SCRIPT LOAD: %s, %v", r.Text(), err)
	}
	sha := r.Str
	for _, k := range keys[:30] {
		want(t, c, "v", "EVALSHA", sha, "1", k)
	}
	none := strings.Repeat("f", 40)
	want(t, c, "[1 0]", "SCRIPT", "EXISTS", sha, none)
	want(t, c, "-NOTBUSY No scripts in execution right now.", "SCRIPT", "KILL")
	want(t, c, "OK", "SCRIPT", "FLUSH")
	want(t, c, "[0]", "SCRIPT", "EXISTS", sha)
	if !harness.ServerHas7(t) {
		return
	}
	want(t, c, "lib", "FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('get', function(keys) return redis.call('get', keys[1]) end)")
	for _, k := range keys[:30] {
		want(t, c, "v", "FCALL", "get", "1", k)
	}
	if r, err := c.Do("FUNCTION", "LIST"); err != nil || len(r.Elems) != 1 {
		t.Errorf("FUNCTION LIST: %s, %v", r.Text(), err)
	}
	dump, err := c.Do("FUNCTION", "DUMP")
	if err != nil || dump.Err() != nil {
		t.Fatalf("FUNCTION DUMP: %s, %v", dump.Text(), err)
	}
	want(t, c, "OK", "FUNCTION", "DELETE", "lib")
	wantPrefix(t, c, "-ERR Function not found", "FCALL", "get", "1", keys[0])
	want(t, c, "OK", "FUNCTION", "RESTORE", dump.Str)
	want(t, c, "v", "FCALL", "get", "1", keys[0])
	want(t, c, "OK", "FUNCTION", "FLUSH")
}

// commandsOfAny are answered by one server, byte for byte.
func commandsOfAny(t *testing.T, c *harness.Conn, server *harness.Redis, hello string) {
	t.Helper()
	direct := dial(t, server.Addr())
	if r, err := direct.Do("HELLO", hello); err != nil || r.Err() != nil {
		t.Fatalf("HELLO %s: %s, %v", hello, r.Text(), err)
	}
	for _, line := range []string{
		"COMMAND", "COMMAND COUNT", "COMMAND INFO get set nope", "COMMAND DOCS get", "COMMAND LIST FILTERBY ACLCAT pubsub", "COMMAND GETKEYS MSET a 1 b 2",
		"COMMAND GETKEYSANDFLAGS SET a b", "COMMAND GETKEYS NOPE", "ACL CAT", "XINFO HELP", "SLOWLOG HELP", "LATENCY HELP", "FUNCTION STATS", "MODULE LIST",
	} {
		got, err := c.Do(strings.Fields(line)...)
		if err != nil {
			t.Fatal(err)
		}
		expected, err := direct.Do(strings.Fields(line)...)
		if err != nil {
			t.Fatal(err)
		}
		// Sets and maps of Redis 7.0 come in an order of each server's own.
		if len(got.Raw) != len(expected.Raw) || got.Kind != expected.Kind {
			t.Errorf("RESP%s: %s: %d bytes (%c), the server's %d (%c)", hello, line, len(got.Raw), got.Kind, len(expected.Raw), expected.Kind)
		}
	}
}

// fieldsOf are the fields of INFO.
func fieldsOf(t *testing.T, c *harness.Conn, args ...string) map[string]string {
	t.Helper()
	r, err := c.Do(append([]string{"INFO"}, args...)...)
	if err != nil || r.Err() != nil {
		t.Fatalf("INFO: %s, %v", r.Text(), err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(r.Str) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// TestInfoOverGroups: INFO is that of all groups, and goes on when one is gone or stopped.
func TestInfoOverGroups(t *testing.T) {
	t.Parallel()
	servers, p := three(t)
	c := dial(t, p.Config.Addr("cache"))
	fill(t, c, 100)
	_, port, _ := strings.Cut(p.Config.Addr("cache"), ":")
	// A group that is too slow for INFO is left out of it, and a server that is well may be slow as well.
	expect := func(want map[string]string, args ...string) (fields map[string]string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, "INFO is as it should be", func() error {
			fields = fieldsOf(t, c, args...)
			for name, value := range want {
				if fields[name] != value {
					return fmt.Errorf("%s is %q, want %q", name, fields[name], value)
				}
			}
			return nil
		})
		return fields
	}
	keyspace := "keys=300,expires=0,avg_ttl=0"
	if strings.HasSuffix(fieldsOf(t, dial(t, servers[0].Addr()))["db0"], ",subexpiry=0") { // from 7.4 on
		keyspace += ",subexpiry=0"
	}
	whole := expect(map[string]string{
		"redis_version": fieldsOf(t, dial(t, servers[0].Addr()))["redis_version"], "role": "master", "loading": "0", "tcp_port": port,
		"connected_clients": "1", "maxmemory_policy": "noeviction", "cluster_enabled": "0", "db0": keyspace,
		"respgate_pool": "cache", "respgate_groups": "3", "respgate_groups_answered": "3",
	})
	if mode := modeIn(whole); mode != "standalone" {
		t.Errorf("the mode is %q", mode)
	}
	if n, err := strconv.Atoi(whole["total_commands_processed"]); err != nil || n < 300 {
		t.Errorf("total_commands_processed is %s", whole["total_commands_processed"])
	}
	expect(map[string]string{"db0": keyspace, "redis_version": "", "respgate_pool": ""}, "keyspace")
	servers[0].Freeze()
	began := time.Now()
	fieldsOf(t, c)
	if took := time.Since(began); took > harness.Patience/2 {
		t.Errorf("INFO took %v with a server that does not answer", took)
	}
	expect(map[string]string{"respgate_groups_answered": "2", "role": "master", "loading": "0"})
	servers[0].Thaw()
	expect(map[string]string{"respgate_groups_answered": "3"})
	for i, s := range servers {
		s.Kill()
		expect(map[string]string{"respgate_groups_answered": strconv.Itoa(2 - i), "role": "master", "loading": "0", "tcp_port": port})
	}
	if r, err := c.Do("COMMAND", "GETKEYS", "GET", "a"); err != nil || r.Text() != "[a]" {
		t.Errorf("COMMAND without any server: %s, %v", r.Text(), err)
	}
}

// TestScanThroughFailover: a group that the cursor is not in fails over, and still every key is seen.
func TestScanThroughFailover(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1", "g2", "g3"}, DownAfter: 1500 * time.Millisecond, Steady: []string{"g1", "g2"}}, "hold: { timeout: 15s }")
	c := dial(t, p.Config.Addr("cache"))
	keys := all(fill(t, c, 500))
	last := f.Group("g3")
	harness.Eventually(t, harness.Patience, "the replica has everything", func() error {
		a, b := last.Master.Must("DBSIZE").Int, last.Replicas[0].Must("DBSIZE").Int
		if a != b {
			return fmt.Errorf("%d keys of %d", b, a)
		}
		return nil
	})
	found, at := scanAll(t, c, "0", func(cursor uint64) bool { return cursor%3 == 0 && cursor > 3 }, "COUNT", "20")
	last.Master.Kill()
	for range 5 { // g1 goes on while g3 has no master
		r, err := c.Do("SCAN", at, "COUNT", "20")
		if err != nil || len(r.Elems) != 2 {
			t.Fatalf("SCAN %s while g3 is down: %s, %v", at, r.Text(), err)
		}
		at = r.Elems[0].Str
		for _, e := range r.Elems[1].Elems {
			found = append(found, e.Str)
		}
	}
	fresh := f.WaitMaster("g3", last.Master)
	p.WaitMaster("cache", "g3", fresh.Addr())
	rest, _ := scanAll(t, c, at, nil, "COUNT", "20")
	sameKeys(t, "SCAN through a failover of g3", append(found, rest...), keys)
	want(t, c, strconv.Itoa(len(keys)), "DBSIZE")
}

// TestScriptKill ends a script that its own link, and every other client's request behind it, waits for.
func TestScriptKill(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{RedisConfig: []string{"lua-time-limit 100"}}, "timeout: 1m")
	key := keysIn(t, p, "cache", "kill", 1)["g2"][0]
	addr := p.Config.Addr("cache")
	busy, killer := dial(t, addr), dial(t, addr)
	for range 2 { // without idle links, and with them
		if err := busy.Write(harness.Encode("EVAL", "while true do end", "1", key)); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, harness.Patience, "the server is busy", func() error {
			if _, err := f.Group("g2").Master.Ask("PING"); err == nil || !strings.Contains(err.Error(), "BUSY") {
				return fmt.Errorf("it answers %v", err)
			}
			return nil
		})
		want(t, killer, "OK", "SCRIPT", "KILL")
		if r, err := busy.Receive(); err != nil || !strings.Contains(r.Text(), "Script killed by user") {
			t.Errorf("the script: %s, %v", r.Text(), err)
		}
		want(t, killer, "-NOTBUSY No scripts in execution right now.", "SCRIPT", "KILL")
		if harness.ServerHas7(t) {
			want(t, killer, "-NOTBUSY No scripts in execution right now.", "FUNCTION", "KILL")
		}
		want(t, killer, "OK", "SET", key, "v")
	}
}
