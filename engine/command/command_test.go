package command

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/engine/resp"
)

// frameOf lays the arguments into one frame, apart from each other as in a real request.
func frameOf(args ...string) (frame []byte, spans []resp.Span) {
	for _, a := range args {
		frame = append(frame, "$\r\n"...)
		spans = append(spans, resp.Span{Off: uint32(len(frame)), Len: uint32(len(a))})
		frame = append(frame, a...)
	}
	return append(frame, "\r\n"...), spans
}

// find resolves the first one or two words of a request.
func find(t testing.TB, args []string) *Command {
	t.Helper()
	c := Lookup([]byte(args[0]))
	if c != nil && c.Container() && len(args) > 1 {
		c = c.Sub([]byte(args[1]))
	}
	if c == nil {
		t.Fatalf("%v: no such command", args)
	}
	return c
}

func TestLookup(t *testing.T) {
	for _, c := range All() {
		container, sub, isSub := strings.Cut(c.Name, "|")
		for _, spell := range []func(string) string{strings.ToLower, strings.ToUpper, alternate} {
			got := Lookup([]byte(spell(container)))
			if isSub && got != nil {
				got = got.Sub([]byte(spell(sub)))
			}
			if got != c {
				t.Errorf("%s spelt %s: got %v", c.Name, spell(c.Name), got)
			}
		}
	}
}

func alternate(s string) string {
	b := []byte(s)
	for i := range b {
		if i%2 == 0 {
			b[i] = strings.ToUpper(string(b[i]))[0]
		}
	}
	return string(b)
}

func TestLookupUnknown(t *testing.T) {
	for _, name := range []string{
		"", "g", "ge", "gett", "get ", " get", "get\x00", "client|setname", "\xe7\xe5\xf4", "\x07et", "mge", "mgett", "georadiusbymembex",
		"georadiuSbXmember", "georadiusbymember_r", "georadiusbyXmember_ro", strings.Repeat("a", 255), strings.Repeat("get", 200), "unknown",
	} {
		if c := Lookup([]byte(name)); c != nil {
			t.Errorf("%q: got %s", name, c.Name)
		}
	}
	client := Lookup([]byte("client"))
	for _, name := range []string{"", "setnam", "setnamee", "get", "client", "maint_notificationz", "maint_nXtifications"} {
		if c := client.Sub([]byte(name)); c != nil {
			t.Errorf("client %q: got %s", name, c.Name)
		}
	}
	if c := Lookup([]byte("get")).Sub([]byte("help")); c != nil {
		t.Errorf("get help: got %s", c.Name)
	}
}

// TestLookupOneByteOff turns each byte of each name into every other: nothing but the letter's other case may be found, or another command.
func TestLookupOneByteOff(t *testing.T) {
	byName := map[string]*Command{}
	for _, c := range All() {
		byName[c.Name] = c
	}
	for name := range byName {
		b := []byte(name)
		for i := range b {
			was := b[i]
			for v := range 256 {
				b[i] = byte(v)
				want := byName[asciiLower(b)]
				if want != nil && strings.Contains(want.Name, "|") {
					want = nil
				}
				if got := Lookup(b); got != want {
					t.Fatalf("%q: got %v, want %v", b, got, want)
				}
			}
			b[i] = was
		}
	}
}

func asciiLower(b []byte) string {
	out := slices.Clone(b)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 32
		}
	}
	return string(out)
}

