package sentinelclient

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// This file is the world of TestModel: nodes, sentinels that fail a group over as
// Sentinel does, one step after the other, and proxies to which all of that comes
// in any order, late, twice or not at all.
//
//	elected ──> selected ──> promoted ──> announced ──> learnt by the others
//	   └────────────┴──────────┴─ aborted, or the leader dies
//
// A sentinel's configuration is an address with the epoch of the election that
// made it. Each epoch has one election, so its owner is known; the truth is the
// configuration that was announced last.

// belief is what a sentinel holds for the master.
type belief struct {
	master Address
	epoch  uint64
}

type modelNode struct {
	addr   Address
	dead   bool
	master bool      // what it says of itself
	of     Address   // of a replica
	rose   time.Time // when it began to say master without Sentinel's doing; zero if it did not
	runs   int
}

type modelSentinel struct {
	id    linkID
	holds belief
	tilt  bool
	lies  string // "": honest; "stuck": it raises its epoch and keeps its first address; "rogue": it names what it likes
	rogue belief
}

// failover is the one that is under way.
type failover struct {
	leader      *modelSentinel
	old, chosen Address
	epoch       uint64
	stage       string // elected, selected, promoted
}

type world struct {
	t         *rapid.T
	now       time.Time
	nodes     []*modelNode
	sentinels []*modelSentinel
	truth     belief
	owner     map[uint64]Address // of the epochs that were announced
	epoch     uint64             // of the last election
	running   *failover
	proxies   []*proxy
}

var nodeNames = []string{"A", "B", "C", "D"}

// stranger is a master that nobody should take: it is none of the group's nodes.
var stranger = letter("X")

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: epoch0, owner: map[uint64]Address{}}
	for _, name := range nodeNames {
		w.nodes = append(w.nodes, &modelNode{addr: letter(name), of: letter("A")})
	}
	w.nodes[0].master, w.nodes[0].of = true, Address{}
	w.truth = belief{master: letter("A")}
	n := rapid.IntRange(1, 7).Draw(t, "sentinels")
	liars := rapid.IntRange(0, (n-1)/2).Draw(t, "liars")
	for i := range n {
		s := &modelSentinel{id: linkID(i + 1), holds: w.truth}
		if i < liars {
			s.lies = rapid.SampledFrom([]string{"stuck", "rogue"}).Draw(t, "lies")
			s.rogue = w.truth
		}
		w.sentinels = append(w.sentinels, s)
	}
	for _, early := range []bool{false, true} {
		w.proxies = append(w.proxies, newProxy(w, early))
	}
	return w
}

func (w *world) node(a Address) *modelNode {
	i := slices.IndexFunc(w.nodes, func(n *modelNode) bool { return n.addr == a })
	if i < 0 {
		return nil
	}
	return w.nodes[i]
}

func (w *world) honest() []*modelSentinel {
	return slices.DeleteFunc(slices.Clone(w.sentinels), func(s *modelSentinel) bool { return s.lies != "" })
}

// answer is what a sentinel says at this moment.
func (w *world) answer(s *modelSentinel) answer {
	says := s.holds
	switch s.lies {
	case "stuck":
		says.epoch = w.truth.epoch
	case "rogue":
		says = s.rogue
	}
	a := answer{Group: "g1", Master: says.master, HasInfo: true, Asked: w.now, Info: masterInfo{Address: says.master, Epoch: says.epoch,
		DownAfter: 5 * time.Second, Quorum: len(w.sentinels)/2 + 1, Sentinels: len(w.sentinels), Replicas: len(nodeNames) - 1}}
	if f := w.running; f != nil && f.leader == s {
		a.Info.Flags = []string{"failover_in_progress"}
		a.Info.FailoverState = map[string]string{"elected": "select_slave", "selected": "wait_promotion", "promoted": "wait_promotion"}[f.stage]
	}
	return a
}

// says is what a node answers to ROLE at this moment.
func (w *world) says(a Address, asked time.Time) report {
	n := w.node(a)
	switch {
	case a == stranger:
		return report{Verdict: verdictMaster, RunID: "run X", Asked: asked}
	case n == nil || n.dead:
		return report{Verdict: verdictUnreachable, Cause: "i/o timeout", Asked: asked}
	case !n.master:
		return report{Verdict: verdictReplica, Cause: "it is a replica of " + n.of.String(), Asked: asked}
	}
	r := report{Verdict: verdictMaster, RunID: fmt.Sprintf("run %s %d", a.Host, n.runs), Asked: asked}
	for _, o := range w.nodes {
		if !o.dead && !o.master && o.of == a {
			r.Replicas = append(r.Replicas, replica{Address: o.addr, Online: true})
		}
	}
	return r
}

