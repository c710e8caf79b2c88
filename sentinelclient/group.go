package sentinelclient

import (
	"cmp"
	"log/slog"
	"time"
)

// group is the pure state machine of one group's master:
//
//	resolving ──> verifying ──> up <──> suspect
//	    └──> none <──┘  ^       └─ newer address ─> verifying
//
// Every event first changes facts (answers, reports, signs of a failover); then
// settle derives from all of them what to ask and which state that is. So the
// order in which facts arrive cannot lead to different masters.
type group struct {
	name     string
	cfg      *Config
	jitter   func() float64
	nodes    *nodeID                // the last one given out
	refuse   func(a Address) string // why a can be no master of this group, "" if it can
	sentinel func(linkID) Address   // whose link that is, nil in tests
	out      actions
	ballot

	state   GroupState
	since   time.Time
	cause   string
	causeAt time.Time
	warned  bool // the log has cause

	master     Address   // last verified
	epoch      uint64    // a majority told it: what elections are compared with
	named      uint64    // the epoch master was named with, before a majority did; for those who look on
	lowerSince time.Time // since when a majority tells a lower one
	runID      string
	verifiedAt time.Time
	replicas   []Address
	witnesses  witnesses
	pinned     bool

	trace       trace
	choice      choice
	targetSince time.Time // of choice.Target.Address
	control     *peer     // control link to master
	probe       *peer     // to the target, while that is another one
	concluded   time.Time // when the last report was asked for
	refused     Address   // the last candidate that was
	refusedAt   time.Time

	suspicion   string // why master is suspect, "" if it is not
	suspectedAt time.Time
	troubled    time.Time // since when polls are fast; zero if they are not
	ill         bool      // the group itself is the reason, not a candidate that nobody can reach

	early    early
	attempts attempts
	failover string // the sign of a failover under way: requests wait
	gaveUp   string // why the last attempt has ended, until attend has told it

	askAt time.Time             // the next query
	asked [queryBurst]time.Time // the last ones, a ring
	turn  int
}

// Events of a group, besides evTick.
type (
	evAnswer struct {
		link   linkID
		answer answer
	}
	evVoterLost struct{ link linkID }
	evVoterTilt struct {
		link linkID
		on   bool
	}
	// evElectorate says which links vote from now on.
	evElectorate struct{ members []linkID }
	evHint       struct {
		link  linkID
		event event
	}
	evSuspect struct{ cause string }
	evReport  struct {
		node   nodeID
		report report
	}
	evPin   struct{ to Address }
	evHurry struct{} // ask the sentinels now
	// evRecheck wants a ROLE that is asked no earlier than since.
	evRecheck struct{ since time.Time }
)

func newGroup(name string, cfg *Config, jitter func() float64, nodes *nodeID, refuse func(Address) string, now time.Time) *group {
	return &group{name: name, cfg: cfg, jitter: jitter, nodes: nodes, refuse: refuse, ballot: newBallot(),
		witnesses: newWitnesses(), since: now, troubled: now, askAt: now.Add(fastPoll), cause: "no sentinel has answered yet"}
}

// Step takes one event and returns what is to be done.
func (g *group) Step(now time.Time, ev any) []action {
	switch ev := ev.(type) {
	case evAnswer:
		g.onAnswer(now, ev.link, ev.answer)
	case evVoterLost:
		g.ballot.lost(ev.link)
	case evVoterTilt:
		g.ballot.tilt(ev.link, ev.on)
		if ev.on {
			g.voided(ev.link)
		}
	case evElectorate:
		g.ballot.elect(ev.members)
	case evHint: // hardly ever changes a fact that settle looks at, and comes in floods
		if !g.onHint(now, ev.link, ev.event) {
			g.attend(now)
			g.scout(now)
			g.poll(now)
			return g.out.take()
		}
	case evSuspect:
		g.onSuspect(now, ev.cause)
	case evReport:
		g.onReport(now, ev.node, ev.report)
	case evPin:
		g.onPin(now, ev.to)
	case evHurry:
		g.askAt = now
	case evRecheck:
		for _, p := range []*peer{g.control, g.probe} {
			if p != nil && g.concluded.Before(ev.since) {
				p.hurry(now)
			}
		}
	}
	g.attend(now)
	g.settle(now)
	g.poll(now)
	return g.out.take()
}

