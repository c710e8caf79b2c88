package differential

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"
)

// scripts that are the same each time they run.
var scripts = []string{
	"return 1", "return {1,2,{3,'four'}}", "return redis.call('GET',KEYS[1])", "return redis.call('SET',KEYS[1],ARGV[1] or 'x')",
	"return redis.error_reply('MY own error')", "return redis.status_reply('FINE')", "return {KEYS[1] or false,ARGV[1] or false}", "return 3.99",
	"return redis.pcall('LPUSH',KEYS[1],'x')", "return redis.call('NOSUCH')", "this is no lua", "return false", "return true",
	"redis.setresp(3); return redis.call('HGETALL',KEYS[1])", "return redis.call('INCR',KEYS[1])", "return #KEYS", "error('raised')",
	"#!lua flags=no-writes\nreturn redis.call('GET',KEYS[1])", "return redis.sha1hex('a')", "return cjson.encode({a=1})",
}

// library is a library of functions that reads and writes.
const library = "#!lua name=mylib\n" +
	"redis.register_function('put', function(keys, args) return redis.call('SET', keys[1], args[1] or 'x') end)\n" +
	"redis.register_function{function_name='look', callback=function(keys, args) return redis.call('GET', keys[1]) end, flags={'no-writes'}}\n"

func digest(script string) string {
	sum := sha1.Sum([]byte(script))
	return hex.EncodeToString(sum[:])
}

// value makes one value of an argument.
func (g *generator) value(s *shape, a *argument) string {
	if v, ok := g.special(s, a); ok {
		return v
	}
	switch a.kind {
	case "key":
		return g.key()
	case "integer":
		return g.integer(a)
	case "double":
		if a.name == "min" || a.name == "max" {
			return g.words("-inf +inf 0 1 (1 2 (3 10 inf")
		}
		return g.words("1 0 -1 1.5 -2.25 3e2 0.1 100 1000")
	case "pattern":
		return g.pick("*", "?1", "[a-z]*", "s*", "none*", "*[1-2]", "w_*", "{t}*")
	case "unix-time":
		if strings.Contains(a.name, "milli") {
			return g.words("99999999999999 1 0 -1")
		}
		return g.words("9999999999 1 0 -1")
	}
	return g.text(s, a)
}

func (g *generator) integer(a *argument) string {
	switch a.name {
	case "seconds":
		return g.words("1000 100000 0 -1")
	case "milliseconds", "ttl":
		return g.words("1000000 100000000 0 -1")
	case "cursor":
		return g.words("0 0 0 1 17")
	case "count", "limit", "len", "num-matches", "minmatchlen":
		return g.words("1 2 3 5 10 100 0 -1 -2")
	case "bit":
		return g.words("0 1")
	case "db", "destination-db", "index1", "index2":
		return g.words("0 0 1 15 16 -1")
	case "client-id":
		return g.words("1 999999 0 -1")
	}
	return g.words("0 1 -1 2 3 5 7 10 -3 100")
}

