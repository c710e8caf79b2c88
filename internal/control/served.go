package control

import (
	"context"
	"log/slog"
	"time"

	"respgate/conf"
	"respgate/engine/topology"
	"respgate/sentinelclient"
)

// served notes that every loop serves what is known now. What came of it is logged here and nowhere earlier: what is still
// tried out, or refused by the data plane, has not happened.
func (c *Controller) served() {
	c.each("", func(p *pool) {
		if p.waiting != 0 && p.manager != nil {
			p.manager.Applied(p.waiting)
			p.waiting = 0
		}
		for _, g := range p.order {
			c.vouch(g)
			g.servedMaster(c.log)
			g.servedState(c.log)
		}
		p.servedState(c.log)
		p.servedCommands(c.log)
	})
}

// vouch passes on how long the group's master may be served. The data plane holds to it by itself: control may be late, and
// was stopped as well when the process was. It also keeps what it was told while the names of pool and group stay, wherever
// the group comes from by then; so each group tells at least once.
func (c *Controller) vouch(g *group) {
	until, known := g.mayServe()
	if known && (g.vouched == nil || !until.Equal(*g.vouched)) {
		g.vouched = &until
		c.opts.Plane.Vouch(g.pool.name, g.name, until)
	}
}

// vouchFirst vouches for a group before its first master is served, which would have no end otherwise until vouch comes. Where one is
// served already it is another source's, and was not vouched for by this one.
func (c *Controller) vouchFirst(g *group) {
	if g.vouched != nil {
		return
	}
	if p := c.snap.Pool(g.pool.name); p != nil {
		if t, _ := p.Group(g.name); t != nil && t.Master.Known() {
			return
		}
	}
	c.vouch(g)
}

// withdraw ends what was vouched before its time.
func (c *Controller) withdraw(g *group, now time.Time) {
	if g.vouched != nil && (g.vouched.IsZero() || g.vouched.After(now)) {
		g.vouched = &now
		c.opts.Plane.Vouch(g.pool.name, g.name, now)
	}
}

// mayServe is until when the group's master may be served, zero without an end. Not known where there is none, which is a
// matter of the snapshot, and where authority was lost.
func (g *group) mayServe() (until time.Time, known bool) {
	if g.server != nil {
		return time.Time{}, true
	}
	v, known := g.named()
	switch {
	case !known:
		return time.Time{}, false
	case g.pool.conf.OnAuthorityLost == conf.AuthorityServe:
		return time.Time{}, true
	}
	return v.LeaseUntil, v.Authority
}

// disowned reports that authority over the group's master was lost, which may come before the end of what was vouched. It is
// withdrawn then before the snapshot is applied that makes requests wait: loops that are late with it would serve on.
func (g *group) disowned() bool {
	v, known := g.named()
	return known && !v.Authority && g.pool.conf.OnAuthorityLost != conf.AuthorityServe
}

// named is what the sentinels say of the group; not known where they name no master.
func (g *group) named() (v sentinelclient.GroupView, known bool) {
	if g.server == nil && g.pool.view != nil {
		v = g.pool.view.Groups[g.name]
	}
	return v, !v.Master.IsZero()
}

// servedMaster logs another master, and takes the time of a switch.
func (g *group) servedMaster(log *slog.Logger) {
	old, m := g.told.master, g.master
	if g.told.generation == m.Generation {
		return
	}
	g.told.generation, g.told.master = m.Generation, m.Name
	attrs := []any{"pool", g.pool.name, "group", g.name, "master", m.Name, "epoch", m.Epoch, "generation", m.Generation, "source", g.source}
	switch {
	case m.Name == "":
		log.Warn("master forgotten", "pool", g.pool.name, "group", g.name, "old", old, "cause", g.cause)
	case old == "":
		log.Info("master found", attrs...)
		g.firstSign = time.Time{}
	default:
		if g.firstSign.IsZero() {
			g.firstSign = g.switchedAt
		}
		g.took = time.Since(g.firstSign)
		if g.hold == "" {
			g.firstSign = time.Time{}
		}
		log.Warn("master switched", append(attrs, "old", old, "took-ms", g.took.Milliseconds())...)
	}
}

// servedState logs another state of a group. In a fixed list it is news; in a sentinel pool the sentinel client has told it.
func (g *group) servedState(log *slog.Logger) {
	if out := !g.ejectedUntil.IsZero(); out != g.told.ejected {
		g.told.ejected = out
		if out {
			log.Warn("server ejected", "pool", g.pool.name, "group", g.name, "until", g.ejectedUntil, "cause", g.ejectedFor)
		} else {
			log.Info("server back in the ring", "pool", g.pool.name, "group", g.name)
		}
	}
	old := g.told.state
	if old == g.state {
		return
	}
	g.told.state = g.state
	level := slog.LevelDebug
	switch {
	case g.server != nil && g.state == "up":
		level = slog.LevelInfo
	case g.server != nil:
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "group serves", "pool", g.pool.name, "group", g.name, "master", g.master.Name, "from", old, "to", g.state, "cause", g.cause)
}

// servedState logs another state of the pool.
func (p *pool) servedState(log *slog.Logger) {
	old := p.toldState
	if old == p.state {
		return
	}
	p.toldState = p.state
	level := slog.LevelInfo
	if p.state == "rejecting" || p.state == "degraded" {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "pool state changed", "pool", p.name, "from", old, "to", p.state, "cause", p.cause)
}

// assess is the state of the pool for the console.
func (p *pool) assess(now time.Time) {
	access, reason := p.access()
	up, refused, paused, masterless, cause := 0, 0, 0, 0, ""
	for _, g := range p.order {
		why := g.cause
		switch {
		case g.paused != nil:
			paused++
			why = g.paused.why
		case g.access != topology.Serve:
			why = g.reason
			if g.access == topology.Reject {
				refused++
			}
		case g.state == "up":
			up++
			why = ""
		}
		if !g.master.Known() {
			masterless++
		}
		if cause == "" && why != "" {
			cause = "group '" + g.name + "': " + why
		}
	}
	state := "up"
	switch n := len(p.order); {
	case n == 0:
		state, cause = "loading", reason
	case access == topology.Reject:
		state, cause = "rejecting", reason
	case refused == n:
		state = "rejecting"
	case paused == n:
		state = "paused"
	case masterless == n:
		state = "loading"
	case up < n:
		state = "degraded"
	default:
		cause = ""
	}
	if p.state != state {
		p.state, p.since = state, now
	}
	p.cause = cause
}
