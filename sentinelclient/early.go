package sentinelclient

import (
	"log/slog"
	"slices"
	"time"
)

// This file follows a failover before it is announced (Config.FollowEarly). The
// leader of a failover sees that its replica is a master by an INFO once a
// second, so nearly all of an announced failover is waiting for that. From the
// first sign on the replicas are asked for their ROLE instead:
//
//	sign ──> scouts ask ──> one says master ──> taken, ahead of the sentinels
//	            └─ aborted, given up, not heard of again: no more questions
//	taken ──> a majority names it: announced
//	      └─> a majority names another one, or it says itself that it is none:
//	          that is followed as always
//
// It is still Sentinel's decision: without a sign of a sentinel that has a vote
// nobody is asked. What says master must have said that it is a replica after the
// sign, for an old master that comes back says master, too.
//
// Without FollowEarly the scouts only hold the group (failover.go): they are sent
// shortly before it would be served again although the failover is not over, or at
// once if it can be held for less than usual.

const (
	scoutInterval = 15 * time.Millisecond // between two questions to a replica
	maxScouts     = 8                     // replicas that are asked, so that dials have a bound
	scoutsAhead   = time.Second           // before a hold opens: what becomes of its failover then is seen by them
)

// scout is the link to a replica that may be promoted.
type scout struct {
	*peer
	replica bool      // it said so after the sign: when it says master now, it was promoted
	rose    time.Time // since when it does; zero if it does not
}

// promoted: it was a moment ago. One that nobody announces is no master for long,
// for Sentinel makes it a replica again.
func (s *scout) promoted(now time.Time) bool {
	return !s.rose.IsZero() && now.Before(s.rose.Add(failoverBound))
}

// early is what follows a failover before it is announced.
type early struct {
	known  []Address // the master's replicas when the first sign came
	scouts []*scout

	// While the master is ahead of the sentinels: whom they name still, and
	// until when that means nothing.
	before Address
	until  time.Time
	by     []linkID // whose failover it is
}

// ahead: the master was taken early and nobody has announced it yet.
func (e *early) ahead(now time.Time) bool { return !e.before.IsZero() && now.Before(e.until) }

// stranded: it was, and nobody ever has. Who leaves it then waits for the next one
// without serving it.
func (e *early) stranded(now time.Time) bool { return !e.before.IsZero() && !e.ahead(now) }

// aborted ends being ahead when the last sentinel whose failover it is has given
// it up: the replica was a master for nobody but us.
func (e *early) aborted(now time.Time, link linkID) bool {
	e.by = slices.DeleteFunc(e.by, func(l linkID) bool { return l == link })
	if len(e.by) > 0 || !e.ahead(now) {
		return false
	}
	e.until = now
	return true
}

// chosen are the replicas that may be the next master: those that sentinels with
// a vote have named, or all if none is named. A sentinel in tilt has no vote, and
// what was no replica of the master when the first sign came is nobody's choice.
func (g *group) chosen(now time.Time) []Address {
	var nodes []Address
	heard := false
	for _, t := range g.attempts {
		if !t.open || t.void || !g.ballot.counts(t.link) || !g.cfg.FollowEarly && now.Before(t.look) {
			continue
		}
		heard = true
		if slices.Contains(g.early.known, t.node) && !slices.Contains(nodes, t.node) {
			nodes = append(nodes, t.node)
		}
	}
	if heard && len(nodes) == 0 {
		return g.early.known
	}
	return nodes
}

// scout asks the chosen replicas for their ROLE, those that it is time for.
func (g *group) scout(now time.Time) {
	if len(g.attempts) == 0 && len(g.early.scouts) == 0 {
		return
	}
	var nodes []Address
	if !g.pinned {
		nodes = g.chosen(now)
		nodes = nodes[:min(len(nodes), maxScouts)]
	}
	g.early.scouts = slices.DeleteFunc(g.early.scouts, func(s *scout) bool {
		if slices.Contains(nodes, s.addr) {
			return false
		}
		g.drop(s.peer)
		return true
	})
	for _, a := range nodes {
		if a != g.master && !slices.ContainsFunc(g.early.scouts, func(s *scout) bool { return s.addr == a }) {
			g.early.scouts = append(g.early.scouts, &scout{peer: g.newPeer(a, now)})
		}
	}
	for _, s := range g.early.scouts {
		g.askPeer(now, s.peer)
	}
}

// scoutOf finds the scout that a report is of, nil if it is of none.
func (g *group) scoutOf(id nodeID) *scout {
	i := slices.IndexFunc(g.early.scouts, func(s *scout) bool { return s.id == id })
	if i < 0 {
		return nil
	}
	return g.early.scouts[i]
}

// onScout takes what a replica says of itself.
func (g *group) onScout(now time.Time, s *scout, r report) {
	switch {
	case r.Verdict == verdictReplica:
		s.replica, s.rose = true, time.Time{}
	case r.Verdict == verdictMaster && s.replica && s.rose.IsZero():
		s.rose = now
	}
	switch r.Verdict {
	case verdictMaster, verdictReplica:
		s.fails = 0
		s.nextAsk = s.lastAsk.Add(scoutInterval)
		if g.failover == "" {
			s.nextAsk = s.lastAsk.Add(fastPoll) // it may take minutes, and be a lie
		}
		if s.nextAsk.Before(now) {
			s.nextAsk = now // it took that long to answer
		}
	default:
		s.nextAsk = now.Add(backoff(s.fails, nodeBackoff, vetoBackoff, g.jitter()))
		s.fails = min(s.fails+1, 16)
	}
}

// acceptEarly makes a scout's node the master if it was promoted: it says master,
// and was a replica when the sign came.
func (g *group) acceptEarly(now time.Time) bool {
	if !g.cfg.FollowEarly || len(g.early.scouts) == 0 {
		return false
	}
	nodes := g.chosen(now)
	for i, s := range g.early.scouts {
		if !s.replica || s.verdict != verdictMaster || now.Sub(s.reported) > roleInterval || g.refuse(s.addr) != "" || !slices.Contains(nodes, s.addr) {
			continue
		}
		before, sign := g.master, g.failover
		var by []linkID
		for _, t := range g.attempts {
			if t.open {
				by = append(by, t.link)
			}
		}
		g.early.scouts = slices.Delete(g.early.scouts, i, i+1)
		g.named = 0
		g.becomeMaster(now, s.addr, g.epoch, s.peer, s.last)
		g.early.before, g.early.until, g.early.by = before, now.Add(failoverBound), by
		g.note(slog.LevelInfo, "failover followed before it is announced", slog.String("master", s.addr.String()), slog.String("sign", sign))
		return true
	}
	return false
}

// overtaken is the master that the sentinels still name although it was left
// early, zero if there is none.
func (g *group) overtaken(now time.Time) Address {
	if g.early.ahead(now) {
		return g.early.before
	}
	return Address{}
}

// announced ends being ahead when the sentinels have caught up.
func (g *group) announced(t tally) {
	for _, c := range t.Candidates {
		if c.Address == g.master && c.Backed {
			g.early.before = Address{}
		}
	}
}
