package sentinelclient

import (
	"slices"
	"time"
)

// A replica that is promoted acknowledges no more to its old master. What a master has
// put into the replication stream after it was asked, and a replica has acknowledged,
// shows that this one was its replica when the master was asked. While the sentinels
// are late, the master is asked often, and made to put something into the stream each
// time: WAIT has it send REPLCONF GETACK, which replicas answer at once. That costs 74
// bytes of the stream an answer. (Redis: replication.c, waitCommand; an acknowledgement
// leaves out the GETACK that asked for it, so there are two.)
//
// A master that is too old for that (its clients' time-outs are a second late before
// Redis 6), or does not permit it, or is paused and puts nothing into the stream, tells
// by INFO when each replica has acknowledged. It does so in whole seconds.
const (
	replicaVouch  = 2500 * time.Millisecond // for how long a proof counts, at most
	laggingVouch  = 1500 * time.Millisecond // the same of an answer that is no proof
	replicaLag    = 2 * time.Second         // of such an answer; less than 3 s are told as 2, so an acknowledgement counts for 4.5 s
	vouchInterval = 250 * time.Millisecond  // between two questions to the master, at most
)

// sample is the end of a master's replication stream as of an answer.
type sample struct {
	asked  time.Time
	offset int64
	acks   bool // acknowledgements were asked for right after
}

// samples are as many as a late acknowledgement may be behind.
const samples = 4

// witnesses are the replicas of one master. Which of them there are is learnt
// while a majority of sentinels is heard; from then on none may be missing.
type witnesses struct {
	known  map[Address]bool
	proven map[Address]time.Time // when the master was asked, at the last proof of being its replica
	stream []sample              // the newest last
	// atLeast is how many replicas the sentinels know of; -1 before any of
	// them said so. One that ROLE does not list may have been promoted.
	atLeast int
	until   time.Time // the replicas vouch until then
	none    bool      // there was none when a majority was heard last, and none has come since: nobody can be promoted
}

func newWitnesses() witnesses {
	return witnesses{known: make(map[Address]bool), proven: make(map[Address]time.Time), atLeast: -1}
}

// counted takes the number of replicas that the sentinels know of.
func (w *witnesses) counted(n int) { w.atLeast = n }

// reported takes what the master says of its replicas. A proof counts for the given
// time; contact: a majority of sentinels is heard.
func (w *witnesses) reported(r report, window time.Duration, contact bool) {
	if contact {
		clear(w.known)
	}
	lagging := make(map[Address]bool, len(r.Replicas))
	for _, p := range r.Replicas {
		w.known[p.Address] = true
		if p.Online {
			lagging[p.Address] = p.Lag > replicaLag
		}
	}
	w.prove(r)
	sharp := !w.flows(r) && r.Sharp
	nobody := w.atLeast == 0 && len(w.known) == 0
	w.none = nobody && (w.none || contact) // a few sentinels may have forgotten them, and the master lost them
	for a := range w.known {
		if _, online := lagging[a]; !online && r.Asked.Before(w.until) {
			w.until = r.Asked // it may have left to be promoted
		}
	}
	if w.atLeast < 0 || nobody && !w.none || len(lagging) < w.atLeast {
		return
	}
	since := r.Asked
	for a := range w.known {
		lags, online := lagging[a]
		proof, proven := w.proven[a]
		switch {
		case !online || sharp && !proven || !sharp && lags:
			return
		case !sharp:
			window = min(window, laggingVouch)
		case proof.Before(since):
			since = proof
		}
	}
	if until := since.Add(window); until.After(w.until) {
		w.until = until
	}
}

// flows remembers the end of the stream, and reports whether it stands still though
// acknowledgements were asked for.
func (w *witnesses) flows(r report) (still bool) {
	if r.Offset == 0 { // nothing was ever in it, or it was not told: no sample
		return false
	}
	if n := len(w.stream); n > 0 {
		still = w.stream[n-1].acks && r.Offset == w.stream[n-1].offset
	}
	if len(w.stream) == samples {
		w.stream = slices.Delete(w.stream, 0, 1)
	}
	w.stream = append(w.stream, sample{asked: r.Asked, offset: r.Offset, acks: r.Acks})
	return still
}

// prove finds for each replica the last answer after which it has got something new.
func (w *witnesses) prove(r report) {
	if n := len(w.stream); n > 0 && r.Offset < w.stream[n-1].offset { // it is another stream, or not told
		w.stream = w.stream[:0]
		clear(w.proven)
	}
	for a := range w.proven {
		if !w.known[a] {
			delete(w.proven, a)
		}
	}
	for _, p := range r.Replicas {
		for _, s := range slices.Backward(w.stream) {
			if p.Online && p.Offset > s.offset && p.Offset <= r.Offset {
				if s.asked.After(w.proven[p.Address]) {
					w.proven[p.Address] = s.asked
				}
				break
			}
		}
	}
}
