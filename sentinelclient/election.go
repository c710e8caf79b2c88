package sentinelclient

import "time"

// Election is how a group came to its Master, for those who want to tell it.
type Election struct {
	Sign      string    // the first event that told of a failover of the master before, empty if none did
	SignAt    time.Time // zero likewise
	DecidedAt time.Time // the votes made it the master, whatever it said itself; zero if that was not waited for
	TakenAt   time.Time // and it said master in ROLE
	Votes     []Vote    // as they were at TakenAt
}

// Vote is what one sentinel of the electorate said last.
type Vote struct {
	Sentinel Address
	Master   Address // zero unless State is voted, tilt or torn
	Epoch    uint64
	State    string // voted; or why that is no vote: unknown (the group), tilt, torn, silent
}

// trace notes the steps to the next master.
type trace struct {
	next   Election
	target Address // that next.DecidedAt is about
	last   Election
}

func (t *trace) signed(now time.Time, sign string) { t.next.Sign, t.next.SignAt = sign, now }

// quiet forgets the sign of a failover that came to nothing.
func (t *trace) quiet() { t.next.Sign, t.next.SignAt = "", time.Time{} }

// chosen notes since when an address would be taken as soon as it says master.
func (t *trace) chosen(now time.Time, c choice, master Address) {
	switch target := c.Target.Address; {
	case !c.Accept || target == master:
		t.target, t.next.DecidedAt = Address{}, time.Time{}
	case target != t.target:
		t.target, t.next.DecidedAt = target, now
	}
}

// taken ends an election.
func (t *trace) taken(now time.Time, a Address, votes []Vote) {
	t.last = t.next
	t.last.TakenAt, t.last.Votes = now, votes
	if t.target != a {
		t.last.DecidedAt = time.Time{}
	}
	t.next, t.target = Election{}, Address{}
}

// said is what each of the electorate has said, in its order.
func (g *group) said() []Vote {
	votes := make([]Vote, 0, len(g.members))
	for _, id := range g.members {
		w := Vote{State: "silent"}
		if g.sentinel != nil {
			w.Sentinel = g.sentinel(id)
		}
		if v := g.voter(id); v.heard {
			w.Master, w.Epoch, w.State = v.answer.Master, v.answer.Info.Epoch, "voted"
			switch {
			case v.answer.Unknown:
				w.State = "unknown"
			case v.tilt:
				w.State = "tilt"
			case v.answer.Torn:
				w.State = "torn"
			}
		}
		votes = append(votes, w)
	}
	return votes
}
