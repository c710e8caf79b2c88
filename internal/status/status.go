// Package status has the rows that the console, the metrics and the operator's scripts are made of: plain values, filled
// by internal/control, rendered by admin and internal/metrics. Ages and times are time.Time (zero = never); the renderer
// turns them into "...-ms-ago". Names and units follow the console's documentation.
package status

import "time"

// Pool is a row of PROXY POOLS.
type Pool struct {
	Name     string
	Listen   string
	State    string // up, degraded, rejecting, paused, loading
	Cause    string // of any state but up
	Since    time.Time
	Source   string // file, manager, servers
	Version  uint64 // of the manager's topology; 0 elsewhere
	Groups   int
	GroupsUp int
	Clients  int
	Inflight int // requests sent to servers and not answered
	Held     int // requests waiting for a master
	Requests uint64
	Errors   uint64 // answers that the proxy itself made because something failed
	Epoch    uint64 // the highest config-epoch of its groups
	Adopted  int    // commands that the proxy does not know, taken from its servers
	Lacking  int    // commands that are refused because some group does not have them
}

// Master is a row of PROXY MASTERS.
type Master struct {
	Pool        string
	Group       string
	Master      string // host:port, "" if there is none
	State       string // up, resolving, verifying, suspect, holding, none
	Cause       string
	Since       time.Time // of State
	VerifiedAt  time.Time // last ROLE that said master
	Epoch       uint64
	Generation  uint64
	Source      string // sentinel, operator, file
	Switches    uint64
	SwitchesBy  map[string]uint64 // source; of those that are in the timeline or were
	FalseAlarms uint64
	LastSwitch  time.Time
	SwitchTook  time.Duration // from the first sign to the snapshot applied
	Authority   string        // who vouches for the master: sentinels, lease, replicas, no replica, operator; or lost; or none (no sentinel pool)
	LeaseUntil  time.Time
	Held        int
	HeldBytes   int64
	OldestHeld  time.Duration
	Inflight    int
	Links       int // server connections that are up
	Requests    uint64
	Retried     uint64
	Failed      uint64

	SessionLinks    int    // connections to it that belong to one client each
	SessionIdle     int    // more such connections, which nobody has just now
	SessionLimit    int    // the most of both together
	SessionsRefused uint64 // clients that got none
}

// Session is a row of PROXY SESSIONS: the clients of a pool that have state of their own with the servers, by what needs it, and the connections
// that this takes, over all groups. A client can be counted under several kinds.
type Session struct {
	Pool         string
	Transactions int // clients that watch keys, or are between MULTI and EXEC
	Blocked      int // clients whose command waits at its server
	Subscribers  int
	Monitors     int
	Tracking     int // clients with client-side caching
	Links        int
	Idle         int
	Limit        int    // a group's, of Links and Idle together
	Busiest      string // the group with the most Links, "" if none has any
	BusiestLinks int
	Refused      uint64
}

// Sentinel is a row of PROXY SENTINELS.
type Sentinel struct {
	Pool      string
	Address   string
	State     string // dialing, subscribing, resolving, watching, backoff
	Cause     string
	Since     time.Time
	Active    bool
	LastPong  time.Time
	Missed    int
	RTT       time.Duration
	Rotations int
	Tilt      bool
	Events    uint64 // messages that named a group of the pool
}

// Manager is a row of PROXY MANAGER.
type Manager struct {
	Pool          string
	Address       string
	Cluster       string
	State         string
	Cause         string
	Since         time.Time
	Active        bool
	Version       uint64
	Applied       uint64
	LastHeartbeat time.Time
	Rejected      uint64
}

// What an Event can be.
const (
	Holding           = "holding" // it is going on
	Switched          = "switched"
	FalseAlarm        = "false-alarm" // requests waited, and go on to the same master
	GivenUp           = "given-up"    // a planned switch-over that was not done
	Removed           = "removed"     // the group was taken out of the configuration, or comes from elsewhere, while its requests waited
	AuthorityLost     = "authority-lost"
	AuthorityRegained = "authority-regained"
)

