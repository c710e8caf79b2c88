package control

import (
	"cmp"
	"time"

	"respgate/engine/report"
	"respgate/internal/status"
	"respgate/sentinelclient"
)

// sampleEvery is how often the counters are read that an incident is compared with: what fails with a master does so a moment
// before the first sign of it arrives here.
const sampleEvery = time.Second

// past is what the timeline knows of a group.
type past struct {
	master     string // that was served before what is going on
	generation uint64
	open       *incident    // what is going on, nil if nothing is
	counters   report.Group // before that
	vouched    bool         // somebody did for its master when it was looked at last
	lost       time.Time    // since when nobody does, zero if somebody does

	switches    map[string]uint64 // by source
	falseAlarms uint64
}

// incident is an event in the making: from the first sign until requests are let go.
type incident struct {
	status.Event
	planned *pause // by whom, nil if by nobody
}

// chronicle notes what has come of a round, now that every loop serves it.
func (c *Controller) chronicle(round time.Time) {
	now := time.Now()
	c.sample(now)
	c.each("", func(p *pool) {
		if p.view == nil {
			return
		}
		for _, g := range p.order {
			if v, known := p.view.Groups[g.name]; known && g.server == nil {
				c.attend(g, v, round, now)
				c.witness(g, v, now)
			}
		}
	})
}

// sample reads the counters of groups to which nothing happens.
func (c *Controller) sample(now time.Time) {
	if now.Sub(c.sampled) < sampleEvery {
		return
	}
	c.sampled = now
	st := c.opts.Plane.Stats()
	c.each("", func(p *pool) {
		for _, g := range p.order {
			if s := countersOf(st, g); g.past.open == nil && s != nil {
				g.past.counters = *s
			}
		}
	})
}

func countersOf(st *report.Stats, g *group) *report.Group {
	if p := st.Pools[g.pool.name]; p != nil {
		return p.Groups[g.name]
	}
	return nil
}

// attend begins, continues and ends the incident of a group.
func (c *Controller) attend(g *group, v sentinelclient.GroupView, round, now time.Time) {
	h := &g.past
	holding := g.hold != "" || g.paused != nil
	moved := g.master.Known() && g.master.Generation != h.generation
	if h.master == "" { // the first one is no switch
		if g.master.Known() && !holding {
			h.master, h.generation = g.master.Name, g.master.Generation
		}
		return
	}
	if h.open == nil {
		if !holding && !moved {
			return
		}
		h.open = c.begin(g, v, round, holding)
	}
	i := h.open
	i.note(g, v, round)
	if moved && i.Generation != g.master.Generation {
		i.elected(g, v, now)
	}
	if !holding && g.master.Known() {
		c.finish(g, now)
	}
}

func (c *Controller) begin(g *group, v sentinelclient.GroupView, round time.Time, holding bool) *incident {
	at := round
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	if v.State != sentinelclient.GroupUp {
		earlier(v.Since)
	}
	cause := cmp.Or(v.Failover, v.Cause, g.hold)
	switch {
	case g.paused != nil:
		cause = g.paused.why
	case v.Pinned:
		cause = "an operator chose the master"
	case !holding: // the signs and the switch came together
		for _, t := range []time.Time{v.Election.SignAt, v.Election.DecidedAt, v.Election.TakenAt} {
			earlier(t)
		}
		cause = cmp.Or(v.Election.Sign, v.Cause, "another master was announced")
	}
	i := &incident{Event: c.newEvent(g, status.Holding, at)}
	i.Cause, i.Source = cause, sourceOf(g, v)
	if holding {
		c.publish(g.pool, i.Event)
	}
	return i
}

// sourceOf says who is behind what happens to a group, as far as can be told by now.
func sourceOf(g *group, v sentinelclient.GroupView) string {
	switch {
	case g.paused != nil:
		return status.Planned
	case v.Pinned:
		return status.Operator
	}
	return status.BySentinel
}

// note takes what a view tells of a failover.
func (i *incident) note(g *group, v sentinelclient.GroupView, round time.Time) {
	if g.paused != nil {
		i.Source, i.planned = status.Planned, g.paused
	}
	if i.Sign < 0 && v.Failover != "" {
		i.FailoverSign, i.Sign = v.Failover, i.until(round)
	}
}