// tell puts an event of a sentinel on its way to every proxy that listens to it.
func (w *world) tell(s *modelSentinel, name string, master, node Address) {
	for _, p := range w.proxies {
		if p.linked[s.id] && len(p.hints) < 40 {
			p.hints = append(p.hints, evHint{link: s.id, event: event{name: name, group: "g1", master: master, node: node}})
		}
	}
}

// elect begins a failover to a replica that lives.
func (w *world) elect(leader *modelSentinel, to *modelNode) bool {
	if w.running != nil || leader.tilt || leader.holds != w.truth || to.dead || to.master {
		return false
	}
	w.epoch++
	w.running = &failover{leader: leader, old: w.truth.master, chosen: to.addr, epoch: w.epoch, stage: "elected"}
	w.tell(leader, "+elected-leader", w.running.old, Address{})
	return true
}

// progress takes the failover one step further.
func (w *world) progress() bool {
	f := w.running
	if f == nil {
		return false
	}
	chosen := w.node(f.chosen)
	switch {
	case f.stage == "elected":
		f.stage = "selected"
		w.tell(f.leader, "+selected-slave", f.old, f.chosen)
	case chosen.dead:
		w.abort()
	case f.stage == "selected":
		f.stage = "promoted"
		chosen.master, chosen.of, chosen.rose = true, Address{}, time.Time{}
	default:
		w.truth = belief{master: f.chosen, epoch: f.epoch}
		w.owner[f.epoch] = f.chosen
		f.leader.holds, w.running = w.truth, nil
		for _, n := range w.nodes {
			if !n.master {
				n.of = f.chosen
			}
		}
		w.node(f.old).rose = w.now // whatever it says from now on
		w.tell(f.leader, "+promoted-slave", f.old, f.chosen)
		w.tell(f.leader, "+failover-state-reconf-slaves", f.old, Address{})
		w.tell(f.leader, "+failover-end", f.old, Address{})
		w.tell(f.leader, "+switch-master", f.old, Address{})
	}
	return true
}

// abort gives the failover up. A replica that was promoted says master until
// somebody demotes it.
func (w *world) abort() {
	w.tell(w.running.leader, "-failover-abort-slave-timeout", w.running.old, Address{})
	w.running = nil
}

// learn gives a sentinel the configuration that was announced last.
func (w *world) learn(s *modelSentinel) {
	if s.lies == "" && s.holds != w.truth {
		old := s.holds.master
		s.holds = w.truth
		w.tell(s, "+switch-master", old, Address{})
	}
}

// monitor is REMOVE and MONITOR by an operator, elsewhere, on one sentinel; the
// others learn of it like of anything else.
func (w *world) monitor(s *modelSentinel, to *modelNode) bool {
	if w.running != nil || to.dead || to.addr == w.truth.master {
		return false
	}
	old := w.node(w.truth.master)
	to.master, to.of, to.rose, old.rose = true, Address{}, time.Time{}, w.now
	w.truth = belief{master: to.addr}
	w.tell(s, "-monitor", old.addr, Address{})
	w.tell(s, "+monitor", to.addr, Address{})
	w.learn(s)
	return true
}

func (w *world) tilt(s *modelSentinel, on bool) {
	s.tilt = on
	for _, p := range w.proxies {
		p.count()
		p.step(evVoterTilt{link: s.id, on: on})
	}
}

// demote makes replicas of all who say master and are not Sentinel's choice.
func (w *world) demote() {
	for _, n := range w.nodes {
		if n.addr != w.truth.master && (w.running == nil || n.addr != w.running.chosen) {
			n.master, n.of, n.rose = false, w.truth.master, time.Time{}
		}
	}
}

// proxy is one group's machine, with what it was told.
type proxy struct {
	w      *world
	g      *group
	cfg    Config
	linked map[linkID]bool
	hints  []evHint // on their way, in any order
	lines  map[linkID][]answer
	asked  []question2
	asks   []time.Time // of queries

	// What has arrived:
	heard   map[linkID]*answer
	reports map[Address]report    // the last one that the machine was given
	signs   []heardSign           // about the master of then
	named   map[Address]time.Time // since when some sentinel with a vote names it
	left    Address               // the master before, when the one of now was taken early
	leftAt  time.Time
	aborted bool // that came to nothing, as a sentinel or the node itself has said since
}

type question2 struct {
	node nodeID
	to   Address
	at   time.Time
}

type heardSign struct {
	link linkID
	of   Address
	at   time.Time
}

