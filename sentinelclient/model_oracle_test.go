package sentinelclient

import (
	"slices"
	"time"
)

// This file says what TestModel expects of a proxy besides its choice of a master:
// that it is held while a failover is under way and not longer, that its epoch is
// what a majority tells, and that who vouches for the master is right.

// modelDownAfter is that of all sentinels.
const modelDownAfter = 5 * time.Second

// modelAttempt is a failover that one sentinel has told of.
type modelAttempt struct {
	open        bool
	first, last time.Time
	again       bool // it is not the sentinel's first one against this master
}

func (w *world) all() []linkID {
	var ids []linkID
	for _, s := range w.sentinels {
		ids = append(ids, s.id)
	}
	return ids
}

// votes: what this sentinel says has weight for the proxy.
func (p *proxy) votes(s *modelSentinel) bool {
	return slices.Contains(p.members, s.id) && !p.tilts[s.id]
}

// tellers counts those with a vote whose epoch is like that.
func (p *proxy) tellers(like func(epoch uint64) bool) int {
	n := 0
	for _, s := range p.w.sentinels {
		if a := p.heard[s.id]; a != nil && p.votes(s) && like(a.Info.Epoch) {
			n++
		}
	}
	return n
}

// naming counts those that the proxy has heard to name the address.
func (p *proxy) naming(master Address) int {
	n := 0
	for _, s := range p.w.sentinels {
		if a := p.heard[s.id]; a != nil && p.votes(s) && !a.Torn && a.Master == master {
			n++
		}
	}
	return n
}

// tells notes a sign of a failover, or the end of one.
func (p *proxy) tells(link linkID, sign, over bool) {
	a := p.attempts[link]
	if a != nil && a.open && !p.w.now.Before(a.last.Add(failoverBound)) {
		a.open = false
	}
	switch {
	case sign && p.votes(p.w.sentinels[link-1]):
		if a == nil || !a.open {
			a = &modelAttempt{open: true, first: p.w.now, again: a != nil}
			p.attempts[link] = a
		}
		a.last = p.w.now
	case over && a != nil:
		a.open = false
	}
}

func (p *proxy) answered(link linkID, a answer) {
	if a.Master == p.g.master {
		t := p.attempts[link]
		p.tells(link, a.Info.promoting(), t != nil && a.Asked.After(t.last) && !a.Info.has("failover_in_progress"))
	}
}

func (p *proxy) heardOf(link linkID, e event) {
	if e.master == p.g.master {
		p.tells(link, e.startsFailover(), e.abortsFailover())
	}
}

// rises notes when a replica has become a master.
func (p *proxy) rises(a Address, r report) {
	switch {
	case r.Verdict == verdictReplica:
		p.replica[a] = true
		delete(p.promoted, a)
	case r.Verdict == verdictMaster && p.replica[a]:
		p.replica[a] = false
		p.promoted[a] = p.w.now
	}
}

// holds: the group is held from the first sign of a failover until the one who gave
// it takes it back, whatever others say; for failoverBound at most, and once more
// from the promotion of a replica on.
func (p *proxy) holds() {
	must, may := false, false
	for _, a := range p.attempts {
		if a.open && p.w.now.Before(a.last.Add(failoverBound)) && p.w.now.Before(a.first.Add(failoverBound)) {
			may = true
			must = must || !a.again
		}
	}
	for _, at := range p.promoted {
		may = may || p.w.now.Before(at.Add(failoverBound))
	}
	if held := p.g.failover != ""; held && !may {
		p.w.t.Fatalf("early %v: held without a reason: %v", p.cfg.FollowEarly, p.g.sketch(p.w.now))
	} else if !held && must {
		p.w.t.Fatalf("early %v: not held, though a failover is under way: %v", p.cfg.FollowEarly, p.g.sketch(p.w.now))
	}
}

// epochs: what elections are compared with goes back only when a majority has told
// a lower one for a while, and a pin ends only with an election, or with the agreement of a majority.
func (p *proxy) epochs(before standing, pinned bool) {
	g, t := p.g, p.w.t
	newer := p.tellers(func(e uint64) bool { return e > before.Epoch })
	if pinned && !g.pinned && newer <= len(p.members)/2 && p.naming(g.master) <= len(p.members)/2 && p.naming(before.Master) <= len(p.members)/2 {
		t.Fatalf("the pin was released by %d of %d: %v", newer, len(p.members), g.sketch(p.w.now))
	}
	if !p.pinning && g.master == before.Master && g.epoch < before.Epoch && (p.lower.IsZero() || p.w.now.Sub(p.lower) < olderHold) {
		t.Fatalf("the epoch went back from %d to %d, which a majority has told since %v only", before.Epoch, g.epoch, p.lower)
	}
	if g.epoch != before.Epoch {
		p.lower = time.Time{} // it is about another one now
		p.count()
	}
}

// vouched: while the lease vouches for the master no quorum has found it down, and
// while the replicas do none of them was promoted longer ago than they vouch for.
func (p *proxy) vouched() {
	switch held, _, by := p.g.authority(p.w.now); {
	case !held:
	case by == "lease":
		down := 0
		for _, s := range p.w.sentinels {
			if at, lost := s.lost[p.g.master]; lost && s.holds.master == p.g.master && p.w.now.Sub(at) >= modelDownAfter {
				down++
			}
		}
		if down > len(p.w.sentinels)/2 {
			p.w.t.Fatalf("%d sentinels have found the master down: %v", down, p.g.sketch(p.w.now))
		}
	case by == "replicas" || by == "no replica":
		for _, n := range p.w.nodes {
			if n.addr != p.g.master && n.master && !n.dead && p.w.now.Sub(n.since) > replicaVouch {
				p.w.t.Fatalf("%v has been a master for %v: %v", n.addr, p.w.now.Sub(n.since), p.g.sketch(p.w.now))
			}
		}
	}
}
