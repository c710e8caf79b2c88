package manager

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// maxProxies bounds how many proxies are remembered; beyond it the one not heard of for the longest time is forgotten.
const maxProxies = 4096

// Heartbeat is what a proxy told with one.
type Heartbeat struct {
	Cluster string
	Proxy   string // its id
	Address string // where the connection came from
	Have    uint64 // version it has taken
	Applied uint64 // version that all of its loops have
	Fields  map[string]string
}

// Proxy is what the manager knows of one proxy in one cluster.
type Proxy struct {
	Heartbeat
	First, Last time.Time
}

// state tells how the proxy stands to the version the cluster has now.
func (p Proxy) state(c Cluster) string {
	switch {
	case p.Have > c.Version:
		return "ahead" // the manager lost versions: see docs/MANAGER.md
	case p.Have == c.Version && p.Fields["content"] != "" && p.Fields["content"] != c.Fingerprint():
		return "differs" // the same version stood for other content once
	case p.Have == c.Version && p.Fields["state"] == "refused":
		return "refused"
	case p.Have < c.Version || p.Applied < c.Version:
		return "behind"
	}
	return "current"
}

type proxyKey struct{ cluster, proxy string }

// Proxies remembers who was heard of. Its methods may be called by any goroutine.
type Proxies struct {
	mu   sync.Mutex
	seen map[proxyKey]Proxy
	most int
}

func newProxies() *Proxies { return &Proxies{seen: map[proxyKey]Proxy{}, most: maxProxies} }

// Heard takes a heartbeat and returns what was known before it; ok is false for a new proxy.
func (ps *Proxies) Heard(now time.Time, hb Heartbeat) (before Proxy, ok bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	key := proxyKey{hb.Cluster, hb.Proxy}
	before, ok = ps.seen[key]
	first := now
	if ok {
		first = before.First
	} else if len(ps.seen) >= ps.most {
		ps.forget()
	}
	ps.seen[key] = Proxy{Heartbeat: hb, First: first, Last: now}
	return before, ok
}

// forget drops the proxy that was not heard of for the longest time. It walks all: new proxies beyond the bound are rare.
func (ps *Proxies) forget() {
	var oldest proxyKey
	var last time.Time
	for key, p := range ps.seen {
		if last.IsZero() || p.Last.Before(last) {
			oldest, last = key, p.Last
		}
	}
	delete(ps.seen, oldest)
}

// List is what is known of the proxies of a cluster, of all clusters with "", in the order of cluster and id.
func (ps *Proxies) List(cluster string) []Proxy {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var list []Proxy
	for key, p := range ps.seen {
		if cluster == "" || key.cluster == cluster {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b Proxy) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Proxy, b.Proxy))
	})
	return list
}

// noticesMost bounds the log lines about proxies, per second: whoever may send heartbeats may send them with a new id each.
const noticesMost = 50

// notices counts the lines of the current second. Its method may be called by any goroutine.
type notices struct {
	mu      sync.Mutex
	second  time.Time
	lines   int
	dropped int
}

// take asks for one line; dropped is how many were refused since the last that was allowed.
func (n *notices) take(now time.Time) (allowed bool, dropped int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.second) >= time.Second {
		n.second, n.lines = now, 0
	}
	if n.lines >= noticesMost {
		n.dropped++
		return false, 0
	}
	n.lines++
	dropped, n.dropped = n.dropped, 0
	return true, dropped
}