// next is when the group wants a tick.
func (g *group) next(now time.Time) time.Time {
	t := g.askAt
	for _, p := range []*peer{g.control, g.probe} {
		if p != nil && !p.asking {
			t = earliest(t, g.due(p))
		}
	}
	t = earliest(t, g.attends(now))
	if g.early.ahead(now) {
		t = earliest(t, g.early.until)
	}
	if held, until, _ := g.authority(now); held && !until.IsZero() {
		t = earliest(t, until)
	}
	return t
}

func (g *group) onAnswer(now time.Time, link linkID, a answer) {
	g.ballot.answered(link, a)
	if a.Unknown || a.Torn || a.Master != g.master {
		return
	}
	if a.Info.promoting() {
		g.signed(now, link, "failover-state-"+a.Info.FailoverState, Address{})
	} else if t := g.attempts.of(link); t != nil && a.HasInfo && a.Asked.After(t.at) && !a.Info.has("failover_in_progress") {
		g.unsigned(now, link, "the sentinel that told of it has given it up")
	}
}

// onHint takes an event of a sentinel. It is never the truth, only a reason to
// ask at once; but a failover that has a leader is worth knowing early. It reports
// whether there is something to settle.
func (g *group) onHint(now time.Time, link linkID, e event) bool {
	g.askAt = now
	switch {
	case e.startsFailover() && e.master == g.master:
		g.signed(now, link, e.name, e.node)
	case e.abortsFailover() && e.master == g.master:
		g.unsigned(now, link, "aborted: "+e.name)
	case e.abortsFailover() && e.master == g.early.before:
		return g.early.aborted(now, link)
	}
	return false
}

func (g *group) onSuspect(now time.Time, cause string) {
	g.askAt = now
	if g.master.IsZero() {
		return
	}
	g.suspect(now, clip(printable(cause)))
	g.control.hurry(now)
}

func (g *group) suspect(now time.Time, cause string) {
	g.suspicion, g.suspectedAt = cause, now
}

// onPin makes the operator's choice the master; it was verified just now. The
// epoch it stands on is what a majority tells: the next election has a newer one,
// whatever a single voter says.
func (g *group) onPin(now time.Time, to Address) {
	g.pinned, g.askAt = true, now
	votes := g.ballot.votes()
	if e, ok := told(len(g.members), votes, Address{}); ok && e > g.epoch {
		g.epoch = e
	}
	g.epoch = anew(len(g.members), votes, Address{}, g.epoch)
	if to != g.master {
		g.named = 0
		g.becomeMaster(now, to, g.epoch, nil, report{Asked: now})
	}
}

// settle derives everything from the facts. Taking a new master is a new fact,
// so it is gone through once more then.
func (g *group) settle(now time.Time) {
	g.decide(now)
	if g.accept(now) || g.acceptEarly(now) {
		g.decide(now)
	}
	g.scout(now)
	g.judge(now)
}

// decide counts the votes and directs the links to nodes accordingly.
func (g *group) decide(now time.Time) {
	votes := g.ballot.votes()
	t := count(len(g.members), g.ballot.silent(), votes)
	g.restart(now, votes)
	switch {
	case !g.pinned:
	case newer(votes, g.epoch) > len(g.members)/2:
		g.note(slog.LevelWarn, "pin released: a majority of sentinels has a newer config-epoch")
		g.pinned = false
	case t.backs(g.master):
		g.note(slog.LevelInfo, "pin released: a majority of sentinels names the same master", slog.String("master", g.master.String()))
		g.pinned = false
	}
	g.announced(t)
	before := g.choice.Target.Address
	if g.pinned {
		g.choice = choice{Target: candidate{Address: g.master, Epoch: g.epoch}, Epoch: g.epoch, Accept: true}
	} else {
		g.choice = choose(t, standing{Master: g.master, Epoch: g.epoch, Single: g.cfg.single(),
			Healthy: g.control.healthy(), Replicas: g.replicas, Before: g.overtaken(now),
			Refused: func(a Address) bool { return a == g.refused && now.Sub(g.refusedAt) < refusedFor }})
	}
	c := g.choice
	g.trace.chosen(now, c, g.master)
	if c.Target.Address != before {
		g.targetSince = now
	}
	if c.Target.Address == g.master && c.Accept && !g.pinned {
		g.epoch = c.Epoch
	}
	if c.Target.Address == g.master {
		g.probe = g.drop(g.probe)
	} else if g.probe == nil || g.probe.addr != c.Target.Address {
		g.drop(g.probe)
		g.probe = g.newPeer(c.Target.Address, now)
		if soonest := g.refusedAt.Add(fastPoll); now.Before(soonest) {
			g.probe.nextAsk = soonest // two that are refused in turn are no reason to hurry
		}
	}
	g.askPeer(now, g.control)
	g.askPeer(now, g.probe)
	if settled := g.targetSince.Add(olderHold); c.Settle && now.Before(settled) {
		g.askAt = earliest(g.askAt, settled)
	}
}

