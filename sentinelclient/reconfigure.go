package sentinelclient

import (
	"slices"
	"time"
)

// This file changes a running pool. Sentinels are made before they are broken:
// the new ones are linked first, and the old ones vote until a majority of the
// new ones is watched, or none of the old ones is left, or retireBound is over.
// Groups that stay are not touched.

// reconfigure takes a new configuration.
func (p *pool) reconfigure(now time.Time, cfg Config) []action {
	wasSingle := p.cfg.single()
	*p.cfg = cfg.withDefaults()
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
			p.route(now, g.out.take())
			delete(p.groups, name)
		}
	}
	p.names = slices.Clone(p.cfg.Groups)
	for _, name := range p.names {
		if p.groups[name] == nil {
			refuse := func(a Address) string { return p.refusal(name, a) }
			p.groups[name] = newGroup(name, p.cfg, p.jitter, &p.nextNode, refuse, now)
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
	gone := func(id linkID) bool { return !slices.Contains(p.order, id) }
	stays := func(id linkID) bool { return !gone(id) }
	p.retired = slices.DeleteFunc(p.retired, stays)
	for _, id := range before {
		if gone(id) {
			p.retired = append(p.retired, id)
		}
	}
	if len(p.retired) > 0 || !slices.Equal(p.voting, p.order) && !p.cfg.single() {
		p.retire = now.Add(retireBound)
	}
}

// release lets retired links go when the new ones can do without them.
func (p *pool) release(now time.Time) {
	if p.retire.IsZero() {
		return
	}
	if p.cfg.single() {
		p.releaseOne(now)
	} else if p.watched(p.order) > len(p.order)/2 || p.watched(p.voting) == 0 || !now.Before(p.retire) {
		p.elect(now, p.order)
		p.dismiss(now)
	}
}

// releaseOne replaces the one link: the first new sentinel is linked beside it,
// and takes over when it is watched.
func (p *pool) releaseOne(now time.Time) {
	if !slices.Contains(p.retired, p.active) {
		p.dismiss(now)
		return
	}
	if len(p.order) == 0 {
		p.elect(now, nil)
		p.dismiss(now)
		return
	}
	first := p.order[0]
	if p.watches(p.active) && !p.watches(first) && now.Before(p.retire) {
		p.route(now, p.links[first].Step(now, evStart{}))
		return
	}
	p.rotate(now, first)
	p.elect(now, []linkID{first})
	p.dismiss(now)
}

// dismiss hangs up on the retired links.
func (p *pool) dismiss(now time.Time) {
	for _, id := range p.retired {
		p.route(now, p.links[id].Step(now, evPark{cause: "no longer configured"}))
		delete(p.links, id)
		for _, g := range p.groups {
			g.ballot.forget(id)
		}
	}
	if slices.Contains(p.retired, p.active) {
		p.active = 0
	}
	p.retired, p.retire = nil, time.Time{}
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
