package sentinelclient

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestModel: whatever the order in which answers, events and reports arrive, late,
// twice or not at all, from up to seven sentinels of which a minority lies, a
// group never has two masters: it has one, never takes another without a reason
// that holds, never goes back to an older epoch without a majority, and ends where
// the sentinels are when the faults end. One proxy follows what is announced, one
// early.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		sentinel := func(of []*modelSentinel) *modelSentinel { return rapid.SampledFrom(of).Draw(t, "sentinel") }
		node := func() *modelNode { return rapid.SampledFrom(w.nodes).Draw(t, "node") }
		proxy := func() *proxy { return rapid.SampledFrom(w.proxies).Draw(t, "proxy") }
		index := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "which") }
		bare := func(name string) func(*rapid.T) {
			return func(*rapid.T) { w.tell(sentinel(w.sentinels), name, w.truth.master, Address{}) }
		}

		// A step that does not apply, as of a failover that nobody leads, changes nothing.
		t.Repeat(map[string]func(*rapid.T){
			// What sentinels and nodes do.
			"elect":    func(*rapid.T) { w.elect(sentinel(w.honest()), node()) },
			"progress": func(*rapid.T) { w.progress() },
			"further":  func(*rapid.T) { w.progress() }, // failovers get somewhere
			"abort": func(*rapid.T) {
				if w.running == nil {
					return
				}
				w.abort()
			},
			"the leader dies": func(*rapid.T) {
				if w.running == nil {
					return
				}
				w.running = nil
			},
			"the leader tilts": func(*rapid.T) {
				if w.running == nil {
					return
				}
				w.tilt(w.running.leader, true)
			},
			"learn":   func(*rapid.T) { w.learn(sentinel(w.sentinels)) },
			"monitor": func(*rapid.T) { w.monitor(sentinel(w.honest()), node()) },
			"tilt": func(*rapid.T) {
				s := sentinel(w.sentinels)
				w.tilt(s, !s.tilt)
			},
			"restart": func(*rapid.T) { w.restart() },
			"die": func(*rapid.T) {
				node().dead = true
				w.reach()
			},
			"live": func(*rapid.T) { // a former master says master at first
				n := node()
				if !n.dead {
					return
				}
				n.dead, n.since = false, w.now
				n.runs++
				w.reach()
			},
			"cut": func(*rapid.T) { // a sentinel from a node
				s, n := sentinel(w.sentinels), node()
				s.cut[n.addr] = !s.cut[n.addr]
				w.reach()
			},
			"isolate": func(t *rapid.T) {
				w.isolate(proxy(), rapid.IntRange(0, 20).Draw(t, "before"), rapid.IntRange(0, 24).Draw(t, "promoted"))
			},
			"pin": func(*rapid.T) { proxy().pin(node()) },
			"configure": func(t *rapid.T) {
				p := proxy()
				var members []linkID
				liars := 0
				for _, s := range w.sentinels {
					if rapid.IntRange(0, 3).Draw(t, "member") > 0 {
						members = append(members, s.id)
						if s.lies != "" {
							liars++
						}
					}
				}
				if len(members) == 0 || liars > (len(members)-1)/2 {
					return
				}
				p.elect(members)
			},
			"usurp": func(*rapid.T) { // REPLICAOF NO ONE by an operator
				n := node()
				if n.dead || n.master {
					return
				}
				n.master, n.of, n.rose, n.since = true, Address{}, w.now, w.now
			},
			"demote": func(*rapid.T) { w.demote() },
			"lie": func(*rapid.T) {
				s := sentinel(w.sentinels)
				if s.lies != "rogue" {
					return
				}
				s.rogue = belief{rapid.SampledFrom([]Address{letter("A"), letter("B"), letter("C"), stranger}).Draw(t, "master"),
					uint64(rapid.IntRange(0, 12).Draw(t, "epoch"))}
				s.state = rapid.SampledFrom([]string{"", "", "select_slave", "wait_promotion"}).Draw(t, "state")
				name := rapid.SampledFrom([]string{"+sdown", "+switch-master", "+elected-leader", "+selected-slave", "-failover-abort-not-elected"}).Draw(t, "event")
				e := event{name: name, group: "g1", master: node().addr}
				if name == "+selected-slave" {
					e.node = rapid.SampledFrom([]Address{letter("B"), letter("C"), stranger}).Draw(t, "replica")
				}
				w.tell(s, e.name, e.master, e.node)
			},
			"sdown": bare("+sdown"), "odown": bare("+odown"), "slave": bare("+slave"),

			// What becomes of it on the way.
			"receive": func(*rapid.T) { proxy().receive(sentinel(w.sentinels).id) },
			"hear": func(t *rapid.T) {
				p := proxy()
				if len(p.hints) == 0 {
					return
				}
				p.hear(index(len(p.hints)), rapid.IntRange(0, 3).Draw(t, "again") == 0)
			},
			"miss": func(*rapid.T) {
				p := proxy()
				if len(p.hints) == 0 {
					return
				}
				i := index(len(p.hints))
				p.hints = slices.Delete(p.hints, i, i+1)
			},
			"report": func(*rapid.T) {
				p := proxy()
				if len(p.asked) == 0 {
					return
				}
				p.report(index(len(p.asked)), false)
			},
			"time out": func(*rapid.T) {
				p := proxy()
				if len(p.asked) == 0 {
					return
				}
				p.report(index(len(p.asked)), true)
			},
			"lose":    func(*rapid.T) { proxy().lose(sentinel(w.sentinels).id) },
			"find":    func(*rapid.T) { proxy().find(sentinel(w.sentinels)) },
			"suspect": func(*rapid.T) { proxy().step(evSuspect{cause: "EOF"}) },
			"pass":    func(t *rapid.T) { w.advance(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond) },
			"flow": func(t *rapid.T) { // all goes well for a while
				for range rapid.IntRange(1, 10).Draw(t, "rounds") {
					w.flow(20 * time.Millisecond)
				}
			},
		})
		w.heal()
		for range 75 {
			w.flow(200 * time.Millisecond)
		}
		if w.pinned() {
			w.another()
		}
		for _, p := range w.proxies {
			p.settled()
		}
	})
}