// restart forgets an epoch that is none any more: REMOVE and MONITOR with the same
// address start at 0 again, and the next elections would look old. A majority has
// to tell it for a while, as it does of another address.
func (g *group) restart(now time.Time, votes []vote) {
	of := g.master
	if g.pinned {
		of = Address{}
	}
	e := anew(len(g.members), votes, of, g.epoch)
	switch {
	case e == g.epoch || g.master.IsZero():
		g.lowerSince = time.Time{}
	case g.lowerSince.IsZero():
		g.lowerSince = now
	case now.Sub(g.lowerSince) >= olderHold:
		g.note(slog.LevelWarn, "the sentinels have started their epochs anew", slog.String("master", g.master.String()),
			slog.Uint64("epoch", e), slog.Uint64("old", g.epoch))
		g.epoch, g.named, g.lowerSince = e, 0, time.Time{}
	}
}

// accept makes the target the master if it said so in ROLE and may be.
func (g *group) accept(now time.Time) bool {
	c, p := g.choice, g.probe
	if p == nil || p.verdict != verdictMaster || !c.Accept || now.Sub(p.reported) > 2*roleInterval {
		return false
	}
	if c.Settle && now.Before(g.targetSince.Add(olderHold)) {
		return false
	}
	if g.refuse(p.addr) != "" {
		return false
	}
	g.probe = nil
	g.named = c.Target.Epoch
	g.becomeMaster(now, c.Target.Address, c.Epoch, p, p.last)
	return true
}

// becomeMaster takes a verified node as the master. p is the control link to
// it, nil if there is none yet.
func (g *group) becomeMaster(now time.Time, a Address, epoch uint64, p *peer, r report) {
	old := g.master
	g.drop(g.control)
	g.probe = g.drop(g.probe)
	g.recall()
	g.early.before = Address{}
	if p == nil {
		p = g.newPeer(a, now)
		p.verdict = verdictMaster
	}
	g.control = p
	g.master, g.epoch = a, epoch
	g.runID, g.verifiedAt, g.replicas = r.RunID, r.Asked, r.addresses()
	g.witnesses = newWitnesses()
	g.witness(now, r)
	g.suspicion, g.failover = "", ""
	g.trace.taken(now, a, g.said())
	g.note(slog.LevelInfo, "master verified", slog.String("master", a.String()),
		slog.String("old", old.String()), slog.Uint64("epoch", max(epoch, g.named)), slog.Bool("pinned", g.pinned))
}

// judge finds the state that the facts make.
func (g *group) judge(now time.Time) {
	c, p := g.choice, g.probe
	vetoed := p != nil && p.verdict.refuses()
	why := c.Why
	if p != nil && p.cause != "" {
		why = p.cause
		if c.Why != "" {
			why += "; " + c.Why
		}
	}
	switch {
	case g.master.IsZero() && c.Target.Address.IsZero():
		if g.ballot.unknown() {
			g.becomeNone(now, why)
		} else {
			g.becomeResolving(now, why)
		}
	case g.master.IsZero() && vetoed:
		g.becomeNone(now, why)
	case g.master.IsZero() && !c.Accept:
		g.becomeResolving(now, why)
	case g.master.IsZero():
		g.becomeVerifying(now, why)
	case g.left(now):
		g.becomeVerifying(now, why)
	case g.suspicion != "":
		if c.Why != "" {
			g.becomeSuspect(now, g.suspicion+"; "+c.Why)
		} else {
			g.becomeSuspect(now, g.suspicion)
		}
	default:
		g.becomeUp(now, why)
	}
}

