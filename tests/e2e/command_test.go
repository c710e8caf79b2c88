package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"respgate/tests/harness"
)

// TestCommands shares one stack among everything that only asks.
func TestCommands(t *testing.T) {
	t.Parallel()
	_, p := stack(t, harness.FleetOptions{})
	t.Run("as", func(t *testing.T) {
		for name, f := range map[string]func(*testing.T, *harness.Proxy){
			"one group": likeRedis, "several groups": overGroups, "one group only": crossGroup, "local": local,
			"not supported": unsupported, "go-redis": goRedis, "redis-cli": redisCLI, "split": splitBytes,
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); f(t, p) })
		}
	})
}

// dataCommands touch every data type; the replies must be what a Redis says, byte for byte, in both protocols.
const dataCommands = `
SET {d}s abc
GET {d}s
APPEND {d}s def
STRLEN {d}s
GETRANGE {d}s 1 3
SETRANGE {d}s 1 X
SETNX {d}s no
GETSET {d}s 10
INCR {d}s
INCRBYFLOAT {d}f 1.5
GET {d}none
MSETNX {d}n1 1 {d}n2 2
MGET {d}n1 {d}none {d}n2
SETEX {d}e 100 v
PERSIST {d}e
TTL {d}e
TYPE {d}s
EXISTS {d}s {d}s {d}none
GETDEL {d}n1
LCS {d}s {d}e
SETBIT {d}b 7 1
BITCOUNT {d}b
BITFIELD {d}b SET u8 0 255 GET u4 0
BITOP NOT {d}b2 {d}b
HSET {d}h f1 v1 f2 v2
HGET {d}h f1
HGETALL {d}h
HMGET {d}h f1 none
HINCRBY {d}h n 5
HRANDFIELD {d}h 0
HSTRLEN {d}h f1
HEXISTS {d}h none
HSCAN {d}h 0 COUNT 100
RPUSH {d}l a b c d
LPUSH {d}l z
LRANGE {d}l 0 -1
LPOP {d}l 2
LPOS {d}l c
LMOVE {d}l {d}l2 LEFT RIGHT
LINSERT {d}l BEFORE c x
LMPOP 2 {d}none {d}l LEFT
SADD {d}set a
SADD {d}set2 a b
SMEMBERS {d}set
SISMEMBER {d}set a
SMISMEMBER {d}set a z
SUNIONSTORE {d}set3 {d}set {d}set2
SINTERCARD 2 {d}set {d}set2
SMOVE {d}set2 {d}set b
SCARD {d}set3
ZADD {d}z 1 a 2.5 b 3 c
ZSCORE {d}z b
ZRANGE {d}z 0 -1 WITHSCORES
ZRANGEBYSCORE {d}z (1 3
ZRANK {d}z c WITHSCORE
ZINCRBY {d}z 1.25 a
ZMSCORE {d}z a none
ZADD {d}z2 1 a
ZUNIONSTORE {d}z3 2 {d}z {d}z2 WEIGHTS 1 2
ZUNION 2 {d}z {d}z2 WITHSCORES
ZPOPMIN {d}z3
ZMPOP 1 {d}z3 MAX
GEOADD {d}g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEODIST {d}g Palermo Catania km
GEOPOS {d}g Palermo none
GEOSEARCH {d}g FROMLONLAT 15 37 BYRADIUS 200 km ASC WITHDIST
PFADD {d}p a b c
PFCOUNT {d}p
PFMERGE {d}p2 {d}p
XADD {d}x 1-1 f v
XADD {d}x 1-2 f w
XLEN {d}x
XRANGE {d}x - +
XREAD COUNT 1 STREAMS {d}x 0
XGROUP CREATE {d}x grp 0
XREADGROUP GROUP grp me COUNT 1 STREAMS {d}x >
XACK {d}x grp 1-1
XPENDING {d}x grp
XINFO GROUPS {d}x
SORT {d}l2
SORT {d}l2 ALPHA STORE {d}sorted
SORT_RO {d}l2 ALPHA
COPY {d}s {d}copy
RENAME {d}copy {d}moved
OBJECT ENCODING {d}s
DUMP {d}none
EXPIRE {d}s 1000
EXPIREAT {d}s 9999999999
PEXPIRETIME {d}s
EVAL "return {KEYS[1],ARGV[1],redis.call('get',KEYS[1])}" 1 {d}s arg
EVAL "return redis.error_reply('MY own error')" 1 {d}s
EVAL "return 3.99" 1 {d}s
EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 {d}s
EVAL_RO "return redis.call('get',KEYS[1])" 1 {d}s
GET {d}l
INCR {d}h
UNLINK {d}s {d}none
DEL {d}h {d}l
TOUCH {d}z {d}set
`

