package control

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"respgate/conf"
	"respgate/engine/topology"
	"respgate/sentinelclient"
)

// group is control's view of one group.
type group struct {
	name   string
	pool   *pool
	server *conf.Server // in a pool with a fixed list
	host   string       // of the master, for the resolver

	master topology.Master
	source string // sentinel, operator or file: where master came from
	hold   string // why requests wait, empty if they do not
	access topology.Access
	reason string
	paused string // an operator's switch is under way: its description

	state string // of PROXY MASTERS
	cause string
	since time.Time

	firstSign  time.Time // of trouble with the present master, zero if there is none
	switches   uint64
	switchedAt time.Time
	took       time.Duration
	applied    bool // the master is in a snapshot that every loop serves

	failures     int // of a server in a fixed list, in a row
	ejectedUntil time.Time
}

func newGroup(p *pool, name string) *group {
	return &group{name: name, pool: p, state: "resolving", cause: "nothing is known of it yet", since: time.Now()}
}

// become is the only way to another state. A change in a fixed list is logged here; those of a sentinel pool are logged
// where they are found, by the sentinel client.
func (g *group) become(state, cause string, c *Controller, now time.Time) {
	old := g.state
	g.state, g.cause = state, cause
	if old == state {
		return
	}
	g.since = now
	level := slog.LevelDebug
	if g.server != nil {
		level = slog.LevelInfo
		if state != "up" {
			level = slog.LevelWarn
		}
	}
	c.log.Log(context.Background(), level, "group serves", "pool", g.pool.name, "group", g.name, "master", g.master.Name, "from", old, "to", state, "cause", cause)
}

// followServer is a group of a fixed list: the file is its only source.
func (c *Controller) followServer(g *group, now time.Time) {
	s := g.server
	next := topology.Master{Name: s.Address(), Path: s.Path}
	if s.Path == "" {
		addrs, err := c.names.addrs(s.Host, s.Port, now)
		if err != nil {
			g.hold = err.Error()
			g.become("resolving", err.Error(), c, now)
			return
		}
		next.Addrs = addrs
	}
	g.hold = ""
	c.point(g, next, "file", now)
	switch {
	case !g.ejectedUntil.IsZero():
		g.become("none", fmt.Sprintf("ejected until %s after %d failures in a row", g.ejectedUntil.Format(time.TimeOnly), c.failureLimit(g.pool)), c, now)
	case g.failures > 0:
		g.become("suspect", g.cause, c, now)
	default:
		g.become("up", "", c, now)
	}
}

// point gives the group its master. A new generation voids every link to the one before.
func (c *Controller) point(g *group, next topology.Master, source string, now time.Time) {
	old := g.master
	if old.Name == next.Name && old.Path == next.Path {
		g.master.Addrs, g.master.Epoch, g.source = next.Addrs, next.Epoch, source
		return
	}
	c.generation++
	next.Generation = c.generation
	g.master, g.source, g.applied = next, source, false
	if old.Name == "" {
		c.log.Info("master found", "pool", g.pool.name, "group", g.name, "master", next.Name, "epoch", next.Epoch, "source", source)
		g.firstSign = time.Time{}
		return
	}
	g.switches++
	g.switchedAt = now
	if g.firstSign.IsZero() {
		g.firstSign = now
	}
	c.log.Warn("master switched", "pool", g.pool.name, "group", g.name, "old", old.Name, "new", next.Name, "epoch", next.Epoch, "source", source)
}

// followSentinels is a group of a sentinel pool: what its sentinels say now becomes what is served.
func (c *Controller) followSentinels(g *group, now time.Time) {
	p := g.pool
	g.access, g.reason = topology.Serve, ""
	if p.view == nil {
		g.hold = "its sentinels have not been asked yet"
		g.become("resolving", g.hold, c, now)
		return
	}
	v, known := p.view.Groups[g.name]
	if !known {
		g.hold = "its sentinels have not been asked for it yet"
		g.become("resolving", g.hold, c, now)
		return
	}
	if !v.Master.IsZero() {
		g.host = v.Master.Host
		addrs, err := c.names.addrs(v.Master.Host, v.Master.Port, now)
		if err != nil {
			g.wait(err.Error(), now)
			g.become("resolving", err.Error(), c, now)
			return
		}
		source := "sentinel"
		if v.Pinned {
			source = "operator"
		}
		c.point(g, topology.Master{Name: v.Master.String(), Addrs: addrs, Epoch: v.Epoch}, source, now)
	}
	c.judge(g, v, now)
}

// judge decides whether the group's requests go out, wait, or are refused.
func (c *Controller) judge(g *group, v sentinelclient.GroupView, now time.Time) {
	p := g.pool
	switch {
	case !g.master.Known():
		c.masterless(g, v, now)
		return
	case v.Failover != "":
		g.wait("a failover is under way: "+v.Failover, now)
		g.become("holding", g.hold, c, now)
		return
	case v.State == sentinelclient.GroupVerifying, v.State == sentinelclient.GroupSuspect:
		g.wait(v.Cause, now)
		g.become(v.State.String(), v.Cause, c, now)
	case v.State == sentinelclient.GroupUp:
		g.hold, g.firstSign = "", g.keepSign()
		g.become("up", v.Cause, c, now)
	default:
		g.wait(v.Cause, now)
		g.become(v.State.String(), v.Cause, c, now)
	}
	if v.Authority {
		return
	}
	g.reason = fmt.Sprintf("authority over its master %s was lost: no majority of its sentinels and none of its replicas vouches for it", g.master.Name)
	if p.view.Cause != "" {
		g.reason += ": " + p.view.Cause
	}
	switch p.conf.OnAuthorityLost {
	case conf.AuthorityReject:
		g.access = topology.Reject
	case conf.AuthorityFence:
		g.access = topology.Fence
	}
}

// masterless is a group without any master: requests wait while an answer may still come, and after one interaction's time
// they are refused at once when the sentinels are out of reach or say that there is none.
func (c *Controller) masterless(g *group, v sentinelclient.GroupView, now time.Time) {
	g.hold = v.Cause
	g.become(v.State.String(), v.Cause, c, now)
	switch {
	case now.Before(g.pool.patience):
	case !g.pool.view.Ready && g.pool.view.Cause != "":
		g.access, g.reason = topology.Reject, "sentinel unreachable: "+g.pool.view.Cause
	case v.State == sentinelclient.GroupNone:
		g.access, g.reason = topology.Reject, "no verified master for group '"+g.name+"': "+v.Cause
	}
}

// wait holds the group's requests and notes the first sign of trouble.
func (g *group) wait(why string, now time.Time) {
	g.hold = why
	if g.firstSign.IsZero() {
		g.firstSign = now
	}
}

// keepSign keeps the first sign until the switch it led to has been applied.
func (g *group) keepSign() time.Time {
	if g.applied {
		return time.Time{}
	}
	return g.firstSign
}

// failureLimit is after how many failures in a row a server is ejected.
func (c *Controller) failureLimit(p *pool) int { return max(p.conf.ServerFailureLimit, 1) }

// countFailure notes a failure of a server in a fixed list; with auto_eject_hosts it leaves the ring for a while.
func (c *Controller) countFailure(p *pool, g *group, cause string, now time.Time) {
	g.failures++
	g.cause = cause
	if !p.conf.AutoEjectHosts || g.failures < c.failureLimit(p) || !g.ejectedUntil.IsZero() {
		return
	}
	g.failures = 0
	g.ejectedUntil = now.Add(p.conf.ServerRetryTimeout)
	c.log.Warn("server ejected", "pool", p.name, "group", g.name, "until", g.ejectedUntil, "cause", cause)
}
