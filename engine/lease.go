package engine

import (
	"time"

	"respgate/engine/topology"
)

// Vouch says until when the master of a group may be sent anything; the zero time is without an end, which is what a group
// begins with. Beyond that time nothing leaves for it, whatever snapshot is served: a process that was stopped for a minute
// must not go on with what it believed then. Requests wait until control has looked again: it vouches anew, or applies what
// it has found. Safe from any goroutine; it does not wait.
func (e *Engine) Vouch(pool, group string, until time.Time) {
	end := int64(0)
	if !until.IsZero() {
		end = max(int64(until.Sub(e.start))+e.clockStart(), 1)
	}
	lease := &e.sharedGroup(pool, group).lease
	old := lease.Swap(end)
	if old == 0 || old > e.clock() {
		return
	}
	for _, l := range e.loops { // requests may wait for this
		l.post(func() {
			if p := l.pools[pool]; p != nil && p.byName[group] != nil {
				p.byName[group].each((*server).recover)
			}
		})
	}
}

// lapsed reports that nobody vouches for the group's master any more. A fenced one is sent reads all the same.
func (g *group) lapsed() bool {
	end := g.shared.lease.Load()
	return end != 0 && end <= g.loop.now && g.topo.Access != topology.Fence
}

// lapsedReason says so, for errors and the console.
func (g *group) lapsedReason() string {
	return "nobody has vouched for the master " + g.topo.Master.Name + " of group '" + g.name + "' lately: neither its sentinels nor its replicas"
}
