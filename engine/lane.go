package engine

import (
	"fmt"
	"slices"

	"respgate/engine/resp"
)

// lane is what makes a server private: one link to the master of a group that belongs to one session at a time. Between
// two sessions it is idle, and clean: what a client may have left on it is taken away before the next one gets it.
//
//	lease ──> in use ──> handBack ──┬──────────────────> idle ──> lease | closed after a while
//	                                ├─ dirty: RESET ───> idle
//	                                └─ blocked, behind, or without a link: closed
type lane struct {
	server    *server
	session   *session // whose it is; nil while it is idle or being cleaned
	feed      bool     // it brings pushes and MONITOR's lines: what is sent on it is no request
	dirty     dirt     // what the session has left there
	clientID  string   // CLIENT ID at the server, for CLIENT UNBLOCK
	idleSince int64
	expected  []feedOp // of a feed: what the server has still to confirm, in order
	broken    bool     // its link was lost since it was up
	watched   bool     // of a feed: MONITOR is confirmed
	index     int      // in group.lanes.all
}

// dirt is what has to be taken away before a lane serves another client.
type dirt uint8

const (
	dirtyTransaction dirt = 1 << iota // MULTI or WATCH
	dirtyState                        // anything that only RESET takes away
	dirtyMonitor                      // lines come at any time: only a new connection is free of them
	dirtyUnverified                   // its server ran a script and could not say that it is a master
)

// laneList has the lanes of a group on one loop.
type laneList struct {
	all     []*server
	idle    []*lane
	refused uint64 // sessions that got none
}

const (
	maxIdleLanes = 16          // kept per group and loop
	idleLane     = int64(30e9) // how long an idle one is kept
)

// lease takes an idle lane or makes one; nil if the group has as many as it may have.
func (g *group) lease(s *session, w way, feed bool) *lane {
	list := &g.lanes
	var ln *lane
	for i := len(list.idle) - 1; i >= 0 && ln == nil; i-- {
		if sv := list.idle[i].server; sv.proto3 == w.proto3 && sv.db == w.db {
			ln = list.idle[i]
			list.idle = slices.Delete(list.idle, i, i+1)
		}
	}
	if ln == nil {
		if !g.mayLease() {
			list.refused++
			return nil
		}
		sv := newServer(g, w.proto3, w.db)
		sv.links = sv.links[:1]
		ln = &lane{server: sv, index: len(list.all)}
		sv.lane = ln
		list.all = append(list.all, sv)
	}
	ln.session, ln.feed, ln.broken = s, feed, false
	ln.server.used = true
	if ln.server.links[0] == nil {
		ln.server.connect()
		ln.server.schedule()
	}
	return ln
}

// mayLease counts one more lane of the group, for which an idle one of another kind may have to go.
func (g *group) mayLease() bool {
	limit := int64(g.pool.topo.Settings.SessionLinks)
	for g.shared.lanes.Add(1) > limit {
		g.shared.lanes.Add(-1)
		if len(g.lanes.idle) == 0 {
			g.askForLane()
			return false
		}
		g.lanes.idle[0].discard("another session needs its place")
	}
	return true
}

// askForLane lets the other loops give up an idle lane of the group, for whoever asks next.
func (g *group) askForLane() {
	pool, name := g.pool.name, g.name
	for _, l := range g.loop.eng.loops {
		if l == g.loop {
			continue
		}
		l.post(func() {
			if p := l.pools[pool]; p != nil && p.byName[name] != nil && len(p.byName[name].lanes.idle) > 0 {
				p.byName[name].lanes.idle[0].discard("a session of another loop needs its place")
			}
		})
	}
}

// noLane is the error for a client that gets no lane.
func (g *group) noLane() string {
	return fmt.Sprintf("ERR respgate: no session link free: group '%s' has %d, in use or just given back, as many as session_links of pool '%s' allows",
		g.name, g.shared.lanes.Load(), g.pool.name)
}

// handBack ends the session's use of the lane.
func (ln *lane) handBack() {
	s := ln.server
	k := s.links[0]
	ln.session, ln.feed, ln.expected = nil, false, nil
	usable := k != nil && len(s.draining) == 0 && k.state == linkUp && !k.blocked && !k.retiring && k.inflight.count == 0 && s.pending.count+s.shortage.queue.count == 0 && s.retired == ""
	switch {
	case !usable || ln.dirty&(dirtyMonitor|dirtyUnverified) != 0:
		ln.discard("its client has left")
	case ln.dirty != 0:
		k.clean(ln.dirty)
	default:
		ln.keep()
	}
}