func TestTable(t *testing.T) {
	all := All()
	if len(all) != Count() || !slices.IsSortedFunc(all, func(a, b *Command) int { return strings.Compare(a.Name, b.Name) }) {
		t.Fatalf("%d commands, Count says %d; or they are not in order", len(all), Count())
	}
	for i, c := range all {
		if int(c.ID) != i+1 {
			t.Errorf("%s: ID %d, want %d", c.Name, c.ID, i+1)
		}
		needsReason := c.Route == RouteRefused || c.Route == RouteFanout && c.Merge == MergeNone
		if needsReason != (c.Reason != "") {
			t.Errorf("%s: route %v, reason %q", c.Name, c.Route, c.Reason)
		}
		findsKeys := c.First > 0 || c.finder != nil || len(c.specs) > 0
		if split := c.Route >= RouteKeyed && c.Route <= RouteSum; split && !findsKeys {
			t.Errorf("%s: route %v, and no way to find its keys", c.Name, c.Route)
		}
		if (c.First > 0) != (c.Step > 0) || c.First == 0 && c.Last != 0 {
			t.Errorf("%s: range %d %d %d", c.Name, c.First, c.Last, c.Step)
		}
		if c.Flags.Has(FlagWrite | FlagReadOnly) {
			t.Errorf("%s: writes and reads only", c.Name)
		}
		tells := c.Route == RouteFanout && c.Flags&FlagWrite == 0 && c.Merge != MergeOK && c.Merge != MergeSame && c.Merge != MergeFirstOK
		if c.Retry && (!c.Flags.Has(FlagReadOnly) && !tells || c.Flags&FlagCursor != 0) {
			t.Errorf("%s: may not be sent again", c.Name)
		}
		if c.Container() != c.Flags.Has(FlagContainer) {
			t.Errorf("%s: container %v, flags %b", c.Name, c.Container(), c.Flags)
		}
	}
}

// TestRoutes pins the routes that the engine and the documents rely on.
func TestRoutes(t *testing.T) {
	routes := map[Route]string{
		RouteLocal: `ping echo quit auth select hello reset time client|id client|setname client|getname
			client|setinfo client|info client|list client|kill client|help client|no-evict client|reply client|getredir client|pause client|unblock client|maint_notifications client|capa
			config|get readonly readwrite cluster|info cluster|slots cluster|nodes cluster|shards acl|whoami`,
		RouteKeyed: `get set getex incr append hset hexpire lpush sadd zadd xadd xread xreadgroup pfadd pfmerge geoadd setbit sort sort_ro georadius
			rename copy msetnx msetex smove lmove zunionstore eval evalsha eval_ro fcall fcall_ro object|encoding xinfo|stream xgroup|create
			memory|usage dump restore bitop lmpop zmpop sintercard spublish json.mget vsim delifeq expire ttl type
			publish move object|freq xinfo|consumers`,
		RouteMGet: "mget", RouteMSet: "mset", RouteSum: "del unlink touch exists",
		RouteFanout: `dbsize keys flushall flushdb scan randomkey script|load script|exists pubsub|channels function|load lolwut object|help swapdb
			info command command|docs command|getkeys slowlog|get latency|latest acl|cat role lastsave memory|stats module|list ft.search`,
		RouteSession: `multi exec discard watch unwatch subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe monitor wait waitaof
			client|tracking client|caching client|trackinginfo client|no-touch`,
		RouteBlocking: "blpop brpop blmove brpoplpush blmpop bzpopmin bzpopmax bzmpop blmovem",
		RouteRefused: `shutdown replicaof slaveof debug failover psync sync replconf bgsave save module|load config|set acl|setuser acl migrate
			restore-asking pfdebug pfselftest client config asking script|debug`,
	}
	for route, names := range routes {
		for name := range strings.FieldsSeq(names) {
			c := find(t, strings.SplitN(name, "|", 2))
			if c.Route != route {
				t.Errorf("%s: route %v, want %v", name, c.Route, route)
			}
		}
	}
}

