// Package engine is the data plane: it accepts the clients of pools, frames their requests, sends each to the group its
// key belongs to, and returns the replies in order. It knows no file, no Sentinel and no log: control hands it immutable
// snapshots (engine/topology) and hears of what happens through Events and Stats.
//
//	          ┌──────────────── loop (one goroutine, one poller) ────────────────┐
//	client ──>│ frame ─> command ─> key ─> ring ─> group ─> server ─> link       │──> master
//	       <──│ client's queue  <────────── reply <──────────────────┘           │<──
//	          └──────────────────────────────────────────────────────────────────┘
//
// Who owns what: a loop owns its clients, pools, groups, servers, links, requests, buffers and timers, and nothing of it
// is touched by another goroutine: no locks, no channels on the way of a request. The Engine's own goroutine-safe methods
// get into a loop through its mailbox, between two iterations.
//
// Where a thing is: client.go reads and writes a client, dispatch.go decides, split.go takes a request apart and puts the
// replies together, server.go holds what waits for a master, link.go is the connection to it, handshake.go proves that it
// is one, retry.go says what may be sent again, local*.go is what the proxy answers itself.
package engine
