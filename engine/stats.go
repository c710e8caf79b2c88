package engine

import (
	"math/bits"
	"time"

	"respgate/engine/command"
)

// Stats are the counters of all loops, added up at one moment. The maps and slices are the caller's own.
type Stats struct {
	Serial     uint64 // of the snapshot that every loop serves
	Clients    int
	MemoryHits uint64 // times a loop stopped reading because of limits.memory
	ClientHits uint64 // connections refused because of limits.max_clients
	Trimmed    int64  // bytes of buffers given back since the start
	Loops      []LoopStats
	Pools      map[string]*PoolStats
}

// LoopStats is one event loop.
type LoopStats struct {
	ID          int
	Clients     int
	Links       int
	Iterations  uint64
	Requests    uint64
	BufferBytes int64 // in use
	BufferIdle  int64 // free, kept until the next trim
}

// PoolStats is one pool.
type PoolStats struct {
	Clients                    int
	Accepted                   uint64
	Rejected                   map[string]uint64 // connections, by reason
	Received, Sent             uint64            // bytes, clients
	ServerReceived, ServerSent uint64            // bytes, servers
	Requests                   uint64
	Commands                   []uint64 // by command.Command.ID
	CommandErrors              []uint64 // error replies of servers
	Errors                     map[string]uint64
	Failures                   uint64 // of Errors, those that are not the client's fault
	Fragmented                 uint64
	Stalls                     uint64 // times a client was not read because of its own backlog
	Dials, DialErrors          uint64
	Latency                    []uint64 // by bucket, see LatencyBounds
	LatencySum                 time.Duration
	LatencyCount               uint64
	Groups                     map[string]*GroupStats
}

// GroupStats is one group.
type GroupStats struct {
	Inflight   int // sent and not answered
	Held       int // waiting for a master or for a busy link
	HeldBytes  int64
	OldestHeld time.Duration
	Links      int // up
	Requests   uint64
	Answered   uint64
	Retried    uint64
	Unknown    uint64 // answered with "may or may not have been executed"
	Late       uint64 // replies that nobody waited for
	Timeouts   uint64
	Overflows  uint64 // refused because the hold was full
	Expired    uint64 // waited too long
	Version    string // redis_version of the master
	Cause      string // why requests wait, empty if none does
}

// Stats asks every loop. It takes as long as the busiest loop's current iteration.
func (e *Engine) Stats() *Stats {
	st := &Stats{Pools: map[string]*PoolStats{}, MemoryHits: e.memoryHits.Load(), ClientHits: e.clientHits.Load(), Trimmed: e.trimmed.Load(), Serial: e.serial.Load()}
	for _, l := range e.loops {
		l.call(func() { l.collect(st) })
	}
	for _, p := range st.Pools {
		for _, n := range p.Commands {
			p.Requests += n
		}
	}
	return st
}

// collect adds the loop's counters. Loops are asked one after the other, so that st needs no lock.
func (l *loop) collect(st *Stats) {
	ls := LoopStats{ID: l.id, Clients: l.clients, Iterations: l.iterations, BufferBytes: l.bufs.InUse(), BufferIdle: l.bufs.Idle()}
	st.Clients += l.clients
	for name, p := range l.pools {
		ps := st.Pools[name]
		if ps == nil {
			ps = &PoolStats{
				Commands: make([]uint64, len(p.commands)), CommandErrors: make([]uint64, len(p.commands)),
				Errors: map[string]uint64{}, Rejected: map[string]uint64{}, Groups: map[string]*GroupStats{},
				Latency: make([]uint64, histogramBuckets),
			}
			st.Pools[name] = ps
		}
		p.collect(ps)
		for _, g := range p.groups {
			gs := ps.Groups[g.name]
			if gs == nil {
				gs = &GroupStats{
					Held: int(g.shared.held.Load()), HeldBytes: g.shared.heldBytes.Load(),
					Overflows: g.shared.overflows.Load(), Expired: g.shared.expired.Load(),
				}
				ps.Groups[g.name] = gs
			}
			ls.Links += g.collect(gs)
		}
		for _, n := range p.commands {
			ls.Requests += n
		}
	}
	st.Loops = append(st.Loops, ls)
}

func (p *pool) collect(ps *PoolStats) {
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
	for reason, n := range p.rejected {
		ps.Rejected[reason] += n
	}
	for i, n := range p.latency.buckets {
		ps.Latency[i] += n
	}
	ps.LatencySum += time.Duration(p.latency.sum)
	ps.LatencyCount += p.latency.count
}

func (g *group) collect(gs *GroupStats) (links int) {
	gs.Requests += g.requests
	gs.Answered += g.answered
	gs.Retried += g.retried
	gs.Unknown += g.unknown
	gs.Late += g.late
	gs.Timeouts += g.timeouts
	if g.version != "" {
		gs.Version = g.version
	}
	for _, s := range g.servers {
		if s == nil {
			continue
		}
		for _, k := range s.links {
			if k == nil {
				continue
			}
			gs.Inflight += k.live()
			if k.state == linkUp {
				links++
			}
		}
		if h := s.pending.head; h != nil {
			gs.OldestHeld = max(gs.OldestHeld, time.Duration(g.loop.now-h.start))
			gs.Cause = s.why()
		}
	}
	gs.Links += links
	return links
}

// live counts the requests in flight that somebody waits for.
func (k *link) live() (n int) {
	for r := k.inflight.head; r != nil; r = r.nextServer {
		if !r.dead() {
			n++
		}
	}
	return n
}

// Commands lists the names for PoolStats.Commands: the index is the ID, 0 stands for unknown commands.
func Commands() []string {
	names := make([]string, command.Count()+1)
	for _, c := range command.All() {
		names[c.ID] = c.Name
	}
	return names
}

// histogram counts durations in buckets that grow by about a quarter: four to each power of two, from 4 us on.
type histogram struct {
	buckets [histogramBuckets]uint64
	sum     int64
	count   uint64
}

const (
	histogramUnit    = 12 // 2^12 ns = 4.1 us is the width of the first buckets
	histogramBuckets = 96
)

func (h *histogram) observe(ns int64) {
	h.buckets[bucketOf(ns)]++
	h.sum += ns
	h.count++
}

func bucketOf(ns int64) int {
	v := uint64(max(ns, 0)) >> histogramUnit
	if v < 4 {
		return int(v)
	}
	octave := bits.Len64(v) - 1
	return min(4*(octave-1)+int(v>>(octave-2)&3), histogramBuckets-1)
}

// LatencyBounds are the upper bounds of the buckets of PoolStats.Latency, without the last one, which has none.
func LatencyBounds() []time.Duration {
	bounds := make([]time.Duration, histogramBuckets-1)
	for i := range bounds {
		n := i + 1 // the bucket ends where the next one begins
		if n < 4 {
			bounds[i] = time.Duration(n) << histogramUnit
			continue
		}
		octave := n/4 + 1
		bounds[i] = time.Duration(4+n%4) << (octave - 2 + histogramUnit)
	}
	return bounds
}
