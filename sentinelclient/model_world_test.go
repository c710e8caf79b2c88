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
	since  time.Time // when it began to say master, whoever made it one
	runs   int
}

type modelSentinel struct {
	id    linkID
	holds belief
	tilt  bool
	lies  string // "": honest; "stuck": it raises its epoch and keeps its first address; "rogue": it names what it likes
	rogue belief
	state string // the failover state that a rogue tells of
	// lost is since when it has not heard from a node: that is dead, or cut off.
	lost map[Address]time.Time
	cut  map[Address]bool
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
	owner     map[uint64][]Address // of the epochs that were announced; several if they started anew
	epoch     uint64               // of the last election
	running   *failover
	proxies   []*proxy
}

var nodeNames = []string{"A", "B", "C", "D"}

// stranger is a master that nobody should take: it is none of the group's nodes.
var stranger = letter("X")

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: epoch0, owner: map[uint64][]Address{}}
	for _, name := range nodeNames {
		w.nodes = append(w.nodes, &modelNode{addr: letter(name), of: letter("A")})
	}
	w.nodes[0].master, w.nodes[0].of = true, Address{}
	w.epoch = uint64(rapid.IntRange(0, 7).Draw(t, "epoch"))
	w.truth = belief{master: letter("A"), epoch: w.epoch}
	w.owner[w.epoch] = []Address{letter("A")}
	n := rapid.IntRange(1, 7).Draw(t, "sentinels")
	liars := rapid.IntRange(0, (n-1)/2).Draw(t, "liars")
	for i := range n {
		s := &modelSentinel{id: linkID(i + 1), holds: w.truth, lost: map[Address]time.Time{}, cut: map[Address]bool{}}
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
	silence := time.Duration(0)
	if at, ok := s.lost[says.master]; ok && !s.tilt { // in tilt it is wrong about time
		silence = w.now.Sub(at)
	}
	a := answer{Group: "g1", Master: says.master, HasInfo: true, Asked: w.now, Info: masterInfo{Address: says.master, Epoch: says.epoch,
		LastOKPing: silence, DownAfter: modelDownAfter, Quorum: len(w.sentinels)/2 + 1, Sentinels: len(w.sentinels), Replicas: len(nodeNames) - 1}}
	if f := w.running; f != nil && f.leader == s {
		a.Info.Flags = []string{"failover_in_progress"}
		a.Info.FailoverState = map[string]string{"elected": "select_slave", "selected": "wait_promotion", "promoted": "wait_promotion"}[f.stage]
	}
	if s.lies == "rogue" && s.state != "" {
		a.Info.Flags, a.Info.FailoverState = []string{"failover_in_progress"}, s.state
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
	// The stream of a master is as long as the time is, and its replicas have all of it.
	end := int64(w.now.Sub(epoch0))
	r := report{Verdict: verdictMaster, RunID: fmt.Sprintf("run %s %d", a.Host, n.runs), Asked: asked, Offset: end, Sharp: true, Acks: true}
	for _, o := range w.nodes {
		if !o.dead && !o.master && o.of == a {
			r.Replicas = append(r.Replicas, replica{Address: o.addr, Online: true, Offset: end})
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
		chosen.master, chosen.of, chosen.rose, chosen.since = true, Address{}, time.Time{}, w.now
	default:
		w.truth = belief{master: f.chosen, epoch: f.epoch}
		w.owner[f.epoch] = append(w.owner[f.epoch], f.chosen)
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
	to.master, to.of, to.rose, to.since, old.rose = true, Address{}, time.Time{}, w.now, w.now
	w.truth = belief{master: to.addr}
	w.tell(s, "-monitor", old.addr, Address{})
	w.tell(s, "+monitor", to.addr, Address{})
	w.learn(s)
	return true
}

// restart makes all sentinels anew, with the same master: their epochs begin at 0.
func (w *world) restart() bool {
	if w.running != nil || w.node(w.truth.master).dead {
		return false
	}
	w.truth.epoch, w.epoch = 0, 0
	for _, s := range w.honest() {
		s.holds = w.truth
		w.tell(s, "+monitor", w.truth.master, Address{})
	}
	return true
}

// reach notes which nodes each sentinel hears.
func (w *world) reach() {
	for _, s := range w.sentinels {
		for _, n := range w.nodes {
			_, lost := s.lost[n.addr]
			switch gone := n.dead || s.cut[n.addr]; {
			case gone && !lost:
				s.lost[n.addr] = w.now
			case !gone:
				delete(s.lost, n.addr)
			}
		}
	}
}

// isolate cuts a proxy and its master off from all sentinels, some of them a while
// before; meanwhile one of the replicas may be promoted.
func (w *world) isolate(p *proxy, before, promoted int) {
	for _, s := range w.sentinels {
		s.cut[p.g.master] = true
	}
	w.reach()
	for range before {
		w.flow(200 * time.Millisecond)
	}
	for _, s := range w.sentinels {
		p.lose(s.id)
	}
	for i := range 24 {
		if n := w.nodes[1]; i == promoted && !n.dead && !n.master {
			n.master, n.of, n.rose, n.since = true, Address{}, w.now, w.now
		}
		for range len(p.asked) {
			if len(p.asked) > 0 {
				p.report(0, false)
			}
		}
		w.advance(250 * time.Millisecond)
	}
}

func (w *world) tilt(s *modelSentinel, on bool) {
	s.tilt = on
	for _, p := range w.proxies {
		p.lines[s.id] = nil // what it said before comes before the event
		p.tilts[s.id] = on
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

	members  []linkID
	tilts    map[linkID]bool // as its links tell
	attempts map[linkID]*modelAttempt
	replica  map[Address]bool      // it said so last, as far as it said anything
	promoted map[Address]time.Time // when it said master after that
	lower    time.Time             // since when a majority tells lower epochs than the group's
	pinning  bool
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
		lines: map[linkID][]answer{}, heard: map[linkID]*answer{}, named: map[Address]time.Time{}, reports: map[Address]report{},
		tilts: map[linkID]bool{}, attempts: map[linkID]*modelAttempt{}, replica: map[Address]bool{}, promoted: map[Address]time.Time{}}
	var nodes nodeID
	jitter := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(w.t, "jitter")))
	p.g = newGroup("g1", &p.cfg, jitter.Float64, &nodes, func(Address) string { return "" }, w.now)
	for _, s := range w.sentinels {
		p.members = append(p.members, s.id)
		p.linked[s.id] = true
	}
	p.step(evElectorate{members: p.members})
	return p
}

func (p *proxy) step(ev any) {
	before := standing{Master: p.g.master, Epoch: p.g.epoch, Replicas: p.g.replicas}
	pinned := p.g.pinned
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
	p.check(before, pinned)
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
	p.answered(id, a)
	p.step(evAnswer{link: id, answer: a})
	return true
}

// count notes who is named.
func (p *proxy) count() {
	for _, a := range []Address{letter("A"), letter("B"), letter("C"), letter("D"), stranger} {
		named := slices.ContainsFunc(p.w.sentinels, func(s *modelSentinel) bool {
			h := p.heard[s.id]
			return h != nil && h.Master == a && p.votes(s)
		})
		if _, before := p.named[a]; named && !before {
			p.named[a] = p.w.now
		} else if !named {
			delete(p.named, a)
		}
	}
	lower := p.tellers(func(e uint64) bool { return e < p.g.epoch }) > len(p.members)/2
	if !lower {
		p.lower = time.Time{}
	} else if p.lower.IsZero() {
		p.lower = p.w.now
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
	p.heardOf(h.link, h.event)
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
	p.rises(q.to, r)
	p.aborted = p.aborted || q.to == p.g.master && r.Verdict.refuses()
	p.step(evReport{node: q.node, report: r})
}

func (p *proxy) lose(id linkID) {
	p.linked[id], p.lines[id], p.heard[id], p.tilts[id] = false, nil, nil, false
	p.count()
	p.step(evVoterLost{link: id})
}

// find links a sentinel again: it is asked at once.
func (p *proxy) find(s *modelSentinel) {
	if !p.linked[s.id] {
		p.linked[s.id] = true
		p.lines[s.id] = []answer{p.w.answer(s)}
		p.tilts[s.id] = s.tilt
		p.step(evVoterTilt{link: s.id, on: s.tilt})
	}
}

// elect changes the electorate.
func (p *proxy) elect(members []linkID) {
	p.members = members
	p.count()
	p.step(evElectorate{members: members})
}

// pin is PROXY SWITCH with an address: the node has just said master.
func (p *proxy) pin(n *modelNode) bool {
	r := p.w.says(n.addr, p.w.now)
	if r.Verdict != verdictMaster {
		return false
	}
	p.reports[n.addr], p.pinning = r, true
	p.step(evPin{to: n.addr})
	p.pinning = false
	return true
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