func newProxy(w *world, early bool) *proxy {
	p := &proxy{w: w, cfg: Config{Lease: LeaseAuto, FollowEarly: early}.withDefaults(), linked: map[linkID]bool{},
		lines: map[linkID][]answer{}, heard: map[linkID]*answer{}, named: map[Address]time.Time{}, reports: map[Address]report{}}
	var nodes nodeID
	jitter := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(w.t, "jitter")))
	p.g = newGroup("g1", &p.cfg, jitter.Float64, &nodes, func(Address) string { return "" }, w.now)
	var members []linkID
	for _, s := range w.sentinels {
		members = append(members, s.id)
		p.linked[s.id] = true
	}
	p.step(evElectorate{members: members})
	return p
}

func (p *proxy) step(ev any) {
	before := standing{Master: p.g.master, Epoch: p.g.epoch, Replicas: p.g.replicas}
	for _, a := range p.g.Step(p.w.now, ev) {
		switch a := a.(type) {
		case query:
			p.asks = append(p.asks, p.w.now)
			for _, s := range p.w.sentinels {
				if p.linked[s.id] && len(p.lines[s.id]) < 4 {
					p.lines[s.id] = append(p.lines[s.id], p.w.answer(s))
				}
			}
		case ask:
			p.asked = append(p.asked, question2{node: a.node, to: a.to, at: p.w.now})
		case drop:
			p.asked = slices.DeleteFunc(p.asked, func(q question2) bool { return q.node == a.node })
		}
	}
	p.check(before)
}

// receive takes the oldest answer of a sentinel.
func (p *proxy) receive(id linkID) bool {
	line := p.lines[id]
	if len(line) == 0 {
		return false
	}
	a := line[0]
	p.lines[id] = line[1:]
	p.heard[id] = &a
	p.count()
	if a.Master == p.g.master && a.Info.promoting() {
		p.signs = append(p.signs, heardSign{link: id, of: a.Master, at: p.w.now})
	}
	p.step(evAnswer{link: id, answer: a})
	return true
}

// count notes who is named.
func (p *proxy) count() {
	for _, a := range []Address{letter("A"), letter("B"), letter("C"), letter("D"), stranger} {
		named := slices.ContainsFunc(p.w.sentinels, func(s *modelSentinel) bool {
			h := p.heard[s.id]
			return h != nil && h.Master == a && !s.tilt
		})
		if _, before := p.named[a]; named && !before {
			p.named[a] = p.w.now
		} else if !named {
			delete(p.named, a)
		}
	}
}

// hear takes an event that is on its way, and lets it come again if twice.
func (p *proxy) hear(i int, twice bool) {
	h := p.hints[i]
	if !twice {
		p.hints = slices.Delete(p.hints, i, i+1)
	}
	if h.event.startsFailover() && h.event.master == p.g.master {
		p.signs = append(p.signs, heardSign{link: h.link, of: h.event.master, at: p.w.now})
	}
	p.aborted = p.aborted || h.event.abortsFailover() && h.event.master == p.left
	p.step(h)
}

// report takes what a node says now to a question of before, or that it did not
// answer in time.
func (p *proxy) report(i int, late bool) {
	q := p.asked[i]
	p.asked = slices.Delete(p.asked, i, i+1)
	r := p.w.says(q.to, q.at)
	if late {
		r = report{Verdict: verdictUnreachable, Cause: "no answer within 1s", Asked: q.at}
	}
	p.reports[q.to] = r
	p.aborted = p.aborted || q.to == p.g.master && r.Verdict.refuses()
	p.step(evReport{node: q.node, report: r})
}

func (p *proxy) lose(id linkID) {
	p.linked[id], p.lines[id], p.heard[id] = false, nil, nil
	p.count()
	p.step(evVoterLost{link: id})
}

// find links a sentinel again: it is asked at once.
func (p *proxy) find(s *modelSentinel) {
	if !p.linked[s.id] {
		p.linked[s.id] = true
		p.lines[s.id] = []answer{p.w.answer(s)}
		p.step(evVoterTilt{link: s.id, on: s.tilt})
	}
}

// advance lets time pass for all proxies alike.
func (w *world) advance(d time.Duration) {
	for end := w.now.Add(d); ; {
		next, first := end, (*proxy)(nil)
		for _, p := range w.proxies {
			if n := p.g.next(w.now); !n.After(next) && (first == nil || n.Before(next)) {
				next, first = n, p
			}
		}
		if first == nil {
			w.now = end
			return
		}
		w.now = next
		first.step(evTick{})
	}
}
