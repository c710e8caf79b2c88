package control

import (
	"maps"
	"slices"
	"time"

	"respgate/conf"
	"respgate/engine/topology"
)

// settle brings what is served in line with what is known: it follows the sources, and applies a new snapshot if anything
// in it differs.
func (c *Controller) settle(now time.Time) {
	used := map[string]bool{}
	for _, p := range c.pools {
		c.follow(p, now)
		for _, g := range p.order {
			used[g.host] = true
		}
	}
	c.names.keep(used)
	next := c.desired()
	if next != nil {
		if err := c.opts.Plane.Apply(next); err != nil {
			// Only a listener can fail, and those were bound when the configuration was taken.
			c.log.Error("the data plane refused a snapshot", "serial", next.Serial, "cause", err.Error())
		} else {
			c.snap = next
		}
	}
	c.applied(now)
	c.schedule(now)
}

// follow asks each group's source.
func (c *Controller) follow(p *pool, now time.Time) {
	for _, g := range p.order {
		if g.server != nil {
			if !g.ejectedUntil.IsZero() && !now.Before(g.ejectedUntil) {
				g.ejectedUntil = time.Time{}
				c.log.Info("server back in the ring", "pool", p.name, "group", g.name)
			}
			c.followServer(g, now)
			continue
		}
		c.followSentinels(g, now)
	}
	if p.conf.Source() == conf.SourceServers {
		p.eject()
	}
	p.assess(c, now)
}

// desired builds the next snapshot, sharing what has not changed; nil if nothing has.
func (c *Controller) desired() *topology.Snapshot {
	limits := topology.Limits{MaxClients: c.conf.Limits.MaxClients, Memory: int64(c.conf.Limits.Memory)}
	next := &topology.Snapshot{Serial: c.snap.Serial + 1, Limits: limits}
	changed := limits != c.snap.Limits || len(c.pools) != len(c.snap.Pools)
	for _, name := range slices.Sorted(maps.Keys(c.pools)) {
		p := c.pools[name]
		t := p.topology()
		if old := c.snap.Pool(name); old != nil && same(old, t) {
			t = old
		} else {
			changed = true
		}
		next.Pools = append(next.Pools, t)
	}
	if !changed {
		return nil
	}
	return next
}

// topology is the pool as the data plane is to have it.
func (p *pool) topology() *topology.Pool {
	cf := p.conf
	t := &topology.Pool{
		Name: p.name, Settings: p.settings(), Ring: p.ring,
		Listen: topology.Listen{Network: cf.Listen.Network, Address: cf.Listen.Address, Mode: uint32(cf.Listen.Mode.Perm()), Backlog: cf.Backlog, ReusePort: cf.ReusePort},
	}
	t.Access, t.Reason = p.access()
	for _, g := range p.order {
		hold, cause := g.hold != "", g.hold
		if g.paused != "" {
			hold, cause = true, g.paused
		}
		t.Groups = append(t.Groups, &topology.Group{Name: g.name, Master: g.master, Access: g.access, Reason: g.reason, Hold: hold, Cause: cause})
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
	if p.manager == nil {
		return "the pool has no group"
	}
	for _, s := range p.manager.Status() {
		if s.Active || s.Cause != "" {
			text := "manager " + s.Address + ", cluster '" + s.Cluster + "'"
			if s.Cause != "" {
				text += ": " + s.Cause
			}
			return text
		}
	}
	return "the manager has not answered yet"
}

// same compares two pools by value.
func same(a, b *topology.Pool) bool {
	if a.Name != b.Name || a.Listen != b.Listen || a.Settings != b.Settings || a.Ring != b.Ring || a.Access != b.Access || a.Reason != b.Reason || len(a.Groups) != len(b.Groups) {
		return false
	}
	for i, g := range a.Groups {
		if !sameGroup(g, b.Groups[i]) {
			return false
		}
	}
	return true
}

func sameGroup(a, b *topology.Group) bool {
	m, n := &a.Master, &b.Master
	return a.Name == b.Name && a.Access == b.Access && a.Reason == b.Reason && a.Hold == b.Hold && a.Cause == b.Cause &&
		m.Name == n.Name && m.Path == n.Path && m.Generation == n.Generation && m.Epoch == n.Epoch && slices.Equal(m.Addrs, n.Addrs)
}

// applied notes that every loop serves what is known now.
func (c *Controller) applied(now time.Time) {
	for _, p := range c.pools {
		if p.waiting != 0 && p.manager != nil {
			p.manager.Applied(p.waiting)
			p.waiting = 0
		}
		for _, g := range p.order {
			if g.applied || !g.master.Known() {
				continue
			}
			g.applied = true
			if g.switchedAt.IsZero() || g.firstSign.IsZero() {
				continue
			}
			g.took = time.Since(g.firstSign)
			if g.hold == "" {
				g.firstSign = time.Time{}
			}
			c.log.Info("switch applied", "pool", p.name, "group", g.name, "master", g.master.Name, "generation", g.master.Generation, "took-ms", g.took.Milliseconds())
		}
	}
}

// schedule sets the timer for what happens without an event: a server that comes back into the ring, a name to ask again.
func (c *Controller) schedule(now time.Time) {
	next := time.Hour
	if c.names.pending() {
		next = lookupEvery
	}
	for _, p := range c.pools {
		for _, g := range p.order {
			if !g.ejectedUntil.IsZero() {
				next = min(next, max(g.ejectedUntil.Sub(now), time.Millisecond))
			}
		}
		if now.Before(p.patience) {
			next = min(next, p.patience.Sub(now))
		}
		if len(p.order) == 0 {
			next = min(next, time.Second) // the reason it gives changes with the manager's state
		}
	}
	c.due.Reset(next)
}

// assess is the state of the pool for the console.
func (p *pool) assess(c *Controller, now time.Time) {
	state, cause := "up", ""
	access, reason := p.access()
	up, refused, paused, fresh := 0, 0, 0, 0
	for _, g := range p.order {
		switch {
		case g.paused != "":
			paused++
		case g.access == topology.Reject:
			refused++
		case g.state == "up":
			up++
		}
		if !g.master.Known() {
			fresh++
		}
		if cause == "" && g.state != "up" {
			cause = "group '" + g.name + "': " + g.cause
		}
	}
	switch n := len(p.order); {
	case n == 0:
		state, cause = "loading", reason
	case access == topology.Reject:
		state, cause = "rejecting", reason
	case refused == n:
		state = "rejecting"
	case paused == n:
		state = "paused"
	case fresh == n:
		state = "loading"
	case up < n:
		state = "degraded"
	default:
		cause = ""
	}
	if p.state != state {
		level := c.log.Info
		if state == "rejecting" || state == "degraded" {
			level = c.log.Warn
		}
		level("pool state changed", "pool", p.name, "from", p.state, "to", state, "cause", cause)
		p.state, p.since = state, now
	}
	p.cause = cause
}
