// Package report is what the data plane tells of itself: counters and events. Values only, shared by the engine, which
// fills them, and by those who show them or act on them.
package report

import "time"

// Stats are the counters of all loops, added up at one moment. The maps and slices are the caller's own.
type Stats struct {
	Serial     uint64 // of the snapshot that every loop serves
	Clients    int
	MemoryHits uint64 // times a loop stopped reading because of limits.memory
	ClientHits uint64 // connections refused because of limits.max_clients
	Trimmed    int64  // bytes of buffers given back since the start
	Loops      []Loop
	Pools      map[string]*Pool
}

// Loop is one event loop.
type Loop struct {
	ID          int
	Clients     int
	Links       int
	Iterations  uint64
	Rests       uint64 // after iterations, to gather events
	Requests    uint64
	BufferBytes int64 // in use
	BufferIdle  int64 // free, kept until the next trim
}

// Pool is one pool.
type Pool struct {
	Clients                    int
	Subscribers                int    // clients with channels or patterns
	Transactions               int    // clients that watch keys, or are between MULTI and EXEC
	Blocked                    int    // clients whose command waits at its server for as long as it says
	Monitors                   int    // clients that get every command
	Tracking                   int    // clients that are told of changed keys
	SessionsRefused            uint64 // for want of a link, over all groups
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
	Groups                     map[string]*Group
}

// Group is one group.
type Group struct {
	Inflight        int // sent and not answered, but for what waits at the server, as BLPOP does
	Transactions    int // begun at the master, and not ended
	Held            int // waiting for a master or for a busy link
	HeldBytes       int64
	HeldMost        int // at once, since the group's hold began the last time
	OldestHeld      time.Duration
	Links           int    // up
	Sessions        int    // links that belong to one client each
	SessionsIdle    int    // such links that nobody has just now
	SessionsRefused uint64 // clients that got none: session_links was reached
	Requests        uint64
	Answered        uint64
	Retried         uint64
	Unknown         uint64 // answered with "may or may not have been executed"
	Late            uint64 // replies that nobody waited for
	Timeouts        uint64
	Overflows       uint64 // refused because the hold was full
	Expired         uint64 // waited too long
	Waited          uint64 // ever held
	Version         string // redis_version of the master
	Cause           string // why requests wait, empty if none does
}

// The buckets of Pool.Latency grow by about a quarter: four to each power of two.
const (
	LatencyUnit    = 12 // 2^12 ns = 4.1 us is the width of the first buckets
	LatencyBuckets = 96
)

// LatencyBounds are the upper bounds of the buckets of Pool.Latency, without the last one, which has none.
func LatencyBounds() []time.Duration {
	bounds := make([]time.Duration, LatencyBuckets-1)
	for i := range bounds {
		n := i + 1 // the bucket ends where the next one begins
		if n < 4 {
			bounds[i] = time.Duration(n) << LatencyUnit
			continue
		}
		octave := n/4 + 1
		bounds[i] = time.Duration(4+n%4) << (octave - 2 + LatencyUnit)
	}
	return bounds
}
