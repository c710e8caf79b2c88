package control

import (
	"fmt"
	"slices"
	"time"

	"respgate/engine/shard"
	"respgate/engine/topology"
)

// This file has the groups of a fixed list: the file is their only source, and the data plane's failures are all that is
// known of their health.

// lookEvery is how often it is looked whether a server in trouble answers again.
const lookEvery = time.Second

// followServer gives a server its address, and lets it back into the ring when its time is over.
func (c *Controller) followServer(g *group, now time.Time) {
	if !g.ejectedUntil.IsZero() && (!now.Before(g.ejectedUntil) || !g.pool.conf.AutoEjectHosts) {
		g.ejectedUntil, g.ejectedFor, g.trouble = time.Time{}, "", ""
	}
	s := g.server
	next := topology.Master{Name: s.Address(), Path: s.Path}
	if s.Path == "" {
		addrs, err := c.names.addrs(s.Host, s.Port, now)
		if err != nil {
			g.hold = err.Error()
			g.become("resolving", g.hold, now)
			return
		}
		next.Addrs = addrs
	}
	g.hold = ""
	c.point(g, next, "file", now)
	if g.trouble != "" && !now.Before(g.lookAt) {
		g.lookAt = now.Add(lookEvery)
		if c.answers(g) != g.answered {
			g.failures, g.trouble = 0, ""
		}
	}
	switch {
	case !g.ejectedUntil.IsZero():
		g.become("none", "ejected until "+g.ejectedUntil.Format(time.TimeOnly)+" for its failures: "+g.ejectedFor, now)
	case g.trouble != "":
		g.become("suspect", g.trouble, now)
	default:
		g.become("up", "", now)
	}
}

// answers is the group's count of answers. The data plane is asked once a round.
func (c *Controller) answers(g *group) uint64 {
	if c.stats == nil {
		c.stats = c.opts.Plane.Stats()
	}
	if p := c.stats.Pools[g.pool.name]; p != nil && p.Groups[g.name] != nil {
		return p.Groups[g.name].Answered
	}
	return 0
}

// countFailure notes a failure of a server; with auto_eject_hosts it leaves the ring for a while. As in twemproxy an answer,
// and nothing less, ends a row of failures.
func (c *Controller) countFailure(p *pool, g *group, cause string, now time.Time) {
	if g.server == nil || !g.ejectedUntil.IsZero() {
		return
	}
	if n := c.answers(g); n != g.answered {
		g.failures, g.answered = 0, n
	}
	g.failures++
	g.trouble, g.lookAt = cause, now.Add(lookEvery)
	if limit := max(p.conf.ServerFailureLimit, 1); p.conf.AutoEjectHosts && g.failures >= limit {
		g.ejectedUntil = now.Add(p.conf.ServerRetryTimeout)
		g.ejectedFor = fmt.Sprintf("%d in a row, the last: %s", g.failures, cause)
		g.failures = 0
	}
}

// eject rebuilds the ring when a server went out of it or came back.
func (p *pool) eject() {
	changed := false
	nodes := slices.Clone(p.ringOf.Nodes)
	for i, g := range p.order {
		out := !g.ejectedUntil.IsZero()
		changed = changed || nodes[i].Ejected != out
		nodes[i].Ejected = out
	}
	if !changed {
		return
	}
	cfg := p.ringOf
	cfg.Nodes = nodes
	ring, err := shard.New(cfg)
	if err != nil {
		return // the same nodes made a ring before
	}
	p.ring, p.ringOf = ring, cfg
}
