package engine

import (
	"bytes"

	"respgate/engine/command"
	"respgate/engine/resp"
)

// session is what one client has of its own with the servers: the lanes its requests take, the feeds that bring it pushes,
// and the state that needs them. It lasts as long as there is such state; most clients never have one.
//
// A client changes between shared links and lanes only while nothing of it is under way, so its requests never overtake
// each other: a request that has to wait for that is postponed, and handled again when the queue is empty.
type session struct {
	client *client
	lanes  map[*group]*server // the client's requests for these groups go here
	feeds  map[*group]*lane
	tx     transaction

	killing  bool // a script is to be ended: its server answers hardly anything meanwhile
	blocked  bool // a command waits at its server for as long as it says
	call     *feedCall
	subs     subscriptions
	monitor  bool
	tracking *tracking
	noTouch  []string   // CLIENT NO-TOUCH ON, if it is
	wanted   []string   // the request that is being agreed to; nil if it ends something
	wantedDB int32      // the same for SELECT
	doubtful bool       // a change of the lanes was not answered: only new links are sure to be right
	setup    [][]string // what each lane is told before its first request
}

// own is the client's session, made if there is none.
func (c *client) own() *session {
	if c.session == nil {
		c.session = &session{client: c, lanes: map[*group]*server{}, feeds: map[*group]*lane{}}
		c.pool.sessions[c.session] = true
	}
	return c.session
}

// drop forgets a session that has nothing any more.
func (s *session) drop() {
	s.client.session = nil
	delete(s.client.pool.sessions, s)
}

// open gives the session a lane to g; false if there is none free, which the client has been told then.
func (s *session) open(g *group) bool {
	if s.lanes[g] != nil {
		return true
	}
	if !s.lease(g) {
		s.refuse(errNoSessionLink, g.noLane())
		return false
	}
	return true
}

// lease is open without a word to the client.
func (s *session) lease(g *group) bool {
	if s.lanes[g] != nil {
		return true
	}
	c := s.client
	ln := g.lease(s, way{c.proto3, c.db}, false)
	if ln == nil {
		return false
	}
	s.lanes[g] = ln.server
	if k := ln.link(); k != nil { // an idle one; a new link is told in its handshake
		for _, args := range s.setup {
			s.ask(ln.server, cmdClient, args...)
		}
	}
	return true
}

// refuse answers with an error; within MULTI the transaction will not be executed then.
func (s *session) refuse(kind errorKind, text string) {
	s.client.pool.count(kind)
	s.abort()
	s.client.replyError(text)
}

// abort notes that a command was not queued: EXEC is answered with an error then, as in Redis.
func (s *session) abort() {
	if s.tx.multi {
		s.tx.aborted = true
	}
}

// ask sends a request of the session's own; its reply comes to answered.
func (s *session) ask(sv *server, cmd *command.Command, args ...string) {
	l := s.client.loop
	b := resp.AppendRequest(l.scratch(), args...)
	s.askRaw(sv, cmd, b)
	l.batch = b[:0]
}

func (s *session) askRaw(sv *server, cmd *command.Command, frame []byte) {
	l := s.client.loop
	r := l.newRequest()
	r.internal, r.cmd, r.server, r.start = true, cmd, sv, l.now
	r.piece = sv.store.Put(&l.bufs, frame)
	sv.send(r, s.client)
}

// answered takes the reply to a request of the proxy's own.
func (l *loop) answered(r *request, rep *reply) {
	first := rep.first()
	if ln := r.server.lane; ln != nil && ln.session != nil && len(first) > 0 {
		switch failed := isError(first[0]); {
		case failed:
			ln.session.failed(ln, r.cmd, first)
		case r.cmd == cmdMulti:
			ln.session.proved("")
		}
	}
	if r.queued == 0 {
		l.leave(r, inClient)
	}
}

