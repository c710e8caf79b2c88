package engine

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"respgate/engine/command"
	"respgate/engine/resp"
)

// transaction is the state of MULTI and WATCH of a client.
//
//	          WATCH k ──> watching ──> MULTI ─┐
//	none ──┤                                  ├─> begun ──> EXEC | DISCARD ──> ending ──> none
//	          MULTI ──> multi ──> first key ──┘
//
// It belongs to the group of the first key that is watched or queued. MULTI waits at the proxy until that is known, with
// the commands that have no key; a transaction without commands never leaves the proxy.
type transaction struct {
	group    *group
	watching bool
	multi    bool   // the client is between MULTI and EXEC
	begun    bool   // the server has been sent MULTI
	agreed   bool   // and has said OK
	aborted  bool   // a command was not queued: EXEC is answered with EXECABORT
	proving  bool   // the server's answer to MULTI is awaited: a user may not be permitted to
	ending   bool   // EXEC or DISCARD is under way
	refused  bool   // by EXECABORT of the proxy's own: the server is sent DISCARD
	refusal  []byte // that reply; nil for the usual one
	lost     string // the error, once the link is lost or MULTI was refused: nothing has been executed, and nothing will be

	early      []earlyCommand // those without keys, until the group is known
	earlyBytes int64
	queued     int // commands, for CLIENT LIST
	watched    int // keys
	selects    []selectAt
	executed   *int32 // the database that EXEC has left the server at, if it has changed
}

// earlyCommand is one that was queued before the transaction's group was known.
type earlyCommand struct {
	cmd   *command.Command
	frame []byte
}

// selectAt is a SELECT among the commands of a transaction.
type selectAt struct {
	at int
	db int32
}

// The commands that sessions send by themselves or look for.
var (
	cmdMulti         = command.Lookup([]byte("multi"))
	cmdExec          = command.Lookup([]byte("exec"))
	cmdDiscard       = command.Lookup([]byte("discard"))
	cmdUnwatch       = command.Lookup([]byte("unwatch"))
	cmdSelect        = command.Lookup([]byte("select"))
	cmdReset         = command.Lookup([]byte("reset"))
	cmdPing          = command.Lookup([]byte("ping"))
	cmdPublish       = command.Lookup([]byte("publish"))
	cmdClient        = command.Lookup([]byte("client"))
	cmdTracking      = cmdClient.Sub([]byte("tracking"))
	cmdNoTouch       = cmdClient.Sub([]byte("no-touch"))
	cmdCaching       = cmdClient.Sub([]byte("caching"))
	cmdFunctionStats = command.Lookup([]byte("function")).Sub([]byte("stats"))
	cmdMonitor       = command.Lookup([]byte("monitor"))
)

var (
	queuedReply    = []byte("+QUEUED\r\n")
	execAbortReply = []byte("-EXECABORT Transaction discarded because of previous errors.\r\n")
	multiRequest   = resp.AppendRequest(nil, "MULTI")
	discardRequest = resp.AppendRequest(nil, "DISCARD")
)

// multi is MULTI outside of one.
func (c *client) multi(frame []byte) {
	s := c.own()
	s.tx.multi = true
	if s.tx.watching && s.tx.lost == "" {
		s.tx.begun = true
		c.forward(cmdMulti, s.tx.group, frame)
		return
	}
	c.respond(okReply)
}

// inMulti handles what comes between MULTI and EXEC.
func (s *session) inMulti(cmd *command.Command, frame []byte, f *resp.Frame) {
	c := s.client
	switch cmd.Name {
	case "multi":
		s.notNested("ERR MULTI calls can not be nested")
	case "watch":
		s.notNested("ERR WATCH inside MULTI is not allowed")
	case "exec":
		s.exec(frame)
	case "discard":
		s.discard(frame)
	case "quit", "reset":
		c.serve(cmd, frame, f)
	default:
		s.queue(cmd, frame, f)
	}
}

// notNested refuses MULTI or WATCH: Redis goes on with the transaction, and Valkey gives it up.
func (s *session) notNested(text string) {
	if s.client.pool.valkey8() {
		s.refuse(errUnsupported, "ERR Command not allowed inside a transaction")
		return
	}
	s.client.replyError(text)
}