// likeRedis runs the same requests against the pool and against a server of its own.
func likeRedis(t *testing.T, p *harness.Proxy) {
	plain := harness.StartRedis(t, harness.RedisOptions{})
	for _, hello := range []string{"2", "3"} {
		through, direct := dial(t, p.Config.Addr("cache")), dial(t, plain.Addr())
		tag := "{proto" + hello + "}"
		for _, c := range []*harness.Conn{through, direct} {
			if r, err := c.Do("HELLO", hello); err != nil || r.Err() != nil {
				t.Fatalf("HELLO %s: %s, %v", hello, r.Text(), err)
			}
		}
		for line := range strings.Lines(strings.ReplaceAll(dataCommands, "{d}", tag)) {
			args := split(line)
			if len(args) == 0 {
				continue
			}
			got, err := through.Do(args...)
			if err != nil {
				t.Fatalf("RESP%s: %s: %v", hello, strings.TrimSpace(line), err)
			}
			expected, err := direct.Do(args...)
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Raw) != string(expected.Raw) {
				t.Errorf("RESP%s: %s: %q, want what Redis says: %q", hello, strings.TrimSpace(line), got.Raw, expected.Raw)
			}
		}
	}
}

// split takes a line apart at blanks, but for what stands in double quotes.
func split(line string) []string {
	var args []string
	for i, part := range strings.Split(strings.TrimSpace(line), "\"") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args
}

// overGroups runs the commands that are split over groups and merged, in both protocols.
func overGroups(t *testing.T, p *harness.Proxy) {
	keys := keysIn(t, p, "cache", "multi", 3)
	a, b := keys["g1"], keys["g2"]
	for _, hello := range []string{"2", "3"} {
		c := dial(t, p.Config.Addr("cache"))
		if r, err := c.Do("HELLO", hello); err != nil || r.Err() != nil {
			t.Fatalf("HELLO %s: %s, %v", hello, r.Text(), err)
		}
		want(t, c, "OK", "MSET", a[0], "1", b[0], "2", a[1], "3", b[1], "4")
		want(t, c, "[4 3 (nil) 2 1 4 (nil)]", "MGET", b[1], a[1], b[2], b[0], a[0], b[1], a[2])
		want(t, c, "4", "EXISTS", a[0], b[0], b[0], a[2], b[1])
		want(t, c, "2", "TOUCH", a[0], b[0], b[2])
		want(t, c, "2", "UNLINK", a[0], b[0], a[2])
		want(t, c, "2", "DEL", a[1], b[1], b[0])
		want(t, c, "0", "DEL", a[1], b[1])
		want(t, c, "[(nil) (nil)]", "MGET", a[0], b[0])
		// A wrong type is a null, as in Redis, and an error of one part is the whole reply.
		want(t, c, "1", "SADD", a[0], "member")
		want(t, c, "[(nil) (nil)]", "MGET", a[0], b[0])
		want(t, c, "1", "DEL", a[0])
		// The same key twice: the last value counts.
		want(t, c, "OK", "MSET", a[0], "x", b[0], "y", a[0], "z")
		want(t, c, "[z y]", "MGET", a[0], b[0])
		want(t, c, "2", "DEL", a[0], b[0])
	}
	// Many keys at once, binary ones among them.
	c := dial(t, p.Config.Addr("cache"))
	mset, mget := []string{"MSET"}, []string{"MGET"}
	for i := range 2000 {
		k := harness.Scatter("many:\x00\xff\r\n:", i)
		mset, mget = append(mset, k, fmt.Sprint(i)), append(mget, k)
	}
	want(t, c, "OK", mset...)
	r, err := c.Do(mget...)
	if err != nil || len(r.Elems) != 2000 {
		t.Fatalf("MGET of 2000 keys: %d replies, %v", len(r.Elems), err)
	}
	for i, e := range r.Elems {
		if e.Str != fmt.Sprint(i) {
			t.Fatalf("MGET: value %d is %q", i, e.Str)
		}
	}
}

// crossGroup holds that keys of two groups never go into one request.
func crossGroup(t *testing.T, p *harness.Proxy) {
	keys := keysIn(t, p, "cache", "cross", 1)
	a, b := keys["g1"][0], keys["g2"][0]
	c := dial(t, p.Config.Addr("cache"))
	const crossslot = "-CROSSSLOT Keys in request don't hash to the same group"
	for _, args := range [][]string{
		{"RENAME", a, b}, {"SINTER", a, b}, {"SUNIONSTORE", a, b, a}, {"EVAL", "return 1", "2", a, b}, {"BITOP", "AND", a, a, b},
		{"ZUNIONSTORE", a, "2", a, b}, {"LMOVE", a, b, "LEFT", "LEFT"}, {"PFMERGE", a, b}, {"MSETNX", a, "1", b, "2"},
		{"XREAD", "STREAMS", a, b, "0", "0"}, {"COPY", a, b}, {"SORT", a, "STORE", b}, {"SMOVE", a, b, "m"},
	} {
		want(t, c, crossslot, args...)
	}
	want(t, c, "PONG", "PING")
	// One group by a tag.
	want(t, c, "OK", "MSET", "{tag}1", "1", "{tag}2", "2")
	want(t, c, "3", "EVAL", "return redis.call('get',KEYS[1])+redis.call('get',KEYS[2])", "2", "{tag}1", "{tag}2")
}

