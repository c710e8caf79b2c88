// Package sentinelclient watches the sentinels of one pool and tells who the
// master of each of its groups is.
//
//	             deliver(*View)
//	                  ^
//	+-----------------|------------------------------------------+
//	| Monitor goroutine: owns everything below, passes the time   |
//	|   pool ── link (one per sentinel)   pure state machines:    |
//	|        └─ group (one per group)     Step(now, event)        |
//	+------^------------------------|----------------------------+
//	       | bounded channel        | actions: dial, send, hang up, ask
//	+------|------------------------v----------------------------+
//	| wire: two goroutines per sentinel connection (read, write)  |
//	| node: one goroutine per master or candidate (AUTH, ROLE)    |
//	+-------------------------------------------------------------+
//
// Ownership: the monitor goroutine alone touches pool, links and groups; the
// goroutines of connections only move bytes and never decide. Views are
// immutable from the moment they are delivered.
//
// Who decides: Sentinel names a master, ROLE can only veto it. With a link to
// every sentinel the highest config-epoch among the answers of a majority of
// the configured sentinels wins (decide.go says what happens when they
// disagree or are too few). With Config.Links == 1 the word of the one active
// sentinel, checked by ROLE, decides.
package sentinelclient