// queue sends a command to be queued by the server, or keeps it until it is known which one.
func (s *session) queue(cmd *command.Command, frame []byte, f *resp.Frame) {
	c, tx := s.client, &s.tx
	if reason := c.notInMulti(cmd); reason != "" {
		c.unsupported(cmd, reason)
		return
	}
	if cmd.Flags&command.FlagNoMulti != 0 {
		s.refuse(errUnsupported, "ERR Command not allowed inside a transaction")
		return
	}
	g, ok := s.destination(cmd, frame, f)
	if !ok {
		return
	}
	if n, ok := resp.ParseInt(arg(frame, f.Args[len(f.Args)-1])); cmd == cmdSelect && ok && n >= 0 && n <= math.MaxInt32 {
		tx.selects = append(tx.selects, selectAt{tx.queued, c.databaseOf(n)})
	}
	switch {
	case tx.lost != "" && tx.aborted:
		c.replyError(tx.lost)
		return
	case tx.lost != "":
		tx.queued++
		c.respond(queuedReply) // EXEC will say that nothing was done, as if a watched key had been changed
		return
	case g == nil:
		s.queueEarly(cmd, frame)
		return
	}
	if !tx.begun && !s.begin(cmd, g) {
		return
	}
	s.sendEarly()
	tx.queued++
	r := c.request(cmd, len(frame))
	r.inMulti = true
	g.send(r, frame, c)
}

// notInMulti is why a command cannot be queued, empty if it can: what the proxy answers about its client the server cannot.
func (c *client) notInMulti(cmd *command.Command) string {
	family, _, _ := strings.Cut(cmd.Name, "|")
	switch {
	case cmd.Route == command.RouteRefused:
		return cmd.Reason
	case family == "client" || family == "auth" || family == "hello" || cmd.Flags&command.FlagPubSub != 0 && cmd.Route == command.RouteSession || cmd.Name == "monitor":
		return "within MULTI it would concern the proxy's connection to the server, not the client's"
	case cmd.Route == command.RouteFanout && len(c.pool.groups) > 1 && !cmd.Merge.OneWillDo():
		return "it concerns every group of the pool, and a transaction has one"
	}
	return ""
}

// destination is the group whose server queues a command; nil if any may, and it is not known yet. When it returns false,
// the client has been told why.
func (s *session) destination(cmd *command.Command, frame []byte, f *resp.Frame) (*group, bool) {
	c, tx := s.client, &s.tx
	p := c.pool
	keys, ok := cmd.Keys(c.loop.keys[:0], frame, f.Args)
	c.loop.keys = keys[:0]
	if cmd == cmdPublish {
		keys = keys[:0] // subscribers are subscribed to every group
	}
	if !ok || len(keys) == 0 {
		switch {
		case tx.group != nil:
			return tx.group, true
		case len(p.groups) == 1:
			return p.groups[0], true
		case !ok:
			s.abort()
			c.badKeys(cmd)
			return nil, false
		}
		return nil, true
	}
	want := tx.group
	for _, k := range keys {
		i := p.route(arg(frame, f.Args[k]))
		switch {
		case i < 0:
			s.abort()
			c.allEjected()
			return nil, false
		case want == nil:
			want = p.groups[i]
		case want != p.groups[i]:
			s.refuse(errCrossSlot, fmt.Sprintf("CROSSSLOT Keys in request don't hash to the same group: the transaction belongs to group '%s', a key of '%s' to group '%s'", want.name, cmd.Name, p.groups[i].name))
			return nil, false
		}
	}
	return want, true
}

// queueEarly keeps a command until the transaction's group is known.
func (s *session) queueEarly(cmd *command.Command, frame []byte) {
	tx := &s.tx
	if limit := s.client.pool.topo.Settings.Pipeline; tx.earlyBytes+int64(len(frame)) > limit {
		s.refuse(errTooLarge, fmt.Sprintf("ERR respgate: the commands of the transaction before its first key are larger than pipeline (%d bytes): put one with a key first", limit))
		return
	}
	tx.early = append(tx.early, earlyCommand{cmd, bytes.Clone(frame)})
	tx.earlyBytes += int64(len(frame))
	tx.queued++
	s.client.respond(queuedReply)
}

