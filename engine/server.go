package engine

import (
	"fmt"
	"slices"

	"respgate/engine/buffer"
	"respgate/engine/timer"
	"respgate/engine/topology"
)

// server is one loop's way to the master of a group, for one protocol version and database: the links, and the requests
// that wait because there is no link, the link is behind, or the group is on hold. Most are shared by all clients of the
// loop; a lane (see lane.go) is one client's at a time.
//
// Requests of one client for one server leave in order: a client always uses the same link, and while anything is
// pending nothing overtakes it.
type server struct {
	loop   *loop
	group  *group
	proto3 bool
	db     int32 // poolDB, or what clients have SELECTed
	lane   *lane // nil of a shared one

	master   *topology.Master // that the links are for
	links    []*link          // server_connections of them, nil where none is open
	pending  serverQueue
	shortage shortage
	store    buffer.Store
	draining []*link   // taken out of service, with requests in flight
	live     int       // requests in flight that somebody waits for
	dead     int       // of pending, about how many nobody waits for any more
	stalled  []*client // paused until the pending queue has shrunk
	resumed  []*client // scratch for release
	retired  string    // why, once the group or the pool is gone: no new requests

	timer     timer.Timer // the earliest of: a pending request too old, time to dial, end of a rest
	failures  int         // dials and handshakes that failed in a row
	redialAt  int64
	restUntil int64  // the server said -LOADING: nothing is sent until then
	cause     string // of the last failure
	demotion  hearsay
	loading   hearsay

	held     bool // the group was on hold in the last snapshot
	access   topology.Access
	deferred bool  // a dial waits for its turn
	used     bool  // somebody wanted it: it is connected again by itself
	usedAt   int64 // when its links were wanted last, of one in group.others
}

// Bounds of a link and of what waits for one that is behind.
const (
	maxInflight   = 512 << 10    // bytes of requests and of replies expected, per link
	stallPending  = 256 << 10    // bytes waiting for a busy link before its clients are not read any more
	loadingRest   = int64(100e6) // between two tries at a server that is loading
	demotedRest   = int64(200e6) // between two looks at a node that is no master
	shortLife     = int64(1e9)   // a link that was lost sooner is not replaced at once: it might be lost again as soon
	redialFirst   = int64(50e6)  // back-off of dials: at once, then 50 ms doubling up to 1 s, with jitter
	redialLongest = int64(1e9)
	staleDial     = int64(50e6) // a link that is not up by then may never be, although its master answers others
	maxAtOnce     = 1024        // requests that time out in one turn of the loop, of a link or of what waits
	maxDials      = 16          // connections begun in one turn of the loop: each takes about as long as fifty requests
)

func newServer(g *group, proto3 bool, db int32) *server {
	s := &server{loop: g.loop, group: g, proto3: proto3, db: db, master: &g.topo.Master, held: g.topo.Hold, access: g.topo.Access}
	s.links = make([]*link, max(1, g.pool.topo.Settings.ServerConnections))
	s.timer.Func = s.tick
	return s
}

// settings of the pool as they are now.
func (s *server) settings() *topology.Settings { return &s.group.pool.topo.Settings }

// database is what the links SELECT.
func (s *server) database() int {
	if s.db == poolDB {
		return s.settings().DB
	}
	return int(s.db)
}

// count takes note of n more requests in flight that somebody waits for, or fewer.
func (s *server) count(n int) {
	s.live += n
	s.loop.live += n
}

// gated reports that nothing may be sent now, whatever the links say.
func (s *server) gated() bool { return s.closed() || s.pending.count > 0 }

// closed reports that what is pending has to stay so: the group is on hold or nobody vouches for its master, the server
// rests, or links that are being replaced have requests in flight that nothing may overtake.
func (s *server) closed() bool {
	return s.onHold() || s.restUntil > s.loop.now || len(s.draining) > 0 || s.group.lapsed()
}

