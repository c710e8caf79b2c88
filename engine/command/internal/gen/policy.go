package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// entry is a row with the proxy's decisions.
type entry struct {
	*row
	flags             []string // names of the Flag constants, ordered
	route             string   // name of the Route constant
	merge             string   // name of the Merge constant, "" for none
	reason            string
	first, last, step int     // simple range, 0 0 0 if there is none
	specs             []*spec // if there are keys, but neither a simple range nor a finder
	finder            string
	retry             bool
}

const (
	reasonServer   = "it concerns a server, not a pool: connect to the server itself"
	reasonCluster  = "a pool is not a Redis Cluster"
	reasonGroups   = "it concerns every group, and the pool has more than one"
	reasonKeyless  = "it names no key, and the pool has more than one group"
	reasonPrepared = "what it prepares is known to one server connection, and those here are shared"
	reasonSub      = "it needs a subcommand"
)

// ruling sends the named commands one way. "x|*" is container x with all its subcommands.
type ruling struct {
	route, reason, names string
}

// rulings decide every command without keys, and those with keys that are not simply RouteKeyed. A later ruling on a name outranks an earlier one.
var rulings = []ruling{
	{"RouteMGet", "", "mget"},
	{"RouteMSet", "", "mset"},
	{"RouteSum", "", "del exists touch unlink"},

	{"RouteFanout", "", `dbsize flushall flushdb keys randomkey scan swapdb info command command|*
		acl|cat acl|genpass acl|help commandlog|* config|help function|* latency|* lolwut memory|help module|help module|list object|help pubsub|*
		script|* slowlog|* xgroup|help xinfo|help`},
	{"RouteFanout", reasonGroups, `ft._list ft.aggregate ft.aliasadd ft.aliasdel ft.aliasupdate ft.alter ft.create ft.cursor|* ft.dictadd ft.dictdel
		ft.dictdump ft.dropindex ft.explain ft.explaincli ft.hybrid ft.info ft.profile ft.search ft.spellcheck ft.syndump ft.synupdate ft.tagvals
		ts.mget ts.mrange ts.mrevrange ts.queryindex ts.querylabels`},
	{"RouteFanout", reasonServer, "lastsave memory|doctor memory|malloc-stats memory|purge memory|stats role"},
	{"RouteFanout", reasonKeyless, "ft.config|help"},

	{"RouteKeyed", "", "publish"},

	{"RouteLocal", "", `auth echo hello ping quit readonly readwrite reset select time client|* cluster|*`},
	{"RouteLocal", "", "acl|whoami config|get"},

	{"RouteSession", "", `discard exec multi unwatch watch psubscribe punsubscribe ssubscribe subscribe sunsubscribe unsubscribe
		monitor wait waitaof client|caching client|tracking client|trackinginfo client|no-touch`},
	{"RouteRefused", reasonPrepared, "himport|*"},

	{"RouteRefused", reasonServer, `acl|deluser acl|dryrun acl|getuser acl|list acl|load acl|log acl|save acl|setuser acl|users
		backup|* bgrewriteaof bgsave client|import-source config|resetstat config|rewrite config|set debug
		failover ft.config|get ft.config|set hotkeys|* migrate module|load module|loadex module|unload pfdebug
		pfselftest psync replconf replicaof save script|debug shutdown slaveof sync`},
	{"RouteRefused", reasonCluster, "asking clusterscan restore-asking trimslots"},
}

