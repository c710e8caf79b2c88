package sentinelclient

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// answer is what one sentinel says about one group, read in one breath:
// GET-MASTER-ADDR-BY-NAME for the address, SENTINEL MASTER for the rest.
type answer struct {
	Group   string
	Master  Address
	Unknown bool // the sentinel has no master of that name
	Info    masterInfo
	HasInfo bool
	// Torn: the two halves are from before and after a switch. On the leader
	// of a failover the address is ahead of SENTINEL MASTER's; anywhere else,
	// and at any other time, the two agree. A torn answer is no vote: it would
	// pair the old address with the new epoch.
	Torn  bool
	Asked time.Time
}

// vote is an answer that counts.
type vote struct {
	Master  Address
	Epoch   uint64
	NoEpoch bool // SENTINEL MASTER is not permitted
	Unknown bool
}

// candidate is an address that sentinels name.
type candidate struct {
	Address Address
	Epoch   uint64 // the highest it is named with
	Sure    uint64 // if Backed: a majority names it with this one or a higher
	Votes   int    // sentinels that name it, whatever the epoch
	Backed  bool   // by a majority of the configured ones
	NoEpoch bool   // none of them tells an epoch
}

// tally is the count of the votes of one group.
type tally struct {
	Configured int // sentinels that may vote
	Answered   int // that did, "unknown name" included
	Unknown    int // that do not know the group
	Silent     int // of which nothing is known yet: not answered, not failed
	Majority   bool
	// Candidates, the highest epoch first, then the most votes.
	Candidates []candidate
}

func count(configured, silent int, votes []vote) tally {
	t := tally{Configured: configured, Silent: silent, Answered: len(votes)}
	need := configured/2 + 1
	t.Majority = t.Answered >= need
	var epochs [][]uint64 // of each candidate's votes
	for _, v := range votes {
		if v.Unknown {
			t.Unknown++
			continue
		}
		i := slices.IndexFunc(t.Candidates, func(c candidate) bool { return c.Address == v.Master })
		if i < 0 {
			i = len(t.Candidates)
			t.Candidates = append(t.Candidates, candidate{Address: v.Master, NoEpoch: true})
			epochs = append(epochs, nil)
		}
		epochs[i] = append(epochs[i], v.Epoch)
		c := &t.Candidates[i]
		c.Votes++
		c.Epoch = max(c.Epoch, v.Epoch)
		c.Backed = c.Votes >= need
		c.NoEpoch = c.NoEpoch && v.NoEpoch
	}
	for i := range t.Candidates {
		if c := &t.Candidates[i]; c.Backed {
			slices.Sort(epochs[i])
			c.Sure = epochs[i][len(epochs[i])-need]
		}
	}
	slices.SortFunc(t.Candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.Epoch, a.Epoch), cmp.Compare(b.Votes, a.Votes),
			strings.Compare(a.Address.String(), b.Address.String()))
	})
	return t
}

// backs: a majority names the address.
func (t tally) backs(a Address) bool {
	return slices.ContainsFunc(t.Candidates, func(c candidate) bool { return c.Backed && c.Address == a })
}

// newer is how many votes have a higher epoch than e.
func newer(votes []vote, e uint64) int {
	n := 0
	for _, v := range votes {
		if !v.Unknown && v.Epoch > e {
			n++
		}
	}
	return n
}

// told is the highest epoch such that a majority of the configured ones tells it or
// a higher one, of that address, or of any if it is zero.
func told(configured int, votes []vote, of Address) (epoch uint64, ok bool) {
	var epochs []uint64
	for _, v := range votes {
		if !v.Unknown && !v.NoEpoch && (of.IsZero() || v.Master == of) {
			epochs = append(epochs, v.Epoch)
		}
	}
	need := configured/2 + 1
	if len(epochs) < need {
		return 0, false
	}
	slices.Sort(epochs)
	return epochs[len(epochs)-need], true
}

