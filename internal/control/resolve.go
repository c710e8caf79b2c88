package control

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// resolver looks host names up outside the control goroutine. An address that is written as a number never gets here. A
// name is asked for again when a dial to it fails, at most once a second: a pod that moved keeps its name.
type resolver struct {
	ctl    *Controller
	lookup func(context.Context, string) ([]netip.Addr, error)
	hosts  map[string]*host
	busy   int
}

// host is what is known of a name. Owned by the control goroutine.
type host struct {
	addrs  []netip.Addr
	err    error
	at     time.Time
	asking bool
}

const (
	lookupTimeout = 2 * time.Second
	lookupEvery   = time.Second
	maxLookups    = 16 // at once; the others are asked for when one has ended
)

func defaultLookup(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// addrs gives the addresses of a host with the port, or why there are none yet. It never blocks.
func (r *resolver) addrs(name string, port int, now time.Time) ([]netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip, uint16(port))}, nil
	}
	h := r.hosts[name]
	if h == nil {
		h = &host{}
		r.hosts[name] = h
	}
	if len(h.addrs) == 0 {
		r.ask(name, h, now)
		if h.err != nil {
			return nil, h.err
		}
		return nil, fmt.Errorf("the name %s is being looked up", name)
	}
	out := make([]netip.AddrPort, len(h.addrs))
	for i, a := range h.addrs {
		out[i] = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	return out, nil
}

// refresh asks again for a name whose address did not answer.
func (r *resolver) refresh(name string, now time.Time) {
	if h := r.hosts[name]; h != nil {
		r.ask(name, h, now)
	}
}

func (r *resolver) ask(name string, h *host, now time.Time) {
	if h.asking || r.busy >= maxLookups || !h.at.IsZero() && now.Sub(h.at) < lookupEvery {
		return
	}
	h.asking, h.at = true, now
	r.busy++
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
		defer cancel()
		addrs, err := r.lookup(ctx, name)
		r.ctl.box.call(func() { r.answer(name, addrs, err) })
	}()
}

// answer takes the outcome; a failure does not void the addresses that were good before.
func (r *resolver) answer(name string, addrs []netip.Addr, err error) {
	r.busy--
	h := r.hosts[name]
	if h == nil {
		return
	}
	h.asking, h.err = false, nil
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("the name %s has no address", name)
	}
	if err != nil {
		h.err = fmt.Errorf("look up %s: %w", name, err)
		return
	}
	h.addrs = addrs
}

// pending reports whether some name has no address yet and is to be asked for again.
func (r *resolver) pending() bool {
	for _, h := range r.hosts {
		if len(h.addrs) == 0 {
			return true
		}
	}
	return false
}

// keep forgets the names that no group uses any more.
func (r *resolver) keep(used map[string]bool) {
	for name := range r.hosts {
		if !used[name] {
			delete(r.hosts, name)
		}
	}
}
