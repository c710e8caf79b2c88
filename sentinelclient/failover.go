package sentinelclient

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// This file holds a group while its master is being failed over: what is written
// to that one from the promotion on would be lost, and it is announced up to a
// second later.
//
//	sign ──> held ──> the next master is known
//	          ├─ aborted, given up, not heard of again: served again
//	          └─ failoverBound ──> served again, its replica watched
//	                                 └─ which says master ──> held
//
// Each sentinel speaks of the failover that it leads itself, so it can take back
// only its own signs, and the group is held while any is left. The bound counts
// from the first sign: a leader whose replica is stopped, or one that lies, tells
// of its failover for minutes while the master is well.

// leastHold is what an attempt costs of that which a sentinel may hold a group for,
// however soon it is given up: one that begins and ends them all day long opens and
// closes nothing any more after five.
const leastHold = time.Second

// holdShare is the part of the time that a sentinel can hold a group for when all
// its failovers come to nothing, after the first failoverBound.
const holdShare = 10

// attempt is a failover that one sentinel has told of.
type attempt struct {
	link  linkID
	open  bool
	void  bool      // the sentinel is in tilt since: what it said still holds, but nobody is followed for it
	sign  string    // the last one
	at    time.Time // of that
	node  Address   // the replica that it has chosen, zero if it did not say so
	began time.Time // the first sign
	until time.Time // it holds the group no longer than that
	look  time.Time // from when on scouts see what becomes of it, without FollowEarly

	spent time.Duration // of failoverBound, when the last one ended that held the group
	ended time.Time     // when that was
}

func (t *attempt) begin(now time.Time) {
	t.spent = max(t.spent-now.Sub(t.ended)/holdShare, 0)
	t.ended = now
	left := failoverBound - t.spent
	if left < leastHold {
		left = 0
	}
	t.open, t.node, t.began, t.until = true, Address{}, now, now.Add(left)
	t.look = t.until.Add(-scoutsAhead)
	if t.spent > 0 { // too little may be left to have heard a replica say that it is one before it is promoted
		t.look = now
	}
}

func (t *attempt) end(now time.Time) {
	t.open = false
	if t.until.After(t.began) {
		t.ended = earliest(now, t.until)
		t.spent = min(t.spent+max(t.ended.Sub(t.began), leastHold), failoverBound)
	}
}

// attempts are those about the master of now.
type attempts []*attempt

func (l attempts) of(link linkID) *attempt {
	i := slices.IndexFunc(l, func(t *attempt) bool { return t.link == link })
	if i < 0 {
		return nil
	}
	return l[i]
}

func (l attempts) open() bool { return slices.ContainsFunc(l, func(t *attempt) bool { return t.open }) }

// signed notes a sentinel's sign; node is zero if it names no replica. One in tilt
// gives none.
func (g *group) signed(now time.Time, link linkID, sign string, node Address) {
	if !g.ballot.counts(link) {
		return
	}
	if !g.attempts.open() {
		g.early.known = slices.Clone(g.replicas)
	}
	t := g.attempts.of(link)
	if t == nil {
		t = &attempt{link: link}
		g.attempts = append(g.attempts, t)
	}
	if !t.open {
		t.begin(now)
	}
	t.sign, t.at, t.void = sign, now, false
	if !node.IsZero() {
		t.node = node
	}
}

// unsigned: this sentinel leads no failover any more.
func (g *group) unsigned(now time.Time, link linkID, why string) {
	if t := g.attempts.of(link); t != nil && t.open {
		t.end(now)
		g.gaveUp = why
	}
}

// voided: this sentinel is in tilt, and the link to it, which knows that, may be
// lost.
func (g *group) voided(link linkID) {
	if t := g.attempts.of(link); t != nil {
		t.void = true
	}
}

// attend finds whether the group is held, and by which sign.
func (g *group) attend(now time.Time) {
	for _, t := range g.attempts {
		if t.open && !now.Before(t.at.Add(failoverBound)) {
			g.unsigned(now, t.link, fmt.Sprintf("nothing more was heard of it for %v", failoverBound))
		}
	}
	sign := g.sign(now)
	switch {
	case sign != "" && g.failover == "":
		g.note(slog.LevelWarn, "failover under way", slog.String("sign", sign))
		g.trace.signed(now, sign)
		g.askAt = now
	case sign == "" && g.failover != "":
		g.note(slog.LevelInfo, "failover is over", slog.String("why",
			cmp.Or(g.gaveUp, fmt.Sprintf("it has not come to anything for %v", failoverBound))))
		g.trace.quiet()
	}
	g.failover = sign
	if sign == "" || g.attempts.open() { // else a scout holds for a moment what was given up
		g.gaveUp = ""
	}
}

// sign is the last one that holds the group, empty if none does.
func (g *group) sign(now time.Time) string {
	sign, at := "", time.Time{}
	for _, t := range g.attempts {
		if t.open && now.Before(t.until) && !t.at.Before(at) {
			sign, at = t.sign, t.at
		}
	}
	for _, s := range g.early.scouts {
		if sign == "" && s.promoted(now) {
			sign = s.addr.String() + " was promoted"
		}
	}
	return sign
}

// attends is when the hold, or what is done for it, may change by itself.
func (g *group) attends(now time.Time) time.Time {
	var t time.Time
	later := func(at time.Time) {
		if at.After(now) {
			t = earliest(t, at)
		}
	}
	for _, a := range g.attempts {
		if a.open {
			later(a.at.Add(failoverBound))
			later(a.until)
			later(a.look)
		}
	}
	for _, s := range g.early.scouts {
		later(s.rose.Add(failoverBound))
		if !s.asking {
			t = earliest(t, s.nextAsk)
		}
	}
	return t
}

// recall lets everything go that a failover has brought: its replica is the
// master, or the group is gone.
func (g *group) recall() {
	for _, s := range g.early.scouts {
		g.drop(s.peer)
	}
	g.attempts, g.early.known, g.early.scouts = nil, nil, nil
}