// anew is the epoch that elections are compared with, now being e: it is lower once a
// majority tells lower ones, of that address, or of any if it is zero.
func anew(configured int, votes []vote, of Address, e uint64) uint64 {
	lower := 0
	for _, v := range votes {
		if !v.Unknown && !v.NoEpoch && (of.IsZero() || v.Master == of) && v.Epoch < e {
			lower++
		}
	}
	if t, ok := told(configured, votes, of); ok && lower > configured/2 {
		return t
	}
	return e
}

// standing is where a group is when it decides.
type standing struct {
	Master   Address // last verified, zero if none
	Epoch    uint64
	Single   bool               // one sentinel at a time: its word is taken at once
	Healthy  bool               // its last ROLE said master, or only that it is busy
	Replicas []Address          // as it listed them last
	Before   Address            // the master before, if this one was taken early and nobody has announced it yet
	Refused  func(Address) bool // ROLE, or the dial, has just refused that node
}

func (s standing) refused(a Address) bool { return s.Refused != nil && s.Refused(a) }

// choice is what a tally means for a standing.
type choice struct {
	Target candidate // whose ROLE is to be asked; zero if nobody is named
	// Epoch is what to remember it with: only what a majority has told, so that
	// one sentinel that is wrong cannot make the next election look old.
	Epoch uint64
	// Accept: it becomes the master as soon as ROLE says so. Otherwise its ROLE
	// is asked ahead of time, and only the sentinels can make it the master.
	Accept bool
	// Settle: accept it only after it has been named without a break for
	// olderHold.
	Settle bool
	Why    string // what is unusual, empty if nothing is
}

// choose applies the rules, of which each is here for a reason:
//
//   - The highest config-epoch among the answers of a majority wins, for an
//     epoch is only raised by a majority's election.
//   - An address that fewer than a majority name is not taken while the master
//     of now is known: one sentinel can be wrong for ever, or be one of another
//     deployment, and an honest one is joined by the others within their hello
//     period (2 s). It is taken early if the master of now is gone and had it
//     among its replicas, unless a majority names a third one that does not
//     refuse; with no master yet, if nobody contradicts for a while, or ROLE
//     refuses whom they name. A node that is not even among the replicas is not
//     asked on the word of a few: it would be sent the password.
//   - An address with an epoch that is not newer (REMOVE and MONITOR start at 0
//     again) needs a majority, and to stay: right after an election the majority
//     is behind for a moment. Newer than what a majority told us, that is: how
//     high one sentinel counts delays nobody.
//   - A master that was taken early (early.go) is ahead of the sentinels: that
//     some name the one before, as before, means nothing for a while.
//   - With fewer answers than a majority the last verified master is kept. If it
//     is gone, all who answer must agree on one of its replicas with a newer epoch. With no
//     master yet, the others must have been tried, and all who answer must agree:
//     such a master has no lease of the sentinels, only what its replicas vouch.
func choose(t tally, s standing) choice {
	keep := choice{Target: candidate{Address: s.Master, Epoch: s.Epoch}, Epoch: s.Epoch, Accept: true}
	if !s.Before.IsZero() {
		t.Candidates = slices.DeleteFunc(t.Candidates, func(c candidate) bool { return c.Address == s.Before && c.Epoch <= s.Epoch })
		if len(t.Candidates) == 0 || t.Candidates[0].Address == s.Master && !t.Candidates[0].Backed {
			keep.Why = fmt.Sprintf("followed early: %v is not announced yet", s.Master)
			return keep
		}
	}
	if len(t.Candidates) == 0 {
		keep.Why = t.nobody()
		keep.Accept = !s.Master.IsZero()
		return keep
	}
	if !t.Majority {
		return chooseFew(t, s, keep)
	}
	top := t.Candidates[0]
	if alt := t.tied(s); alt != nil {
		top = *alt
	}
	var backed *candidate
	if i := slices.IndexFunc(t.Candidates, func(c candidate) bool { return c.Backed }); i >= 0 {
		backed = &t.Candidates[i]
	}
	if top.Address == s.Master {
		if backed != nil && backed.Address != s.Master {
			c := choice{Target: *backed, Epoch: backed.Sure, Accept: true, Settle: backed.Sure <= s.Epoch, Why: t.contested(top)}
			if c.Settle {
				c.Why = backed.older(top.Epoch)
			}
			return c
		}
		keep.Target, keep.Epoch = top, max(s.Epoch, top.Sure)
		return keep
	}
	contested := ""
	if !top.Backed {
		contested = t.contested(top)
		other := backed != nil && backed.Address != s.Master // a majority has moved on as well, to somebody else
		early := !s.Healthy && top.Epoch > s.Epoch && slices.Contains(s.Replicas, top.Address)
		switch {
		case early && (!other || s.refused(backed.Address)):
			return choice{Target: top, Epoch: s.Epoch, Accept: true, Why: contested}
		case s.Master.IsZero() && backed == nil:
			return t.chooseFirst(s)
		case !other && !s.Master.IsZero() && !slices.Contains(s.Replicas, top.Address):
			keep.Why = contested
			return keep
		case !other:
			return choice{Target: top, Why: contested}
		}
		top = *backed
	}
	c := choice{Target: top, Epoch: top.Sure, Accept: true, Why: contested}
	if !s.Master.IsZero() && !s.Single && top.Sure <= s.Epoch {
		c.Settle = s.Healthy && !top.NoEpoch
		c.Why = cmp.Or(contested, top.older(s.Epoch))
	}
	return c
}