// flow delivers everything that is on its way, and lets some time pass.
func (w *world) flow(d time.Duration) {
	for _, p := range w.proxies {
		for _, s := range w.sentinels {
			for p.receive(s.id) {
			}
		}
		for len(p.hints) > 0 {
			p.hear(0, false)
		}
		for range len(p.asked) { // a report may bring a new question
			if len(p.asked) > 0 {
				p.report(0, false)
			}
		}
	}
	w.advance(d)
}

// heal ends all faults but lies: whoever is honest knows, the master lives, the
// others follow it. What is on its way arrives still.
func (w *world) heal() {
	w.running = nil
	w.node(w.truth.master).dead, w.node(w.truth.master).master = false, true
	w.demote()
	for _, p := range w.proxies {
		p.elect(w.all())
	}
	for _, s := range w.sentinels {
		clear(s.cut)
		w.learn(s)
		w.tilt(s, false)
		for _, p := range w.proxies {
			p.find(s)
		}
	}
	w.reach()
}

func (w *world) pinned() bool {
	return slices.ContainsFunc(w.proxies, func(p *proxy) bool { return p.g.pinned })
}

// another is one more election, which ends every pin.
func (w *world) another() {
	for _, n := range w.nodes {
		if n.addr != w.truth.master {
			n.dead = false
			w.elect(w.honest()[0], n)
			break
		}
	}
	for w.progress() {
		w.flow(100 * time.Millisecond)
	}
	w.heal()
	for range 40 {
		w.flow(200 * time.Millisecond)
	}
}

// check holds what must be true after every step. before is what the machine
// stood on.
func (p *proxy) check(before standing, pinned bool) {
	g, t := p.g, p.w.t
	if g.master != before.Master {
		clear(p.attempts)
		clear(p.promoted)
	}
	p.holds()
	p.vouched()
	p.epochs(before, pinned)
	if next := g.next(p.w.now); !next.After(p.w.now) {
		t.Fatalf("it wants a tick at once, again: %v", g.sketch(p.w.now))
	}
	if n := len(p.asks); n > queryBurst && p.asks[n-1].Sub(p.asks[n-1-queryBurst]) < queryWindow {
		t.Fatalf("%d queries within %v", queryBurst+1, p.asks[n-1].Sub(p.asks[n-1-queryBurst]))
	}
	if n := len(g.early.scouts); n > maxScouts || n > 0 && !g.attempts.open() {
		t.Fatalf("%d replicas are asked: %v", n, g.sketch(p.w.now))
	}
	if g.master == before.Master {
		return
	}
	if g.control.verdict != verdictMaster || p.reports[g.master].Verdict != verdictMaster {
		t.Fatalf("%v became master without a ROLE that says so", g.master)
	}
	if why := p.unfounded(before); why != "" && !p.pinning {
		t.Fatalf("%v at %d is given up for %v: %s; early %v, %d answers, signs %v", before.Master, before.Epoch, g.master, why, p.cfg.FollowEarly, len(p.heard), p.signs)
	}
	p.left, p.leftAt, p.aborted = Address{}, p.w.now, false
	if g.view(p.w.now).Early {
		p.left = before.Master
	}
	p.signs = slices.DeleteFunc(p.signs, func(s heardSign) bool { return s.of == before.Master })
}

