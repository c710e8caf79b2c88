package engine

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

	"respgate/engine/buffer"
	"respgate/engine/resp"
	"respgate/engine/timer"
)

// A feed is a lane to one group that brings a client what it has not asked for one by one: messages, and MONITOR's lines.
// It speaks RESP3, whatever its client does, because a push is told from a reply there. A client has one to every group of
// the pool: messages come from wherever they are published, events of keys from where the key is.

// feedOp is what was sent on a feed and is not confirmed yet.
type feedOp struct {
	sub     *subscription
	leave   bool
	monitor bool
}

// openFeeds gives the session a feed to every group; false if there is none free, which the client has been told then.
func (s *session) openFeeds() bool {
	for _, g := range s.client.pool.groups {
		if !s.openFeed(g) {
			s.client.pool.count(errNoSessionLink)
			s.client.replyError(g.noLane())
			return false
		}
	}
	return true
}

func (s *session) openFeed(g *group) bool {
	if s.feeds[g] != nil {
		return true
	}
	ln := g.lease(s, way{true, poolDB}, true)
	if ln == nil {
		return false
	}
	s.feeds[g] = ln
	if s.monitoring() {
		s.call.left++
	}
	if ln.link() != nil {
		s.feedUp(ln)
		return true
	}
	ln.server.recover()
	return true
}

// feedUp tells a server of everything that is wanted of it, on a new link as on the first.
func (s *session) feedUp(ln *lane) {
	n := 0
	for kind := range s.subs.names {
		for _, sub := range s.subs.names[kind] {
			if !sub.leaving {
				ln.subscribe(sub)
				n++
			}
		}
	}
	if s.monitor {
		ln.startMonitor()
		n++
	}
	if ln.broken && n > 0 {
		ln.server.group.restored(n)
	}
	ln.broken = false
}

// restoredPeriod is for how long restored subscriptions of a group are gathered into one event: its clients come together.
const restoredPeriod = int64(500e6)

// restored notes that so many subscriptions are in place again after their link was lost.
func (g *group) restored(n int) {
	l := g.loop
	if g.restoring == nil {
		g.restoring = &timer.Timer{Func: func(int64) {
			m := &g.topo.Master
			l.eng.observe(Event{
				Kind: EventResubscribed, Pool: g.pool.name, Group: g.name, Master: m.Name, Generation: m.Generation,
				Cause: fmt.Sprintf("%d subscriptions are in place again; messages in between are lost", g.restoredSubs),
			})
			g.restoredSubs = 0
		}}
	}
	g.restoredSubs += n
	if !g.restoring.Set() {
		l.wheel.Set(g.restoring, l.now+restoredPeriod)
	}
}

// feedLost takes note that a server knows of nothing any more: what was to end has ended there.
func (s *session) feedLost(ln *lane) {
	for kind := range s.subs.names {
		for _, sub := range s.subs.names[kind] {
			if sub.leaving {
				s.confirmed(ln, sub, true)
			}
		}
	}
}

// feedGone takes note that a group has left the pool: nobody waits for its word any more.
func (s *session) feedGone(ln *lane) {
	for kind := range s.subs.names {
		for _, sub := range s.subs.names[kind] {
			if sub.pending[ln] {
				s.confirmed(ln, sub, sub.leaving)
			}
		}
	}
	s.monitorConfirmed(ln)
}

// fed takes what comes on a feed and is no push.
func (ln *lane) fed(kind byte, rep *reply) {
	s := ln.session
	monitor := len(ln.expected) > 0 && ln.expected[0].monitor
	switch {
	case isError(kind) && len(ln.expected) > 0:
		op := ln.expected[0]
		ln.expected = ln.expected[1:]
		s.refusedBy(ln, op, line(rep.first()))
	case kind == '+' && monitor:
		ln.expected = ln.expected[1:]
		s.monitorConfirmed(ln)
	case kind == '+' && s.monitor && (s.call == nil || s.call.request.cmd != cmdMonitor):
		s.client.push(monitorLine(ln.server.group, rep.whole()))
	}
}

