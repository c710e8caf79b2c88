package conf

import (
	"fmt"
	"maps"
	"slices"
)

// checkConfig checks the rules across keys. A key with a mistake of its own has its default here; what the file gives is asked of
// r, so that one mistake is not told twice.
func (r *reader) checkConfig(c *Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		r.checkPool("pools."+name, c.Pools[name], c.Limits)
	}
	r.checkListeners(c)
	if c.Admin.StatsPassword != "" && c.Admin.Password == "" {
		r.failAt("admin.stats_password", "needs admin.password, without which everybody is let in")
	}
	if c.Admin.Password != "" && c.Admin.StatsPassword == c.Admin.Password {
		r.failAt("admin.stats_password", "must differ from admin.password")
	}
	if c.Admin.Password == "" && !r.given("admin.password") && !loopback(c.Admin.Listen) {
		r.warnAt("admin.listen", "is open to the network without admin.password")
	}
	r.warnStateDir(c)
}

// warnStateDir tells of pools that cannot start without their manager.
func (r *reader) warnStateDir(c *Config) {
	if c.StateDir != "" {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		if c.Pools[name].Source() == SourceManager {
			r.warnAt("pools."+name+".manager", "without state_dir no answer is kept: the pool cannot start while no manager can be reached")
		}
	}
}

func (r *reader) checkPool(at string, p *Pool, limits Limits) {
	r.checkSource(at)
	r.checkServers(at, p)
	r.checkGroups(at, p)
	r.checkAuth(at, p)
	r.checkSize(at+".client_buffer", &p.ClientBuffer, limits.Memory)
	r.checkSize(at+".pipeline", &p.Pipeline, limits.Memory)
	r.checkSize(at+".hold.bytes", &p.Hold.Bytes, limits.Memory)
	if r.given(at + ".client_connections") {
		r.warnAt(at+".client_connections", "has no effect, as in twemproxy; use limits.max_clients")
	}
	r.warnUnused(at, p)
}

// checkSize holds that one client or group cannot have more than there is in all; a default gives way.
func (r *reader) checkSize(key string, size *Bytes, memory Bytes) {
	switch {
	case *size <= memory:
	case r.given(key):
		r.failAt(key, "must not be larger than limits.memory, which is %v", memory)
	default:
		*size = memory
	}
}

// checkSource holds that a pool has exactly one of servers, groups with sentinels, and manager.
func (r *reader) checkSource(at string) {
	servers, manager := r.given(at+".servers"), r.given(at+".manager")
	groups, sentinels := r.given(at+".groups"), r.given(at+".sentinels")
	switch {
	case servers && manager:
		r.failAt(at+".manager", "cannot stand beside servers: a pool has one of servers, groups with sentinels, or manager")
	case servers && (groups || sentinels):
		r.failAt(at+".servers", "cannot stand beside groups or sentinels: a pool has one of servers, groups with sentinels, or manager")
	case manager && (groups || sentinels):
		r.failAt(at+".manager", "cannot stand beside groups or sentinels: the manager tells them")
	case groups && !sentinels:
		r.failAt(at+".groups", "needs sentinels")
	case sentinels && !groups:
		r.failAt(at+".sentinels", "needs groups")
	case !servers && !manager && !groups:
		r.failAt(at, "needs one of servers, groups with sentinels, or manager")
	}
}

// checkServers holds that no two servers have the same place on the ring, and that the pool is not its own server.
func (r *reader) checkServers(at string, p *Pool) {
	seen := make(map[string]int, len(p.Servers))
	for i, s := range p.Servers {
		item := fmt.Sprintf("%s.servers[%d]", at, i)
		name := s.HashName()
		if first, dup := seen[name]; dup {
			r.failAt(item, "has the name %q, as servers[%d] has; give it a name of its own", name, first)
		} else {
			seen[name] = i
		}
		if s.Address() == p.Listen.Address {
			r.failAt(item, "is where the pool itself listens")
		}
	}
}

func (r *reader) checkGroups(at string, p *Pool) {
	groups := make(map[string]int, len(p.Groups))
	for i, g := range p.Groups {
		if first, dup := groups[g.Name]; dup {
			r.failAt(fmt.Sprintf("%s.groups[%d]", at, i), "is %q, as groups[%d] is", g.Name, first)
		} else {
			groups[g.Name] = i
		}
	}
	r.checkPeers(at+".sentinels", len(p.Sentinels), func(i int) string { return p.Sentinels[i].Address() })
	if p.Manager != nil {
		r.checkPeers(at+".manager.addresses", len(p.Manager.Addresses), func(i int) string { return p.Manager.Addresses[i] })
	}
	if n := len(p.Sentinels); n > 0 && n < 3 && p.SentinelLinks != 1 {
		r.warnAt(at+".sentinels", "has fewer than three: when one is lost no majority is left")
	}
}

// checkPeers holds that no address is given twice.
func (r *reader) checkPeers(at string, n int, address func(int) string) {
	seen := make(map[string]int, n)
	for i := range n {
		if first, dup := seen[address(i)]; dup {
			r.failAt(fmt.Sprintf("%s[%d]", at, i), "is the same address as [%d]", first)
		} else {
			seen[address(i)] = i
		}
	}
}

func (r *reader) checkAuth(at string, p *Pool) {
	if p.RedisUser != "" && p.RedisAuth == "" && !r.given(at+".redis_auth") {
		r.failAt(at+".redis_user", "needs redis_auth")
	}
	if p.SentinelUser != "" && p.SentinelAuth == "" && !r.given(at+".sentinel_auth") {
		r.failAt(at+".sentinel_user", "needs sentinel_auth")
	}
	if p.Manager != nil && p.Manager.User != "" && p.Manager.Password == "" && !r.given(at+".manager.password") {
		r.failAt(at+".manager.user", "needs manager.password")
	}
	if p.RedisAuth != "" && !r.given(at+".password") {
		r.warnAt(at+".redis_auth", "is not asked of clients, as twemproxy did; set password for that")
	}
}

// sentinelOnly and serversOnly are the keys without effect in pools of another source.
var (
	sentinelOnly = []string{
		"sentinel_user", "sentinel_auth", "sentinel_heartbeat", "sentinel_missed", "sentinel_timeout",
		"sentinel_links", "authority_lease", "on_authority_lost", "follow",
	}
	serversOnly = []string{"auto_eject_hosts", "server_retry_timeout", "server_failure_limit"}
)

func (r *reader) warnUnused(at string, p *Pool) {
	keys, why := serversOnly, "has no effect in a pool that follows its masters"
	if p.Source() == SourceServers {
		keys, why = sentinelOnly, "has no effect in a pool with servers"
	}
	for _, k := range keys {
		if r.given(at + "." + k) {
			r.warnAt(at+"."+k, "%s", why)
		}
	}
}