// chooseFirst finds the first master when no majority agrees on one: whom nobody
// contradicts but with a node that ROLE has refused. A lower epoch is asked first,
// for the highest can be a lie. Nothing of it is an epoch that a majority told.
func (t tally) chooseFirst(s standing) choice {
	open := slices.DeleteFunc(slices.Clone(t.Candidates), func(c candidate) bool { return s.refused(c.Address) })
	if len(open) == 0 {
		open = t.Candidates
	}
	c := open[len(open)-1]
	return choice{Target: c, Accept: len(open) == 1, Settle: true, Why: t.contested(t.Candidates[0])}
}

func (t tally) contested(c candidate) string {
	return fmt.Sprintf("contested: %d of %d sentinels name %v at epoch %d", c.Votes, t.Configured, c.Address, c.Epoch)
}

func (c candidate) older(than uint64) string {
	return fmt.Sprintf("a majority names %v at epoch %d, which is not newer than %d", c.Address, c.Sure, than)
}

// tied finds the way out when two addresses have the highest epoch: the master
// of now as long as it is healthy, else one that was not just refused.
func (t tally) tied(s standing) *candidate {
	first := t.Candidates[0]
	var found *candidate
	for i := range t.Candidates {
		c := &t.Candidates[i]
		if c.Epoch != first.Epoch || first.Backed && !c.Backed && !slices.Contains(s.Replicas, c.Address) {
			continue
		}
		if c.Address == s.Master && s.Healthy {
			return c
		}
		gone := c.Address == s.Master || s.refused(c.Address)
		if found == nil && !gone {
			found = c
		}
	}
	return found
}

func chooseFew(t tally, s standing, keep choice) choice {
	c := t.Candidates[0]
	why := fmt.Sprintf("no quorum: %d of %d sentinels answer", t.Answered, t.Configured)
	agreed := len(t.Candidates) == 1 && t.Unknown == 0
	switch {
	case s.Master.IsZero():
		return choice{Target: c, Accept: agreed && t.Silent == 0, Why: why}
	case c.Address == s.Master, s.Healthy, !slices.Contains(s.Replicas, c.Address):
		keep.Why = why
		return keep
	}
	return choice{Target: c, Epoch: c.Epoch, Accept: agreed && c.Epoch > s.Epoch, Why: why}
}

// nobody says why there is no candidate.
func (t tally) nobody() string {
	switch {
	case t.Unknown > 0:
		return fmt.Sprintf("unknown master name: %d of %d sentinels do not know it", t.Unknown, t.Configured)
	case t.Configured == 0:
		return "no sentinel is configured"
	case t.Configured == 1:
		return "the sentinel in use does not answer"
	}
	return fmt.Sprintf("none of %d sentinels answers", t.Configured)
}