// failed handles an error to a request of the session's own.
func (s *session) failed(ln *lane, cmd *command.Command, first []byte) {
	switch cmd {
	case cmdClient:
		// The link is not what the client believes it to be. A new one will be, or says why not.
		if k := ln.server.links[0]; k != nil && !k.blocked {
			ln.server.cause = "its session cannot be set up: " + line(first)
			k.retire()
		}
	case cmdMulti:
		s.doubtful = s.doubtful || unanswered(first)
		s.proved(line(first))
	default:
		s.abort()
	}
}

// replied looks at a reply on its way to the client, and may change it.
func (s *session) replied(r *request, rep *reply) {
	if rep == nil { // merged from parts
		return
	}
	first := rep.first()
	if len(first) == 0 {
		return
	}
	failed := isError(first[0])
	switch r.cmd {
	case cmdMulti:
		s.tx.agreed = s.tx.begun && !failed
	case cmdExec, cmdDiscard, cmdUnwatch:
		s.ended(r, rep)
	case cmdTracking, cmdNoTouch:
		s.setUp(r.cmd, failed)
		s.doubtful = s.doubtful || failed && unanswered(first)
	case cmdSelect:
		if !r.inMulti {
			s.selected(failed, rep)
		}
		if failed {
			s.abort()
		}
	default:
		if failed && r.inMulti {
			s.abort()
		}
	}
}

// ended takes the reply to what ends a transaction.
func (s *session) ended(r *request, rep *reply) {
	switch ln := r.server; {
	case r.inMulti: // UNWATCH, queued
		return
	case unanswered(rep.first()):
		s.doubtful = true
	case ln != nil && ln.lane != nil:
		ln.lane.dirty &^= dirtyTransaction
	}
	switch {
	case r.cmd == cmdExec:
		s.executed(rep)
	case r.cmd == cmdDiscard && s.tx.refused:
		*rep = reply{text: s.tx.execAbort()}
	}
}

// unanswered reports that an error is the proxy's own: nobody knows what the server has done.
func unanswered(first []byte) bool { return bytes.HasPrefix(first, []byte("-ERR respgate: ")) }

// handle decides about a request of a client that has a session.
func (s *session) handle(cmd *command.Command, frame []byte, f *resp.Frame) {
	c := s.client
	caching := s.tracking != nil && s.tracking.caching != ""
	switch {
	case s.tx.multi:
		s.inMulti(cmd, frame, f)
	case c.inSubscriberMode() && !forSubscribers(cmd):
		const only = "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
		if cmd == cmdExec {
			c.failExec("Can't execute 'exec" + only)
			return
		}
		c.replyError("ERR Can't execute '" + cmd.Name + only)
	case s.monitor && (cmd.Flags&(command.FlagWrite|command.FlagReadOnly) != 0 || cmd == cmdPublish || isScript(cmd)):
		c.replyError("ERR Replica can't interact with the keyspace")
	default:
		c.serve(cmd, frame, f)
	}
	if caching && !c.postponed && s.tracking != nil && !s.tx.multi && cmd != cmdCaching {
		s.tracking.caching = "" // it was about this request, and MULTI hands it on to all that follow
	}
}

// sessionCommand is a command that concerns the client's own state.
func (c *client) sessionCommand(cmd *command.Command, frame []byte, f *resp.Frame) {
	switch cmd.Name {
	case "multi":
		c.multi(frame)
	case "exec":
		c.replyError("ERR EXEC without MULTI")
	case "discard":
		c.replyError("ERR DISCARD without MULTI")
	case "watch":
		c.watchKeys(cmd, frame, f)
	case "unwatch":
		c.unwatch(frame)
	case "subscribe", "psubscribe", "ssubscribe":
		c.subscribe(cmd, frame, f)
	case "unsubscribe", "punsubscribe", "sunsubscribe":
		c.unsubscribe(cmd, frame, f)
	case "monitor":
		c.monitor()
	case "wait", "waitaof":
		c.waitReplicas(cmd, frame, f)
	case "client|tracking", "client|no-touch":
		c.pin(cmd, frame, f)
	case "client|caching":
		c.caching(frame, f)
	case "client|trackinginfo":
		c.forward(cmd, c.pool.groups[0], frame)
	}
	if c.session != nil && c.session.empty() {
		c.session.drop()
	}
}

