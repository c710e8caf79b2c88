package conf

import (
	"errors"
	"math"
	"time"
)

// poolTable lists the keys of a pool, in the order of the reference. What twemproxy has too keeps its name and meaning.
func poolTable() []key {
	keys := []key{
		{Name: "listen", typ: parsed("host:port, or /path [mode]", parseListen), Required: true, Effect: Rebind,
			Doc: "Where the pool takes clients. A unix socket may have an octal mode: `/run/cache.sock 0660`."},
		{Name: "backlog", typ: integer(1, 65535), Default: "512", Effect: Rebind,
			Doc: "Connections that the kernel keeps until they are accepted."},
		{Name: "reuseport", typ: boolean(), Default: "false", Effect: Rebind,
			Doc: "SO_REUSEPORT, for several proxies on one address."},
		{Name: "tcpkeepalive", typ: boolean(), Default: "false", Effect: Live,
			Doc: "Keepalive on the connections of clients; connections accepted from then on."},
		{Name: "password", typ: secret(), Effect: Live,
			Doc: "Clients must AUTH with it. Connected ones stay."},
		{Name: "moving_endpoint", typ: text("host:port", checkHostPort), Effect: Live,
			Doc: "Where clients that sent `CLIENT MAINT_NOTIFICATIONS ON` are told to move to when the proxy or the pool ends: a load balancer's address, say. By default the address that they are connected to."},
		{Name: "client_buffer", typ: size(16*KB, GB), Default: "32mb", Effect: Live,
			Doc: "Bytes that one client may leave unread before it is no longer read from, and the largest request."},
		{Name: "pipeline", typ: size(16*KB, GB), Default: "1mb", Effect: Live,
			Doc: "Bytes of requests that one client may have in flight before it is no longer read from."},
		{Name: "timeout", typ: timeoutOrNone(), Default: "3s", Effect: Live,
			Doc: "From sending a request to a server until its reply. 0, or less, is none, which is twemproxy's default."},
		{Name: "redis", typ: redisOnly(), Default: "true", Effect: Live, unused: true,
			Doc: "twemproxy's key. `false` is a memcached pool there and an error here."},
		{Name: "client_connections", typ: integer(0, math.MaxInt32), Effect: Live, unused: true,
			Doc: "twemproxy's key, accepted and without effect, as there. Use `limits.max_clients`."},
	}
	keys = append(keys, shardingTable()...)
	keys = append(keys, sentinelTable()...)
	return append(keys, managerTable()...)
}

// shardingTable lists the keys that say where a key lives, and how servers are talked to.
func shardingTable() []key {
	return []key{
		{Name: "hash", typ: hashName(), Default: "fnv1a_64", Effect: Live,
			Doc: "Hash of a key. A change moves keys."},
		{Name: "hash_tag", typ: text("two characters", checkHashTag), Effect: Live,
			Doc: "The part of a key between these two is hashed, if there is one and it is not empty. `\"\"` hashes whole keys. A change moves keys."},
		{Name: "distribution", typ: distributionName(), Default: "ketama", Effect: Live,
			Doc: "How hashes are shared out. A change moves keys."},
		{Name: "servers", typ: list[Server]("list of `host:port:weight [name]` or `/path:weight [name]`", maxGroups, parsed("", parseServer)), Effect: Links,
			Doc: "A fixed list, as twemproxy has it: a server's place follows from its name, or from its address if it has none."},
		{Name: "server_connections", typ: integer(1, 1024), Default: "1", Effect: Links,
			Doc: "Shared links to a server, for each event loop. With more than one a client may not read what it has just written."},
		{Name: "preconnect", typ: boolean(), Default: "false", Effect: Live,
			Doc: "Connects to all servers before the first request."},
		{Name: "redis_user", typ: text("name", nil), Effect: Links,
			Doc: "ACL user for AUTH on the servers."},
		{Name: "redis_auth", typ: secret(), Effect: Links,
			Doc: "Password for AUTH on the servers. Unlike twemproxy, clients are asked for `password`, not for this one."},
		{Name: "redis_db", typ: integer(0, math.MaxInt32), Default: "0", Effect: Links,
			Doc: "Database to SELECT on the servers."},
		{Name: "databases", typ: integer(1, math.MaxInt32), Default: "16", Effect: Live,
			Doc: "SELECT takes numbers below this one, as far as the servers have such a database."},
		{Name: "session_links", typ: integer(0, 1000000), Default: "1000", Effect: Live,
			Doc: "Connections to the master of a group that belong to one client at a time: for transactions, blocking commands, subscriptions, MONITOR and client-side caching. Beyond it a client gets `-ERR respgate: no session link free`."},
		{Name: "auto_eject_hosts", typ: boolean(), Default: "false", Effect: Live,
			Doc: "Leaves a failing server of `servers` out of the ring until it is tried again. Its keys move while it is out."},
		{Name: "server_retry_timeout", typ: duration(time.Millisecond), Default: "30s", Effect: Live,
			Doc: "When an ejected server is tried again."},
		{Name: "server_failure_limit", typ: integer(1, 1000000), Default: "2", Effect: Live,
			Doc: "Failures in a row before a server is ejected."},
	}
}

