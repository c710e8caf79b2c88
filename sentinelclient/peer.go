package sentinelclient

import (
	"cmp"
	"log/slog"
	"time"
)

// verdict is what a node's answer to ROLE means.
type verdict uint8

const (
	verdictNone        verdict = iota // not asked yet
	verdictMaster                     // it says master and takes commands
	verdictReplica                    // it says replica
	verdictOther                      // a sentinel, no Redis at all, or the proxy itself
	verdictLoading                    // a master that reads its data set
	verdictBusy                       // alive, but a script keeps it from saying more
	verdictAuth                       // the password is refused, or missing
	verdictDenied                     // neither ROLE nor INFO is permitted
	verdictUnreachable                // no connection, no answer in time, or garbage
)

var verdicts = [...]string{"none", "master", "replica", "other", "loading", "busy", "auth", "denied", "unreachable"}

func (v verdict) String() string { return verdicts[v] }

// refuses: the node is certainly no master for us, now.
func (v verdict) refuses() bool {
	switch v {
	case verdictReplica, verdictOther, verdictAuth, verdictDenied:
		return true
	}
	return false
}

// report is the outcome of asking a node.
type report struct {
	Verdict  verdict
	Cause    string // of any other verdict than master
	RunID    string // "" if it was not asked or not permitted
	Replicas []replica
	Offset   int64  // the end of its replication stream, if it is a master
	Sharp    bool   // it can be made to ask its replicas for acknowledgements
	Acks     bool   // it was, after this answer
	Blunt    string // why it was not, though it should have been
	Asked    time.Time
}

func (r report) addresses() []Address {
	var list []Address
	for _, p := range r.Replicas {
		list = append(list, p.Address)
	}
	return list
}

// peer is the control link to one node, as the group sees it.
type peer struct {
	id       nodeID
	addr     Address
	asking   bool
	again    bool // ask at once when the answer is here
	nextAsk  time.Time
	lastAsk  time.Time
	fails    int // in a row
	verdict  verdict
	cause    string
	reported time.Time
	last     report
}

// healthy: it said master, or nothing that denies it. A password that was
// changed, a missing permission or a long script are no demotion.
func (p *peer) healthy() bool {
	if p == nil {
		return false
	}
	switch p.verdict {
	case verdictReplica, verdictOther, verdictUnreachable:
		return false
	}
	return true
}

// hurry asks now, but leaves a while between two dials.
func (p *peer) hurry(now time.Time) {
	if p.asking {
		p.again = true
		return
	}
	p.nextAsk = now
	if soonest := p.lastAsk.Add(nodeBackoff); now.Before(soonest) {
		p.nextAsk = soonest
	}
}

func (g *group) newPeer(a Address, now time.Time) *peer {
	*g.nodes++
	return &peer{id: *g.nodes, addr: a, nextAsk: now}
}

// drop lets a link go; it returns nil for its place.
func (g *group) drop(p *peer) *peer {
	if p != nil {
		g.out.add(drop{node: p.id})
	}
	return nil
}

// due is when a node is to be asked next. The master is asked more often while
// its replicas may soon have to vouch for it, from the moment on at which the
// sentinels are late: one answer that is late, or tells of an acknowledgement
// that is, must not end the authority. There is one question on its way at most.
func (g *group) due(p *peer) time.Time {
	if !g.mayVouch(p) {
		return p.nextAsk
	}
	soon := p.lastAsk.Add(g.vouchEvery())
	if weak := g.weakens(); soon.Before(weak) {
		soon = weak
	}
	return earliest(p.nextAsk, soon)
}

// mayVouch: p is the master whose replicas vouch for it when the sentinels do not.
func (g *group) mayVouch(p *peer) bool {
	return p == g.control && p.verdict == verdictMaster && g.cfg.Lease == LeaseAuto && !g.pinned
}

// wantsAcks: the replicas have to vouch now, or may have to before the next question.
func (g *group) wantsAcks(now time.Time) bool {
	return !now.Before(g.weakens().Add(-2 * g.vouchEvery()))
}

// vouchEvery is how often a master is asked while its replicas vouch: several times
// while a proof counts, for one may come late.
func (g *group) vouchEvery() time.Duration { return min(vouchInterval, g.window()/4) }

// window is for how long a proof that the replicas are its own counts.
func (g *group) window() time.Duration { return blind(g.ballot.downAfter, replicaVouch) }

// pace is how often the sentinels are asked while nothing is wrong.
func (g *group) pace() time.Duration { return pace(g.cfg.Poll, g.ballot.downAfter) }

