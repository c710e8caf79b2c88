package engine

import (
	"slices"
	"strconv"
	"sync/atomic"

	"respgate/engine/command"
	"respgate/engine/timer"
	"respgate/engine/topology"
)

// pool is one loop's part of a pool: its clients here, its groups, its counters.
type pool struct {
	loop     *loop
	name     string
	topo     *topology.Pool
	groups   []*group // as topo.Groups: Ring.Index is an index into it
	byName   map[string]*group
	clients  *client // list of those on this loop
	sessions map[*session]bool
	count_   int
	retired  bool
	halt     *halt // CLIENT PAUSE; nil without
	told     int   // clients here that asked for MAINT_NOTIFICATIONS
	leave    timer.Timer

	received, sentBytes        uint64 // clients
	serverReceived, serverSent uint64
	fragmented                 uint64
	stalls                     uint64
	dials, dialErrors          uint64
	accepted                   uint64
	commands                   []uint64 // by command.Command.ID
	commandErrors              []uint64
	errors                     [errorKinds]uint64
	rejected                   map[string]uint64 // connections refused, by reason; nil until one is
	latency                    histogram
}

// group is one loop's part of a group.
type group struct {
	loop    *loop
	pool    *pool
	name    string
	topo    *topology.Group
	shared  *groupShared
	servers [2]*server // for RESP2 and RESP3 clients of the pool's database; nil until needed
	others  map[way]*server
	lanes   laneList

	era          uint8 // stands for its master among those of lately, never 0; a generation is counted over all groups
	address      int   // which of its master's is dialled: the one that led there last, or the next
	permitsMulti bool  // its master has said OK to one, with the credentials of now

	restoring    *timer.Timer // tells of subscriptions that are in place again; nil until there are any
	restoredSubs int
	version      string // redis_version of its master
	valkey       string // valkey_version of its master; "" of Redis
	moved        int64  // when it got another master, of the loop's clock; 0 if it has the first that it knew
	verified     int64  // when a link's ROLE said master, ns of the loop's clock

	requests, answered, retried, unknown, late, timeouts uint64
}

// groupShared is what all loops know of a group together: the bounds of its hold are for the group, not per loop.
// Touched only by requests that have to wait.
type groupShared struct {
	held, heldBytes    atomic.Int64
	most, waited       atomic.Int64 // held at once since the hold began; and ever
	lanes              atomic.Int64 // links of sessions, in use and idle
	lease              atomic.Int64 // until when its master may be sent anything, of the loops' clock; 0 = without an end
	overflows, expired atomic.Uint64
}

// hold counts requests that begin to wait.
func (s *groupShared) hold(n, bytes int64) {
	now := s.held.Add(n)
	s.heldBytes.Add(bytes)
	s.waited.Add(n)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); {
		most = s.most.Load()
	}
}

// swap makes a new snapshot the one that is served.
func (l *loop) swap(s *topology.Snapshot) {
	l.snap = s
	for _, t := range s.Pools {
		p := l.pools[t.Name]
		if p == nil {
			p = &pool{
				loop: l, name: t.Name, byName: map[string]*group{}, sessions: map[*session]bool{},
				commands: make([]uint64, command.Count()+1), commandErrors: make([]uint64, command.Count()+1),
			}
			l.pools[t.Name] = p
		}
		if p.topo != t { // snapshots share the pools that did not change
			p.update(t)
		}
	}
	for name, p := range l.pools {
		if s.Pool(name) == nil {
			delete(l.pools, name)
			p.retire("pool '"+name+"' was removed", leaveTime)
		}
	}
}

// update follows a new snapshot: groups that stay keep their links, clients and requests.
func (p *pool) update(t *topology.Pool) {
	old := p.topo
	if old == nil {
		old = t
	}
	p.topo = t
	groups := make([]*group, len(t.Groups))
	byName := make(map[string]*group, len(t.Groups))
	for i, tg := range t.Groups {
		g := p.byName[tg.Name]
		if g == nil {
			g = &group{loop: p.loop, pool: p, name: tg.Name, shared: p.loop.eng.sharedGroup(p.name, tg.Name)}
		}
		if tg.Hold && (g.topo == nil || !g.topo.Hold) {
			g.shared.most.Store(g.shared.held.Load())
		}
		if g.topo == nil || g.topo.Master.Generation != tg.Master.Generation {
			g.address, g.era = 0, g.era%255+1
		}
		if g.topo != nil && g.topo.Master.Generation != tg.Master.Generation && (g.topo.Master.Known() || g.moved > 0) {
			g.moved = p.loop.now
		}
		g.topo = tg
		groups[i], byName[tg.Name] = g, g
	}
	gone := p.byName
	p.groups, p.byName = groups, byName
	// All is in place before anything moves: a client that may go on can reach every group.
	for _, g := range groups {
		g.update(&old.Settings)
	}
	for s := range p.sessions {
		s.follow()
	}
	for name, g := range gone {
		if byName[name] == nil {
			g.retire("group '" + name + "' was removed from pool '" + p.name + "'")
		}
	}
	p.announceHolds(old, t)
}

