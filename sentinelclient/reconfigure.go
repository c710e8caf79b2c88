package sentinelclient

import (
	"log/slog"
	"slices"
	"time"
)

// This file changes a running pool. Sentinels are made before they are broken:
// the new ones are linked first, and the old ones vote until a majority of the
// new ones is watched, or none of the old ones is left. A list that was written
// down wrong costs nothing but complaints. Groups that stay are not touched.

// reconfigure takes a new configuration.
func (p *pool) reconfigure(now time.Time, cfg Config) []action {
	wasSingle, before := p.cfg.single(), p.cfg.Master
	*p.cfg = cfg.withDefaults()
	if p.cfg.Master != before {
		for _, name := range p.names { // those that were refused need not wait
			p.route(now, p.tell(now, name, evRecheck{since: now}))
		}
	}
	p.setGroups(now)
	p.setSentinels(now)
	if p.cfg.single() && !wasSingle {
		p.leaveOne(now)
	}
	if !p.cfg.single() && wasSingle {
		p.elect(now, p.order)
	}
	p.arrange(now)
	return p.out.take()
}

// setGroups adds and removes groups.
func (p *pool) setGroups(now time.Time) {
	for _, name := range p.names {
		if !slices.Contains(p.cfg.Groups, name) {
			g := p.groups[name]
			for _, at := range []*peer{g.control, g.probe} {
				g.drop(at)
			}
			g.recall()
			p.route(now, g.out.take())
			delete(p.groups, name)
		}
	}
	p.names = slices.Clone(p.cfg.Groups)
	for _, name := range p.names {
		if p.groups[name] == nil {
			refuse := func(a Address) string { return p.refusal(name, a) }
			p.groups[name] = newGroup(name, p.cfg, p.jitter, &p.nextNode, refuse, now)
			p.groups[name].sentinel = p.addressOf
			p.route(now, p.tell(now, name, evElectorate{members: p.voting}))
		}
	}
	for _, id := range p.linkIDs() {
		p.route(now, p.links[id].setGroups(now, p.names))
	}
}

// setSentinels links the new ones and retires the others. One whose password
// has changed is a new one.
func (p *pool) setSentinels(now time.Time) {
	had := make(map[Sentinel]linkID)
	for _, id := range p.linkIDs() {
		had[p.links[id].sentinel] = id
	}
	before := p.order
	p.order = nil
	for _, s := range p.cfg.Sentinels {
		id, ok := had[s]
		if !ok {
			p.nextLink++
			id = p.nextLink
			p.links[id] = newLink(id, s, p.cfg, p.jitter, &p.nextWire, now)
			p.links[id].setGroups(now, p.names)
		}
		p.order = append(p.order, id)
	}
	var useless []linkID
	gone := slices.DeleteFunc(slices.Concat(p.retired, before), func(id linkID) bool { return slices.Contains(p.order, id) })
	p.retired = nil
	for _, id := range gone {
		if slices.Contains(p.voting, id) {
			p.retired = append(p.retired, id)
		} else {
			useless = append(useless, id) // replaced before it was of any use
		}
	}
	p.dismiss(now, useless)
	p.overdue = time.Time{}
	if len(p.retired) > 0 || !slices.Equal(p.voting, p.order) && !p.cfg.single() {
		p.overdue = now.Add(overdueAfter)
	}
}

// release lets retired links go when the new ones can do without them.
func (p *pool) release(now time.Time) {
	if p.overdue.IsZero() {
		return
	}
	if !now.Before(p.overdue) {
		p.overdue = now.Add(complainEvery)
		p.out.add(note{level: slog.LevelWarn, text: "replaced sentinels still in use, for the new ones do not answer",
			attrs: []slog.Attr{slog.String("cause", p.why(p.order))}})
	}
	switch {
	case p.cfg.single():
		p.releaseOne(now)
	case p.watched(p.order) > len(p.order)/2, p.watched(p.voting) == 0:
		p.elect(now, p.order)
		if !slices.Contains(p.order, p.active) {
			p.rotate(now, p.after(0, p.watches))
		}
		p.replaced(now)
	}
}

// releaseOne replaces the one link: a new sentinel is linked beside it, one
// after the other until one of them is watched and takes over.
func (p *pool) releaseOne(now time.Time) {
	if !slices.Contains(p.retired, p.active) {
		p.replaced(now)
		return
	}
	next := p.after(0, func(id linkID) bool { return p.links[id].state != SentinelStandby })
	if l := p.links[next]; l != nil && l.state == SentinelBackoff {
		p.route(now, l.Step(now, evPark{cause: l.cause}))
		next = p.after(next, func(id linkID) bool { return !now.Before(p.links[id].notBefore) })
	} else if l == nil {
		next = p.after(0, func(id linkID) bool { return !now.Before(p.links[id].notBefore) })
	}
	if p.watches(p.active) && len(p.order) > 0 && !p.watches(next) {
		if next != 0 {
			p.route(now, p.links[next].Step(now, evStart{}))
		}
		return
	}
	if next == 0 {
		next = p.after(0, func(linkID) bool { return true })
	}
	p.rotate(now, next)
	if next != 0 {
		p.elect(now, []linkID{next})
	} else {
		p.elect(now, nil)
	}
	p.replaced(now)
}

// replaced ends a change of sentinels.
func (p *pool) replaced(now time.Time) {
	old := p.retired
	p.retired, p.overdue = nil, time.Time{}
	p.dismiss(now, old)
}

// dismiss hangs up on links for good.
func (p *pool) dismiss(now time.Time, ids []linkID) {
	for _, id := range ids {
		p.route(now, p.links[id].Step(now, evPark{cause: "no longer configured"}))
		delete(p.links, id)
		for _, g := range p.groups {
			g.ballot.forget(id)
		}
		if id == p.active {
			p.active = 0
		}
	}
}

// leaveOne parks every link but the active one.
func (p *pool) leaveOne(now time.Time) {
	for _, id := range p.order {
		if id != p.active {
			p.route(now, p.links[id].Step(now, evPark{}))
		}
	}
	if slices.Contains(p.order, p.active) { // else releaseOne or arrangeOne goes on
		p.elect(now, []linkID{p.active})
	}
}