// onHold reports that what is sent here has to wait for its group.
func (s *server) onHold() bool {
	return s.group.topo.Hold && (s.lane == nil || !s.lane.finishes())
}

// linkFor is the link that a client's requests take; nil if it cannot take one now.
func (s *server) linkFor(id int64) *link {
	k := s.links[0]
	if n := len(s.links); n > 1 {
		k = s.links[id%int64(n)]
	}
	if k == nil || !k.ready() {
		return nil
	}
	return k
}

// send takes a request whose bytes are stored: to a link at once, or to the pending queue.
func (s *server) send(r *request, c *client) {
	s.used = true
	r.start = s.loop.stamp()
	if s.behind(r) {
		s.join(r)
		return
	}
	if !s.gated() {
		if k := s.linkFor(c.id); k != nil {
			k.send(r)
			return
		}
	}
	s.enqueue(r, c)
}

// busy reports that requests wait for nothing but a link that is behind or, for the first time, on its way: their clients
// are stalled then, whereas the bounds of the hold decide when it is the group that has to come back.
func (s *server) busy() bool {
	return !s.onHold() && s.restUntil <= s.loop.now && !s.group.lapsed() && (s.connected() || s.opening())
}

// opening reports that a link is being established and none has failed since the last one was up.
func (s *server) opening() bool {
	if s.deferred && s.failures == 0 {
		return true
	}
	for _, k := range s.links {
		if k != nil && s.failures == 0 && (k.state == linkConnecting || k.state == linkHandshake) {
			return true
		}
	}
	return false
}

// connected reports whether some link is up and not on its way out.
func (s *server) connected() bool {
	for _, k := range s.links {
		if k != nil && k.state == linkUp && (!k.blocked || k.lacks()) && !k.retiring {
			return true
		}
	}
	return false
}

// drain sends what waits, as far as it may go.
func (s *server) drain() {
	l := s.loop
	s.askAgain()
	for s.pending.count > 0 && !s.closed() {
		r := s.pending.head
		if r.dead() {
			l.leave(s.popPending(), inServer)
			continue
		}
		if !s.group.takes(r.cmd) {
			l.fail(s.popPending(), errNoAuthority, s.group.noAuthority())
			l.leave(r, inServer)
			continue
		}
		if s.behind(r) {
			var one serverQueue
			one.push(s.pending.pop())
			s.shortage.queue.merge(&one)
			continue
		}
		k := s.linkFor(r.clientID())
		if k == nil {
			break
		}
		s.popPending()
		k.send(r)
	}
	if len(s.stalled) > 0 && (s.pending.bytes <= stallPending/2 || !s.busy()) {
		s.release()
	}
}

// clientID is the id of the client that waits for a live request or fragment; 0 for a session's own.
func (r *request) clientID() int64 {
	if r.parent != nil {
		r = r.parent
	}
	if r.client == nil {
		return 0
	}
	return r.client.id
}

// connect dials the links that are missing, if it is time to.
func (s *server) connect() {
	if s.retired != "" || !s.master.Known() {
		return
	}
	for i, k := range s.links {
		if k == nil && s.redialAt <= s.loop.now { // which a dial that fails at once moves
			if s.deferred = !s.loop.mayDial(); s.deferred {
				s.redialAt = s.loop.now + 1 // the next time the timers are looked at
				return
			}
			s.links[i] = s.dial(i)
		}
	}
}

// mayDial reports whether one more connection may be begun in this turn of the loop.
func (l *loop) mayDial() bool {
	if l.dialsAt != l.now {
		l.dialsAt, l.dials = l.now, 0
	}
	l.dials++
	return l.dials <= maxDials
}

