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
//   - the replicas: all of them still acknowledge to this master, or it has none.

// replicaLag is how old a replica's last acknowledgement may be (it sends one a
// second), and replicaVouch for how long an answer of the master then counts. The
// lag is told in whole seconds, so 2 s are less than 3: in all an acknowledgement
// counts for less than 4.5 s. That is longer than a short down-after; but less would
// end by itself when the master or a replica is late for once.
const (
	replicaLag   = 2 * time.Second
	replicaVouch = 1500 * time.Millisecond
)

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

// contactEnd is until when the answers of a majority count as contact: three
// polls, less when down-after is so short that a failover could be over by
// then, but two polls at least, so that the poll itself does not end it.
func contactEnd(configured int, promises []promise, poll, fixed time.Duration) time.Time {
	asked := majorityAsked(configured, promises)
	if asked.IsZero() {
		return time.Time{}
	}
	window := 3 * poll
	for _, p := range promises {
		if p.DownAfter > 0 {
			window = min(window, max(2*poll, p.DownAfter))
		}
	}
	if fixed > 0 {
		window = fixed
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

// overdue is how long after a majority was asked its next answer is late: a
// poll takes 1.2 at most. Contact lasts two polls at least, so three quarters of
// one remain to ask the master, which is also how late each of its answers may
// be before replicaVouch runs out between two that are asked one after another.
func overdue(poll time.Duration) time.Duration { return poll + poll/4 }

// witnesses are the replicas of one master. Which of them there are is learnt
// while a majority of sentinels is heard; from then on none may be missing.
type witnesses struct {
	known map[Address]bool
	// atLeast is how many replicas the sentinels know of; -1 before any of
	// them said so. One that ROLE does not list may have been promoted.
	atLeast int
	until   time.Time // the replicas vouch until then
	none    bool      // there was none when a majority was heard last, and none has come since: nobody can be promoted
}

func newWitnesses() witnesses { return witnesses{known: make(map[Address]bool), atLeast: -1} }

// counted takes the number of replicas that the sentinels know of.
func (w *witnesses) counted(n int) { w.atLeast = n }

// reported takes the master's own list, asked at the given time.
func (w *witnesses) reported(asked time.Time, list []replica, contact bool) {
	if contact {
		clear(w.known)
	}
	online := make(map[Address]bool, len(list))
	for _, r := range list {
		w.known[r.Address] = true
		if r.Online && r.Lag <= replicaLag {
			online[r.Address] = true
		}
	}
	nobody := w.atLeast == 0 && len(w.known) == 0
	w.none = nobody && (w.none || contact) // a few sentinels may have forgotten them, and the master lost them
	if w.atLeast < 0 || nobody && !w.none || len(online) < w.atLeast {
		return
	}
	for a := range w.known {
		if !online[a] {
			return
		}
	}
	w.until = asked.Add(replicaVouch)
}
