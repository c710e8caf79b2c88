package conf

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
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

// loopback tells whether only this machine can reach the address, which may be "".
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// listener is one address that the file has the proxy bind.
type listener struct {
	key  string
	unix string // path; "" for TCP
	host string // "" is every address
	port int
}

// checkListeners holds that no two addresses need the same port.
func (r *reader) checkListeners(c *Config) {
	var all []listener
	add := func(key, network, address string) {
		if address == "" {
			return
		}
		if network == "unix" {
			all = append(all, listener{key: key, unix: address})
			return
		}
		host, port, err := net.SplitHostPort(address)
		n, bad := strconv.Atoi(port)
		if err == nil && bad == nil {
			all = append(all, listener{key: key, host: host, port: n})
		}
	}
	add("admin.listen", "tcp", c.Admin.Listen)
	add("metrics.listen", "tcp", c.Metrics.Listen)
	add("metrics.twemproxy_stats", "tcp", c.Metrics.TwemproxyStats)
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		add("pools."+name+".listen", c.Pools[name].Listen.Network, c.Pools[name].Listen.Address)
	}
	byPort := map[string][]listener{}
	for _, l := range all {
		at := l.unix
		if at == "" {
			at = strconv.Itoa(l.port)
		}
		for _, other := range byPort[at] {
			if overlap(l, other) {
				r.failListeners(l, other)
				break
			}
		}
		byPort[at] = append(byPort[at], l)
	}
}

// failListeners notes a conflict at the key that the file gives, and at the later one if it gives both.
func (r *reader) failListeners(a, b listener) {
	an, bn := r.at[a.key], r.at[b.key]
	if an == nil || (bn != nil && (bn.Line > an.Line || (bn.Line == an.Line && bn.Column > an.Column))) {
		a, b = b, a
	}
	r.failAt(a.key, "takes the same address as %s", b.key)
}

// overlap tells whether a and b, on the same port or path, cannot both be bound.
func overlap(a, b listener) bool {
	if a.unix != "" || b.unix != "" {
		return a.unix == b.unix
	}
	x, y := hostAddr(a.host), hostAddr(b.host)
	switch {
	case !x.IsValid() || !y.IsValid(): // a name may resolve to anything
		return a.host == b.host || (x.IsValid() && x.IsUnspecified()) || (y.IsValid() && y.IsUnspecified())
	case x == y:
		return true
	case x.IsUnspecified():
		return x.Is6() || y.Is4() // a socket on :: takes IPv4 as well
	case y.IsUnspecified():
		return y.Is6() || x.Is4()
	}
	return false
}

// hostAddr returns the address of a host to listen on; the zero Addr for a name.
func hostAddr(host string) netip.Addr {
	switch host {
	case "":
		return netip.IPv6Unspecified()
	case "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap()
}
