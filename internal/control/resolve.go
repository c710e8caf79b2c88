package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// resolver looks host names up outside the control goroutine. An address that is written as a number never gets here. A
// name is asked for again when a dial to it fails, at most once a second: a pod that moved keeps its name.
type resolver struct {
	box    *inbox
	lookup func(context.Context, string) ([]netip.Addr, error)
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	asked  sync.WaitGroup

	// Of the control goroutine:
	hosts map[string]*host
	busy  int
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

// newResolver answers through box; lookup nil = the system's.
func newResolver(box *inbox, lookup func(context.Context, string) ([]netip.Addr, error)) *resolver {
	if lookup == nil {
		lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	r := &resolver{box: box, lookup: lookup, hosts: map[string]*host{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// close gives up what is being asked and waits for it.
func (r *resolver) close() {
	r.cancel()
	r.asked.Wait()
}

// addrs gives the addresses of a host with the port, or why there are none yet. It never blocks.
func (r *resolver) addrs(name string, port int, now time.Time) ([]netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), uint16(port))}, nil
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
		out[i] = netip.AddrPortFrom(a, uint16(port))
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
	r.asked.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, lookupTimeout)
		defer cancel()
		addrs, err := r.lookup(ctx, name)
		r.box.must(func() { r.answer(name, h, addrs, err) })
	})
}

// answer takes the outcome; a failure does not void the addresses that were good before. The same addresses in another
// order, as round-robin DNS gives them, are no news.
func (r *resolver) answer(name string, h *host, addrs []netip.Addr, err error) {
	r.busy--
	h.asking, h.err = false, nil
	if err == nil && len(addrs) == 0 {
		err = errNoAddress
	}
	if err != nil {
		h.err = fmt.Errorf("look up %s: %w", name, steady(err))
		return
	}
	fresh := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		fresh[i] = a.Unmap()
	}
	if !sameSet(fresh, h.addrs) {
		h.addrs = fresh
	}
}

func sameSet(a, b []netip.Addr) bool {
	x, y := slices.Clone(a), slices.Clone(b)
	slices.SortFunc(x, netip.Addr.Compare)
	slices.SortFunc(y, netip.Addr.Compare)
	return slices.Equal(x, y)
}

var (
	errNoAddress = errors.New("the name has no address")
	errNoSuch    = errors.New("no such host")
	errNoReply   = errors.New("no answer from the name server")
)

// steady is the error without what differs from one attempt to the next: the resolver's texts have port numbers in them.
func steady(err error) error {
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errNoReply
	case !errors.As(err, &dns):
		return err
	case dns.IsNotFound:
		return errNoSuch
	case dns.IsTimeout:
		return errNoReply
	}
	return errors.New("the name server failed")
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