// local holds what the proxy answers itself.
func local(t *testing.T, p *harness.Proxy) {
	addr := p.Config.Addr("cache")
	c := dial(t, addr)
	want(t, c, "PONG", "PING")
	want(t, c, "hi", "PING", "hi")
	want(t, c, "hi", "ECHO", "hi")
	want(t, c, "OK", "SELECT", "0")
	wantPrefix(t, c, "-ERR DB index is out of range", "SELECT", "16")
	wantPrefix(t, c, "-ERR", "AUTH", "x")
	want(t, c, "OK", "CLIENT", "SETNAME", "me")
	want(t, c, "me", "CLIENT", "GETNAME")
	want(t, c, "OK", "CLIENT", "SETINFO", "lib-name", "test")
	wantPrefix(t, c, "id=", "CLIENT", "INFO")
	wantPrefix(t, c, "-NOPROTO ", "HELLO", "4")
	wantPrefix(t, c, "# Server", "INFO")
	wantPrefix(t, c, "[databases ", "CONFIG", "GET", "databases")
	wantPrefix(t, c, "-ERR This instance has cluster support disabled", "CLUSTER", "NODES")
	if r, err := c.Do("TIME"); err != nil || len(r.Elems) != 2 {
		t.Errorf("TIME: %s, %v", r.Text(), err)
	}
	if r, err := c.Do("COMMAND"); err != nil || len(r.Elems) < 200 {
		t.Errorf("COMMAND: %d entries, %v", len(r.Elems), err)
	}
	if r, err := c.Do("COMMAND", "COUNT"); err != nil || r.Int < 200 {
		t.Errorf("COMMAND COUNT: %d, %v", r.Int, err)
	}
	// HELLO 3: a map; RESET goes back to RESP2 and forgets the name.
	r, err := c.Do("HELLO", "3")
	if m := r.Map(); err != nil || r.Kind != '%' || m["server"] != "redis" || m["proto"] != "3" || m["mode"] != "standalone" || m["role"] != "master" {
		t.Errorf("HELLO 3: %s, %v", r.Text(), err)
	}
	want(t, c, "OK", "SET", "local:a", "1")
	if r, err := c.Do("GET", "local:none"); err != nil || string(r.Raw) != "_\r\n" {
		t.Errorf("GET of nothing over RESP3: %q, %v", r.Raw, err)
	}
	want(t, c, "RESET", "RESET")
	if r, err := c.Do("GET", "local:none"); err != nil || string(r.Raw) != "$-1\r\n" {
		t.Errorf("GET of nothing over RESP2: %q, %v", r.Raw, err)
	}
	want(t, c, "OK", "QUIT")
	if rest, err := c.EOF(); err != nil || rest != "" {
		t.Errorf("after QUIT: %q, %v", rest, err)
	}
	// Inline, as telnet has it.
	c = dial(t, addr)
	if err := c.Write("set local:inline 'a b'\r\nget local:inline\r\n"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"OK", "a b"} {
		if r, err := c.Receive(); err != nil || r.Text() != text {
			t.Errorf("inline: %q, %v; want %q", r.Text(), err, text)
		}
	}
}

// unsupported holds that the proxy says so, names the command, and keeps the connection.
func unsupported(t *testing.T, p *harness.Proxy) {
	c := dial(t, p.Config.Addr("cache"))
	for _, line := range []string{
		"REPLICAOF NO ONE", "SHUTDOWN NOSAVE", "DEBUG SLEEP 1", "SAVE", "BGSAVE", "SYNC", "MIGRATE h 1 k 0 1", "ACL LIST", "MODULE LOAD x",
		"CONFIG SET maxmemory 1", "CONFIG RESETSTAT", "FAILOVER", "ROLE", "LASTSAVE", "MEMORY DOCTOR", "SCRIPT DEBUG YES",
	} {
		args := fields(line)
		got, err := c.Do(args...)
		if err != nil {
			t.Fatalf("%s: %v: the connection must stay", line, err)
		}
		if !strings.HasPrefix(got.Text(), "-ERR respgate: ") || !strings.Contains(strings.ToLower(got.Str), strings.ToLower(args[0])) {
			t.Errorf("%s: %q, want -ERR respgate: ... with the command's name", line, got.Text())
		}
	}
	want(t, c, "PONG", "PING")
	health(t, p.Config.Addr("cache"))
}

