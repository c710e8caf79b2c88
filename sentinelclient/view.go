package sentinelclient

import "time"

// GroupState is what is known of a group's master.
type GroupState uint8

const (
	// GroupResolving: no address is known yet, or not by enough sentinels.
	GroupResolving GroupState = iota
	// GroupVerifying: an address is named and its ROLE is being asked.
	// GroupView.Master, if any, is the one before it, which Sentinel no longer
	// names: hold requests.
	GroupVerifying
	// GroupUp: GroupView.Master is named by Sentinel and said master in ROLE. A
	// Cause beside it is a warning, such as a contradicting sentinel.
	GroupUp
	// GroupSuspect: the last verified master does not answer, is loading, or
	// says that it is none; nothing newer is known yet: hold requests.
	GroupSuspect
	// GroupNone: there is no usable master, for the reason in Cause: the name
	// is unknown to the sentinels, or what they name was refused.
	GroupNone
)

var groupStates = [...]string{"resolving", "verifying", "up", "suspect", "none"}

// String is the state as the console shows it.
func (s GroupState) String() string {
	if int(s) < len(groupStates) {
		return groupStates[s]
	}
	return "invalid"
}

// View is what the pool's sentinels say now. It is immutable; a new one is
// delivered per change. Changes of nothing but LeaseUntil and VerifiedAt are
// delivered together, at most four times per Config.Poll.
type View struct {
	Pool   string
	Serial uint64  // rises by one with every view
	Active Address // the sentinel in use, zero if none
	// Ready: with one link, the whole chain is through on the active sentinel:
	// subscribed, addresses known, ROLE asked of each group. With a link to
	// each, some sentinel is being watched.
	Ready  bool
	Cause  string // why not Ready, with the peer
	Groups map[string]GroupView
}

// GroupView is one group of a View.
type GroupView struct {
	State GroupState

	// Master is the last node that Sentinel named and that said master in
	// ROLE; zero if there was none. Epoch is the config-epoch it was named with, RunID its
	// run_id (empty if INFO is not permitted), VerifiedAt when the last ROLE
	// that said master was asked.
	Master     Address
	Epoch      uint64
	RunID      string
	VerifiedAt time.Time

	// Authority: requests may be served by Master now. LeaseUntil is when that
	// ends unless renewed; zero with Authority means without an end. Vouched
	// says by whom: sentinels (a majority is heard), lease, replicas, no replica
	// (so nobody can be promoted), operator (pinned), or empty.
	Authority  bool
	LeaseUntil time.Time
	Vouched    string

	// Failover is the event by which a sentinel told of a failover that is
	// under way, empty if there is none: the old master will not be one soon,
	// and what is written to it now is lost.
	Failover string

	Election Election // of Master

	// Early: Master was followed when it said in ROLE that it is one, and no
	// majority of the sentinels has named it yet (Config.FollowEarly).
	Early bool

	Pinned    bool // Master is the operator's choice (Monitor.Pin)
	DownAfter time.Duration
	Quorum    int
	Replicas  []Address // as Master listed them last

	Cause string
	Since time.Time // of State
}

// alike reports whether two views of a group differ in nothing but the times
// that every poll renews.
func (v GroupView) alike(w GroupView) bool {
	if len(v.Replicas) != len(w.Replicas) {
		return false
	}
	for i := range v.Replicas {
		if v.Replicas[i] != w.Replicas[i] {
			return false
		}
	}
	return v.State == w.State && v.Master == w.Master && v.Epoch == w.Epoch &&
		v.RunID == w.RunID && v.Authority == w.Authority && v.Vouched == w.Vouched &&
		v.LeaseUntil.IsZero() == w.LeaseUntil.IsZero() && v.Failover == w.Failover &&
		v.Early == w.Early && v.Pinned == w.Pinned && v.DownAfter == w.DownAfter && v.Quorum == w.Quorum &&
		v.Cause == w.Cause && v.Since.Equal(w.Since)
}

// renewed reports whether w has later times than v.
func (v GroupView) renewed(w GroupView) bool {
	return !v.LeaseUntil.Equal(w.LeaseUntil) || !v.VerifiedAt.Equal(w.VerifiedAt)
}
