package engine

import "fmt"

// What happens to a request whose server failed it. Three classes, and one rule each:
//
//	A  not sent, or not to its last byte    it cannot have been executed: sent again, whatever it is
//	B  rejected (-READONLY, -MASTERDOWN,    it was not executed: sent again, in order, when there is a master
//	   -LOADING) before execution           that takes it
//	C  sent, and no reply                   it may have been executed: sent again only if it reads;
//	                                        otherwise an error that says so
//
// -BUSY, -OOM, -MISCONF, -NOREPLICAS and all other errors are answers of a live master: the client gets them.

// rejected handles an error reply of class B: the request goes to the retry list, and the link takes no more until the
// replies to what was already sent are in.
func (k *link) rejected(r *request, rep *reply) bool {
	first := rep.first()
	s := k.server
	demoted := s.settings().VerifyRole && (hasCode(first, "READONLY") || hasCode(first, "MASTERDOWN"))
	loading := !demoted && hasCode(first, "LOADING")
	if !demoted && !loading {
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
	if isScript(r.cmd) || k.loop.now-r.start >= int64(s.settings().HoldTimeout) {
		// A script may have written before it raised an error of its own that looks like one of these.
		k.blocked = k.blocked || demoted
		return false
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
}

// overtakes handles a success behind a rejection. A read is asked again, since what it saw is older than what its client
// wrote before. A write was executed: what was rejected before it cannot be executed any more without changing the order
// of that client's writes, and is answered with its rejection.
func (k *link) overtakes(r *request) bool {
	if r.cmd.Retry && r.retries < maxRetries {
		r.retries++
		k.takeRequest(r)
		return true
	}
	l, g := k.loop, k.server.group
	for k.retry.count > 0 {
		q := k.retry.pop()
		l.fail(q, errRejected, fmt.Sprintf("ERR respgate: group '%s': its master %s rejected the request, and executed a later one: send it again", g.name, k.peer))
		l.leave(q, inServer)
	}
	return false
}

// settle ends the wait of a blocked link when the last reply is in.
func (k *link) settle() {
	if !k.blocked || k.state == linkClosed || k.awaited() != nil {
		return
	}
	s := k.server
	if k.demoted {
		k.close("it is no master any more: " + s.cause)
		return
	}
	k.blocked = false
	s.requeue(&k.retry)
	s.restUntil = k.loop.now + loadingRest
	s.schedule()
}

// takeBack sorts the requests of a link that is gone: what may be sent again goes back to the server, in order.
func (k *link) takeBack(wasUp bool) {
	l, g := k.loop, k.server.group
	if wasUp && k.server.lane != nil && k.server.lane.inTransaction() && k.server.lane.session.sentMulti(k) {
		k.server.lane.session.brokenOff(k)
		return
	}
	for k.inflight.count > 0 {
		r := k.pop()
		unsent := r.seq > k.written
		switch {
		case r.dead():
			l.leave(r, inServer)
		case (unsent || r.cmd.Retry && !r.blocking) && r.retries < maxRetries: // what blocks waits for news of one server
			r.retries++
			k.takeRequest(r)
		default:
			g.unknown++
			l.fail(r, errUnknownOutcome, outcomeUnknown(g))
			l.leave(r, inServer)
		}
	}
	k.server.requeue(&k.retry)
}

func outcomeUnknown(g *group) string {
	return "ERR respgate: group '" + g.name + "': connection to its master was lost after the request was sent; it may or may not have been executed"
}