// left: the sentinels have left the master of now, even if nobody can be followed
// yet. A node that says itself that it is none has to be named with a newer epoch
// for that: a sentinel that missed a switch names the master before.
func (g *group) left(now time.Time) bool {
	c, p := g.choice, g.probe
	switch {
	case p == nil || !c.Accept:
		return false
	case g.early.stranded(now):
		return true
	case c.Settle:
		return false
	case p.verdict == verdictReplica, p.verdict == verdictOther:
		return c.Epoch > g.epoch || g.suspicion != ""
	}
	return true
}

func (g *group) becomeResolving(now time.Time, cause string) { g.setState(now, GroupResolving, cause) }
func (g *group) becomeVerifying(now time.Time, cause string) { g.setState(now, GroupVerifying, cause) }
func (g *group) becomeUp(now time.Time, cause string)        { g.setState(now, GroupUp, cause) }
func (g *group) becomeSuspect(now time.Time, cause string)   { g.setState(now, GroupSuspect, cause) }
func (g *group) becomeNone(now time.Time, cause string)      { g.setState(now, GroupNone, cause) }

func (g *group) setState(now time.Time, s GroupState, cause string) {
	if s != g.state {
		level := slog.LevelInfo
		if s == GroupSuspect || s == GroupNone {
			level = slog.LevelWarn
		}
		g.note(level, "group state changed", slog.String("from", g.state.String()), slog.String("to", s.String()),
			slog.String("master", g.master.String()), slog.Uint64("epoch", g.epoch), slog.String("cause", cause))
		g.since = now
	}
	if cause != g.cause || s != g.state {
		g.causeAt, g.warned = now, cause == "" || s != g.state
	}
	g.state, g.cause = s, cause
	if !g.warned && now.Sub(g.causeAt) >= causeLasts {
		g.warned = true
		g.complain("group has a problem", slog.String("state", s.String()), slog.String("cause", cause))
	}
}

// poll asks the sentinels when that is due: at once after an event, fast while
// something is wrong, never more than queryBurst times in queryWindow.
func (g *group) poll(now time.Time) {
	ill := g.state != GroupUp || g.failover != ""
	trouble := ill || g.probe != nil
	switch {
	case !trouble:
		g.troubled = time.Time{}
	case g.troubled.IsZero() || ill && !g.ill:
		g.troubled = now
		g.askAt = earliest(g.askAt, now.Add(fastPoll))
	}
	g.ill = ill
	if now.Before(g.askAt) {
		return
	}
	if oldest := g.asked[g.turn]; !oldest.IsZero() && now.Sub(oldest) < queryWindow {
		g.askAt = oldest.Add(queryWindow)
		return
	}
	g.asked[g.turn] = now
	g.turn = (g.turn + 1) % len(g.asked)
	g.out.add(query{group: g.name})
	if trouble && now.Sub(g.troubled) < fastPollFor {
		// never quicker than fastPoll, so that an event finds room in the window
		g.askAt = now.Add(fastPoll + time.Duration(g.jitter()*0.4*float64(fastPoll)))
		return
	}
	g.askAt = now.Add(time.Duration((0.8 + 0.4*g.jitter()) * float64(g.pace())))
}

func (g *group) view(now time.Time) GroupView {
	v := GroupView{State: g.state, Master: g.master, Epoch: max(g.epoch, g.named), RunID: g.runID, VerifiedAt: g.verifiedAt,
		Failover: g.failover, Early: !g.early.before.IsZero(), Pinned: g.pinned, Replicas: g.replicas, Cause: g.cause, Since: g.since}
	v.Authority, v.LeaseUntil, v.Vouched = g.authority(now)
	v.DownAfter, v.Quorum = g.ballot.downAfter, g.ballot.quorum
	v.Election = g.trace.last
	return v
}

func (g *group) note(level slog.Level, text string, attrs ...slog.Attr) {
	g.out.add(note{level: level, text: text, attrs: append([]slog.Attr{slog.String("group", g.name)}, attrs...)})
}

func (g *group) complain(text string, attrs ...slog.Attr) {
	g.out.add(note{level: slog.LevelWarn, complaint: true, text: text, attrs: append([]slog.Attr{slog.String("group", g.name)}, attrs...)})
}

// peerCause puts the name of the node before what is wrong with it.
func peerCause(a Address, what string) string {
	return cmp.Or(a.String(), "node") + ": " + what
}