// goRedis is what applications bring, with its defaults: RESP3, CLIENT SETINFO, maintenance notifications.
func goRedis(t *testing.T, p *harness.Proxy) {
	for _, proto := range []int{2, 3} {
		c := harness.Client(t, p.Config.Addr("cache"), func(o *redis.Options) { o.Protocol = proto; o.PoolSize = 4 })
		ctx := context.Background()
		check := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("RESP%d: %s: %v", proto, what, err)
			}
		}
		check("PING", c.Ping(ctx).Err())
		check("SET", c.Set(ctx, "go:a", "1", 0).Err())
		check("MSET", c.MSet(ctx, "go:b", "2", "go:c", "3", "go:d", "4").Err())
		got, err := c.MGet(ctx, "go:d", "go:none", "go:a", "go:b", "go:c").Result()
		check("MGET", err)
		if fmt.Sprint(got) != "[4 <nil> 1 2 3]" {
			t.Errorf("RESP%d: MGET: %v", proto, got)
		}
		check("HSET", c.HSet(ctx, "go:h", "f", "v").Err())
		h, err := c.HGetAll(ctx, "go:h").Result()
		check("HGETALL", err)
		if len(h) != 1 || h["f"] != "v" {
			t.Errorf("RESP%d: HGETALL: %v", proto, h)
		}
		check("ZADD", c.ZAdd(ctx, "go:z", redis.Z{Score: 1.5, Member: "m"}).Err())
		if z, err := c.ZScore(ctx, "go:z", "m").Result(); err != nil || z != 1.5 {
			t.Errorf("RESP%d: ZSCORE: %v, %v", proto, z, err)
		}
		cmds, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i := range 500 {
				pipe.Set(ctx, fmt.Sprintf("go:p%d", i), i, 0)
				pipe.Get(ctx, fmt.Sprintf("go:p%d", i))
			}
			return nil
		})
		check("pipeline", err)
		for i := 1; i < len(cmds); i += 2 {
			if v, _ := cmds[i].(*redis.StringCmd).Int(); v != i/2 {
				t.Fatalf("RESP%d: pipeline: reply %d is %d", proto, i, v)
			}
		}
		n, err := redis.NewScript("return redis.call('incrby', KEYS[1], ARGV[1])").Run(ctx, c, []string{fmt.Sprintf("go:n%d", proto)}, 5).Int()
		if check("script", err); n != 5 {
			t.Errorf("RESP%d: script: %d", proto, n)
		}
		if err := c.Get(ctx, "go:none").Err(); err != redis.Nil {
			t.Errorf("RESP%d: GET of nothing: %v", proto, err)
		}
		del, err := c.Del(ctx, "go:a", "go:b", "go:c", "go:d", "go:h", "go:z").Result()
		if check("DEL", err); del != 6 {
			t.Errorf("RESP%d: DEL: %d, want 6", proto, del)
		}
	}
}

// redisCLI is what people bring, on the pool port.
func redisCLI(t *testing.T, p *harness.Proxy) {
	_, port, _ := strings.Cut(p.Config.Addr("cache"), ":")
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"SET", "cli:a", "hello"}, "OK\n"},
		{[]string{"GET", "cli:a"}, "hello\n"},
		{[]string{"-3", "HSET", "cli:h", "f", "v"}, "1\n"},
		{[]string{"--json", "HGETALL", "cli:h"}, "{\"f\":\"v\"}\n"},
		{[]string{"MGET", "cli:a", "cli:none"}, "hello\n\n"},
	} {
		r := harness.Run(t, "redis-cli", append([]string{"-p", port}, step.args...)...)
		if r.Code != 0 || r.Stdout != step.want {
			t.Errorf("redis-cli %s: exit code %d, %q; want %q", strings.Join(step.args, " "), r.Code, r.Stdout+r.Stderr, step.want)
		}
	}
}

// splitBytes sends requests byte by byte through a proxy that also cuts the replies to bytes.
func splitBytes(t *testing.T, p *harness.Proxy) {
	front := harness.StartFault(t, p.Config.Addr("cache"))
	front.Set(harness.ToServer, harness.Fault{Split: 1})
	front.Set(harness.ToClient, harness.Fault{Split: 1})
	c := dial(t, front.Addr())
	for i := range 20 {
		k := harness.Scatter("split:", i)
		want(t, c, "OK", "MSET", k, "a\r\nb", "x"+k, "c")
		want(t, c, "[c a\r\nb (nil)]", "MGET", "x"+k, k, "none"+k)
	}
}
