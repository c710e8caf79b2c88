package sentinelclient

import (
	"cmp"
	"slices"
	"time"
)

// ballot is what the sentinels have said about one group: the votes of now, and
// the promises that outlive a link.
type ballot struct {
	members []linkID // the electorate
	voters  map[linkID]*voter

	downAfter time.Duration // settled by what all of them say; 0 if nobody did
	quorum    int
}

type voter struct {
	heard    bool // an answer of the present connection is held
	failed   bool // the link failed since the last answer
	tilt     bool
	answer   answer
	promised promise   // of the last answer that was no "unknown"
	master   Address   // that the promise is about
	replicas int       // that the sentinel counts, -1 if it never did
	settings settings  // as last told
	spoke    time.Time // when its last answer was asked for, whatever it said
}

// settings are what a sentinel is configured with for the group.
type settings struct {
	downAfter time.Duration
	quorum    int
}

func newBallot() ballot { return ballot{voters: make(map[linkID]*voter)} }

func (b *ballot) voter(id linkID) *voter {
	v := b.voters[id]
	if v == nil {
		v = &voter{replicas: -1}
		b.voters[id] = v
	}
	return v
}

func (b *ballot) answered(id linkID, a answer) {
	v := b.voter(id)
	v.heard, v.failed, v.answer, v.spoke = true, false, a, a.Asked
	if a.Unknown || a.Torn {
		return
	}
	v.promised, v.master = newPromise(a), a.Master
	if v.tilt {
		v.promised = v.promised.heard()
	}
	if a.HasInfo {
		v.replicas = a.Info.Replicas
		v.settings = settings{downAfter: a.Info.DownAfter, quorum: a.Info.Quorum}
		b.settle()
	}
}

// settle finds down-after and quorum when not all say the same: the quorum is the
// middle one, and a master is down when as many find it so. One that is configured
// differently, or lies, changes neither.
func (b *ballot) settle() {
	var quorums []int
	var downs []time.Duration
	add := func(v *voter) {
		if v.settings.downAfter > 0 {
			quorums, downs = append(quorums, v.settings.quorum), append(downs, v.settings.downAfter)
		}
	}
	b.each(add)
	if len(downs) == 0 {
		return
	}
	slices.Sort(quorums)
	slices.Sort(downs)
	b.quorum = quorums[(len(quorums)-1)/2]
	b.downAfter = downs[min(max(b.quorum, 1), len(downs))-1]
}

// lost voids the vote; the promise and the count of replicas stay. That it was in
// tilt is forgotten with the link, so a promise made in tilt is none to begin with.
func (b *ballot) lost(id linkID) {
	v := b.voter(id)
	v.heard, v.failed, v.tilt = false, true, false
}

func (b *ballot) tilt(id linkID, on bool) {
	v := b.voter(id)
	v.tilt = on
	if on {
		v.promised = v.promised.heard()
	}
}

// elect changes who votes. A former voter's promise about the master ends with
// its vote: the formulas speak of the configured sentinels.
func (b *ballot) elect(members []linkID) {
	b.members = slices.Clone(members)
	b.settle()
}

// forget drops a link that is gone for good.
func (b *ballot) forget(id linkID) {
	delete(b.voters, id)
	b.settle()
}

// counts: what the sentinel of this link says has weight.
func (b *ballot) counts(id linkID) bool {
	return slices.Contains(b.members, id) && !b.voter(id).tilt
}

func (b *ballot) each(f func(*voter)) {
	for _, id := range b.members {
		f(b.voter(id))
	}
}

func (b *ballot) votes() []vote {
	var votes []vote
	b.each(func(v *voter) {
		if v.heard && !v.tilt && !v.answer.Torn {
			votes = append(votes, vote{Master: v.answer.Master, Epoch: v.answer.Info.Epoch, NoEpoch: !v.answer.HasInfo, Unknown: v.answer.Unknown})
		}
	})
	return votes
}

// silent counts the voters of which nothing is known: neither an answer that
// counts nor a failure.
func (b *ballot) silent() int {
	n := 0
	b.each(func(v *voter) {
		if !v.heard && !v.failed || v.heard && v.answer.Torn {
			n++
		}
	})
	return n
}