// lost takes note of a link that is closed. Its requests have been dealt with.
func (s *server) lost(k *link, wasUp bool, cause string) {
	l := s.loop
	if k.index < len(s.links) && s.links[k.index] == k {
		s.links[k.index] = nil
	}
	if i := slices.Index(s.draining, k); i >= 0 {
		s.draining = slices.Delete(s.draining, i, i+1)
	}
	if !wasUp && !k.replaced {
		s.group.astray(k.dialed)
	}
	if s.lane != nil && !s.lane.lost(wasUp, cause) {
		return
	}
	if s.retired != "" || k.retiring || k.replaced {
		s.recover()
		return
	}
	s.cause = cause
	if k.refused {
		s.refuseAll(k)
		return
	}
	kind := EventDialFailed
	rest := int64(0)
	switch {
	case k.demoted:
		kind, rest = EventDemoted, l.jitter(demotedRest)
		s.failures++
	case wasUp:
		kind = EventLinkLost
		if l.now-k.opened < shortLife {
			rest = l.jitter(redialFirst)
		}
	default:
		rest = l.jitter(min(redialFirst<<min(s.failures, 10), redialLongest))
		s.failures++
	}
	s.redialAt = max(s.redialAt, l.now+rest)
	l.eng.observe(Event{Kind: kind, Pool: s.group.pool.name, Group: s.group.name, Master: s.master.Name, Generation: s.master.Generation, Cause: cause})
	s.recover()
}

// astray has the next dial take another address of the master, unless it would already: several links may have failed.
func (g *group) astray(dialed int) {
	if g.address == dialed {
		g.address++
	}
}

// refuseAll answers what waits when the server does not do what a client wants of its links: go to a database, or track
// keys. That is no failure of the server, and nobody else's concern.
func (s *server) refuseAll(k *link) {
	s.used, s.redialAt = false, s.loop.now+s.loop.jitter(redialFirst)
	for s.pending.count > 0 {
		r := s.popPending()
		s.loop.fail(r, errRejected, "ERR respgate: group '"+s.group.name+"': its master "+k.peer+" refuses: "+s.cause)
		s.loop.leave(r, inServer)
	}
	s.recover()
}

// recover goes on after a change: dials, sends, and sets the timer.
func (s *server) recover() {
	if s.used || s.settings().Preconnect {
		s.connect()
	}
	s.drain()
	s.schedule()
}

// tick is the server's timer.
func (s *server) tick(now int64) {
	s.expire(now)
	s.recover()
}

// why says why requests wait, for an error or the console.
func (s *server) why() string {
	g := s.group
	switch {
	case g.topo.Hold:
		return fmt.Sprintf("group '%s' is on hold: %s", g.name, g.topo.Cause)
	case !s.master.Known():
		if g.topo.Cause != "" {
			return fmt.Sprintf("no verified master for group '%s': %s", g.name, g.topo.Cause)
		}
		return fmt.Sprintf("no verified master for group '%s'", g.name)
	case g.lapsed():
		return g.lapsedReason()
	case s.restUntil > s.loop.now:
		return fmt.Sprintf("group '%s': its master %s is loading its data", g.name, s.master.Name)
	case s.shortage.queue.count > 0:
		return fmt.Sprintf("group '%s': its master %s has fewer replicas than it takes writes with (min-replicas-to-write)", g.name, s.master.Name)
	case s.connected():
		return fmt.Sprintf("group '%s': its master %s is behind with its replies", g.name, s.master.Name)
	case s.cause != "":
		return fmt.Sprintf("group '%s': no connection to its master %s: %s", g.name, s.master.Name, s.cause)
	}
	return fmt.Sprintf("group '%s': connecting to its master %s", g.name, s.master.Name)
}

// schedule sets the timer to the next thing that happens by itself.
func (s *server) schedule() {
	next := int64(-1)
	soonest := func(t int64) {
		if next < 0 || t < next {
			next = t
		}
	}
	if s.pending.count > 0 {
		soonest(s.pending.head.start + s.holdLimit())
	}
	if s.restUntil > s.loop.now {
		soonest(s.restUntil)
	}
	if s.shortage.queue.count > 0 {
		soonest(s.shortage.askAt)
	}
	if (s.used || s.settings().Preconnect) && s.retired == "" && s.master.Known() && s.redialAt > s.loop.now && s.missing() {
		soonest(s.redialAt)
	}
	switch {
	case next < 0:
		s.loop.wheel.Stop(&s.timer)
	case !s.timer.Set() || s.timer.When() != next:
		s.loop.wheel.Set(&s.timer, next)
	}
}