// askPeer asks a node when that is due. One that can be no master is not even
// dialed.
func (g *group) askPeer(now time.Time, p *peer) {
	if p == nil || p.asking || now.Before(g.due(p)) {
		return
	}
	if p != g.control {
		if why := g.refuse(p.addr); why != "" {
			p.verdict, p.cause = verdictOther, peerCause(p.addr, why)
			p.nextAsk = now.Add(roleInterval)
			g.concluded, g.refused, g.refusedAt = now, p.addr, now
			return
		}
	}
	p.asking, p.again, p.lastAsk = true, false, now
	g.out.add(ask{node: p.id, group: g.name, to: p.addr, hasty: p == g.control || p == g.probe, acks: g.mayVouch(p) && g.wantsAcks(now)})
}

func (g *group) onReport(now time.Time, id nodeID, r report) {
	var p *peer
	switch {
	case g.control != nil && g.control.id == id:
		p = g.control
	case g.probe != nil && g.probe.id == id:
		p = g.probe
	default:
		s := g.scoutOf(id)
		if s == nil {
			return // of a link that was dropped
		}
		s.asking, s.reported, s.last, s.verdict = false, now, r, r.Verdict
		g.onScout(now, s, r)
		return
	}
	p.asking, p.reported, p.last = false, now, r
	p.verdict, p.cause = r.Verdict, ""
	if r.Cause != "" {
		p.cause = peerCause(p.addr, r.Cause)
	}
	g.concluded = r.Asked
	g.schedule(now, p)
	if p == g.control {
		g.onControl(now, p, r)
		return
	}
	if p.verdict != verdictMaster {
		g.refused, g.refusedAt = p.addr, now
		g.complain("candidate refused", slog.String("node", p.addr.String()), slog.String("role", p.verdict.String()), slog.String("cause", p.cause))
	}
}

// schedule sets when the node is asked next.
func (g *group) schedule(now time.Time, p *peer) {
	first, slowest, from := vetoBackoff, nodeSlowest, now
	switch p.verdict {
	case verdictMaster:
		p.fails = 0
		p.nextAsk = p.lastAsk.Add(roleInterval)
		if p != g.control {
			p.nextAsk = now.Add(vetoBackoff)
		}
		if p.again {
			p.hurry(now)
		}
		return
	case verdictUnreachable:
		first, from = nodeBackoff, p.lastAsk // a time-out was rest enough
		if !g.troubled.IsZero() && now.Sub(g.troubled) < fastPollFor {
			slowest = fastPoll // requests wait for it: the back-off must not grow with the outage
		}
	case verdictAuth, verdictDenied:
		first, slowest = authBackoff, sentinelSlowest
	}
	p.nextAsk = from.Add(backoff(p.fails, first, slowest, g.jitter()))
	p.fails = min(p.fails+1, 16)
}

// onControl takes what the master of now says of itself.
func (g *group) onControl(now time.Time, p *peer, r report) {
	switch r.Verdict {
	case verdictMaster:
		g.verifiedAt = r.Asked
		g.replicas = r.addresses()
		restarted := r.RunID != "" && g.runID != "" && r.RunID != g.runID
		g.runID = cmp.Or(r.RunID, g.runID)
		g.witness(now, r)
		if r.Blunt != "" {
			g.complain("replicas vouch by the age of their acknowledgements, in whole seconds", slog.String("master", g.master.String()), slog.String("cause", r.Blunt))
		}
		if !r.Asked.Before(g.suspectedAt) {
			g.suspicion = ""
		}
		if restarted { // it may be none any more: the sentinels know, and it is asked again
			g.note(slog.LevelWarn, "master was restarted: its run id is another one, it may have lost data",
				slog.String("master", g.master.String()), slog.Uint64("epoch", g.epoch))
			g.askAt = now
			g.suspect(now, peerCause(p.addr, "it was restarted"))
			p.hurry(now)
		}
	case verdictBusy, verdictAuth, verdictDenied:
		g.complain("master does not tell its role", slog.String("master", g.master.String()), slog.String("cause", p.cause))
		if !r.Asked.Before(g.suspectedAt) {
			g.suspicion = ""
		}
	default:
		if p.verdict.refuses() {
			g.early.before = Address{} // it was taken early for nothing
		}
		if g.suspicion != p.cause {
			g.askAt = now
		}
		g.suspect(r.Asked, p.cause)
	}
}

// witness lets the replicas that the master lists vouch for it.
func (g *group) witness(now time.Time, r report) {
	g.witnesses.counted(g.ballot.mostReplicas())
	contact := now.Before(g.contact(0))
	g.witnesses.reported(r, g.window(), contact)
}
