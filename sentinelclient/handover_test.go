package sentinelclient

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// handover is a group in virtual time whose sentinels vouch, then stop; its
// master and the replica go on. Every answer takes a while.
type handover struct {
	jitter    float64       // of every wait
	late      time.Duration // every answer of the master, this much after the question
	stale     int           // of so many answers one tells of an old acknowledgement; 0: none
	blunt     bool          // the master does not ask for acknowledgements
	downAfter time.Duration
	dies      time.Time     // when the sentinels stop
	silent    int           // how many of the three stop
	unnoticed time.Duration // until their links fail
	leaves    time.Time     // when the replica does, as one that is promoted; zero: never
	quietly   bool          // still listed, without an acknowledgement

	g       *group
	now     time.Time
	events  []timed
	answers int
	stream  int64       // its end
	acked   [2]int64    // of it, by the replica: as last told, and as of now
	asks    []time.Time // questions to the master
	lapses  []time.Time // ends of the authority
}

type timed struct {
	at time.Time
	ev any
}

func (h *handover) later(at time.Time, ev any) { h.events = append(h.events, timed{at, ev}) }

func (h *handover) answered(s linkID) bool { return int(s) > h.silent || h.now.Before(h.dies) }

// report is what the master says of itself to a question of now.
func (h *handover) report(acks bool) report {
	h.answers++
	r := report{Verdict: verdictMaster, RunID: "r1", Asked: h.now, Offset: h.stream, Sharp: !h.blunt, Acks: acks && !h.blunt}
	left := !h.leaves.IsZero() && !h.now.Before(h.leaves)
	if left && !h.quietly {
		return r
	}
	lag := 2 * time.Second
	if left || h.stale > 0 && h.answers%h.stale == 0 {
		lag = 3 * time.Second
	} else {
		h.acked[0] = h.acked[1]
	}
	r.Replicas = []replica{{Address: letter("B"), Online: true, Lag: lag, Offset: h.acked[0]}}
	if r.Acks { // two GETACKs; the second one is not in the acknowledgement that it makes
		if !left {
			h.acked[1] = h.stream + 37
		}
		h.stream += 2 * 37
	}
	return r
}

func (h *handover) step(ev any) {
	for _, a := range h.g.Step(h.now, ev) {
		switch a := a.(type) {
		case query:
			for s := linkID(1); s <= 3; s++ {
				if h.answered(s) {
					h.later(h.now.Add(time.Millisecond), evAnswer{link: s, answer: answer{Group: "g1", Master: letter("A"), HasInfo: true,
						Asked: h.now, Info: masterInfo{Address: letter("A"), DownAfter: h.downAfter, LastOKPing: 900 * time.Millisecond,
							Quorum: 2, Sentinels: 3, Replicas: 1}}})
				}
			}
		case ask:
			h.asks = append(h.asks, h.now)
			h.later(h.now.Add(h.late), evReport{node: a.node, report: h.report(a.acks)})
		}
	}
}

// run goes on to the given time as the monitor does: what has arrived comes
// before what time has made of it.
func (h *handover) run(end time.Time) {
	held := false
	for {
		h.pass(&held)
		i := -1
		for j, e := range h.events {
			if i < 0 || e.at.Before(h.events[i].at) {
				i = j
			}
		}
		tick := h.g.next(h.now)
		if i >= 0 && !h.events[i].at.After(tick) {
			e := h.events[i]
			h.events = slices.Delete(h.events, i, i+1)
			if e.at.After(end) {
				return
			}
			h.lapse(&held, e.at)
			h.step(e.ev)
			continue
		}
		if tick.After(end) {
			return
		}
		h.lapse(&held, tick)
		h.step(evTick{})
	}
}

// lapse moves the time to at and notes whether the authority ended before it.
func (h *handover) lapse(held *bool, at time.Time) {
	_, until, _ := h.g.authority(h.now)
	if at.After(h.now) {
		h.now = at
	}
	if *held && !until.IsZero() && until.Before(h.now) {
		h.lapses = append(h.lapses, until)
		*held = false
	}
}

func (h *handover) pass(held *bool) {
	now, _, _ := h.g.authority(h.now)
	if *held && !now {
		h.lapses = append(h.lapses, h.now)
	}
	*held = now
}

func (h *handover) start() {
	cfg := Config{Lease: LeaseAuto}.withDefaults()
	var nodes nodeID
	h.now = epoch0
	h.g = newGroup("g1", &cfg, func() float64 { return h.jitter }, &nodes, func(Address) string { return "" }, h.now)
	h.step(evElectorate{members: []linkID{1, 2, 3}})
	for s := range h.silent {
		h.later(h.dies.Add(h.unnoticed), evVoterLost{link: linkID(s + 1)})
	}
}