// TestMerges pins how replies of several groups become one.
func TestMerges(t *testing.T) {
	merges := map[Merge]string{
		MergeNone: "get role lastsave memory|stats ft.search", MergeOK: "flushall script|flush function|delete function|restore swapdb slowlog|reset client|tracking",
		MergeSame: "script|load function|load", MergeSum: "dbsize slowlog|len latency|reset", MergeMin: "wait waitaof script|exists",
		MergeMax: "pubsub|numsub pubsub|numpat", MergeConcat: "keys latency|latest", MergeUnion: "pubsub|channels", MergeLog: "slowlog|get",
		MergeRandom: "randomkey", MergeFirstOK: "script|kill function|kill", MergeScan: "scan", MergeInfo: "info",
		MergeAny: "lolwut function|list function|dump object|help acl|cat", MergeTable: "command command|docs command|getkeysandflags",
	}
	for merge, names := range merges {
		for name := range strings.FieldsSeq(names) {
			if c := find(t, strings.SplitN(name, "|", 2)); c.Merge != merge {
				t.Errorf("%s: merge %v, want %v", name, c.Merge, merge)
			}
		}
	}
	seen := map[string]bool{}
	for m := MergeNone; m <= MergeTable; m++ {
		seen[m.String()] = true
	}
	if len(seen) != len(merges) || (MergeTable+1).String() != "unknown" {
		t.Errorf("names of merges: %v", seen)
	}
	for name, want := range map[string]bool{"get": true, "dbsize": true, "multi": true, "info": false, "command": false, "ping": false} {
		if c := find(t, strings.Fields(name)); c.NeedsServer() != want {
			t.Errorf("%s: needs a server: %v", name, !want)
		}
	}
}

func TestRetry(t *testing.T) {
	for name, want := range map[string]bool{
		"get": true, "mget": true, "exists": true, "hgetall": true, "xrange": true, "keys": true, "sort_ro": true, "object encoding": true,
		"set": false, "getdel": false, "incr": false, "scan": false, "sscan": false, "hscan": false, "zscan": false, "eval": false, "sort": false,
		"blpop": false, "multi": false, "ping": false, "eval_ro": true, "fcall_ro": true, "georadius": false, "georadius_ro": true,
		"info": true, "command docs": true, "pubsub channels": true, "script exists": true, "script load": false, "slowlog reset": false, "publish": false,
	} {
		if c := find(t, strings.Fields(name)); c.Retry != want {
			t.Errorf("%s: retry %v", name, c.Retry)
		}
	}
}

func TestArityOK(t *testing.T) {
	for _, c := range []struct {
		name string
		argc int
		want bool
	}{{"get", 2, true}, {"get", 1, false}, {"get", 3, false}, {"mget", 1, false}, {"mget", 2, true}, {"mget", 9, true}, {"command", 1, true}} {
		if got := Lookup([]byte(c.name)).ArityOK(c.argc); got != c.want {
			t.Errorf("%s with %d arguments: %v", c.name, c.argc, got)
		}
	}
}

func TestRouteString(t *testing.T) {
	var got []string
	for r := RouteRefused; r <= RouteBlocking+1; r++ {
		got = append(got, r.String())
	}
	want := []string{"refused", "local", "keyed", "mget", "mset", "sum", "fanout", "session", "blocking", "unknown"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFlagNames(t *testing.T) {
	got := Lookup([]byte("XREAD")).Flags.AppendNames(nil)
	if d := cmp.Diff([]string{"readonly", "blocking", "movablekeys"}, got); d != "" {
		t.Error(d)
	}
}

func TestNoAllocation(t *testing.T) {
	name, sub, unknown := []byte("ZUNIONSTORE"), []byte("MAINT_NOTIFICATIONS"), []byte("nosuchcommand")
	client := Lookup([]byte("client"))
	if n := testing.AllocsPerRun(100, func() { Lookup(name); Lookup(unknown); client.Sub(sub) }); n != 0 {
		t.Errorf("look-up: %v allocations", n)
	}
	keys := make([]int32, 0, 16)
	for _, request := range []string{
		"mget a b c", "zunionstore d 2 a b", "xread block 0 streams a b 0 0", "sort a by b store c", "georadius a 1 1 1 m store b",
		"migrate h 1 \x00 0 1 keys a b", "eval x 1 a",
	} {
		args := strings.Fields(request)
		frame, spans := frameOf(args...)
		c := find(t, args)
		if n := testing.AllocsPerRun(100, func() { keys, _ = c.Keys(keys[:0], frame, spans); c.Blocks(frame, spans) }); n != 0 {
			t.Errorf("%s: %v allocations", request, n)
		}
	}
}
