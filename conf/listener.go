package conf

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

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
