package engine

import "slices"

// A planned switch pauses the writes at the old master, and lets them go when it has been made a replica: each is refused then,
// which is no execution. A proxy that did not begin the switch may follow the new master some milliseconds before. So a link
// of an old generation that has such writes in flight is not closed at once but void: nothing more is written to it, and what
// its server still says is worth nothing but for a rejection of class B. Meanwhile nothing of its server's pending requests
// is sent to the new master: the void link is draining.

// voiding is how void links are treated.
type voiding struct {
	keep   int64 // how long they are kept
	silent int64 // one that has been silent for so long is closed at once: its server hangs, or cannot be reached, unless control has just heard from it
}

var defaultVoiding = voiding{keep: 100e6, silent: 500e6}

const anotherMaster = "its group has another master now"

// annul ends the use of a link whose group has another master now.
func (k *link) annul() {
	k.replaced = true
	k.last = k.lastWrite()
	if k.void || k.last == 0 {
		k.close(anotherMaster)
		return
	}
	l, s := k.loop, k.server
	k.void, k.proven = true, false
	k.out.Clear()
	k.watch()
	if k.state == linkClosed {
		return
	}
	l.wheel.Stop(&k.timer)
	l.wheel.Set(&k.timer, l.now+l.voiding.keep)
	if !slices.Contains(s.draining, k) {
		s.draining = append(s.draining, k)
	}
}

// lastWrite is the position of the last request that may still be rejected and would otherwise be in doubt; 0 if there is
// none worth waiting for.
func (k *link) lastWrite() (last uint64) {
	ln := k.server.lane
	switch {
	case k.state != linkUp || k.inflight.count == 0 || k.server.retired != "" || !k.server.settings().VerifyRole:
		return 0
	case ln != nil && (ln.feed || ln.session == nil || ln.session.tx.begun || ln.session.tx.watching):
		return 0 // a transaction ends with its link
	case k.loop.now-k.quiet() >= k.loop.voiding.silent && !k.server.master.Relieved: // a pause of writes is silent as well
		return 0
	}
	for r := k.inflight.head; r != nil && r.seq <= k.written; r = r.nextServer {
		if !r.dead() && !r.internal && (!r.cmd.Retry || r.blocking) {
			last = r.seq
		}
	}
	return last
}

// ignore takes a reply of an old generation: only that the request was not executed is worth anything.
func (k *link) ignore(r *request, kind byte, rep *reply) {
	l, g := k.loop, k.server.group
	seq := r.seq
	var why refusal
	if isError(kind) {
		why = k.server.refusal(r.cmd, rep.first())
	}
	switch {
	case r.dead():
		g.late++
		l.leave(r, inServer)
	case why.exact:
		k.demoted = k.demoted || why.demoted
		k.takeRequest(r)
	case r.repeats():
		r.retries++
		k.takeRequest(r)
	default:
		if !isError(kind) && k.wrote(r.cmd) { // it was executed, before what waits to be
			k.passOver(r.clientID())
		}
		k.doubt(r)
	}
	if seq >= k.last {
		k.close(anotherMaster)
	}
}
