package sentinelclient

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is the truth that a group is to find out: elections that raise the
// epoch, sentinels that learn of them one by one, nodes that say what they are.
type world struct {
	t       *rapid.T
	now     time.Time
	history []Address // epoch -> master
	dead    map[Address]bool
	risen   map[Address]bool // a former master that came back and says master

	sentinels []*modelSentinel
	g         *group
	asked     map[nodeID]Address // questions on their way
	accepted  map[uint64]Address // epoch -> master, as a majority told it
	asks      []time.Time        // of queries
}

type modelSentinel struct {
	id    linkID
	epoch int  // what it has learnt
	stuck bool // finding 6: it raises its epoch and keeps its first address
	first Address
	up    bool
	line  []answer // answered, not yet received
}

var nodeNames = []string{"A", "B", "C", "D"}

func (w *world) truth() Address { return w.history[len(w.history)-1] }

// answer is what the sentinel says at this moment.
func (s *modelSentinel) answer(w *world) answer {
	master := w.history[s.epoch]
	if s.stuck {
		master = s.first
	}
	return answer{Group: "g1", Master: master, HasInfo: true, Asked: w.now, Info: masterInfo{Address: master,
		Epoch: uint64(s.epoch), DownAfter: 5 * time.Second, Quorum: len(w.sentinels)/2 + 1, Sentinels: len(w.sentinels), Replicas: len(nodeNames) - 1}}
}

// says is what a node answers to ROLE at this moment.
func (w *world) says(a Address) report {
	r := report{Asked: w.now, RunID: "run " + a.Host}
	switch {
	case w.dead[a]:
		r.Verdict, r.Cause = verdictUnreachable, "i/o timeout"
	case a == w.truth(), w.risen[a]:
		r.Verdict = verdictMaster
		for _, n := range nodeNames {
			if b := letter(n); b != a && !w.dead[b] && a == w.truth() {
				r.Replicas = append(r.Replicas, replica{Address: b, Online: true})
			}
		}
	default:
		r.Verdict, r.Cause = verdictReplica, "it is a replica"
	}
	return r
}

func (w *world) step(ev any) {
	before := w.g.master
	for _, a := range w.g.Step(w.now, ev) {
		switch a := a.(type) {
		case query:
			w.asks = append(w.asks, w.now)
			for _, s := range w.sentinels {
				if s.up && len(s.line) < 4 {
					s.line = append(s.line, s.answer(w))
				}
			}
		case ask:
			w.asked[a.node] = a.to
		case drop:
			delete(w.asked, a.node)
		}
	}
	if w.g.master != before && w.g.ballot.backs(w.g.master) {
		e := w.g.epoch
		if old, ok := w.accepted[e]; ok && old != w.g.master {
			w.t.Fatalf("two masters of epoch %d: %v and %v", e, old, w.g.master)
		}
		w.accepted[e] = w.g.master
	}
	if w.g.master != before && w.g.control.verdict != verdictMaster {
		w.t.Fatalf("%v became master without a ROLE that says so", w.g.master)
	}
	if next := w.g.next(w.now); !next.After(w.now) {
		w.t.Fatalf("it wants a tick at once, again: %v", w.g.sketch(w.now))
	}
}

// backs reports whether a majority of the electorate names a.
func (b *ballot) backs(a Address) bool {
	n := 0
	for _, v := range b.votes() {
		if !v.Unknown && v.Master == a {
			n++
		}
	}
	return n > len(b.members)/2
}

func (w *world) advance(d time.Duration) {
	end := w.now.Add(d)
	for n := w.g.next(w.now); !n.After(end); n = w.g.next(w.now) {
		w.now = n
		w.step(evTick{})
	}
	w.now = end
}

// deliver hands over everything that is on its way.
func (w *world) deliver() {
	for _, s := range w.sentinels {
		for len(s.line) > 0 {
			a := s.line[0]
			s.line = s.line[1:]
			w.step(evAnswer{link: s.id, answer: a})
		}
	}
	for len(w.asked) > 0 {
		for id, a := range w.asked {
			delete(w.asked, id)
			w.step(evReport{node: id, report: w.says(a)})
			break
		}
	}
}