// pushed takes a push of a server.
func (s *session) pushed(ln *lane, rep *reply) {
	what, name, ok := pushHead(rep.first())
	if !ok {
		if what, name, ok = pushHead(rep.whole()); !ok {
			return
		}
	}
	switch kind := pushKinds[string(what)]; {
	case string(what) == "invalidate":
		if s.client.proto3 {
			s.client.pass(rep)
		}
	case kind == 0 || !ln.feed:
	case kind < 0: // (un)subscribe: confirmations come in the order of what was sent
		if len(ln.expected) == 0 {
			return
		}
		op := ln.expected[0]
		ln.expected = ln.expected[1:]
		if op.sub != nil {
			s.confirmed(ln, op.sub, op.leave)
		}
	default:
		switch sub := s.subs.names[kind-1][string(name)]; {
		case sub == nil:
		case sub.delivers() && (s.call == nil || s.call != sub.call || sub.leaving):
			s.client.pass(rep)
		case s.call != nil && !sub.pending[ln]:
			s.call.keep(rep)
		}
	}
}

// pushKinds says which names a push is about, plus one; -1 of confirmations.
var pushKinds = map[string]int{
	"message": 1 + channels, "pmessage": 1 + patterns, "smessage": 1 + shardChannels,
	"subscribe": -1, "psubscribe": -1, "ssubscribe": -1, "unsubscribe": -1, "punsubscribe": -1, "sunsubscribe": -1,
}

// pushHead reads the first two elements of a push, which are strings; false if b ends before, or they are something else.
func pushHead(b []byte) (what, name []byte, ok bool) {
	_, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok {
		return nil, nil, false
	}
	if what, rest, ok = bulkAt(rest); !ok {
		return nil, nil, false
	}
	if len(rest) > 0 && rest[0] != '$' { // invalidate has a list, or null
		return what, nil, true
	}
	name, _, ok = bulkAt(rest)
	return what, name, ok
}

func bulkAt(b []byte) (s, rest []byte, ok bool) {
	head, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok || len(head) < 2 || head[0] != '$' {
		return nil, nil, false
	}
	n, ok := resp.ParseInt(head[1:])
	if !ok || n < 0 || int64(len(rest)) < n+2 {
		return nil, nil, false
	}
	return rest[:n], rest[n+2:], true
}

// pass gives the client a server's push as it is; one that speaks RESP2 gets an array.
func (c *client) pass(rep *reply) {
	if c.tooSlow(int64(rep.size())) {
		return
	}
	if !c.proto3 {
		c.out.Append(&c.loop.bufs, []byte("*"))
		skipByte(rep)
	}
	rep.appendTo(&c.out, &c.loop.bufs)
	c.loop.markClient(c)
}

// skipByte takes the first byte off a server's reply.
func skipByte(rep *reply) {
	if rep.lead == nil || rep.lead.Size() == 0 {
		rep.off++
		return
	}
	var rest buffer.Chain
	for i, p := range rep.lead.Pieces() {
		if i == 0 {
			p.Off++
		}
		rest.AppendRef(p.Chunk, p.Off, p.End)
	}
	rep.lead.Clear()
	*rep.lead = rest
}

// push gives the client what the proxy says unasked.
func (c *client) push(text []byte) {
	if c.tooSlow(int64(len(text))) {
		return
	}
	c.out.Append(&c.loop.bufs, text)
	c.loop.markClient(c)
}

// tooSlow closes a client that does not read what is pushed to it, as Redis does: what it has not read is lost, which only
// the end of the connection can tell it.
func (c *client) tooSlow(n int64) bool {
	if c.state != clientOpen {
		return true
	}
	if int64(c.out.Size())+n <= max(c.pool.topo.Settings.ClientBuffer, n) {
		return false
	}
	c.miss()
	return true
}

// miss closes a client that cannot be given what was pushed to it: a gap is something that only the end of the connection
// can tell.
func (c *client) miss() {
	c.pool.count(errTooSlow)
	c.close()
}

// feedCall is a SUBSCRIBE or MONITOR that not all servers have confirmed. The client waits for it.
type feedCall struct {
	session *session
	request *request
	left    int // confirmations still to come
	done    func() []byte
	undo    func()
	ending  bool   // UNSUBSCRIBE
	early   []byte // messages of groups that have confirmed, until all have
	timer   timer.Timer
}