// unknown: whoever answers does not know the group.
func (b *ballot) unknown() bool {
	known, unknown := 0, 0
	b.each(func(v *voter) {
		if v.heard && v.answer.Unknown {
			unknown++
		} else if v.heard {
			known++
		}
	})
	return known == 0 && unknown > 0
}

// knowing are the voters with a link whose last answer knew the group.
func (b *ballot) knowing() int {
	n := 0
	b.each(func(v *voter) {
		if v.heard && !v.answer.Unknown {
			n++
		}
	})
	return n
}

// mostReplicas is the largest number of replicas that any sentinel counts, -1
// if none ever did.
func (b *ballot) mostReplicas() int {
	n := -1
	b.each(func(v *voter) { n = max(n, v.replicas) })
	return n
}

// promisers are those whose promises count: the electorate. With one link at a
// time also those that were left: what they said was about the master, not
// about the link.
func (b *ballot) promisers(single bool, f func(*voter)) {
	if !single {
		b.each(f)
		return
	}
	for _, v := range b.voters {
		f(v)
	}
}

// contact is until when a majority was heard recently enough. One in tilt is
// heard too: it has no vote, but what it says of a switch arrives. One that names
// another master with a newer epoch does not vouch for this one: the others may
// not have said so yet. Once a majority names the same one, there is contact again,
// and nothing leaves for this one any more.
func (b *ballot) contact(single bool, master Address, epoch uint64, poll, fixed time.Duration) time.Time {
	newer := make(map[Address]int)
	left := false
	b.each(func(v *voter) {
		if v.heard && !v.tilt && !v.answer.Torn && v.against(master, epoch) { // as votes are counted
			newer[v.master]++
			left = left || newer[v.master] > len(b.members)/2
		}
	})
	var heard []promise
	b.promisers(single, func(v *voter) {
		if !v.promised.Asked.IsZero() && (left || !v.against(master, epoch)) {
			heard = append(heard, v.promised)
		}
	})
	return contactEnd(len(b.members), heard, b.window(poll, fixed))
}

// window is for how long an answer counts as contact: three polls, unless down-after
// is too short for that; or as long as the operator says.
func (b *ballot) window(poll, fixed time.Duration) time.Duration {
	return cmp.Or(fixed, blind(b.downAfter, 3*poll))
}

// against: the last answer names another master, elected later.
func (v *voter) against(master Address, epoch uint64) bool {
	return !v.master.IsZero() && v.master != master && v.answer.HasInfo && v.answer.Info.Epoch > epoch
}

func (b *ballot) heard(single bool) []promise {
	var heard []promise
	b.promisers(single, func(v *voter) {
		if !v.promised.Asked.IsZero() {
			heard = append(heard, v.promised)
		}
	})
	return heard
}

// lastAsked is when the latest question was asked that a sentinel has answered,
// whatever it said.
func (b *ballot) lastAsked(single bool) (last time.Time) {
	b.promisers(single, func(v *voter) {
		if v.spoke.After(last) {
			last = v.spoke
		}
	})
	return last
}

// weakens is from when on no majority renews the authority: its next answer is
// overdue then. Zero: that is so already, for no majority has a link.
// One that is against the master renews nothing.
func (b *ballot) weakens(single bool, master Address, epoch uint64, poll time.Duration) time.Time {
	linked := 0
	b.each(func(v *voter) {
		if v.heard && !v.against(master, epoch) {
			linked++
		}
	})
	if linked <= len(b.members)/2 {
		return time.Time{}
	}
	var heard []promise
	b.promisers(single, func(v *voter) {
		if !v.promised.Asked.IsZero() && !v.against(master, epoch) {
			heard = append(heard, v.promised)
		}
	})
	asked := majorityAsked(len(b.members), heard)
	if asked.IsZero() {
		return time.Time{}
	}
	return asked.Add(overdue(poll))
}

// lease is until when no quorum can have found the master down.
func (b *ballot) lease(single bool, master Address) time.Time {
	var promises []promise
	b.promisers(single, func(v *voter) {
		if v.master == master && v.promised.Quorum > 0 {
			promises = append(promises, v.promised)
		}
	})
	return leaseEnd(len(b.members), promises)
}
