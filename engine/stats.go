package engine

import (
	"math/bits"
	"time"

	"respgate/engine/command"
	"respgate/engine/report"
)

// Stats asks every loop, which answers in several turns if it has much to tell: clients need not wait for that. Counters of
// one group or pool belong together, those of two may be a few turns apart.
func (e *Engine) Stats() *report.Stats {
	st := &report.Stats{Pools: map[string]*report.Pool{}, MemoryHits: e.memoryHits.Load(), ClientHits: e.clientHits.Load(), Trimmed: e.trimmed.Load(), Serial: e.serial.Load()}
	for _, l := range e.loops {
		look := survey{st: st}
		for more := true; more; {
			more = false // a loop that has ended says nothing
			l.call(func() { more = l.collect(&look) })
		}
		st.Clients += look.loop.Clients
		st.Loops = append(st.Loops, look.loop)
	}
	for _, p := range st.Pools {
		for _, n := range p.Commands {
			p.Requests += n
		}
		for _, g := range p.Groups {
			p.SessionsRefused += g.SessionsRefused
		}
	}
	return st
}

// survey is one look at the counters of a loop. Loops are asked one after the other, so that st needs no lock.
type survey struct {
	st     *report.Stats
	loop   report.Loop
	begun  bool
	pools  []*pool  // not looked at yet
	groups []*group // of the pool that was looked at last, not looked at yet
	rows   map[string]*report.Group
}

// What a loop collects in one turn, counted in groups: a pool is so much more to look at.
const (
	surveyTurn = 128
	surveyPool = 16
)

// collect adds counters of the loop, and reports whether there are more.
func (l *loop) collect(v *survey) (more bool) {
	if !v.begun {
		v.begun = true
		v.loop = report.Loop{ID: l.id, Clients: l.clients, Iterations: l.iterations, Rests: l.moderation.rests, BufferBytes: l.bufs.InUse(), BufferIdle: l.bufs.Idle()}
		for _, p := range l.pools {
			v.pools = append(v.pools, p)
		}
	}
	for work := 0; ; {
		n := min(len(v.groups), surveyTurn-work)
		for _, g := range v.groups[:n] {
			v.loop.Links += v.group(g)
		}
		v.groups = v.groups[n:]
		work += n + surveyPool
		switch {
		case len(v.groups) > 0:
			return true
		case len(v.pools) == 0:
			return false
		case work >= surveyTurn:
			return true
		}
		v.pool(v.pools[0])
		v.pools = v.pools[1:]
	}
}

// pool adds the counters of a pool; its groups are next.
func (v *survey) pool(p *pool) {
	ps := v.st.Pools[p.name]
	if ps == nil {
		ps = &report.Pool{
			Commands: make([]uint64, len(p.commands)), CommandErrors: make([]uint64, len(p.commands)),
			Errors: map[string]uint64{}, Rejected: map[string]uint64{}, Groups: make(map[string]*report.Group, len(p.groups)),
			Latency: make([]uint64, report.LatencyBuckets),
		}
		v.st.Pools[p.name] = ps
	}
	p.collect(ps)
	for _, n := range p.commands {
		v.loop.Requests += n
	}
	v.groups, v.rows = p.groups, ps.Groups
}

// group adds the counters of a group.
func (v *survey) group(g *group) (links int) {
	gs := v.rows[g.name]
	if gs == nil {
		gs = &report.Group{
			Held: int(g.shared.held.Load()), HeldBytes: g.shared.heldBytes.Load(),
			HeldMost: int(g.shared.most.Load()), Waited: uint64(g.shared.waited.Load()),
			Overflows: g.shared.overflows.Load(), Expired: g.shared.expired.Load(),
		}
		v.rows[g.name] = gs
	}
	return g.collect(gs)
}

func (p *pool) collect(ps *report.Pool) {
	ps.Clients += p.count_
	ps.Accepted += p.accepted
	ps.Received += p.received
	ps.Sent += p.sentBytes
	ps.ServerReceived += p.serverReceived
	ps.ServerSent += p.serverSent
	ps.Fragmented += p.fragmented
	ps.Stalls += p.stalls
	ps.Dials += p.dials
	ps.DialErrors += p.dialErrors
	for i := range p.commands {
		ps.Commands[i] += p.commands[i]
		ps.CommandErrors[i] += p.commandErrors[i]
	}
	for k, n := range p.errors {
		ps.Errors[errorNames[k]] += n
	}
	ps.Failures += failures(&p.errors)
	for s := range p.sessions {
		s.collect(ps)
	}
	for reason, n := range p.rejected {
		ps.Rejected[reason] += n
	}
	for i, n := range p.latency.buckets {
		ps.Latency[i] += n
	}
	ps.LatencySum += time.Duration(p.latency.sum)
	ps.LatencyCount += p.latency.count
}

// collect counts the client of a session by what it does.
func (s *session) collect(ps *report.Pool) {
	for n, is := range map[*int]bool{
		&ps.Subscribers: s.subs.count() > 0, &ps.Transactions: s.tx.multi || s.tx.watching, &ps.Blocked: s.blocked,
		&ps.Monitors: s.monitor, &ps.Tracking: s.tracking != nil,
	} {
		if is {
			*n++
		}
	}
}

func (g *group) collect(gs *report.Group) (links int) {
	gs.Requests += g.requests
	gs.Answered += g.answered
	gs.Retried += g.retried
	gs.Unknown += g.unknown
	gs.Late += g.late
	gs.Timeouts += g.timeouts
	if g.version != "" {
		gs.Version = g.version
	}
	g.each(func(s *server) {
		gs.Inflight += s.live
		if s.lane != nil && s.lane.engaged() {
			gs.Transactions++
		}
		for _, k := range s.links {
			if k != nil && k.state == linkUp {
				links++
			}
		}
		for _, h := range []*request{s.pending.head, s.shortage.queue.head} {
			if h != nil {
				gs.OldestHeld = max(gs.OldestHeld, time.Duration(g.loop.now-h.start))
				gs.Cause = s.why()
			}
		}
	})
	gs.Links += links
	gs.Sessions += len(g.lanes.all) - len(g.lanes.idle)
	gs.SessionsIdle += len(g.lanes.idle)
	gs.SessionsRefused += g.lanes.refused
	return links
}

// Commands lists the names for report.Pool.Commands: the index is the ID, 0 stands for unknown commands.
func Commands() []string {
	names := make([]string, command.Count()+1)
	for _, c := range command.All() {
		names[c.ID] = c.Name
	}
	return names
}

// histogram counts durations in buckets that grow by about a quarter: four to each power of two, from 4 us on.
type histogram struct {
	buckets [report.LatencyBuckets]uint64
	sum     int64
	count   uint64
}

func (h *histogram) observe(ns int64) {
	h.buckets[bucketOf(ns)]++
	h.sum += ns
	h.count++
}

func bucketOf(ns int64) int {
	v := uint64(max(ns, 0)) >> report.LatencyUnit
	if v < 4 {
		return int(v)
	}
	octave := bits.Len64(v) - 1
	return min(4*(octave-1)+int(v>>(octave-2)&3), report.LatencyBuckets-1)
}