func (s *server) missing() bool {
	for _, k := range s.links {
		if k == nil {
			return true
		}
	}
	return false
}

// update follows a new snapshot. Another generation makes the links void; changed credentials replace them when they are idle.
func (s *server) update(old *topology.Settings) {
	set, master := s.settings(), &s.group.topo.Master
	moved := master.Generation != s.master.Generation
	s.master = master
	if moved {
		s.resume()
		s.group.permitsMulti = false
		s.failures, s.redialAt, s.restUntil, s.cause = 0, 0, 0, ""
		s.demotion, s.loading = hearsay{}, hearsay{}
		for _, k := range append(s.takeLinks(), s.draining...) {
			k.annul()
		}
	}
	if s.held && !s.group.topo.Hold && !moved && (s.lane == nil || s.lane.session != nil) {
		s.hasten()
	}
	s.held = s.group.topo.Hold
	shut, access := s.onHold(), s.group.topo.Access
	if shut || access != s.access && access != topology.Serve { // a hold may begin for a lane when its transaction was begun in it
		s.recall()
	}
	s.access = access
	if linkSettings(old) != linkSettings(set) {
		s.failures, s.redialAt = 0, 0
		for _, k := range s.takeLinks() {
			s.replace(k)
		}
	}
	if n := max(1, set.ServerConnections); n != len(s.links) && s.lane == nil {
		old := s.links
		s.links = make([]*link, n)
		for _, k := range old[copy(s.links, old):] {
			if k != nil {
				s.replace(k)
			}
		}
	}
	if old.Timeout != set.Timeout {
		for _, k := range append(slices.Clone(s.links), s.draining...) {
			if k != nil && k.state == linkUp && !k.void {
				k.arm()
			}
		}
	}
	s.recover()
}

// hasten connects now: control has just heard from the master. What was begun before may wait for a packet that is lost.
func (s *server) hasten() {
	s.failures, s.redialAt = 0, 0
	for i, k := range s.links {
		if k != nil && k.state != linkUp && s.loop.now-k.opened > staleDial {
			s.links[i] = nil
			k.replaced = true
			k.close("its master answers again: it is connected to anew")
		}
	}
}

// replace takes a link that was removed from links out of service.
func (s *server) replace(k *link) {
	s.draining = append(s.draining, k) // until it is lost
	k.retire()
}

// takeLinks empties the server's links and returns those there were: closing one dials the next one into its place.
func (s *server) takeLinks() []*link {
	var taken []*link
	for i, k := range s.links {
		if k != nil {
			taken = append(taken, k)
			s.links[i] = nil
		}
	}
	return taken
}

// linkSettings are the settings that a link is made with.
func linkSettings(s *topology.Settings) [4]any {
	return [4]any{s.ServerUser, s.ServerPassword, s.DB, s.VerifyRole}
}

// retire ends the server: what waits is answered, links close when their replies are in.
func (s *server) retire(reason string) {
	s.becomeRetired(reason)
	for _, k := range s.links {
		if k != nil {
			k.retire()
		}
	}
	s.loop.wheel.Stop(&s.timer)
	s.store.Drop()
	s.release()
}

// becomeRetired ends what waits: no link is dialled any more.
func (s *server) becomeRetired(reason string) {
	s.retired = reason
	s.resume()
	for s.pending.count > 0 {
		r := s.popPending()
		s.loop.fail(r, errGroupGone, "ERR respgate: "+reason)
		s.loop.leave(r, inServer)
	}
}