// empty reports that the client has nothing of its own any more.
func (s *session) empty() bool {
	return len(s.lanes) == 0 && len(s.feeds) == 0 && s.call == nil && !s.tx.multi && !s.tx.watching
}

// postpone lets the request being handled wait until nothing of its client is under way.
func (c *client) postpone(cmd *command.Command) {
	c.pool.commands[cmd.ID]-- // it is counted when it is handled again
	c.postponed = true
	c.pause(pauseSwitch)
}

// settle ends what is over. Nothing of the client is under way.
func (s *session) settle() {
	s.blocked, s.killing = false, false
	if s.tx.ending {
		s.endTransaction()
	}
	if s.doubtful {
		s.doubtful = false
		for _, sv := range s.lanes {
			if k := sv.links[0]; k != nil {
				k.close("it is not known in which state a client has left it")
			}
		}
	}
	if !s.tx.multi && !s.tx.watching && len(s.setup) == 0 {
		for g, sv := range s.lanes {
			delete(s.lanes, g)
			sv.lane.handBack()
		}
	}
	if s.subs.count() == 0 && !s.monitor && s.call == nil {
		for g, ln := range s.feeds {
			delete(s.feeds, g)
			ln.dirty |= dirtyState
			ln.handBack()
		}
	}
	if s.empty() {
		s.drop()
	}
}

// close gives everything back: the client is gone, or RESET has ended its state.
func (s *session) close() {
	s.drop()
	if s.call != nil {
		s.call.stop()
	}
	for g, sv := range s.lanes {
		ln := sv.lane
		if s.tx.group == g {
			ln.dirty |= dirtyTransaction
		}
		if len(s.setup) > 0 {
			ln.dirty |= dirtyState
		}
		ln.handBack()
	}
	for _, ln := range s.feeds {
		ln.dirty |= dirtyState
		if s.monitor {
			ln.dirty |= dirtyMonitor
		}
		ln.handBack()
	}
	clear(s.lanes)
	clear(s.feeds)
}

// end answers what might wait for ever: the client is to be closed.
func (s *session) end(text string) {
	c := s.client
	if s.call != nil {
		s.call.fail(text)
	}
	if r := c.queue.head; s.blocked && r != nil {
		if r.split != nil {
			c.loop.unsplit(r)
		}
		c.loop.fail(r, errGroupGone, text)
	}
}

// lost learns that the link of a lane is closed; its requests have been dealt with.
func (s *session) lost(ln *lane, cause string) {
	if ln.feed {
		s.feedLost(ln)
		return
	}
	if s.tx.group == ln.server.group && s.tx.watching && s.tx.lost == "" {
		s.tx.lost = cause
	}
	if s.tracking != nil {
		s.client.flushCache()
	}
}

// selectDB sends SELECT on the client's lanes; the client is there when they are.
func (s *session) selectDB(db int32, frame []byte, f *resp.Frame) {
	c := s.client
	s.wantedDB = db
	c.pause(pauseSwitch)
	if len(s.lanes) > 1 { // then there is one to every group
		c.fanout(cmdSelect, frame, f)
		return
	}
	for g := range s.lanes {
		c.forward(cmdSelect, g, frame)
	}
}

// selected follows the reply to SELECT on the lanes. Without one nobody knows where they are.
func (s *session) selected(failed bool, rep *reply) {
	if failed {
		s.doubtful = len(s.lanes) > 1 || unanswered(rep.first()) // some may have done it
		return
	}
	s.client.db = s.wantedDB
	for _, sv := range s.lanes {
		sv.db = s.wantedDB
	}
}
