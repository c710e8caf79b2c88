package differential

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"respgate/engine/command"
)

// rule is a difference that is right.
type rule struct {
	commands string // names, as the table of commands has them; path.Match patterns
	groups   bool   // of pools with several groups only
	differs  string // what, for the page
	why      string
	allow    func(x *exchange) bool
	applied  atomic.Int64
}

// rulebook is all that may differ. The first rule that names the command and allows the difference counts.
type rulebook struct{ rules []*rule }

// newRulebook is THE table: what a client sees of the proxy that it does not see of a server, and why.
func newRulebook() *rulebook {
	return &rulebook{rules: []*rule{
		{
			commands: refusedNames(), differs: "an error that says so",
			why: "they concern a server, or a Redis Cluster, not a pool: connect to the server itself", allow: refused,
		},
		{
			commands: "*", differs: "what later versions answer", why: "the command, or the way it is called, came after Redis 7.0.15", allow: newer,
		},
		{
			commands: "info config|get", differs: "what is in it", why: "the proxy tells of itself, and what clients ask for when they connect", allow: bothFine,
		},
		{
			commands: "config|help client|help", differs: "the lines", why: "the proxy tells of the subcommands that a pool takes", allow: bothFine,
		},
		{
			commands: "client|id client|info client|list hello", differs: "numbers and addresses", why: "it is the connection to the proxy that is told of", allow: bothFine,
		},
		{
			commands: "memory|* lastsave slowlog|get slowlog|len latency|histogram", differs: "figures", why: "they are about a server's past", allow: bothFine,
		},
		{
			commands: "srandmember spop hrandfield zrandmember randomkey lolwut acl|genpass", differs: "which one", why: "the reply is random", allow: alike,
		},
		{
			commands: "time", differs: "the time", why: "the clock goes on", allow: alike,
		},
		{
			commands: "ttl pttl expiretime pexpiretime object|idletime xpending xinfo|*", differs: "a few milliseconds", why: "the clock goes on", allow: near,
		},
		{
			commands: "xadd", differs: "the ID that `*` makes", why: "it is made of the time", allow: alike,
		},
		{
			commands: "smembers sunion sinter sdiff hgetall hkeys hvals keys pubsub|channels pubsub|shardchannels sort sort_ro command command|* function|list acl|cat",
			differs:  "the order of elements", why: "each server hashes with a seed of its own", allow: anyOrder,
		},
		{
			commands: "unsubscribe punsubscribe sunsubscribe", differs: "the order, without arguments", why: "each server hashes with a seed of its own", allow: alike,
		},
		{
			commands: "scan sscan hscan zscan", differs: "order, portions and cursors", why: "each server hashes with a seed of its own", allow: cursors,
		},
		{
			commands: "dump function|dump", differs: "the order of elements within", why: "each server hashes with a seed of its own", allow: sameLength,
		},
		{
			commands: "eval eval_ro evalsha evalsha_ro fcall fcall_ro", groups: true, differs: "an error that says so",
			why: "without a key it belongs to none of the groups", allow: refused,
		},
		{
			commands: "script|exists", groups: true, differs: "0 for a script that EVAL has brought", why: "EVAL brings it to one group, SCRIPT LOAD to all", allow: alike,
		},
		{
			commands: "client|* auth", differs: "an error within MULTI", why: "EXEC is the server's, and does not know the proxy's clients", allow: notQueued,
		},
		{
			commands: fanoutNames(), groups: true, differs: "an error that says so", why: "they concern a server, and the pool has several", allow: refused,
		},
		{
			commands: "*", groups: true, differs: "the error names a group", why: "it is known which server said it", allow: blamed,
		},
		{
			commands: "*", groups: true, differs: "the text of the error", why: "a request whose keys cannot be told belongs to no group, whatever else is wrong with it", allow: keysUnknown,
		},
		{
			commands: "*", groups: true, differs: "`-CROSSSLOT`", why: "keys of several groups are not in one server", allow: crossSlot,
		},
	}}
}