// merges say how the replies of several groups become one.
var merges = []struct{ merge, names string }{
	{"MergeOK", `flushall flushdb swapdb script|flush function|delete function|flush function|restore slowlog|reset commandlog|reset
		select client|tracking client|no-touch`},
	{"MergeSame", "script|load function|load"},
	{"MergeSum", "dbsize slowlog|len commandlog|len latency|reset"},
	{"MergeMin", "script|exists wait waitaof"},
	{"MergeMax", "pubsub|numpat pubsub|numsub pubsub|shardnumsub"}, // subscribers are subscribed to all groups
	{"MergeConcat", "keys latency|latest"},
	{"MergeUnion", "pubsub|channels pubsub|shardchannels"},
	{"MergeLog", "slowlog|get commandlog|get"},
	{"MergeRandom", "randomkey"},
	{"MergeFirstOK", "script|kill function|kill"},
	{"MergeScan", "scan"},
	{"MergeInfo", "info"},
	{"MergeTable", "command command|count command|docs command|getkeys command|getkeysandflags command|info command|list"},
	{"MergeAny", `acl|cat acl|genpass acl|help command|help commandlog|help config|help function|dump function|help function|list function|stats
		latency|doctor latency|graph latency|help latency|histogram latency|history lolwut memory|help module|help module|list object|help pubsub|help
		script|help script|show slowlog|help xgroup|help xinfo|help`},
}

// readers are commands that only tell something, although Redis does not call them read-only.
const readers = `info script|exists pubsub|channels pubsub|numpat pubsub|numsub pubsub|shardchannels pubsub|shardnumsub slowlog|get slowlog|len
	commandlog|get commandlog|len latency|latest`

// channelKeys are commands whose first argument is a channel that says which group they belong to, as a key would.
const channelKeys = "publish"

// finders are the functions of package command that find keys where specifications do not suffice.
var finders = map[string]string{
	"georadius": "findGeoradius", "georadiusbymember": "findGeoradius", "migrate": "findMigrate", "sort": "findSort",
}

// extraFlags are flags that the captured server does not have: marks of the proxy's own, and what later versions say.
var extraFlags = map[string]string{
	"xread": "may_block", "xreadgroup": "may_block",
	"sort_ro": "movablekeys", // for the keys that nobody can find
	"wait":    "blocking",    // which Redis says of it since 7.2
	"scan":    "cursor", "hscan": "cursor", "sscan": "cursor", "zscan": "cursor", "clusterscan": "cursor",
	"bf.scandump": "cursor", "cf.scandump": "cursor", "ft.cursor|read": "cursor", "ft.cursor|del": "cursor",
}

// laterArity is the arity of commands that take more, or less, since the server that commands.json comes from: ZRANK ... WITHSCORE (7.2), and
// COMMAND GETKEYS of a command without arguments (7.2). What a server does not know yet it refuses itself.
var laterArity = map[string]int{"command|getkeys": -3, "command|getkeysandflags": -3, "zrank": -3, "zrevrank": -3}

// decide turns rows into entries, in the same order. A command without keys that no ruling names is an error: nothing is forwarded by accident.
func decide(rows []*row) ([]*entry, error) {
	containers := map[string]bool{}
	for _, r := range rows {
		containers[r.container()] = true
	}
	ruled, err := expand(rows)
	merged, mergeErr := expandMerges(rows)
	errs := []error{err, mergeErr}
	var entries []*entry
	for _, r := range rows {
		e := &entry{row: r, finder: finders[r.Name]}
		if arity, ok := laterArity[r.Name]; ok {
			r.Arity = arity
		}
		if err := e.placeKeys(); err != nil {
			errs = append(errs, err)
		}
		switch ruling, ok := ruled[r.Name]; {
		case ok:
			e.route, e.reason = ruling.route, ruling.reason
		case containers[r.Name]:
			e.route, e.reason = "RouteRefused", reasonSub
		case r.has("blocking") && extraFlags[r.Name] != "may_block":
			e.route = "RouteBlocking"
		case len(r.Keys) > 0:
			e.route = "RouteKeyed"
		default:
			errs = append(errs, fmt.Errorf("%s: no keys and no ruling", r.Name))
		}
		if e.merge = merged[r.Name]; e.route == "RouteFanout" && (e.merge == "") == (e.reason == "") {
			errs = append(errs, fmt.Errorf("%s: it needs either a way to merge replies or a reason for not doing so", r.Name))
		}
		e.setFlags(containers[r.Name])
		forwarded := !slices.Contains([]string{"RouteRefused", "RouteLocal", "RouteSession", "RouteBlocking"}, e.route)
		tells := e.merge == "MergeAny" || e.merge == "MergeTable" || slices.Contains(strings.Fields(readers), r.Name)
		e.retry = (r.has("readonly") || tells) && forwarded && !e.has("cursor")
		entries = append(entries, e)
	}
	return entries, errors.Join(errs...)
}

