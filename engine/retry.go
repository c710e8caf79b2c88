package engine

import (
	"bytes"
	"fmt"

	"respgate/engine/command"
)

// What happens to a request whose server failed it. Three classes, and one rule each:
//
//	A  not sent, or not to its last byte    it cannot have been executed: sent again, whatever it is; one that was
//	                                        begun not for ever, since its server may hang up for it
//	B  rejected (-READONLY, -MASTERDOWN,    it was not executed: sent again, in order, when there is a master
//	   -LOADING) before execution; within   that takes it
//	   a failover -NOREPLICAS as well
//	C  sent, and no reply                   it may have been executed: sent again only if it reads;
//	                                        otherwise an error that says so
//
// -BUSY, -OOM, -MISCONF, -NOREPLICAS of a steady master (shortage.go) and all other errors are answers of a live master: the
// client gets them.

// A script can raise any error, after having written. Its refusals are told by Redis' exact words, for a replica executes no
// write of a script; any others are an answer. One that forges them lies about itself, and is bounded: to the same master it
// is sent twice, for the second time ROLE has just said so and the words are taken for the script's own; what it says of
// loading is believed as long as the hold allows, but maxRetries times if it answers others; in a second scripts cost their server one look at what it is (hearsay); and what
// follows on the link is judged by its own replies.

// The words with which a server refuses a script. Redis 7 adds where in the script it was.
var (
	replicaRefusals = [][]byte{
		[]byte("-READONLY You can't write against a read only replica."),
		[]byte("-READONLY Can not run script with write flag on readonly replica"),
		[]byte("-MASTERDOWN Link with MASTER is down"),
	}
	shortRefusal   = []byte("-NOREPLICAS Not enough good replicas to write.")
	loadingRefusal = []byte("-LOADING Redis is loading the dataset in memory")
	wrapped        = []byte("-ERR Error running script (call to f_") // Redis 6 puts a refusal at the end of an error of its own
	wrappedRefusal = []byte(": -READONLY You can't write against a read only replica.")
)

// refusesScript reports that a server has refused a script, or a write of one, as a replica.
func refusesScript(first []byte) bool {
	for _, words := range replicaRefusals {
		if bytes.HasPrefix(first, words) {
			return true
		}
	}
	return wrapsRefusal(first)
}

func wrapsRefusal(first []byte) bool {
	return bytes.HasPrefix(first, wrapped) && bytes.HasSuffix(bytes.TrimRight(first, "\r\n"), wrappedRefusal)
}

// refusal is what a server says of itself with an error reply.
type refusal struct {
	demoted, loading, short bool // one of them, or none
	exact                   bool // it is one; of a script, that these are Redis' words
}

// refusal sorts an error reply.
func (s *server) refusal(cmd *command.Command, first []byte) (why refusal) {
	script, roles := isScript(cmd), s.settings().VerifyRole
	switch {
	case roles && (hasCode(first, "READONLY") || hasCode(first, "MASTERDOWN") || script && wrapsRefusal(first)):
		why.demoted, why.exact = true, !script || refusesScript(first)
	case hasCode(first, "LOADING"):
		why.loading, why.exact = true, !script || bytes.HasPrefix(first, loadingRefusal)
	case roles && hasCode(first, "NOREPLICAS"):
		why.short, why.exact = true, !script || bytes.HasPrefix(first, shortRefusal)
	}
	return why
}

// hearsay is when nothing but the words of a script made a server doubtful, and what has been learnt since.
type hearsay struct {
	at       int64
	answered uint64 // by its group, then: one that is loading answers nothing
	denied   bool   // a link that was made since has been told that it is a master
}

// hearsayRest is how long a script's words for what turned out to be wrong are its own.
const hearsayRest = int64(1e9)

// believes reports that the exact words of a refusal, as the reply to a script, are taken for the server's own.
func (k *link) believes(r *request, demoted bool) bool {
	s := k.server
	h := &s.loading
	if demoted {
		h = &s.demotion
	}
	switch {
	case k.blocked && k.proven && (k.demoted || !demoted):
		return true // the server has said so by itself
	case demoted && r.refusedBy == s.group.era || !demoted && r.retries >= maxRetries && h.answered != s.group.answered:
		return false
	case k.blocked && (k.demoted || !demoted):
		return true // which costs no more
	case h.at == 0 || k.loop.now-h.at >= hearsayRest:
		*h = hearsay{at: k.loop.now, answered: s.group.answered}
		return true
	case demoted:
		return !h.denied
	}
	return h.answered == s.group.answered
}

// rejected handles an error reply of class B: the request goes to the retry list, and the link takes no more until the
// replies to what was already sent are in.
func (k *link) rejected(r *request, rep *reply) bool {
	first := rep.first()
	s := k.server
	why := s.refusal(r.cmd, first)
	demoted, script := why.demoted, isScript(r.cmd)
	if why.short {
		s.shortage.denied(script)
		if !s.group.short() || s.full(int64(r.piece.Len())) || script && !s.shortage.proven && r.retries >= maxRetries {
			return false
		}
	}
	if !why.exact || script && !why.short && !k.believes(r, demoted) {
		return false
	}
	if demoted && !k.demoted {
		k.demoted = true
		s.cause = line(first)
	}
	if s.lane != nil && s.lane.inTransaction() {
		k.blocked = k.blocked || demoted // the server has refused to queue it: EXEC says so
		return false
	}
	if k.loop.now-r.start >= int64(s.settings().HoldTimeout) {
		k.blocked = k.blocked || demoted
		return false
	}
	k.short = k.short || why.short
	switch {
	case !script && why.short:
		s.shortage.proven = true
	case !script:
		k.proven = true
	case demoted:
		r.refusedBy = s.group.era
	case r.retries < maxRetries:
		r.retries++
	}
	k.blocked = true
	k.takeRequest(r)
	return true
}