// sentinelTable lists the keys of pools whose masters come from Sentinel.
func sentinelTable() []key {
	return []key{
		{Name: "groups", typ: list[Group]("list of `name` or `{name: g, weight: 2}`", maxGroups, group()), Effect: Links,
			Doc: "Names of masters at Sentinel. A group's place follows from its name, so a failover moves no key."},
		{Name: "sentinels", typ: list[SentinelRef]("list of `host:port [name]`", maxSentinels, parsed("", parseSentinel)), Effect: Links,
			Doc: "The sentinels of the groups, at most 64. A majority of them decides."},
		{Name: "sentinel_user", typ: text("name", nil), Effect: Links,
			Doc: "ACL user for AUTH on the sentinels."},
		{Name: "sentinel_auth", typ: secret(), Effect: Links,
			Doc: "Password for AUTH on the sentinels."},
		{Name: "sentinel_heartbeat", typ: duration(10 * time.Millisecond), Default: "1s", Effect: Live,
			Doc: "How often each sentinel is sent a PING."},
		{Name: "sentinel_missed", typ: integer(1, 100), Default: "3", Effect: Live,
			Doc: "Heartbeats without an answer before the link is replaced."},
		{Name: "sentinel_timeout", typ: duration(10 * time.Millisecond), Default: "2s", Effect: Live,
			Doc: "For all that is asked of a sentinel at its start; then the next one is taken."},
		{Name: "sentinel_links", typ: integer(0, maxSentinels), Default: "0", Effect: Links,
			Doc: "Sentinels watched at a time; 0 is all of them. 1 is one, and the next when it fails."},
		{Name: "authority_lease", typ: durationOrAuto(LeaseAuto, 0), Default: "auto", Effect: Live,
			Doc: "How long a master is trusted when no sentinel can be reached. `auto` is as long as the sentinels' last answers, or the replicas, show that nobody else was promoted; 0 is not at all."},
		{Name: "on_authority_lost", typ: authorityPolicy(), Default: "reject", Effect: Live,
			Doc: "What happens then. `reject`: new connections and requests get an error; `fence`: writes do, reads are served; `serve`: everything is served."},
		{Name: "follow", typ: followMode(), Default: "announced", Effect: Live,
			Doc: "When a failover is followed: `announced` is once a majority of the sentinels names the new master; of a dead one, once the first sentinel names one of its replicas with a newer config-epoch, and ROLE agrees. `early` is as soon as the replica that a sentinel has told of says that it is master, about 0.9 s before; a sentinel that dies within that second has told of it in vain, and what was written to the replica meanwhile is lost."},
		{Name: "hold.timeout", typ: durationOrAuto(HoldAuto, time.Millisecond), Default: "auto", Effect: Live,
			Doc: "How long a request waits while its group has no verified master. `auto` is Sentinel's down-after-milliseconds and 4 s, at most 10 s."},
		{Name: "hold.requests", typ: integer(0, 1000000), Default: "10000", Effect: Live,
			Doc: "Requests of one group that wait; 0 lets none wait."},
		{Name: "hold.bytes", typ: size(0, 64*GB), Default: "32mb", Effect: Live,
			Doc: "Bytes of the requests of one group that wait."},
	}
}

// managerTable lists the keys of pools whose groups and sentinels come from a manager.
func managerTable() []key {
	address := text("", func(s string) error {
		_, _, err := parseHostPort(s)
		return err
	})
	return []key{
		{Name: "manager.addresses", typ: list[string]("list of `host:port`", maxManagers, address), Required: true, Effect: Links,
			Doc: "The managers; the next one is asked when one fails."},
		{Name: "manager.cluster", typ: text("name", checkName), Required: true, Effect: Links,
			Doc: "The name of the pool's groups and sentinels at the manager."},
		{Name: "manager.user", typ: text("name", nil), Effect: Links,
			Doc: "ACL user for AUTH on the managers."},
		{Name: "manager.password", typ: secret(), Effect: Links,
			Doc: "Password for AUTH on the managers."},
		{Name: "manager.heartbeat", typ: duration(10 * time.Millisecond), Default: "1s", Effect: Live,
			Doc: "How often the manager is asked for a new version."},
		{Name: "manager.timeout", typ: duration(10 * time.Millisecond), Default: "2s", Effect: Live,
			Doc: "How long an answer may take; then the next manager is asked."},
	}
}

func checkHashTag(s string) error {
	if s != "" && (len(s) != 2 || s[0] >= 0x80 || s[1] >= 0x80) {
		return errors.New(`must be two characters (ASCII), such as "{}"`)
	}
	return nil
}

// redisOnly accepts true.
func redisOnly() valueType {
	what := errors.New("must be true: respgate serves Redis, not memcached")
	return scalar("true", boolTags, what, func(s string) (bool, error) {
		if s != "true" {
			return false, what
		}
		return true, nil
	})
}