// most is the largest number of questions to the master in any second of
// those asked in [from, to).
func (h *handover) most(from, to time.Time) int {
	most, first := 0, 0
	for i, at := range h.asks {
		for at.Sub(h.asks[first]) >= time.Second {
			first++
		}
		if !at.Before(from) && at.Before(to) {
			most = max(most, i-first+1)
		}
	}
	return most
}

// eachHandover runs f for the sentinels dying in every way at every phase of the polls,
// with the jitter at its ends.
func eachHandover(t *testing.T, f func(t *testing.T, h *handover)) {
	ways := []struct {
		name      string
		silent    int
		unnoticed time.Duration
	}{{"all killed", 3, 0}, {"a majority killed", 2, 0}, {"all stopped", 3, 2 * time.Second}, {"all half-open", 3, 4 * time.Second}}
	for _, w := range ways {
		for _, jitter := range []float64{0, 0.999} {
			for _, downAfter := range []time.Duration{time.Second, 3 * time.Second} {
				t.Run(fmt.Sprintf("%s, jitter %v, down-after %v", w.name, jitter, downAfter), func(t *testing.T) {
					for phase := time.Duration(0); phase < 1200*time.Millisecond; phase += 97 * time.Millisecond {
						f(t, &handover{jitter: jitter, downAfter: downAfter, silent: w.silent, unnoticed: w.unnoticed,
							dies: epoch0.Add(5*time.Second + phase)})
					}
				})
			}
		}
	}
}

// TestHandover: when the sentinels stop, the replicas take over without a gap,
// though the master answers late, or now and then tells of an acknowledgement
// that is late. The master is not asked more often than the interval says, and
// not at all more often while a majority of sentinels answers.
func TestHandover(t *testing.T) {
	masters := []struct {
		downAfter time.Duration // at least
		late      time.Duration
		stale     int
		blunt     bool
	}{
		{0, 0, 0, false}, {0, 0, 2, false}, {0, 100 * time.Millisecond, 0, false},
		{3 * time.Second, 250 * time.Millisecond, 2, false}, {3 * time.Second, 500 * time.Millisecond, 0, false},
		{0, 0, 0, true}, {0, 0, 2, true}, {0, 100 * time.Millisecond, 2, true},
		{3 * time.Second, 300 * time.Millisecond, 2, true}, {3 * time.Second, 700 * time.Millisecond, 0, true},
	}
	eachHandover(t, func(t *testing.T, h *handover) {
		for _, m := range masters {
			if h.downAfter < m.downAfter {
				continue
			}
			h := *h
			h.late, h.stale, h.blunt = m.late, m.stale, m.blunt
			h.start()
			h.run(h.dies.Add(8 * time.Second))
			at := fmt.Sprintf("dead after %v, answers late by %v, stale 1 of %d, blunt %v", h.dies.Sub(epoch0), m.late, m.stale, m.blunt)
			if held, _, by := h.g.authority(h.now); !held || by != "replicas" {
				t.Errorf("%s: at the end %s", at, h.g.sketch(h.now))
			}
			for _, l := range h.lapses {
				t.Errorf("%s: the authority ended at %v", at, l.Sub(epoch0))
			}
			if n := h.most(epoch0.Add(3*time.Second), h.dies); n > 1 {
				t.Errorf("%s: %d questions within a second while the sentinels answer", at, n)
			}
			if n := h.most(h.dies, h.now); n > int(time.Second/min(vouchInterval, blind(h.downAfter, replicaVouch)/4)) {
				t.Errorf("%s: %d questions within a second", at, n)
			}
		}
	})
}

// TestHandoverLeft: a replica that leaves its master, or no longer acknowledges,
// vouches for as long as a proof counts, however often the master is asked.
func TestHandoverLeft(t *testing.T) {
	eachHandover(t, func(t *testing.T, h *handover) {
		for i := range 4 {
			h, quietly := *h, i%2 == 0
			h.late, h.quietly, h.blunt = 100*time.Millisecond, quietly, i >= 2
			h.leaves = h.dies.Add(5 * time.Second) // neither contact nor a lease lasts as long
			h.start()
			h.run(h.leaves.Add(3 * time.Second))
			at := fmt.Sprintf("dead after %v, quietly %v", h.dies.Sub(epoch0), quietly)
			if held, _, _ := h.g.authority(h.now); held || len(h.lapses) != 1 {
				t.Errorf("%s: ends of the authority %v, at last %s", at, h.lapses, h.g.sketch(h.now))
				continue
			}
			if end := h.lapses[0].Sub(h.leaves); end < 0 || end > blind(h.downAfter, replicaVouch) {
				t.Errorf("%s: the authority ended %v after the replica left", at, end)
			}
		}
	})
}