// keep stores a message that comes before the call is answered; as many as the client's buffer would take.
func (call *feedCall) keep(rep *reply) {
	c := call.session.client
	if int64(len(call.early)+rep.size()) > c.pool.topo.Settings.ClientBuffer {
		c.miss()
		return
	}
	at := len(call.early)
	if call.early = append(call.early, rep.whole()...); !c.proto3 {
		call.early[at] = '*'
	}
}

// wait makes the client wait for the confirmations of a call.
func (s *session) wait(call *feedCall, r *request) {
	c := s.client
	call.session, call.request = s, r
	r.blocking = true
	call.timer.Func = func(int64) {
		if call.ending { // it has ended for the client whatever a server says, or does not say
			call.undo()
			call.finish()
			return
		}
		call.fail(call.late())
	}
	s.call = call
	c.pause(pauseSwitch)
	if call.left == 0 {
		call.finish()
		return
	}
	set := &c.pool.topo.Settings
	limit := max(set.HoldTimeout, set.Timeout)
	if limit <= 0 {
		limit = set.ConnectTimeout
	}
	c.loop.wheel.Set(&call.timer, c.loop.now+int64(limit))
}

// late says why a call has not been confirmed in time.
func (call *feedCall) late() string {
	c := call.session.client
	for _, g := range c.pool.groups {
		if ln := call.session.feeds[g]; ln != nil && ln.link() == nil {
			return fmt.Sprintf("ERR respgate: not subscribed: %s (waited %d ms)", ln.server.why(), (c.loop.now-call.request.start)/1e6)
		}
	}
	return fmt.Sprintf("ERR respgate: not subscribed: not confirmed by every group within %d ms; groups that have not: %s", (c.loop.now-call.request.start)/1e6, call.missing())
}

// maxNamed is how many groups an error names.
const maxNamed = 8

// missing names the groups that have not confirmed a call.
func (call *feedCall) missing() string {
	s := call.session
	left := map[*lane]bool{}
	for kind := range s.subs.names {
		for _, sub := range s.subs.names[kind] {
			if sub.call == call {
				maps.Copy(left, sub.pending)
			}
		}
	}
	var names []string
	for _, g := range s.client.pool.groups {
		if ln := s.feeds[g]; ln != nil && (left[ln] || s.monitoring() && !ln.watched) {
			names = append(names, "'"+g.name+"'")
		}
	}
	if more := len(names) - maxNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), more)
	}
	return strings.Join(names, ", ")
}

// finish answers the call.
func (call *feedCall) finish() {
	call.stop()
	rep := reply{text: call.done()}
	c := call.session.client
	c.loop.complete(call.request, &rep)
	if len(call.early) > 0 {
		c.push(call.early)
	}
}

// fail answers the call with an error, and takes back what was done of it.
func (call *feedCall) fail(text string) {
	call.stop()
	call.undo()
	call.session.client.loop.fail(call.request, errUnsupported, text)
}

func (call *feedCall) stop() {
	call.session.client.loop.wheel.Stop(&call.timer)
	call.session.call = nil
}

// refusedBy handles a server's error to what was sent on a feed.
func (s *session) refusedBy(ln *lane, op feedOp, text string) {
	if op.sub != nil && (op.sub.leaving || op.sub.pending == nil) || s.call == nil {
		return // it was accepted once: the server's mind has changed, and with it only its own messages
	}
	s.call.fail(text + " (respgate: group '" + ln.server.group.name + "')")
}

// follow adapts the session to the groups the pool has now.
func (s *session) follow() {
	p := s.client.pool
	feeding := len(s.feeds) > 0
	var gone []*lane
	for g, ln := range s.feeds {
		if p.byName[g.name] != g {
			delete(s.feeds, g)
			gone = append(gone, ln)
			ln.handBack()
		}
	}
	for g, sv := range s.lanes {
		if p.byName[g.name] != g && s.tx.group != g {
			delete(s.lanes, g)
			sv.lane.dirty |= dirtyState
			sv.lane.handBack()
		}
	}
	for _, g := range p.groups {
		if feeding && !s.openFeed(g) || len(s.setup) > 0 && !s.lease(g) {
			p.count(errNoSessionLink)
			s.client.miss() // it would not be told of what happens in that group
			return
		}
	}
	for _, ln := range gone {
		s.feedGone(ln)
	}
}
