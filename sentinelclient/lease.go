package sentinelclient

import (
	"slices"
	"time"
)

// This file computes for how long a master may be served when the sentinels
// cannot be heard. Three things vouch that nobody has been promoted, and the one
// that lasts longest counts:
//
//   - contact: a majority of the sentinels answered a moment ago, and did not name a
//     master that was elected later;
//   - the lease: no quorum of sentinels can have found the master down yet;
//   - the replicas: all of them still acknowledge to this master, or it has none
//     (witness.go).

// pingPeriod is how often a sentinel PINGs a master. When it loses its connection it
// counts the silence from the last answer, which may be as old as that.
const pingPeriod = time.Second

// shortestBlind keeps a down-after of some ms from ending each authority by the poll.
const shortestBlind = 3 * fastPoll

// blind is for how long after its last sign a witness still counts: nobody can have
// found a master down in that time who heard it at that sign. With a down-after below
// two ping periods it is half of it, and the rest is what an election takes.
// Zero is a down-after that is not known.
func blind(downAfter, longest time.Duration) time.Duration {
	if downAfter <= 0 {
		return longest
	}
	return min(longest, max(downAfter-pingPeriod, downAfter/2, shortestBlind))
}

// authority says whether the master may be served now, until when (zero: for
// good) and who vouches. With Config.Lease 0 the pool decides instead.
func (g *group) authority(now time.Time) (held bool, until time.Time, by string) {
	switch {
	case g.master.IsZero() || g.cfg.Lease == 0:
		return false, time.Time{}, ""
	case g.pinned:
		until = g.operator()
		return now.Before(until), until, "operator"
	}
	until, by = g.contact(max(g.cfg.Lease, 0)), "sentinels"
	if g.cfg.Lease == LeaseAuto {
		if end := g.ballot.lease(g.cfg.single(), g.master); !now.Before(until) && end.After(until) {
			until, by = end, "lease"
		} else if end.After(until) {
			until = end
		}
		if g.witnesses.until.After(until) {
			if !now.Before(until) {
				by = "replicas"
				if g.witnesses.none {
					by = "no replica"
				}
			}
			until = g.witnesses.until
		}
	}
	if !now.Before(until) {
		return false, time.Time{}, ""
	}
	return true, until, by
}

// elected is the epoch that the master was named with, though no majority may have
// told it yet: whoever names another one with that or an older one is behind.
func (g *group) elected() uint64 { return max(g.epoch, g.named) }

// contact is until when a majority of the sentinels vouches.
func (g *group) contact(fixed time.Duration) time.Time {
	return g.ballot.contact(g.cfg.single(), g.master, g.elected(), g.cfg.Poll, fixed)
}

// weakens is from when on it does so no more, unless it is heard again.
func (g *group) weakens() time.Time {
	return g.ballot.weakens(g.cfg.single(), g.master, g.elected(), g.pace())
}

// operator is until when a pin counts. It outranks what the sentinels say, but
// a majority must have said something: a proxy that was stopped has to hear of newer
// elections first. If there is nobody to hear, or who still knows the group, the node
// itself has to be well.
func (g *group) operator() time.Time {
	if single := g.cfg.single(); g.ballot.knowing() > len(g.members)/2 {
		return contactEnd(len(g.members), g.ballot.heard(single), g.ballot.window(g.cfg.Poll, max(g.cfg.Lease, 0)))
	}
	seen := g.verifiedAt
	if g.control.healthy() && g.control.last.Asked.After(seen) {
		seen = g.control.last.Asked
	}
	return seen.Add(pinVouch)
}

// promise is one sentinel's answer, read as: I cannot have found this master
// down before End, for I find it down when it has not answered my PINGs for
// DownAfter. It holds whether or not the sentinel is heard again.
type promise struct {
	End       time.Time
	Asked     time.Time
	DownAfter time.Duration
	Quorum    int
	Sentinels int // that it knows of, itself included
}

// heard is what remains of an answer when its sentinel is in tilt: it was there, but
// its sense of time is worth nothing.
func (p promise) heard() promise { return promise{Asked: p.Asked, DownAfter: p.DownAfter} }

func newPromise(a answer) promise {
	return promise{
		End:       a.Asked.Add(a.Info.DownAfter - a.Info.LastOKPing),
		Asked:     a.Asked,
		DownAfter: a.Info.DownAfter,
		Quorum:    a.Info.Quorum,
		Sentinels: a.Info.Sentinels,
	}
}

// leaseEnd is the earliest time at which a quorum of sentinels can have found
// the master down: the quorum-th smallest end, less a margin of a twentieth of
// down-after. A sentinel that made no promise may have done so long ago. Zero
// means no lease.
func leaseEnd(configured int, promises []promise) time.Time {
	if len(promises) == 0 {
		return time.Time{}
	}
	total, quorum, margin := configured, promises[0].Quorum, time.Duration(0)
	ends := make([]time.Time, 0, total)
	for _, p := range promises {
		total = max(total, p.Sentinels)
		quorum = max(min(quorum, p.Quorum), 1)
		margin = max(margin, p.DownAfter/20)
		ends = append(ends, p.End)
	}
	slices.SortFunc(ends, time.Time.Compare)
	i := quorum - 1 - (total - len(ends)) // those without a promise come first
	if i < 0 || i >= len(ends) {
		return time.Time{}
	}
	return ends[i].Add(-margin)
}

// contactEnd is until when the answers of a majority count as contact. Zero means
// that there is none.
func contactEnd(configured int, promises []promise, window time.Duration) time.Time {
	asked := majorityAsked(configured, promises)
	if asked.IsZero() {
		return time.Time{}
	}
	return asked.Add(window)
}

// majorityAsked is when the question was asked that a majority has answered
// since: the oldest one of the latest that make a majority. Zero means none.
func majorityAsked(configured int, promises []promise) time.Time {
	need := configured/2 + 1
	if len(promises) < need || configured == 0 {
		return time.Time{}
	}
	asked := make([]time.Time, len(promises))
	for i, p := range promises {
		asked[i] = p.Asked
	}
	slices.SortFunc(asked, func(a, b time.Time) int { return b.Compare(a) })
	return asked[need-1]
}

// pace is the time between two polls: three of them make up a contact, also when
// down-after is short.
func pace(poll, downAfter time.Duration) time.Duration {
	return max(min(poll, blind(downAfter, 3*poll)/3), fastPoll)
}

// overdue is how long after a majority was asked its next answer is late: a
// poll takes 1.2 of the pace at most. So more than half of the contact is left to
// have the replicas vouch.
func overdue(pace time.Duration) time.Duration { return pace + pace/4 }