// begin sends MULTI to the server of the group, and what was kept. False: not now, or not at all; that is taken care of.
func (s *session) begin(cmd *command.Command, g *group) bool {
	c, tx := s.client, &s.tx
	if s.lanes[g] == nil && c.queue.count > 0 {
		c.postpone(cmd)
		return false
	}
	if !s.open(g) {
		return false
	}
	sv := s.lanes[g]
	s.beforeRequest(sv)
	if s.tracking != nil {
		s.tracking.caching = "" // it is about all of the transaction
	}
	tx.group, tx.begun = g, true
	tx.proving = !g.permitsMulti // what follows a refused MULTI would be executed at once
	sv.lane.dirty |= dirtyTransaction
	s.askRaw(sv, cmdMulti, multiRequest)
	switch {
	case tx.begun && !tx.proving:
		return true
	case tx.begun:
		c.postpone(cmd)
	case cmd == cmdExec: // MULTI was refused at once
		s.finishLocally(tx.execAbort())
	default:
		c.replyError(tx.lost)
	}
	return false
}

// sendEarly sends what was kept until the group was known.
func (s *session) sendEarly() {
	for _, e := range s.tx.early {
		s.askRaw(s.lanes[s.tx.group], e.cmd, e.frame)
	}
	s.tx.early, s.tx.earlyBytes = nil, 0
}

// proved takes the answer to MULTI, empty if it is OK.
func (s *session) proved(refusal string) {
	tx := &s.tx
	if tx.proving {
		tx.proving = false
		s.client.loop.markClient(s.client)
	}
	switch {
	case refusal == "" && tx.group != nil:
		tx.group.permitsMulti, tx.agreed = true, tx.begun
	case refusal != "":
		tx.lost, tx.aborted, tx.begun = refusal, true, false
	}
}

// exec is EXEC within MULTI.
func (s *session) exec(frame []byte) {
	c, tx := s.client, &s.tx
	switch {
	case tx.aborted && tx.begun:
		tx.refused = true
		s.sendEnd(cmdDiscard, discardRequest)
	case tx.aborted:
		c.pool.count(errAborted)
		s.finishLocally(tx.execAbort())
	case tx.lost != "":
		s.finishLocally(resp.AppendNullArray(c.loop.scratch(), c.proto3))
	case tx.begun:
		s.sendEarly()
		s.sendEnd(cmdExec, frame)
	case len(tx.early) == 0:
		s.finishLocally(resp.AppendArray(c.loop.scratch(), 0))
	case s.begin(cmdExec, c.anyGroup()): // commands without keys only
		s.sendEarly()
		s.sendEnd(cmdExec, frame)
	}
}

// execAbort is the reply to EXEC of a transaction that is not executed.
func (tx *transaction) execAbort() []byte {
	if tx.refusal != nil {
		return tx.refusal
	}
	return execAbortReply
}

// failExec answers an EXEC that is itself in error, which discards the transaction.
func (c *client) failExec(cause string) {
	text := resp.AppendError(nil, "EXECABORT Transaction discarded because of: "+cause)
	if c.session == nil || !c.session.tx.multi {
		c.respond(text)
		return
	}
	c.session.tx.aborted, c.session.tx.refusal = true, text
	c.session.exec(nil)
}

// discard is DISCARD within MULTI.
func (s *session) discard(frame []byte) {
	if s.tx.begun {
		s.sendEnd(cmdDiscard, frame)
		return
	}
	s.finishLocally(okReply)
}

// sendEnd sends what ends the transaction. What follows waits for the reply: it may take another way.
func (s *session) sendEnd(cmd *command.Command, frame []byte) {
	s.tx.ending = true
	s.client.forward(cmd, s.tx.group, frame)
	s.client.pause(pauseSwitch)
}