// placeKeys decides how the keys are found: by a finder, as a simple range, or by specifications. The keys that SORT_RO's BY and GET name
// depend on the data and cannot be found by anybody.
func (e *entry) placeKeys() error {
	if e.finder != "" {
		return nil
	}
	if e.Name == channelKeys {
		e.first, e.last, e.step = 1, 1, 1
		return nil
	}
	known := slices.DeleteFunc(slices.Clone(e.Keys), func(s *spec) bool { return s.Unknown })
	if len(known) < len(e.Keys) && e.Name != "sort_ro" {
		return fmt.Errorf("%s: unknown key positions and no finder", e.Name)
	}
	e.first, e.last, e.step, _ = simpleRange(known)
	if e.first == 0 {
		e.specs = known
	}
	return nil
}

func (e *entry) has(flag string) bool { return slices.Contains(e.flags, flagName(flag)) }

func (e *entry) setFlags(container bool) {
	names := strings.Fields(e.Flags)
	names = slices.DeleteFunc(names, func(s string) bool { return s == "movablekeys" })
	if e.finder != "" || len(e.specs) > 0 {
		names = append(names, "movablekeys")
	}
	if extra := extraFlags[e.Name]; extra != "" {
		names = append(names, extra)
	}
	if container {
		names = append(names, "container")
	}
	for _, n := range names {
		e.flags = append(e.flags, flagName(n))
	}
	slices.Sort(e.flags)
}

// flagName turns Redis' "no_auth" into "FlagNoAuth".
func flagName(flag string) string {
	switch flag {
	case "readonly":
		return "FlagReadOnly"
	case "noscript":
		return "FlagNoScript"
	case "denyoom":
		return "FlagDenyOOM"
	case "pubsub":
		return "FlagPubSub"
	case "movablekeys":
		return "FlagMovableKeys"
	case "may_block":
		return "FlagMaybeBlocking"
	}
	var b strings.Builder
	b.WriteString("Flag")
	for part := range strings.SplitSeq(flag, "_") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// expand resolves the rulings to names, and refuses a ruling, finder or mark on a command that does not exist.
func expand(rows []*row) (map[string]ruling, error) {
	known := map[string]bool{}
	for _, r := range rows {
		known[r.Name] = true
	}
	var errs []error
	mustKnow := func(name, where string) {
		if !known[name] {
			errs = append(errs, fmt.Errorf("%s: no such command, but %s", name, where))
		}
	}
	ruled := map[string]ruling{}
	for _, rule := range rulings {
		for name := range strings.FieldsSeq(rule.names) {
			container, all := strings.CutSuffix(name, "|*")
			mustKnow(container, "a ruling names it")
			if !all {
				ruled[name] = rule
				continue
			}
			for _, r := range rows {
				if r.container() == container {
					ruled[r.Name] = rule
				}
			}
		}
	}
	for name := range maps.Keys(finders) {
		mustKnow(name, "it has a finder")
	}
	for name := range maps.Keys(extraFlags) {
		mustKnow(name, "it has a mark")
	}
	for name := range maps.Keys(laterArity) {
		mustKnow(name, "it has a later arity")
	}
	for name := range strings.FieldsSeq(readers + " " + channelKeys) {
		mustKnow(name, "the policy names it")
	}
	return ruled, errors.Join(errs...)
}

// expandMerges resolves the merges to names.
func expandMerges(rows []*row) (map[string]string, error) {
	var errs []error
	merged := map[string]string{}
	for _, m := range merges {
		for name := range strings.FieldsSeq(m.names) {
			if !slices.ContainsFunc(rows, func(r *row) bool { return r.Name == name }) {
				errs = append(errs, fmt.Errorf("%s: no such command, but a merge names it", name))
			}
			if merged[name] != "" {
				errs = append(errs, fmt.Errorf("%s: two ways to merge its replies", name))
			}
			merged[name] = m.merge
		}
	}
	return merged, errors.Join(errs...)
}