// elected takes the new master, which every loop serves now.
func (i *incident) elected(g *group, v sentinelclient.GroupView, now time.Time) {
	i.New, i.Epoch, i.Generation, i.Applied = g.master.Name, g.master.Epoch, g.master.Generation, i.until(now)
	el := v.Election
	i.Votes = make([]status.Vote, len(el.Votes))
	for n, w := range el.Votes {
		i.Votes[n] = status.Vote{Sentinel: w.Sentinel.String(), State: w.State, Epoch: w.Epoch}
		if !w.Master.IsZero() {
			i.Votes[n].Master = w.Master.String()
		}
	}
	i.Decided, i.Verified = i.until(el.DecidedAt), i.until(el.TakenAt)
	if !el.SignAt.IsZero() {
		i.FailoverSign, i.Sign = el.Sign, i.until(el.SignAt)
	}
	switch {
	case i.Source == status.Planned:
	case v.Pinned:
		i.Source = status.Operator
	case el.DecidedAt.IsZero() && !el.TakenAt.IsZero():
		i.Source = status.Early
	default:
		i.Source = status.BySentinel
	}
}

// until is the time from the first sign to t.
func (i *incident) until(t time.Time) time.Duration {
	if t.IsZero() {
		return status.Unseen
	}
	return max(0, t.Sub(i.At))
}

// finish ends an incident: requests go to a master again.
func (c *Controller) finish(g *group, now time.Time) {
	h, i := &g.past, g.past.open
	i.Released = i.until(now)
	if s := countersOf(c.opts.Plane.Stats(), g); s != nil {
		i.count(&h.counters, s)
		h.counters = *s
	}
	switch {
	case i.New != "":
		i.Event.Event = status.Switched
		i.Epoch = g.master.Epoch
		if h.switches == nil {
			h.switches = map[string]uint64{}
		}
		h.switches[i.Source]++
	case i.Source == status.Planned:
		i.Event.Event = status.GivenUp
		if why := i.planned.failed.Load(); why != nil {
			i.Cause += ": " + *why
		}
	default:
		i.Event.Event = status.FalseAlarm
		h.falseAlarms++
	}
	h.open, h.master, h.generation = nil, g.master.Name, g.master.Generation
	c.publish(g.pool, i.Event)
}

// count takes the counters that have risen.
func (i *incident) count(before, after *report.Group) {
	rise := func(from, to uint64) uint64 {
		if to < from { // the group was taken out and put in again
			return to
		}
		return to - from
	}
	i.Held = rise(before.Waited, after.Waited)
	if i.Held > 0 {
		i.HeldMost = after.HeldMost
	}
	i.Retried = rise(before.Retried, after.Retried)
	i.Unknown = rise(before.Unknown, after.Unknown)
	i.HoldFull = rise(before.Overflows, after.Overflows)
	i.HoldTimeouts = rise(before.Expired, after.Expired)
	i.Timeouts = rise(before.Timeouts, after.Timeouts)
	i.Late = rise(before.Late, after.Late)
}

// witness notes when nobody vouches for the group's master any more, and when somebody does again.
func (c *Controller) witness(g *group, v sentinelclient.GroupView, now time.Time) {
	h := &g.past
	if h.master == "" || v.Master.IsZero() || v.Authority == h.vouched {
		return
	}
	h.vouched = v.Authority
	if v.Authority {
		if !h.lost.IsZero() {
			e := c.newEvent(g, status.AuthorityRegained, now)
			e.Cause, e.Source, e.Released = "vouched for by: "+v.Vouched, sourceOf(g, v), now.Sub(h.lost)
			h.lost = time.Time{}
			c.publish(g.pool, e)
		}
		return
	}
	h.lost = now
	e := c.newEvent(g, status.AuthorityLost, now)
	e.Cause, e.Source = cmp.Or(g.pool.view.Cause, "no majority of its sentinels and none of its replicas vouches for the master"), sourceOf(g, v)
	c.publish(g.pool, e)
}