// Who can be behind an Event.
const (
	BySentinel = "sentinel"
	Early      = "early" // Sentinel, and taken before it was announced
	Planned    = "planned"
	Operator   = "operator"
)

// Sources are all of them.
func Sources() []string { return []string{BySentinel, Early, Planned, Operator} }

// Unseen is the time of a step that an Event did not have.
const Unseen time.Duration = -1

// Event is a row of PROXY EVENTS: what happened to the master of a group. Its times are from At, which is that of the first sign.
type Event struct {
	ID         uint64 // rises
	Event      string
	Pool       string
	Group      string
	At         time.Time
	Source     string
	Cause      string // the first sign
	Old, New   string // New is empty if it stays
	Epoch      uint64
	Generation uint64

	FailoverSign string        // by which a sentinel told of a failover, empty if none did
	Sign         time.Duration // of that
	Decided      time.Duration // the sentinels' votes name it
	Verified     time.Duration // it said master in ROLE
	Applied      time.Duration // every loop has it
	Released     time.Duration // requests go to it; of AuthorityRegained how long it was lost

	Held         uint64 // requests, in all
	HeldMost     int    // at once
	Retried      uint64
	Unknown      uint64 // failed, and may have been executed
	HoldFull     uint64 // failed: there was no room to wait
	HoldTimeouts uint64 // failed: they waited too long
	Timeouts     uint64 // failed: no reply in time
	Late         uint64 // replies that were dropped
	Repeats      uint64 // of the same false alarm, which are not shown

	Votes []Vote
}

// Vote is what a sentinel said when the new master was taken.
type Vote struct {
	Sentinel string
	Master   string // "" if it named none
	Epoch    uint64
	State    string // voted, or why that was no vote: unknown, tilt, torn, silent
}

// Route is a row of PROXY ROUTE.
type Route struct {
	Key    string
	Tag    string
	Hash   uint32
	Group  string
	Master string
}

// Process is what PROXY INFO says of the process as a whole.
type Process struct {
	Version       string
	ProxyID       string
	PID           int
	Started       time.Time
	ConfigFile    string
	ConfigDigest  string
	ConfigLoaded  time.Time
	ConfigError   string // of the last reload that was refused, "" if none
	ConfigRefused time.Time
	Loops         []Loop
	Limits        []Limit
	LogLevel      string
	Serial        uint64 // of the snapshot that every loop serves
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
	BufferIdle  int64 // kept for the next burst
}

// Limit is a bound and how much of it is used: every limit of the process is a row of PROXY INFO limits.
type Limit struct {
	Name  string // client_connections, memory, hold_requests{pool=...,group=...}
	Unit  string // connections, bytes, requests
	Used  int64
	Max   int64  // 0 = none
	Hits  uint64 // how often it was reached
	Scope string // process, or pool 'x', or pool 'x' group 'y'
}

// Command is the count of one command at one pool.
type Command struct {
	Pool    string
	Command string
	Calls   uint64
	Errors  uint64 // error replies, the servers' and the proxy's
}

// Latency is a histogram of request durations of a pool: Buckets[i] counts those <= Bounds[i].
type Latency struct {
	Pool    string
	Bounds  []time.Duration // ascending
	Buckets []uint64        // not cumulative; one longer than Bounds: the last is the overflow
	Sum     time.Duration
	Count   uint64
}

// Totals are the counters of one pool that have no other row.
type Totals struct {
	Pool                string
	Accepted            uint64
	Rejected            map[string]uint64 // connections refused, by reason
	ReceivedBytes       uint64            // from clients
	SentBytes           uint64            // to clients
	ServerReceivedBytes uint64
	ServerSentBytes     uint64
	Errors              map[string]uint64 // the proxy's own errors, by code: timeout, held-timeout, hold-full, unknown-outcome, no-master, protocol ...
	LateReplies         uint64            // dropped
	Retried             uint64
	Dials               uint64
	DialErrors          uint64
}

// ServerSetting is a row of PROXY CONFIG: a setting of a group's master, or why it could not be asked.
type ServerSetting struct {
	Group  string
	Server string // that was asked, host:port; "" if the group has no master
	Name   string
	Value  string
	Cause  string // with an empty Name
}