// TestModel: whatever the order in which answers, events and reports arrive, a
// majority never makes two masters of one epoch, no node becomes a master without
// saying so itself, and once the sentinels agree the group follows them.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: epoch0, history: []Address{letter("A")}, dead: map[Address]bool{}, risen: map[Address]bool{},
			asked: map[nodeID]Address{}, accepted: map[uint64]Address{}}
		cfg := Config{Lease: LeaseAuto}.withDefaults()
		var nodes nodeID
		rnd := func() float64 { return float64(rapid.IntRange(0, 99).Draw(t, "jitter")) / 100 }
		w.g = newGroup("g1", &cfg, rnd, &nodes, func(Address) string { return "" }, w.now)
		n := rapid.IntRange(1, 7).Draw(t, "sentinels")
		stuck := rapid.IntRange(0, (n-1)/2).Draw(t, "stuck")
		var members []linkID
		for i := range n {
			s := &modelSentinel{id: linkID(i + 1), up: true, stuck: i < stuck, first: letter("A")}
			w.sentinels = append(w.sentinels, s)
			members = append(members, s.id)
		}
		w.step(evElectorate{members: members})
		sentinel := func() *modelSentinel { return w.sentinels[rapid.IntRange(0, n-1).Draw(t, "sentinel")] }
		someNode := func() Address { return letter(rapid.SampledFrom(nodeNames).Draw(t, "node")) }

		t.Repeat(map[string]func(*rapid.T){
			"elect": func(t *rapid.T) {
				to := someNode()
				if len(w.history) > 5 || to == w.truth() || w.dead[to] {
					t.Skip("no such election")
				}
				if rapid.Bool().Draw(t, "old one rises again") {
					w.risen[w.truth()] = true
				}
				w.history = append(w.history, to)
				delete(w.risen, to)
				leader := sentinel()
				leader.epoch = len(w.history) - 1
				w.step(evHint{link: leader.id, event: event{name: "+promoted-slave", group: "g1", master: w.history[len(w.history)-2]}})
			},
			"learn": func(*rapid.T) { s := sentinel(); s.epoch = len(w.history) - 1 },
			"receive": func(t *rapid.T) {
				s := sentinel()
				if len(s.line) == 0 {
					t.Skip("nothing on its way")
				}
				a := s.line[0]
				s.line = s.line[1:]
				w.step(evAnswer{link: s.id, answer: a})
			},
			"report": func(t *rapid.T) {
				for id, a := range w.asked {
					delete(w.asked, id)
					w.step(evReport{node: id, report: w.says(a)})
					return
				}
				t.Skip("nothing was asked")
			},
			"lose": func(*rapid.T) {
				s := sentinel()
				s.up, s.line = false, nil
				w.step(evVoterLost{link: s.id})
			},
			"find": func(*rapid.T) {
				s := sentinel()
				s.up = true
				s.line = append(s.line[:0], s.answer(w))
			},
			"tilt":   func(t *rapid.T) { w.step(evVoterTilt{link: sentinel().id, on: rapid.Bool().Draw(t, "on")}) },
			"die":    func(*rapid.T) { a := someNode(); w.dead[a] = true; delete(w.risen, a) },
			"live":   func(*rapid.T) { delete(w.dead, someNode()) },
			"demote": func(*rapid.T) { delete(w.risen, someNode()) },
			"hint": func(*rapid.T) {
				w.step(evHint{link: sentinel().id, event: event{name: "+sdown", group: "g1", master: w.truth()}})
			},
			"suspect": func(*rapid.T) { w.step(evSuspect{cause: "EOF"}) },
			"pass":    func(t *rapid.T) { w.advance(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond) },
		})

		for i, at := range w.asks { // never more than queryBurst in a window
			if i >= queryBurst && at.Sub(w.asks[i-queryBurst]) < queryWindow {
				t.Fatalf("%d queries within %v", queryBurst+1, at.Sub(w.asks[i-queryBurst]))
			}
		}
		// All is well again: every sentinel is up and knows, the master lives.
		clear(w.risen)
		delete(w.dead, w.truth())
		for _, s := range w.sentinels {
			s.up, s.epoch = true, len(w.history)-1
			w.step(evVoterTilt{link: s.id, on: false})
		}
		for range 150 {
			w.advance(100 * time.Millisecond)
			w.deliver()
		}
		if w.g.master != w.truth() || w.g.state != GroupUp {
			t.Fatalf("the truth is %v, not %s", w.truth(), w.g.sketch(w.now))
		}
		if held, _, by := w.g.authority(w.now); !held || by == "" {
			t.Fatalf("no authority: %s", w.g.sketch(w.now))
		}
		if w.g.failover != "" {
			t.Fatalf("a failover is still told: %s", fmt.Sprint(w.g.failover))
		}
	})
}