// unfounded says why nothing that has arrived makes the group's new master one;
// empty if something does. It counts for itself.
func (p *proxy) unfounded(before standing) string {
	master, all, votes, answers, highest := p.g.master, len(p.members), 0, 0, uint64(0)
	for _, s := range p.w.sentinels {
		a := p.heard[s.id]
		if a == nil || !p.votes(s) {
			continue
		}
		answers++
		if a.Master == master {
			votes++
			highest = max(highest, a.Info.Epoch)
		}
	}
	majority := votes > all/2
	gone := false
	switch p.reports[before.Master].Verdict {
	case verdictReplica, verdictOther, verdictUnreachable:
		gone = true
	}
	if majority {
		if named := p.named[master]; len(p.signs) == 0 && all > 1 && !before.Master.IsZero() && !gone && p.g.epoch <= before.Epoch && p.w.now.Sub(named) < olderHold {
			return fmt.Sprintf("the master is well, and a majority that is not newer names the other one for %v only", p.w.now.Sub(named))
		}
		if e := p.g.epoch; e > 0 && !slices.Contains(p.w.owner[e], master) && !p.w.lied() {
			return fmt.Sprintf("epoch %d is that of %v", e, p.w.owner[e])
		}
		if v := p.reports[before.Master].Verdict; master == p.left && highest <= before.Epoch && !v.refuses() && !p.aborted && p.w.now.Before(p.leftAt.Add(failoverBound)) {
			return "it was left early a moment ago, and nobody said anything else since"
		}
		return ""
	}
	switch {
	case before.Master.IsZero() && votes > 0:
		return ""
	case gone && votes > 0 && highest > before.Epoch && (slices.Contains(before.Replicas, master) || answers <= all/2):
		return ""
	case !p.cfg.FollowEarly:
		return "no majority, and not the only way out"
	}
	for _, s := range p.signs {
		since := p.w.now.Sub(s.at)
		if s.of != before.Master || !p.votes(p.w.sentinels[s.link-1]) || since > failoverBound {
			continue
		}
		n := p.w.node(master)
		if n == nil {
			return "followed early, though it is none of the group's nodes"
		}
		if !n.rose.IsZero() && n.rose.Before(p.w.firstSign(p, before.Master)) {
			return "followed early, though it has said master since before the sign"
		}
		return ""
	}
	return "no majority, and no sign of a failover"
}

// firstSign is when the proxy heard first of a failover of that master.
func (w *world) firstSign(p *proxy, of Address) time.Time {
	for _, s := range p.signs {
		if s.of == of {
			return s.at
		}
	}
	return w.now
}

// lied: some sentinel may have told of an epoch that no election had.
func (w *world) lied() bool {
	return slices.ContainsFunc(w.sentinels, func(s *modelSentinel) bool { return s.lies != "" })
}

// settled holds what must be true when the faults are over.
func (p *proxy) settled() {
	g, t, truth := p.g, p.w.t, p.w.truth
	if g.master != truth.master || g.state != GroupUp {
		t.Fatalf("early %v: the truth is %v, not %s", p.cfg.FollowEarly, truth, g.sketch(p.w.now))
	}
	v := g.view(p.w.now)
	if !v.Authority || v.Vouched == "" {
		t.Fatalf("early %v: no authority: %s", p.cfg.FollowEarly, g.sketch(p.w.now))
	}
	lied := slices.ContainsFunc(p.w.sentinels, func(s *modelSentinel) bool { return s.state != "" })
	if v.Failover != "" || v.Early || len(g.early.scouts) > 0 && !lied {
		t.Fatalf("early %v: a failover is still told: %s", p.cfg.FollowEarly, g.sketch(p.w.now))
	}
}
