package control

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"respgate/engine/report"
	"respgate/managerclient"
	"respgate/sentinelclient"
)

// inbox collects what others tell control. Views and topologies are coalesced per client, events per group and kind, so it
// is bounded by the number of pools and groups; calls are bounded by maxCalls.
//
// Clients are known by their ids and not by their pools' names: what a client says while it is being stopped is not taken
// for the word of its successor.
type inbox struct {
	mu    sync.Mutex
	wake  chan struct{}
	items batch
}

type batch struct {
	views      map[uint64]*sentinelclient.View
	topologies map[uint64]managerclient.Topology
	events     map[eventKey]arrival
	arrivals   uint64
	calls      []func()
}

type eventKey struct {
	pool, group string
	kind        report.EventKind
}

// arrival is the newest event of its kind, and its place among the others.
type arrival struct {
	event report.Event
	place uint64
}

// inOrder are the events in the order in which they came: up and lost is not lost and up.
func (b *batch) inOrder() []report.Event {
	sorted := slices.SortedFunc(maps.Values(b.events), func(x, y arrival) int { return cmp.Compare(x.place, y.place) })
	out := make([]report.Event, len(sorted))
	for i, a := range sorted {
		out[i] = a.event
	}
	return out
}

func (b *inbox) take() batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items = batch{}
	return items
}

func (b *inbox) put(f func(*batch)) {
	b.mu.Lock()
	f(&b.items)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *inbox) view(client uint64, v *sentinelclient.View) {
	b.put(func(i *batch) {
		if i.views == nil {
			i.views = map[uint64]*sentinelclient.View{}
		}
		i.views[client] = v
	})
}

func (b *inbox) topology(client uint64, t managerclient.Topology) {
	b.put(func(i *batch) {
		if i.topologies == nil {
			i.topologies = map[uint64]managerclient.Topology{}
		}
		i.topologies[client] = t
	})
}

func (b *inbox) event(ev report.Event) {
	b.put(func(i *batch) {
		key := eventKey{ev.Pool, ev.Group, ev.Kind}
		if old, ok := i.events[key]; ok && old.event.Generation > ev.Generation {
			return // late, and of a master that is history
		}
		if i.events == nil {
			i.events = map[eventKey]arrival{}
		}
		i.arrivals++
		i.events[key] = arrival{ev, i.arrivals}
	})
}

// maxCalls bounds the calls that wait: beyond it a caller is refused.
const maxCalls = 4096

// call queues f; false if too many wait already.
func (b *inbox) call(f func()) bool {
	accepted := true
	b.put(func(i *batch) {
		if accepted = len(i.calls) < maxCalls; accepted {
			i.calls = append(i.calls, f)
		}
	})
	return accepted
}

// must queues f, however many wait: the end of what was bounded where it began (a lookup, a switch).
func (b *inbox) must(f func()) {
	b.put(func(i *batch) { i.calls = append(i.calls, f) })
}
