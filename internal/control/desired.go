package control

import (
	"cmp"
	"slices"
	"time"

	"respgate/conf"
	"respgate/engine/topology"
)

// settle brings what is served in line with what is known: it follows the sources, and applies a new snapshot if anything
// in it differs.
func (c *Controller) settle(now time.Time) {
	used := map[string]bool{}
	c.each("", func(p *pool) {
		c.follow(p, now)
		c.learn(p, now)
		for _, g := range p.order {
			used[g.host] = true
			if g.disowned() {
				c.withdraw(g, now)
			}
			c.vouchFirst(g)
		}
	})
	c.names.keep(used)
	c.overdue = false
	if next := c.desired(now); next != nil {
		if err := c.opts.Plane.Apply(next); err != nil {
			// Only a listener can fail, and those were bound when the configuration was taken.
			c.overdue = true
			if c.applying.due(err.Error(), now) {
				c.log.Error("the data plane refused a snapshot", "serial", next.Serial, "cause", err.Error())
			}
		} else {
			c.snap = next
		}
	}
	if !c.overdue {
		c.served()
		c.chronicle(now)
	}
	c.schedule(now)
}

// follow asks each group's source.
func (c *Controller) follow(p *pool, now time.Time) {
	for _, g := range p.order {
		if g.server != nil {
			c.followServer(g, now)
		} else {
			c.followSentinels(g, now)
		}
	}
	if p.conf.Source() == conf.SourceServers {
		p.eject()
	}
	p.assess(now)
}

// rewordEvery is how often a pool may be applied again for nothing but other words in its reasons: while every sentinel is
// dialed in turn, each tells another one.
const rewordEvery = time.Second

// desired builds the next snapshot, sharing what has not changed; nil if nothing has.
func (c *Controller) desired(now time.Time) *topology.Snapshot {
	limits := topology.Limits{MaxClients: c.conf.Limits.MaxClients, Memory: int64(c.conf.Limits.Memory), Batch: c.conf.Batch}
	next := &topology.Snapshot{Serial: c.snap.Serial + 1, Limits: limits}
	changed := limits != c.snap.Limits || len(c.pools) != len(c.snap.Pools)
	c.each("", func(p *pool) {
		t := p.topology()
		if old := c.snap.Pool(p.name); old != nil && p.keeps(old, t, now) {
			t = old
		} else {
			changed = true
		}
		next.Pools = append(next.Pools, t)
	})
	if !changed {
		return nil
	}
	return next
}

// keeps reports whether the pool is served well enough as it is.
func (p *pool) keeps(old, next *topology.Pool, now time.Time) bool {
	p.reword = time.Time{}
	switch {
	case !alike(old, next):
		p.worded = now
		return false
	case sameWords(old, next):
		return true
	case now.Sub(p.worded) < rewordEvery:
		p.reword = p.worded.Add(rewordEvery)
		return true
	}
	p.worded = now
	return false
}

// topology is the pool as the data plane is to have it.
func (p *pool) topology() *topology.Pool {
	cf := p.conf
	t := &topology.Pool{
		Name: p.name, Settings: p.settings(), Ring: p.ring, Catalog: p.compare(),
		Listen: topology.Listen{Network: cf.Listen.Network, Address: cf.Listen.Address, Mode: uint32(cf.Listen.Mode.Perm()), Backlog: cf.Backlog, ReusePort: cf.ReusePort},
	}
	t.Access, t.Reason = p.access()
	for _, g := range p.order {
		hold, cause, finish := g.hold != "", g.hold, false
		if g.paused != nil {
			hold, cause, finish = true, g.paused.why, g.paused.finish && g.hold == ""
		}
		t.Groups = append(t.Groups, &topology.Group{Name: g.name, Master: g.master, Access: g.access, Reason: g.reason, Hold: hold, Cause: cause, Finish: finish})
	}
	return t
}

// access is for the pool as a whole. The source design has one sentinel at a time and no lease: while it is replaced, new
// connections and new requests are refused, and what is in flight is finished.
func (p *pool) access() (topology.Access, string) {
	cf := p.conf
	if len(p.order) == 0 {
		return topology.Reject, "no topology yet: " + p.managerCause()
	}
	if cf.SentinelLinks == 1 && cf.AuthorityLease == 0 && cf.OnAuthorityLost == conf.AuthorityReject && cf.Source() != conf.SourceServers {
		if p.view == nil {
			return topology.Reject, "sentinel unreachable: it has not been asked yet"
		}
		if !p.view.Ready {
			return topology.Reject, "sentinel unreachable: " + p.view.Cause
		}
	}
	return topology.Serve, ""
}

// managerCause says why a manager has not told anything yet.
func (p *pool) managerCause() string {
	if p.manager != nil {
		for _, s := range p.manager.Status() {
			if s.Active || s.Cause != "" {
				return "manager " + s.Address + ", cluster '" + s.Cluster + "': " + cmp.Or(s.Cause, "it has not answered yet")
			}
		}
	}
	return "the manager has not answered yet"
}

// alike compares two pools by value, but for the words of their reasons.
func alike(a, b *topology.Pool) bool {
	if a.Name != b.Name || a.Listen != b.Listen || a.Settings != b.Settings || a.Ring != b.Ring || a.Catalog != b.Catalog || a.Access != b.Access || len(a.Groups) != len(b.Groups) {
		return false
	}
	for i, g := range a.Groups {
		if !alikeGroup(g, b.Groups[i]) {
			return false
		}
	}
	return true
}

func alikeGroup(a, b *topology.Group) bool {
	m, n := &a.Master, &b.Master
	return a.Name == b.Name && a.Access == b.Access && a.Hold == b.Hold && a.Finish == b.Finish &&
		m.Name == n.Name && m.Path == n.Path && m.Generation == n.Generation && m.Epoch == n.Epoch && slices.Equal(m.Addrs, n.Addrs)
}

// sameWords compares the reasons of two pools that are alike.
func sameWords(a, b *topology.Pool) bool {
	for i, g := range a.Groups {
		if g.Reason != b.Groups[i].Reason || g.Cause != b.Groups[i].Cause {
			return false
		}
	}
	return a.Reason == b.Reason
}

// schedule sets the timer for what happens without an event: a server that comes back into the ring, a name to ask again.
func (c *Controller) schedule(now time.Time) {
	next := time.Hour
	soonest := func(t time.Time) { next = min(next, max(t.Sub(now), time.Millisecond)) }
	if c.names.pending() {
		next = min(next, lookupEvery)
	}
	if c.overdue {
		next = min(next, applyAgain)
	}
	for _, p := range c.pools {
		for _, g := range p.order {
			if at, ok := g.due(); ok && at.After(now) {
				soonest(at)
			}
			if at := g.judgedAt(); at.After(now) {
				soonest(at)
			}
			if !g.ejectedUntil.IsZero() {
				soonest(g.ejectedUntil)
			} else if g.trouble != "" && g.server != nil {
				soonest(g.lookAt)
			}
		}
		if now.Before(p.patience) {
			soonest(p.patience)
		}
		if !p.reword.IsZero() {
			soonest(p.reword)
		}
		if len(p.order) == 0 {
			next = min(next, time.Second) // the reason it gives changes with the manager's state
		}
	}
	c.due.Reset(next)
}

// applyAgain is how soon a snapshot that was refused is tried again.
const applyAgain = time.Second