// text is the value of an argument of which only the name says what it is.
func (g *generator) text(s *shape, a *argument) string {
	switch a.name {
	case "id", "last-id", "max_deleted_entry_id":
		return g.words("0 0-0 1-1 2-1 3-1 5 7-7 9-9 $ > 1- 1-*")
	case "threshold":
		return g.words("0 1 2 10 2-1")
	case "start", "end", "stop", "min", "max":
		return g.bound(s)
	case "channel", "shardchannel":
		return g.words("c1 c2 c3")
	case "script":
		return scripts[g.IntN(len(scripts))]
	case "sha1":
		if g.chance(20) {
			return strings.Repeat("f", 40)
		}
		return digest(scripts[g.IntN(len(scripts))])
	case "function":
		return g.words("put look put look nosuch")
	case "function-code":
		return g.pick(library, library, "#!lua name=other\nredis.register_function('one', function() return 1 end)", "nonsense", "#!lua name=bad\nsyntax error(")
	case "library-name", "library-name-pattern":
		return g.words("mylib other nosuch my*")
	case "group", "groupname":
		return g.words("grp grp grp g2 nosuch")
	case "consumer", "consumername":
		return g.words("me you")
	case "min-idle-time":
		return g.words("0 0 0 100000000 -1")
	case "operation":
		return g.words("AND OR XOR NOT and nosuch")
	case "encoding":
		return g.words("u8 i8 u1 i64 u63 u64 i16 x8")
	case "field":
		return g.words("f1 f2 f3 n1")
	case "section":
		return g.words("server clients replication all nosuch everything")
	case "username":
		return g.words("default nobody")
	case "password":
		return g.words("wrong secret")
	case "parameter":
		return g.words("maxmemory databases save max* nosuch *")
	case "serialized-value":
		return g.payloads[g.IntN(len(g.payloads))]
	case "command", "command-name":
		return g.pick("get", "SET", "client|id", "nosuch", "mget", "xadd", "eval", "client")
	}
	return g.pick("a", "b", "c", "d", "1", "2", "10", "-3", "1.5", "hello", "", "a value", "\x00\x01\xff", "x\r\ny", strings.Repeat("long ", 40))
}

// bound is an end of a range, as the command writes them.
func (g *generator) bound(s *shape) string {
	switch {
	case strings.HasPrefix(s.Name, "x"):
		return g.words("- + 0 1 2-1 (1-1 (2 5-5 99")
	case strings.Contains(s.Name, "lex"):
		return g.words("- + [a (a [b (c [z")
	case s.Name == "zrange" || s.Name == "zrangestore":
		return g.words("0 -1 1 2 0 -1 (1 [a - + -inf +inf 5")
	}
	return g.words("-inf +inf 0 1 (1 2 5")
}

// special are arguments that mean something else in one command.
func (g *generator) special(s *shape, a *argument) (string, bool) {
	switch s.Name + " " + a.name {
	case "zinterstore numkeys":
		return "1", true
	case "xread milliseconds", "xreadgroup milliseconds":
		return g.words("1 5 20"), true
	case "wait timeout":
		return g.words("1 5"), true
	case "wait numreplicas":
		return g.words("0 1"), true
	case "hello protover":
		return g.words("2 3"), true
	case "select index":
		return g.words("0 0 1 2 15 16 -1"), true
	case "setbit offset", "getbit offset", "setrange offset":
		return g.words("0 1 7 8 100 1000 -1"), true
	case "getrange start", "substr start", "bitcount start", "bitpos start", "zrevrange start", "zremrangebyrank start", "lrange start", "ltrim start",
		"getrange end", "substr end", "bitcount end", "bitpos end", "zrevrange stop", "zremrangebyrank stop", "lrange stop", "ltrim stop":
		return g.words("0 1 -1 2 -2 5 100 -100"), true
	case "incrbyfloat increment", "hincrbyfloat increment":
		return g.words("1 0.5 -2.25 1e3 0.1"), true
	case "geoadd longitude", "georadius longitude", "geosearch longitude", "georadius_ro longitude", "geosearchstore longitude":
		return g.words("13.361389 15.087269 0 2.35 -122.4 181"), true
	case "geoadd latitude", "georadius latitude", "geosearch latitude", "georadius_ro latitude", "geosearchstore latitude":
		return g.words("38.115556 37.502669 0 48.85 37.77 86"), true
	case "xadd id":
		return strconv.Itoa(5+g.IntN(50)) + g.words("-1 -2 -* -0"), true
	case "hincrby field", "hincrbyfloat field":
		return g.words("n1 n1 n2 f1"), true
	case "ping message", "echo message":
		return g.pick("hi", "", "\x00\r\n"), true
	}
	switch {
	case a.name == "timeout" && s.blocks:
		return g.words("0.01 0.001 0.02"), true
	case a.name == "value" && s.Name == "setbit":
		return g.words("0 1"), true
	case a.name == "member" && s.Group == "geo", a.name == "member1", a.name == "member2":
		return g.words("Palermo Catania a none"), true
	case a.name == "subcommand":
		return "nosuch", true
	}
	return "", false
}
