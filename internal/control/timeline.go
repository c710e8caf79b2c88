package control

import (
	"cmp"
	"slices"
	"time"

	"respgate/internal/status"
)

const (
	eventsKept   = 128              // of a pool
	repeatWithin = 10 * time.Second // false alarms with one cause are one event
)

// timeline is what has happened to the masters of a pool, the oldest first.
type timeline struct {
	events  []status.Event
	dropped uint64
}

// add keeps a complete event. False alarms must not drive out the switches: those that repeat are one, and the oldest of the
// others makes room for what is new.
func (t *timeline) add(e status.Event) status.Event {
	if e.Event == status.FalseAlarm {
		i := slices.IndexFunc(t.events, func(o status.Event) bool {
			return o.Event == e.Event && o.Group == e.Group && o.Cause == e.Cause && e.At.Sub(o.At) < repeatWithin
		})
		if i >= 0 {
			e.Repeats = t.events[i].Repeats + 1
			t.events = slices.Delete(t.events, i, i+1)
		}
	}
	if len(t.events) == eventsKept {
		i := max(0, slices.IndexFunc(t.events, func(o status.Event) bool { return o.Event == status.FalseAlarm }))
		t.events = slices.Delete(t.events, i, i+1)
		t.dropped++
	}
	t.events = append(t.events, e)
	return e
}

func (t *timeline) limit(scope string) status.Limit {
	return status.Limit{Name: "timeline", Unit: "events", Scope: scope, Used: int64(len(t.events)), Max: eventsKept, Hits: t.dropped}
}

// publish keeps an event and tells it to whoever listens.
func (c *Controller) publish(p *pool, e status.Event) {
	if e.Event != status.Holding {
		e = p.timeline.add(e)
	}
	if c.opts.Publish != nil {
		c.opts.Publish(e)
	}
}

// newEvent gives an event its number.
func (c *Controller) newEvent(g *group, kind string, at time.Time) status.Event {
	c.events++
	return status.Event{
		ID: c.events, Event: kind, Pool: g.pool.name, Group: g.name, At: at, Old: g.past.master,
		Sign: status.Unseen, Decided: status.Unseen, Verified: status.Unseen, Applied: status.Unseen, Released: status.Unseen,
	}
}

// Events are the rows of PROXY EVENTS, the newest first, what is going on included; "" = all, count 0 = all.
func (c *Controller) Events(poolName, group string, count int) (rows []status.Event) {
	_ = c.ask(func() {
		c.each(poolName, func(p *pool) {
			for _, e := range p.timeline.events {
				if group == "" || e.Group == group {
					rows = append(rows, e)
				}
			}
			for _, g := range p.order {
				if g.past.open != nil && (group == "" || g.name == group) {
					rows = append(rows, g.past.open.Event)
				}
			}
		})
	})
	slices.SortFunc(rows, func(a, b status.Event) int { return cmp.Compare(b.ID, a.ID) })
	if count > 0 && count < len(rows) {
		rows = rows[:count]
	}
	return rows
}
