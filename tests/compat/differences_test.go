package compat

import "slices"

// difference is a set of tests that pass on plain Redis and cannot pass through a proxy, and why.
type difference struct {
	reason string
	kinds  []string            // of pool; all if empty
	tests  map[string][]string // by suite
}

type differenceList []difference

func (l differenceList) find(suite, name string) *difference {
	for i := range l {
		if slices.Contains(l[i].tests[suite], name) {
			return &l[i]
		}
	}
	return nil
}

func (l differenceList) argued(suite, kind, name string) bool {
	d := l.find(suite, name)
	return d != nil && (len(d.kinds) == 0 || slices.Contains(d.kinds, kind))
}

// differences are argued for one by one: they are refused on purpose.
var differences = differenceList{
	{
		reason: "`CONFIG SET`, `RESETSTAT` and `REWRITE` are refused on a pool's port: the settings are a server's, and the pool's servers change with each failover. The tests that only want another setting (slow log, latency monitor, LFU, counters) fail with them.",
		tests: map[string][]string{
			"rueidiscompat": {
				"RESP2 Commands / server / should ConfigResetStat",
				"RESP2 Commands / server / should ConfigSet",
				"RESP3 Commands / SlowLogGet / returns slow query result",
				"RESP3 Commands / SlowLogLen / returns the number of slow queries",
				"RESP3 Commands / server / should ConfigResetStat",
				"RESP3 Commands / server / should ConfigSet",
			},
			"go-redis": {
				"Client / should initialize idle connections created by MinIdleConns",
				"Commands / SlowLog / returns slow query result",
				"Commands / SlowLog / returns the number of slow queries",
				"Commands / keys / should Object",
				"Commands / server / should ConfigResetStat",
				"Commands / server / should ConfigRewrite",
				"Commands / server / should ConfigSet",
				"Tx UNWATCH elision / records UNWATCH server-side when fn returns before EXEC (commandstats)",
				"Tx UNWATCH elision / records no UNWATCH server-side after a committed EXEC (commandstats)",
				"Tx UNWATCH elision / records no UNWATCH server-side after an aborted EXEC (commandstats)",
			},
			"redigo": {
				"TestLatency",
				"TestLatencyHistories",
			},
		},
	},
	{
		reason: "`ACL` commands that show or change users are refused: the users are those of a server, and the pool's clients are let in by the pool.",
		tests: map[string][]string{
			"rueidiscompat": {
				"RESP3 Commands / ACL / should ACL LOG RESET",
				"RESP3 Commands / ACL / should acl dryrun",
				"RESP3 Commands / ACL / should list ACL rules via ACLList",
				"RESP3 Commands / ACL / should pipeline ACLUsers, ACLWhoAmI, and ACLGenPass",
				"RESP3 Commands / ACL / should support ACLUsers, ACLWhoAmI, and ACLGenPass",
				"RESP3 Commands / ACL / should work in pipeline with ACLList and ACLDryRun",
			},
			"go-redis": {
				"ACL / should ACL LOG RESET",
				"ACL permissions / add del permissions",
				"ACL permissions / add read permissions",
				"ACL permissions / add write permissions",
				"ACL permissions / reset permissions",
				"ACL user commands / gen password",
				"ACL user commands / gen password with length",
				"ACL user commands / list only default user",
				"ACL user commands / setuser and deluser",
				"ACL user commands / should acl dryrun",
			},
			"go-redis, without Ginkgo": {
				"TestPipelinePoolHandshakeACLAndSelect",
			},
		},
	},
	{
		reason: "`DEBUG` is refused: it stops, slows or crashes a server that others use as well.",
		tests: map[string][]string{
			"go-redis": {
				"Commands / Latency / reset all latencies",
				"Commands / Latency / reset latencies by add event name args",
				"Commands / Latency / returns latencies",
				"Commands / debugging / should DebugObject",
			},
		},
	},
	{
		reason: "`SAVE`, `BGREWRITEAOF`, `REPLICAOF` and `MIGRATE` are refused: persistence and replication of the servers are their operator's, and the keys of a pool do not leave it.",
		tests: map[string][]string{
			"rueidiscompat": {
				"RESP2 Commands / server / should Migrate",
				"RESP2 Commands / server / should ReplicaOf",
				"RESP2 Commands / server / should Save",
				"RESP3 Commands / Config / BgSave",
				"RESP3 Commands / server / should Migrate",
				"RESP3 Commands / server / should ReplicaOf",
				"RESP3 Commands / server / should Save",
			},
			"go-redis": {
				"Commands / keys / should Migrate",
				"Commands / server / should ReplicaOf",
				"Commands / server / should Save",
				"Commands / server / should SlaveOf",
			},
		},
	},
}