// allow finds the rule by which two replies may differ.
func (b *rulebook) allow(x *exchange) bool {
	for _, r := range b.rules {
		if r.names(x.name) && (!r.groups || x.groups > 1) && r.allow(x) {
			r.applied.Add(1)
			return true
		}
	}
	return false
}

func (r *rule) names(name string) bool {
	for pattern := range strings.FieldsSeq(r.commands) {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}

// fullName is the name of a request's command, "" if the table does not have it.
func fullName(args []string) string {
	if cmd := lookup(args); cmd != nil {
		return cmd.Name
	}
	return ""
}

// lookup finds a request's command or subcommand, nil if the table does not have it.
func lookup(args []string) *command.Command {
	cmd := command.Lookup([]byte(args[0]))
	if cmd != nil && cmd.Container() && len(args) > 1 {
		if sub := cmd.Sub([]byte(args[1])); sub != nil {
			return sub
		}
	}
	return cmd
}

// refusedNames are the commands that a pool does not take.
func refusedNames() string {
	return names(func(cmd *command.Command) bool { return cmd.Route == command.RouteRefused })
}

// fanoutNames are the commands that only a pool of one group takes.
func fanoutNames() string {
	return names(func(cmd *command.Command) bool { return cmd.Route == command.RouteFanout && cmd.Reason != "" })
}

// names of the commands that the plain server knows and that are chosen; of a container that is chosen whole, one pattern.
func names(choose func(*command.Command) bool) string {
	all, chosen := map[string]int{}, map[string][]string{}
	var order []string
	for _, cmd := range command.All() {
		container, _, _ := strings.Cut(cmd.Name, "|")
		if cmd.Container() || later(cmd) {
			continue
		}
		all[container]++
		if choose(cmd) {
			if len(chosen[container]) == 0 {
				order = append(order, container)
			}
			chosen[container] = append(chosen[container], cmd.Name)
		}
	}
	var list []string
	for _, container := range order {
		if n := len(chosen[container]); n > 1 && n == all[container] {
			list = append(list, container+"|*")
			continue
		}
		list = append(list, chosen[container]...)
	}
	return strings.Join(list, " ")
}

// later reports whether the command is not Redis 7.0's.
func later(cmd *command.Command) bool {
	var major, minor int
	if _, err := fmt.Sscanf(cmd.Since, "%d.%d", &major, &minor); err != nil {
		return true
	}
	return cmd.Flags.Has(command.FlagModule) || major > 7 || major == 7 && minor > 0
}

// notQueued: the proxy refuses what a server queues.
func notQueued(x *exchange) bool { return string(x.plain.raw) == "+QUEUED\r\n" && refused(x) }

// blamed: the proxy's error is the server's, with the group that said it.
func blamed(x *exchange) bool {
	group, ok := strings.CutPrefix(x.proxy.text, x.plain.text+" (respgate: group 'g")
	return ok && x.plain.isError() && x.proxy.isError() && len(group) == len("1')")
}

// refused: the proxy says so, names the command, and says why.
func refused(x *exchange) bool {
	if !x.proxy.isError() || x.name == "" {
		return false
	}
	return strings.HasPrefix(x.proxy.text, "ERR respgate: command '"+x.name+"' is not supported") ||
		strings.HasPrefix(x.proxy.text, "ERR wrong number of arguments for '"+x.name+"' command")
}

// newer: the server does not know the command.
func newer(x *exchange) bool {
	if x.plain.raw == nil { // it was not even asked
		cmd := lookup(x.args)
		return cmd != nil && later(cmd) && refused(x)
	}
	if x.plain.isError() && x.plain.text == "ERR Invalid command specified" && strings.HasPrefix(x.name, "command|getkeys") {
		return fullName(x.args[2:]) != ""
	}
	if x.name == "command|getkeys" && x.plain.text == "ERR wrong number of arguments for 'command|getkeys' command" {
		return true
	}
	return x.name != "" && strings.HasPrefix(x.plain.text, "ERR unknown ") && x.plain.isError()
}

// keysUnknown: both are errors; the proxy's is what it says of keys that it cannot find.
func keysUnknown(x *exchange) bool {
	return x.plain.isError() && (x.proxy.text == "ERR syntax error" || x.proxy.text == "ERR Number of keys can't be greater than number of args")
}

// crossSlot: the proxy says that keys are of several groups.
func crossSlot(x *exchange) bool {
	return x.proxy.isError() && strings.HasPrefix(x.proxy.text, "CROSSSLOT Keys in request don't hash to the same group")
}

// bothFine: neither is an error, and both are of one type.
func bothFine(x *exchange) bool {
	return !x.plain.isError() && !x.proxy.isError() && x.plain.kind == x.proxy.kind
}

// alike: both are no errors, of the same type, and have as many elements.
func alike(x *exchange) bool { return sameShape(x.plain, x.proxy) }

func sameShape(a, b *reply) bool {
	if a.kind != b.kind || a.null != b.null || a.isError() || len(a.elems) != len(b.elems) {
		return false
	}
	for i := range a.elems {
		if !sameShape(&a.elems[i], &b.elems[i]) {
			return false
		}
	}
	return true
}

// near: integers may be some milliseconds apart.
func near(x *exchange) bool { return nearly(x.plain, x.proxy) }

const nearEnough = 5000

func nearly(a, b *reply) bool {
	if bytes.Equal(a.raw, b.raw) {
		return true
	}
	if a.kind == ':' && b.kind == ':' {
		m, _ := strconv.ParseInt(a.text, 10, 64)
		n, _ := strconv.ParseInt(b.text, 10, 64)
		return m >= 0 && n >= 0 && max(m, n)-min(m, n) < nearEnough
	}
	if len(a.elems) == 0 || a.kind != b.kind || len(a.elems) != len(b.elems) {
		return false
	}
	for i := range a.elems {
		if !nearly(&a.elems[i], &b.elems[i]) {
			return false
		}
	}
	return true
}

// anyOrder: the same elements, at every level.
func anyOrder(x *exchange) bool {
	return ordered(x.plain, x.name == "hgetall") == ordered(x.proxy, x.name == "hgetall")
}

// ordered is the reply with its elements in a fixed order; pairs stay together.
func ordered(r *reply, pairs bool) string {
	if len(r.elems) == 0 {
		return string(r.raw)
	}
	step := 1
	if pairs || r.kind == '%' {
		step = 2
	}
	list := make([]string, 0, len(r.elems))
	for i := 0; i+step <= len(r.elems); i += step {
		one := ""
		for k := range step {
			one += ordered(&r.elems[i+k], false)
		}
		list = append(list, one)
	}
	slices.Sort(list)
	return fmt.Sprintf("%c%d %s", r.kind, len(r.elems), strings.Join(list, ""))
}

// cursors: the same elements if both are at the end at once; otherwise both are portions.
func cursors(x *exchange) bool {
	a, b := x.plain, x.proxy
	if a.kind != '*' || b.kind != '*' || len(a.elems) != 2 || len(b.elems) != 2 || a.elems[0].kind != '$' || b.elems[0].kind != '$' {
		return false
	}
	if a.elems[0].text != "0" || b.elems[0].text != "0" || x.args[min(2, len(x.args)-1)] != "0" && x.args[1] != "0" {
		return a.elems[1].kind == b.elems[1].kind
	}
	keysOnly := slices.ContainsFunc(x.args, func(a string) bool { return strings.EqualFold(a, "novalues") }) // HSCAN's since 7.4
	pairs := x.name == "hscan" && !keysOnly || x.name == "zscan"
	return ordered(&a.elems[1], pairs) == ordered(&b.elems[1], pairs)
}

func sameLength(x *exchange) bool {
	return x.plain.kind == x.proxy.kind && x.plain.kind == '$' && len(x.plain.raw) == len(x.proxy.raw)
}