// finishLocally ends a transaction that no server knows of.
func (s *session) finishLocally(text []byte) {
	if sv := s.lanes[s.tx.group]; sv != nil && sv.lane.dirty&dirtyTransaction != 0 {
		s.doubtful = true // a link of it may be in MULTI, or watch keys
	}
	s.tx.ending = true
	s.client.respond(text)
	s.client.pause(pauseSwitch)
	s.client.loop.markClient(s.client)
}

// endTransaction forgets a transaction that was executed or discarded.
func (s *session) endTransaction() {
	if s.tx.executed != nil {
		s.client.db = *s.tx.executed
		for g, sv := range s.lanes {
			sv.db = s.client.db
			sv.lane.dirty |= dirtyState
			s.doubtful = s.doubtful || g != s.tx.group // their links are where they were
		}
	}
	s.tx = transaction{}
}

// executed takes the reply to EXEC: which of its SELECTs have been executed.
func (s *session) executed(rep *reply) {
	tx := &s.tx
	if len(tx.selects) == 0 {
		return
	}
	n, head, ok := aggregate(rep.whole())
	if !ok || n < 0 {
		return
	}
	replies, ok := elements(rep.whole()[head:], n)
	for _, sel := range tx.selects {
		if ok && sel.at < n && replies[sel.at][0] == '+' {
			tx.executed = &sel.db
		}
	}
}

// watchKeys is WATCH outside of MULTI.
func (c *client) watchKeys(cmd *command.Command, frame []byte, f *resp.Frame) {
	s := c.own()
	g, ok := s.destination(cmd, frame, f)
	if !ok {
		return
	}
	if s.lanes[g] == nil && c.queue.count > 0 {
		c.postpone(cmd)
		return
	}
	if !s.open(g) {
		return
	}
	s.tx.group, s.tx.watching = g, true
	s.lanes[g].lane.dirty |= dirtyTransaction
	s.tx.watched += len(f.Args) - 1
	c.forward(cmd, g, frame)
}

// unwatch is UNWATCH outside of MULTI.
func (c *client) unwatch(frame []byte) {
	s := c.session
	if s == nil || !s.tx.watching {
		c.respond(okReply)
		return
	}
	if s.tx.lost != "" { // the server has forgotten it, and may not be there
		s.finishLocally(okReply)
		return
	}
	s.sendEnd(cmdUnwatch, frame)
}

// sentMulti reports that the server may have read MULTI, or watches keys: what was under way cannot begin anew elsewhere.
func (s *session) sentMulti(k *link) bool {
	if s.tx.watching {
		return true
	}
	for _, q := range []*serverQueue{&k.inflight, &k.server.pending} {
		for r := q.head; r != nil; r = r.nextServer {
			if r.cmd == cmdMulti && r.internal && (q == &k.server.pending || r.seq-uint64(r.piece.Len()) >= k.written) {
				return false
			}
		}
	}
	return true
}

// brokenOff answers what was under way on the link of a transaction that is lost: the server discards it, unless it had
// EXEC already.
func (s *session) brokenOff(k *link) {
	g := k.server.group
	s.proved(lostTransaction(g))
	for k.inflight.count > 0 {
		r := k.pop()
		s.breakOff(r, g, r.seq <= k.written)
	}
	for k.server.pending.count > 0 {
		s.breakOff(k.server.popPending(), g, false)
	}
}

func (s *session) breakOff(r *request, g *group, sent bool) {
	l := s.client.loop
	if !r.dead() {
		switch {
		case r.cmd == cmdExec && sent:
			g.unknown++
			l.fail(r, errUnknownOutcome, outcomeUnknown(g))
		case r.cmd == cmdDiscard:
			rep := reply{text: okReply}
			l.complete(r, &rep)
		default:
			l.fail(r, errAborted, lostTransaction(g))
		}
	}
	l.leave(r, inServer)
}

func lostTransaction(g *group) string {
	return "ERR respgate: group '" + g.name + "': connection to its master was lost: the transaction was discarded, nothing of it was executed"
}

// proving reports that the client waits for a server to permit MULTI.
func (c *client) proving() bool { return c.session != nil && c.session.tx.proving }