// update follows the group's part of a new snapshot.
func (g *group) update(old *topology.Settings) {
	if g.pool.topo.Settings.Preconnect && g.topo.Master.Known() {
		g.server(false, poolDB)
	}
	if linkSettings(old) != linkSettings(&g.pool.topo.Settings) {
		g.permitsMulti = false
	}
	g.each(func(s *server) { s.update(old) })
}

// way is what servers of a group differ in.
type way struct {
	proto3 bool
	db     int32
}

// poolDB stands for the pool's own database, whatever it is.
const poolDB = int32(-1)

// server is the shared way to the group's master for one protocol version and database.
func (g *group) server(proto3 bool, db int32) *server {
	if db != poolDB {
		return g.other(way{proto3, db})
	}
	i := 0
	if proto3 {
		i = 1
	}
	if g.servers[i] == nil {
		g.servers[i] = newServer(g, proto3, poolDB)
	}
	return g.servers[i]
}

// other is server for a database that a client has SELECTed.
func (g *group) other(w way) *server {
	s := g.others[w]
	if s == nil {
		s = newServer(g, w.proto3, w.db)
		if g.others == nil {
			g.others = map[way]*server{}
		}
		g.others[w] = s
	}
	s.usedAt = g.loop.now
	return s
}

// each calls f for every server of the group; f may end it.
func (g *group) each(f func(*server)) {
	for _, s := range g.servers {
		if s != nil {
			f(s)
		}
	}
	for _, s := range g.others {
		f(s)
	}
	for _, s := range slices.Clone(g.lanes.all) {
		f(s)
	}
}

// send takes a request for the group: body is copied, the client decides the protocol version and which link.
func (g *group) send(r *request, body []byte, c *client) {
	l := g.loop
	g.requests++
	if !g.takes(r.cmd) {
		l.fail(r, errNoAuthority, g.noAuthority())
		return
	}
	s := c.way(g)
	r.server = s
	r.piece = s.store.Put(&l.bufs, body)
	s.send(r, c)
}

// takes reports whether the group may be asked for this now.
func (g *group) takes(cmd *command.Command) bool {
	a := g.topo.Access
	return a == topology.Serve || a == topology.Fence && cmd.Flags&command.FlagReadOnly != 0
}

func (g *group) noAuthority() string { return "ERR respgate: group '" + g.name + "': " + g.topo.Reason }

// way is the server that takes the client's requests for a group.
func (c *client) way(g *group) *server {
	if c.session != nil {
		if s := c.session.lanes[g]; s != nil {
			c.session.beforeRequest(s)
			return s
		}
	}
	return g.server(c.proto3, c.db)
}

// idle gives up what a quiet group holds: memory, links for databases that nobody uses any more, idle lanes.
func (g *group) idle(now int64) {
	g.each(func(s *server) { s.store.Idle() })
	g.lanes.trim(now)
	for w, s := range g.others {
		if now-s.usedAt < idleOther || s.pending.count+s.shortage.queue.count > 0 || s.live > 0 {
			continue
		}
		delete(g.others, w)
		s.retire("nobody uses database " + strconv.Itoa(int(w.db)))
	}
}

// idleOther is how long links for a database other than the pool's are kept when nobody uses them.
const idleOther = int64(60e9)

func (g *group) retire(reason string) {
	g.each(func(s *server) { s.retire(reason) })
}

// route is the index of the group that a key belongs to; -1 if every group is ejected.
func (p *pool) route(key []byte) int {
	return p.topo.Ring.Index(key)
}

func (p *pool) addClient(c *client) {
	c.next = p.clients
	if p.clients != nil {
		p.clients.prev = c
	}
	p.clients = c
	p.count_++
	p.accepted++
}

func (p *pool) removeClient(c *client) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		p.clients = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	p.count_--
	c.setNotices(noticesOff)
	if p.retired && p.count_ == 0 {
		p.retireGroups("pool '" + p.name + "' was removed")
	}
}

// retire ends the pool on this loop: clients get the replies they wait for and are closed, then the links go. Those who
// asked to be told may take so long to leave by themselves.
func (p *pool) retire(reason string, grace int64) {
	p.retired = true
	if p.count_ == 0 {
		p.retireGroups(reason)
		return
	}
	p.dismiss(grace)
}

func (p *pool) retireGroups(reason string) {
	for _, g := range p.groups {
		g.retire(reason)
	}
}