// takeRequest puts a request that was in flight on the retry list.
func (k *link) takeRequest(r *request) {
	r.state = requestPending
	k.server.group.retried++
	k.retry.push(r)
	if k.state != linkClosed {
		if k.refusals == nil {
			k.refusals = map[int64]int{}
		}
		k.refusals[r.clientID()]++
	}
}

// overtakes handles a success behind a rejection. A read is asked again, since what it saw may be older than what its client
// wrote before. A write was executed: what its client was refused before cannot be executed any more without changing their
// order, and is answered with its rejection. All else has written nothing and is passed on, and no client pays for another's.
func (k *link) overtakes(r *request) bool {
	if !k.proven && !k.precedes(r.clientID()) {
		return false
	}
	if r.cmd.Retry && r.retries < maxRetries {
		r.retries++
		k.takeRequest(r)
		return true
	}
	if k.wrote(r.cmd) {
		k.passOver(r.clientID())
	}
	return false
}

// wrote reports that a command that succeeded behind a rejection may have written. A node that has refused a write as a
// replica lets no script write either, whereas one that was loading may have loaded since.
func (k *link) wrote(cmd *command.Command) bool {
	return cmd.Flags&command.FlagWrite != 0 || !k.demoted && isScript(cmd) && cmd.Route == command.RouteKeyed && cmd.Flags&command.FlagReadOnly == 0
}

// precedes reports that a request of the client is on the retry list. With nothing but a script's word for it that the
// server rejects, the requests of others are not held up.
func (k *link) precedes(client int64) bool {
	return k.refusals[client] > 0
}

// passOver answers what a client was refused before a write of its own that was executed. On a void link that write is in
// doubt, and reads before it may as well be asked later.
func (k *link) passOver(client int64) {
	if !k.precedes(client) {
		return
	}
	l, g := k.loop, k.server.group
	delete(k.refusals, client)
	var rest serverQueue
	for k.retry.count > 0 {
		r := k.retry.pop()
		switch {
		case r.dead(): // of a fragment nobody knows whose it was: its request may be another's by now
			l.leave(r, inServer)
			continue
		case r.clientID() != client:
			rest.push(r)
			continue
		case k.void && r.cmd.Retry:
			k.refusals[client]++
			rest.push(r)
			continue
		}
		l.fail(r, errRejected, fmt.Sprintf("ERR respgate: group '%s': its master %s rejected the request, and executed a later one: send it again", g.name, k.peer))
		l.leave(r, inServer)
	}
	k.retry = rest
}

// lacks reports that a link takes no more only until it is clear what else its server refuses for want of replicas.
func (k *link) lacks() bool { return k.blocked && k.short && !k.proven && !k.demoted }

// settle ends the wait of a blocked link when the last reply is in.
func (k *link) settle() {
	if k.server.shortage.asked == k {
		k.server.replenished(k)
	}
	if !k.blocked || k.state == linkClosed || k.awaited() != nil {
		return
	}
	s := k.server
	if k.demoted {
		k.close("it is no master any more: " + s.cause)
		return
	}
	switch {
	case k.lacks():
		s.await(&k.retry)
	case k.proven || s.loading.answered == s.group.answered:
		s.restUntil = k.loop.now + loadingRest
	}
	k.blocked, k.proven, k.short = false, false, false
	k.refusals = nil
	s.requeue(&k.retry)
	s.schedule()
}

// takeBack sorts the requests of a link that is gone: what may be sent again goes back to the server, in order.
func (k *link) takeBack(wasUp bool) {
	l := k.loop
	k.server.resume()
	if wasUp && !k.void && k.server.lane != nil && k.server.lane.inTransaction() && k.server.lane.session.sentMulti(k) {
		k.server.lane.session.brokenOff(k)
		return
	}
	for k.inflight.count > 0 {
		r := k.pop()
		switch {
		case r.dead():
			l.leave(r, inServer)
		case r.seq-uint64(r.piece.Len()) >= k.written || k.replaced && r.seq > k.written: // its age ends its tries
			k.takeRequest(r)
		case r.seq > k.written && r.retries < maxBegun: // it may be what its server hangs up for
			r.retries++
			k.takeRequest(r)
		case r.seq > k.written:
			l.fail(r, errRejected, k.hungUp(r))
			l.leave(r, inServer)
		case r.repeats():
			r.retries++
			k.takeRequest(r)
		default:
			k.doubt(r)
		}
	}
	k.server.requeue(&k.retry)
}

// repeats reports that a request may be asked again, although it may have been executed.
func (r *request) repeats() bool {
	return r.cmd.Retry && !r.blocking && r.retries < maxRetries // what blocks waits for news of one server
}

// hungUp is the error for a request that no link outlives.
func (k *link) hungUp(r *request) string {
	return fmt.Sprintf("ERR respgate: group '%s': connection to its master %s was lost again before the last of the %d bytes of the request: it was not executed; the server may not take as many (proto-max-bulk-len, client-query-buffer-limit)",
		k.server.group.name, k.peer, r.piece.Len())
}

// doubt answers a request that may or may not have been executed.
func (k *link) doubt(r *request) {
	g := k.server.group
	g.unknown++
	k.loop.fail(r, errUnknownOutcome, outcomeUnknown(g))
	k.loop.leave(r, inServer)
}

func outcomeUnknown(g *group) string {
	return "ERR respgate: group '" + g.name + "': connection to its master was lost after the request was sent; it may or may not have been executed"
}
