package control

import (
	"cmp"
	"slices"
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
	counters   report.Group // a moment before that
	sampled    report.Group // the newest ones: what has failed with a master may be in them already
	vouched    bool         // somebody did for its master when it was looked at last
	lost       time.Time    // since when nobody does, zero if somebody does

	switches    map[string]uint64 // by source
	falseAlarms uint64
}

// incident is an event in the making: from the first sign until requests are let go. That is more than one if the master
// changes more than once meanwhile, or if a planned switch fails beside a failover.
type incident struct {
	status.Event
	by        string         // who is behind the switch, unless the planned one is
	earlier   []status.Event // switches before that one, in the same hold; their source is who is behind them
	planned   *pause         // nil if there is none
	plannedAt time.Time
}

// chronicle notes what has come of a round, now that every loop serves it.
func (c *Controller) chronicle(round time.Time) {
	now := time.Now()
	c.sample(now)
	before := slices.Clone(c.open)
	c.open = c.open[:0]
	c.each("", func(p *pool) {
		for _, g := range p.order {
			if p.view != nil {
				if v, known := p.view.Groups[g.name]; known && g.server == nil {
					c.attend(g, v, round, now)
					c.witness(g, v, now)
				}
			}
			if g.past.open != nil {
				c.open = append(c.open, g.past.open)
			}
		}
	})
	for _, i := range before {
		if i.Event.Event == status.Holding && !slices.Contains(c.open, i) {
			c.removed(i, now)
		}
	}
}

// removed ends the incident of a group that is not there any more.
func (c *Controller) removed(i *incident, now time.Time) {
	i.Event.Event, i.Released = status.Removed, i.until(now)
	i.Cause += ": the group was removed or comes from elsewhere now"
	if p := c.pools[i.Pool]; p != nil {
		c.publish(p, i.Event)
	} else if c.opts.Publish != nil {
		c.opts.Publish(i.Event)
	}
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
				g.past.counters, g.past.sampled = g.past.sampled, *s
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
		if i.New != "" {
			c.again(g, i, now)
		}
		i.elected(g, v, now)
	}
	switch failed, promoted := i.outcome(); {
	case !holding && g.master.Known():
		c.finish(g, now)
	case failed != "" && promoted == "" && g.paused == nil:
		c.abandoned(g, i, failed, now)
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
	if g.paused != nil && i.planned != g.paused {
		i.Source, i.planned, i.plannedAt = status.Planned, g.paused, round
	}
	if i.Sign < 0 && v.Failover != "" {
		i.FailoverSign, i.Sign = v.Failover, i.until(round)
	}
}

// again begins another record: the master changes once more before requests were let go.
func (c *Controller) again(g *group, i *incident, now time.Time) {
	c.cost(g, i)
	done := i.Event
	done.Source = i.by
	i.earlier = append(i.earlier, done)
	i.Event = c.newEvent(g, status.Holding, now)
	i.Old, i.Source, i.Cause = done.New, i.by, "another master was announced"
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
	case v.Pinned:
		i.by = status.Operator
	case el.DecidedAt.IsZero() && !el.TakenAt.IsZero():
		i.by = status.Early
	default:
		i.by = status.BySentinel
	}
	if i.planned == nil {
		i.Source = i.by
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
	c.cost(g, i)
	i.Released = i.until(now)
	failed, promoted := i.outcome()
	switch {
	case i.New != "":
		i.Event.Event, i.Epoch, i.Source = status.Switched, g.master.Epoch, i.by
		for _, e := range append(i.earlier, i.Event) {
			e.Event = status.Switched
			switch {
			case i.planned == nil:
			case e.New == promoted: // it was that one; what else failed came after
				e.Source = status.Planned
				if failed != "" {
					e.Cause += ": " + failed
				}
				failed = ""
			case e.Cause == i.planned.why:
				e.Cause = cmp.Or(e.FailoverSign, "another master was announced")
			}
			if h.switches == nil {
				h.switches = map[string]uint64{}
			}
			h.switches[e.Source]++
			c.publish(g.pool, e)
		}
		if failed != "" {
			c.abandoned(g, i, failed, now)
		}
	case i.planned != nil:
		i.Event.Event, i.Source = status.GivenUp, status.Planned
		if failed != "" {
			i.Cause += ": " + failed
		}
		c.publish(g.pool, i.Event)
	default:
		i.Event.Event = status.FalseAlarm
		h.falseAlarms++
		c.publish(g.pool, i.Event)
	}
	h.open, h.master, h.generation = nil, g.master.Name, g.master.Generation
}

// abandoned tells of a planned switch that has failed while something else went on, and goes on.
func (c *Controller) abandoned(g *group, i *incident, failed string, now time.Time) {
	e := c.newEvent(g, status.GivenUp, i.plannedAt)
	e.Source, e.Cause, e.Released = status.Planned, i.planned.why+": "+failed, max(0, now.Sub(i.plannedAt))
	c.publish(g.pool, e)
	i.Source = cmp.Or(i.by, status.BySentinel)
	if i.Cause == i.planned.why {
		i.Cause = cmp.Or(i.FailoverSign, g.hold, "another master was announced")
	}
	i.planned = nil
}

// outcome is what has become of the planned switch: why it failed, and whom it made the master; both empty if there was none.
func (i *incident) outcome() (failed, promoted string) {
	if i.planned == nil {
		return "", ""
	}
	if text := i.planned.failed.Load(); text != nil {
		failed = *text
	}
	if name := i.planned.promoted.Load(); name != nil {
		promoted = *name
	}
	return failed, promoted
}

// cost counts what has happened to requests since the counters were looked at last.
func (c *Controller) cost(g *group, i *incident) {
	if s := countersOf(c.opts.Plane.Stats(), g); s != nil {
		i.count(&g.past.counters, s)
		g.past.counters, g.past.sampled = *s, *s
	}
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

// witness notes when nobody vouches for the group's master any more, once on_authority_lost takes effect, and when somebody
// does again.
func (c *Controller) witness(g *group, v sentinelclient.GroupView, now time.Time) {
	h := &g.past
	if h.master == "" || v.Master.IsZero() || v.Authority == h.vouched {
		return
	}
	if !v.Authority && (g.unvouched.IsZero() || now.Before(g.judgedAt())) {
		return // as in any failover, for the moment in which the first sentinel names another master
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
	h.lost = g.unvouched
	e := c.newEvent(g, status.AuthorityLost, h.lost)
	e.Cause, e.Source = cmp.Or(g.pool.view.Cause, "no majority of its sentinels and none of its replicas vouches for the master"), sourceOf(g, v)
	c.publish(g.pool, e)
}
