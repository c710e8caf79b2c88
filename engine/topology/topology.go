// Package topology is what the data plane serves: immutable snapshots of pools, their groups and each group's master.
//
// internal/control builds a Snapshot and hands it to the engine, which posts it to every event loop. From that moment on
// nobody writes to it: a change is a new Snapshot that shares the parts that stayed.
//
//	Snapshot ── Pool "cache" ── Ring (key -> index)
//	         │               └─ Group "g1" ── Master 10.0.0.1:6379, generation 7
//	         └─ Pool "legacy" ...
package topology

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"respgate/engine/command"
	"respgate/engine/shard"
)

// Snapshot is one consistent state of everything the engine serves.
type Snapshot struct {
	Serial uint64 // rises by one with each snapshot that control applies
	Limits Limits
	Pools  []*Pool // ascending by name
}

// Limits hold for the process.
type Limits struct {
	MaxClients int           // clients of all pools together; 0 = no limit
	Memory     int64         // bytes of all buffers together; 0 = no limit
	Batch      time.Duration // the longest rest of a busy loop between two looks at its sockets; 0 = none
}

// Access says what may be done at a pool or a group just now.
type Access uint8

const (
	Serve  Access = iota // everything
	Fence                // reads only: authority was lost and the pool says on_authority_lost: fence
	Reject               // nothing: requests get an error that carries Reason
)

func (a Access) String() string {
	switch a {
	case Serve:
		return "serve"
	case Fence:
		return "fence"
	case Reject:
		return "reject"
	}
	return "invalid"
}

// Listen is where a pool accepts clients.
type Listen struct {
	Network   string // "tcp" or "unix"
	Address   string // host:port, or a path
	Mode      uint32 // permission bits of a unix socket; 0 = leave as created
	Backlog   int    // of listen(2)
	ReusePort bool   // SO_REUSEPORT
}

// Pool is a port, and the groups its keys are sharded over.
type Pool struct {
	Name     string
	Listen   Listen
	Settings Settings
	Ring     *shard.Ring // Ring.Index(key) is an index into Groups
	Groups   []*Group    // in the order the ring was built with
	Access   Access      // for the pool as a whole: Reject answers new connections and new requests with Reason
	Reason   string      // completes "-ERR respgate: "; empty with Serve

	Catalog *command.Catalog // of commands that are not the table's, or that some group lacks; nil if there are none, or nothing is known
}

// Settings are a pool's choices that concern the data plane. A comparable value: two equal Settings need no work.
type Settings struct {
	Password          string        // what clients must AUTH with; empty = none
	ServerUser        string        // AUTH on a server, with ServerPassword
	ServerPassword    string        //
	DB                int           // SELECTed on each server connection
	Timeout           time.Duration // from sending a request to a server until its reply; 0 = none
	ConnectTimeout    time.Duration // dial and handshake of a server connection
	HoldTimeout       time.Duration // the longest a request waits for its group to have a verified master
	HoldRequests      int           // requests waiting per group (over all loops)
	HoldBytes         int64         // their bytes per group (over all loops)
	ClientBuffer      int64         // bytes a client may have unread, in replies or in one request
	Pipeline          int64         // bytes of requests in flight per client before reading it stops
	ServerConnections int           // per loop, group and protocol version
	Preconnect        bool          // connect to every master before the first request
	TCPKeepalive      bool          // on clients
	VerifyRole        bool          // ask ROLE on each new server connection and send nothing to a node that is no master
	Databases         int           // SELECT n of a client must be below this
	MovingEndpoint    string        // host:port that clients are told to move to when they are to leave; empty = where they are connected
	SessionLinks      int           // links for one client each, per group (over all loops): transactions, blocking commands, subscriptions
}

// Group is one master with its replicas: the unit that keys are sharded over.
type Group struct {
	Name   string
	Master Master
	Access Access
	Reason string // of Fence and Reject
	Hold   bool   // requests wait: a failover is going on, or the master is being looked for
	Cause  string // of Hold, for errors and the console
	Finish bool   // with Hold: transactions that its master has begun go on until they end
}

// Master is the verified master of a group.
type Master struct {
	Name       string           // host:port or a socket's path, as it was told; empty if there is none
	Addrs      []netip.AddrPort // what the host resolved to, tried in order; empty for a unix socket
	Path       string           // unix socket
	Generation uint64           // rises with every change of the group's master; links and replies of another one are void
	Epoch      uint64           // Sentinel's config-epoch, 0 outside a sentinel pool
	Relieved   bool             // the one before was alive when it was left
}

// Known reports whether there is anything to connect to.
func (m *Master) Known() bool { return m.Path != "" || len(m.Addrs) > 0 }

// Pool finds a pool by its name; nil if there is none.
func (s *Snapshot) Pool(name string) *Pool {
	i, ok := slices.BinarySearchFunc(s.Pools, name, func(p *Pool, n string) int { return strings.Compare(p.Name, n) })
	if !ok {
		return nil
	}
	return s.Pools[i]
}

// Group finds a group of the pool by its name and gives its index, or -1.
func (p *Pool) Group(name string) (*Group, int) {
	for i, g := range p.Groups {
		if g.Name == name {
			return g, i
		}
	}
	return nil, -1
}