// keep makes the lane idle.
func (ln *lane) keep() {
	list := &ln.server.group.lanes
	ln.dirty, ln.idleSince = 0, ln.server.loop.now
	list.idle = append(list.idle, ln)
	if len(list.idle) > maxIdleLanes {
		list.idle[0].discard("idle")
	}
}

// discard closes the lane; its session has let go of it.
func (ln *lane) discard(why string) {
	ln.session = nil
	s := ln.server
	s.retire(why)
	for _, k := range slices.Clone(s.draining) {
		k.retire() // nobody waits for what is in flight there
	}
	if s.links[0] == nil && len(s.draining) == 0 {
		ln.gone()
	}
}

// gone takes a lane without a link out of the lists.
func (ln *lane) gone() {
	g := ln.server.group
	list := &g.lanes
	if i := ln.index; i < len(list.all) && list.all[i] == ln.server {
		last := list.all[len(list.all)-1]
		list.all[i] = last
		last.lane.index = i
		list.all = slices.Delete(list.all, len(list.all)-1, len(list.all))
		g.shared.lanes.Add(-1)
	}
	if i := slices.Index(list.idle, ln); i >= 0 {
		list.idle = slices.Delete(list.idle, i, i+1)
	}
	ln.server.loop.wheel.Stop(&ln.server.timer)
	ln.server.store.Drop()
}

// trim closes what has been idle for long.
func (list *laneList) trim(now int64) {
	for len(list.idle) > 0 && now-list.idle[0].idleSince >= idleLane {
		list.idle[0].discard("idle")
	}
}

// lost learns that the link is closed, and reports whether a new one is wanted.
func (ln *lane) lost(wasUp bool, cause string) bool {
	if ln.session == nil {
		ln.server.retired = cause
		ln.gone()
		return false
	}
	if wasUp {
		ln.expected, ln.broken = nil, true
		ln.session.lost(ln, cause)
	}
	return ln.session != nil
}

// up learns that the link is there, or clean again.
func (ln *lane) up() {
	switch {
	case ln.session == nil:
		ln.keep()
	case ln.feed:
		ln.session.feedUp(ln)
	}
}

// pushed takes a RESP3 push.
func (ln *lane) pushed(rep *reply) {
	if ln.session != nil {
		ln.session.pushed(ln, rep)
	}
}

// inTransaction reports that the server has been sent MULTI, and not yet what ends it.
func (ln *lane) inTransaction() bool {
	return ln.session != nil && ln.session.tx.begun && ln.session.tx.group == ln.server.group
}

// finishes reports that a transaction goes on although its group is on hold: its server has begun it and is still there, and a
// planned switch waits for its end.
func (ln *lane) finishes() bool {
	return ln.server.group.topo.Finish && ln.inTransaction() && ln.session.tx.agreed && ln.link() != nil
}

// engaged reports that a switch has to wait for a transaction: its server has been sent MULTI, and what ends it is not answered.
func (ln *lane) engaged() bool {
	k := ln.link()
	return k != nil && ln.inTransaction() && (ln.session.tx.agreed || k.inflight.count > 0)
}

// link is the lane's link if requests can be sent on it now.
func (ln *lane) link() *link {
	if k := ln.server.links[0]; k != nil && k.state == linkUp {
		return k
	}
	return nil
}

// clean takes a session's traces off the link and then greets the server as on a new one.
func (k *link) clean(d dirt) {
	l := k.loop
	k.state = linkHandshake
	l.wheel.Stop(&k.timer)
	l.wheel.Set(&k.timer, l.now+int64(k.server.settings().ConnectTimeout))
	k.steps = k.steps[:0]
	version := k.server.group.version
	switch {
	case version != "" && !olderVersion(version, "6.2"):
		k.ask(stepReset, "RESET")
	case d == dirtyTransaction:
		k.ask(stepDiscard, "DISCARD")
		k.ask(stepUnwatch, "UNWATCH")
	default:
		k.server.lane.discard("its server has no RESET")
		return
	}
	k.greet()
	l.markLink(k)
}

// ask sends a question of the handshake.
func (k *link) ask(s step, args ...string) {
	k.steps = append(k.steps, s)
	k.write(args...)
}

// write sends a request that is in no queue.
func (k *link) write(args ...string) {
	b := resp.AppendRequest(k.loop.scratch(), args...)
	k.out.Append(&k.loop.bufs, b)
	k.queued += uint64(len(b))
	k.loop.batch = b[:0]
	k.loop.markLink(k)
}
