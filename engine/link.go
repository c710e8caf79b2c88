package engine

import (
	"fmt"
	"time"

	"respgate/engine/buffer"
	"respgate/engine/command"
	"respgate/engine/poller"
	"respgate/engine/resp"
	"respgate/engine/timer"
	"respgate/engine/topology"
)

// link is one connection to the master of a group, shared by the clients of its loop: requests of many go out one after
// the other, and the replies come back in that order.
//
//	connecting ──> handshake (AUTH, HELLO 3, SELECT, ROLE) ──> up ──> closed
//	     └──────────────┴──────── failure ─────────────────────────────┘
type link struct {
	loop   *loop
	server *server
	index  int // in server.links
	fd     int
	handle uint64
	state  linkState
	dirty  bool
	wants  poller.Events
	timer  timer.Timer // connecting and handshake: their deadline; up: the oldest request's
	peer   string
	dialed int // group.address that it went to
	opened int64
	heard  int64 // when the last byte came

	out      buffer.Chain
	queued   uint64 // position behind the last byte appended to out, since the link was opened
	written  uint64 // of the last byte the kernel took
	inflight serverQueue
	oldest   *request // in flight: nobody waits for any before it; look through awaited()
	expect   int64    // moving average of the size of a reply

	scan  resp.ReplyScanner
	lead  buffer.Chain  // earlier chunks of the reply that is coming in
	chunk *buffer.Chunk // holds the beginning of a reply; nil between replies
	start uint32        // of that reply in chunk
	fill  uint32        // end of what was read into chunk
	huge  bool          // the reply is larger than a client may have: it is dropped as it comes

	steps    []step // handshake replies still to come
	retry    serverQueue
	refusals map[int64]int // of retry, by client
	blocked  bool          // a rejection was seen: nothing more is sent, the rest of the replies is awaited
	demoted  bool          // it is no master
	short    bool          // a rejection was for want of replicas
	proven   bool          // a rejection was the server's own, not just what a script said
	retiring bool          // closes when its last reply is in
	replaced bool          // the group has another master, or the link is given up for a new one
	void     bool          // of an old generation, kept for what it says of the writes in flight
	last     uint64        // position of the last one of these
	refused  bool          // the server does not do what one client wants of it
}

type linkState uint8

const (
	linkConnecting linkState = iota
	linkHandshake
	linkUp
	linkClosed
)

// ready reports whether a request may be sent now.
func (k *link) ready() bool {
	return k.state == linkUp && !k.blocked && !k.retiring && int64(k.inflight.bytes)+int64(k.inflight.count)*k.expect < maxInflight
}

// dial starts a connection to the server's master; nil if that failed at once (which schedules the next try).
func (s *server) dial(index int) *link {
	l, g := s.loop, s.group
	k := &link{loop: l, server: s, index: index, peer: s.master.Name, dialed: g.address, opened: l.now}
	g.pool.dials++
	fd, err := dialFD(s.master, k.dialed)
	if err != nil {
		g.astray(k.dialed)
		g.pool.dialErrors++
		k.state = linkClosed
		// Not from within connect: it would call itself. The timer comes at once.
		s.cause = fmt.Sprintf("connect: %v", err)
		s.redialAt = l.now + l.jitter(min(redialFirst<<min(s.failures, 10), redialLongest))
		s.failures++
		l.eng.observe(Event{Kind: EventDialFailed, Pool: g.pool.name, Group: g.name, Master: s.master.Name, Generation: s.master.Generation, Cause: s.cause})
		return nil
	}
	k.fd = fd
	k.handle = l.slots.put(k)
	k.wants = poller.Writable
	k.timer.Func = k.deadline
	l.wheel.Set(&k.timer, l.now+int64(s.settings().ConnectTimeout))
	if err := l.poll.Add(fd, k.handle, k.wants); err != nil {
		l.slots.drop(k.handle)
		l.wheel.Stop(&k.timer)
		closeFD(fd)
		s.redialAt = l.now + redialLongest
		s.cause = err.Error()
		return nil
	}
	return k
}

func (k *link) onReady(ev poller.Events) {
	if k.state == linkConnecting {
		k.connected()
		return
	}
	if ev&poller.Writable != 0 {
		k.flush()
	}
	if ev&(poller.Readable|poller.Closed) != 0 && k.state != linkClosed {
		k.readable()
	}
}

// connected learns how connect(2) ended.
func (k *link) connected() {
	if err := socketError(k.fd); err != nil {
		k.close(fmt.Sprintf("connect: %v", err))
		return
	}
	if selfConnected(k.fd) {
		k.close("connect: nobody listens there: the connection led back to itself")
		return
	}
	k.state = linkHandshake
	k.greet()
	k.loop.markLink(k)
}

// send gives the link a request; its bytes leave at the end of the iteration.
func (k *link) send(r *request) {
	l := k.loop
	k.out.AppendRef(r.piece.Chunk, r.piece.Off, r.piece.End)
	k.queued += uint64(r.piece.Len())
	r.seq, r.sent, r.state = k.queued, l.now, requestSent
	r.queued |= inServer
	k.inflight.push(r)
	if k.oldest == nil {
		k.oldest = r
	}
	if r.counts() {
		k.server.count(1)
	}
	if !k.timer.Set() {
		k.arm()
	}
	l.markLink(k)
}

// arm sets the timer to the deadline of the oldest request somebody waits for.
func (k *link) arm() {
	k.loop.wheel.Stop(&k.timer)
	timeout := int64(k.server.settings().Timeout)
	if timeout <= 0 {
		return
	}
	if r := k.awaited(); r != nil {
		if !r.blocking {
			k.loop.wheel.Set(&k.timer, r.sent+timeout)
		}
	} else if k.inflight.count > 0 { // nobody waits any more, but what is in flight keeps others from being sent
		k.loop.wheel.Set(&k.timer, k.quiet()+silence*timeout)
	}
}

// quiet is since when a byte has been due and none has come; there is something in flight.
func (k *link) quiet() int64 { return max(k.heard, k.inflight.head.sent) }

// awaited is the oldest request in flight that somebody waits for, nil if nobody does. Whom nobody waits for any more stays
// so: no request is passed over twice, however many there are.
func (k *link) awaited() *request {
	for k.oldest != nil && k.oldest.dead() {
		k.oldest = k.oldest.nextServer
	}
	return k.oldest
}

// pop takes the oldest request out of what is in flight.
func (k *link) pop() *request {
	r := k.inflight.head
	if k.oldest == r {
		k.oldest = r.nextServer
	}
	if r.counts() && !r.dead() {
		k.server.count(-1)
	}
	return k.inflight.pop()
}

// deadline is the link's timer: a connection that takes too long is given up; a request that takes too long is answered
// and its late reply dropped when it comes, which costs its neighbours nothing. Many are answered in several turns of the
// loop, so that others need not wait for that.
func (k *link) deadline(now int64) {
	if k.state != linkUp {
		what := "connect"
		if k.state == linkHandshake {
			what = k.steps[0].name()
		}
		k.close(fmt.Sprintf("%s: no answer within %d ms", what, k.server.settings().ConnectTimeout.Milliseconds()))
		return
	}
	if k.void {
		k.close(anotherMaster)
		return
	}
	g := k.server.group
	timeout := int64(k.server.settings().Timeout)
	late := 0
	var texts [2][]byte // of what reads only, and of what may have written
	for r := k.awaited(); timeout > 0 && late < maxAtOnce && r != nil && !r.blocking && r.sent+timeout <= now; r = k.awaited() {
		late++
		text := &texts[0]
		if r.cmd.Flags&command.FlagReadOnly == 0 && !r.cmd.Retry {
			text = &texts[1]
		}
		if *text == nil {
			told := fmt.Sprintf("ERR respgate: group '%s': timed out after %d ms waiting for a reply of %s", g.name, timeout/int64(time.Millisecond), k.peer)
			if text == &texts[1] {
				told += "; it may or may not have been executed"
			}
			*text = resp.AppendError(nil, told)
		}
		if r.counts() {
			k.server.count(-1)
		}
		k.loop.failWith(r, errTimeout, *text)
	}
	if late > 0 {
		g.timeouts += uint64(late)
		k.loop.eng.observe(Event{Kind: EventTimeout, Pool: g.pool.name, Group: g.name, Master: k.peer, Generation: k.server.master.Generation,
			Cause: fmt.Sprintf("%d requests timed out after %d ms", late, timeout/int64(time.Millisecond))})
	}
	switch h := k.inflight.head; {
	case (k.blocked || k.retiring) && k.awaited() == nil:
		k.close("the replies it was kept for did not come")
	case timeout > 0 && h != nil && !h.blocking && k.quiet()+silence*timeout <= now:
		// The connection may lead nowhere any more, which only a new one can tell.
		k.close(fmt.Sprintf("not a byte came for %d ms", (now-k.quiet())/int64(time.Millisecond)))
	default:
		k.arm()
	}
}

// silence is how many time-outs a link may pass without a byte, with requests in flight, before it is replaced: one slow
// request must not cost its neighbours their link.
const silence = 2

// flush writes what is queued.
func (k *link) flush() {
	if k.state == linkUp && k.out.Size() > 0 && k.server.group.lapsed() {
		k.withhold()
		return
	}
	for k.state != linkClosed && k.out.Size() > 0 {
		n, err := writeChain(k.fd, &k.out)
		if n > 0 {
			k.written += uint64(n)
			k.server.group.pool.serverSent += uint64(n)
			k.out.Advance(n)
		}
		if err != nil {
			if wouldBlock(err) {
				break
			}
			k.close(fmt.Sprintf("write: %v", err))
			return
		}
	}
	k.watch()
}

func (k *link) watch() {
	if k.state == linkClosed {
		return
	}
	want := poller.Readable
	if k.out.Size() > 0 {
		want |= poller.Writable
	}
	if want == k.wants {
		return
	}
	k.wants = want
	if err := k.loop.poll.Modify(k.fd, k.handle, want); err != nil {
		k.close(err.Error())
	}
}

// maxReads is how often a link is read in one iteration, as long as there is more: about what may be in flight, so that
// one look at large replies takes all of them.
const maxReads = maxInflight / buffer.Large

// readable reads what is there and passes on every whole reply.
func (k *link) readable() {
	more := true
	for range maxReads {
		if more = k.read(); !more {
			break
		}
	}
	k.loop.backlog = k.loop.backlog || more
	if k.state == linkClosed {
		return
	}
	if k.server.pending.count > 0 || len(k.server.stalled) > 0 {
		k.server.drain()
		k.server.schedule()
	}
	if k.retiring && k.awaited() == nil {
		k.close("retired")
	}
}

// read reads once and reports whether there may be more.
func (k *link) read() (more bool) {
	l := k.loop
	chunk := k.chunk
	if chunk == nil {
		chunk = l.bufs.Get(buffer.Large)
		k.chunk, k.start, k.fill = chunk, 0, 0
	}
	space := chunk.Bytes()[k.fill:]
	n, err := readFD(k.fd, space)
	switch {
	case err != nil && wouldBlock(err):
		if k.start == k.fill {
			k.dropChunk()
		}
		return false
	case err != nil:
		k.close(fmt.Sprintf("read: %v", err))
		return false
	case n == 0:
		k.close("closed by the server")
		return false
	}
	return k.take(n) && n == len(space)
}

// take passes on the replies that end in the n bytes just read into the chunk, and reports whether the link is still open.
func (k *link) take(n int) (open bool) {
	l, chunk := k.loop, k.chunk
	k.server.group.pool.serverReceived += uint64(n)
	k.heard = l.now
	pos := k.fill
	k.fill += uint32(n)
	for pos < k.fill {
		m, done, err := k.scan.Feed(chunk.Bytes()[pos:k.fill])
		if err != nil {
			k.close(fmt.Sprintf("it does not speak the Redis protocol: %v", err))
			return false
		}
		pos += uint32(m)
		if !done {
			break
		}
		l.reply = reply{lead: &k.lead, chunk: chunk, off: k.start, end: pos}
		k.start = pos
		k.onReply(k.scan.Kind(), &l.reply)
		if k.state == linkClosed {
			return false
		}
		k.lead.Clear()
		k.huge = false
	}
	k.keep()
	return true
}

// keep prepares for the rest of a reply that has begun.
func (k *link) keep() {
	l := k.loop
	part := k.fill - k.start
	if part == 0 {
		k.dropChunk()
		return
	}
	limit := k.server.settings().ClientBuffer
	if k.huge || int64(k.lead.Size())+int64(part) > limit {
		k.huge = true
		k.lead.Clear()
		k.dropChunk()
		return
	}
	if uint32(k.chunk.Cap())-k.fill >= refSize {
		return
	}
	next := l.bufs.Get(buffer.Large)
	if part < refSize {
		copy(next.Bytes(), k.chunk.Bytes()[k.start:k.fill])
		k.fill = part
	} else {
		k.lead.AppendRef(k.chunk, k.start, k.fill)
		k.fill = 0
	}
	k.start = 0
	k.chunk.Release()
	k.chunk = next
}

func (k *link) dropChunk() {
	if k.chunk != nil {
		k.chunk.Release()
		k.chunk = nil
	}
	k.start, k.fill = 0, 0
}

// onReply decides whose a reply is.
func (k *link) onReply(kind byte, rep *reply) {
	if ln := k.server.lane; k.huge && (kind == '>' || ln != nil && ln.feed) {
		if ln != nil && ln.session != nil {
			ln.session.client.miss()
		}
		return
	}
	if kind == '>' { // it belongs to nobody on a shared link
		if k.server.lane != nil {
			k.server.lane.pushed(rep)
		}
		return
	}
	if k.state == linkHandshake {
		k.greeted(kind, rep)
		return
	}
	if k.server.lane != nil && k.server.lane.feed {
		k.server.lane.fed(kind, rep)
		return
	}
	switch h := k.inflight.head; {
	case h == nil || k.written <= h.seq-uint64(h.piece.Len()): // not a byte of it has left
		k.unasked(kind, rep)
	case k.written < h.seq:
		k.early(kind, rep)
	default:
		k.answered(kind, rep)
	}
}

// answered passes a reply to the oldest request in flight.
func (k *link) answered(kind byte, rep *reply) {
	l, g := k.loop, k.server.group
	r := k.pop()
	if k.void {
		k.ignore(r, kind, rep)
		return
	}
	if r.dead() {
		g.late++
		l.leave(r, inServer)
		k.settle()
		return
	}
	size := int64(rep.size())
	k.expect += (size - k.expect) >> 3
	if isError(kind) {
		if k.rejected(r, rep) {
			k.settle()
			return
		}
		g.pool.commandErrors[r.cmd.ID]++
	} else if k.retry.count > 0 && k.overtakes(r) {
		k.settle()
		return
	}
	if k.huge {
		limit := k.server.settings().ClientBuffer
		*rep = reply{text: resp.AppendError(nil, fmt.Sprintf("ERR respgate: group '%s': the reply is larger than client_buffer (%d bytes)", g.name, limit))}
		g.pool.count(errTooLarge)
	}
	g.answered++
	r.dropBytes()
	r.queued &^= inServer
	l.complete(r, rep)
	k.settle()
}

// unasked closes a link that is out of step. Of what it said only an error is repeated: anything else may be a value.
func (k *link) unasked(kind byte, rep *reply) {
	cause := "it sent a reply that nobody asked for"
	if kind == '-' {
		cause += ": " + line(rep.first())
	}
	k.close(cause)
}

// early takes a reply that comes before the last byte of its request has left. An error may be meant for it, since a server need
// not read to the end what it refuses; anything else is a reply too many. The link is out of step either way.
func (k *link) early(kind byte, rep *reply) {
	if !isError(kind) || k.void {
		k.unasked(kind, rep)
		return
	}
	cause := "it answered a request before its end: " + line(rep.first())
	k.answered(kind, rep)
	k.close(cause)
}

// retire lets the link finish what is in flight and go.
func (k *link) retire() {
	k.retiring = true
	if k.state != linkUp || k.awaited() == nil {
		k.close("retired")
	}
}

// close ends the connection. Requests in flight are sorted by what is known of them (see retry.go).
func (k *link) close(cause string) {
	if k.state == linkClosed {
		return
	}
	l := k.loop
	wasUp := k.state == linkUp
	if !wasUp {
		k.server.group.pool.dialErrors++
	}
	k.state = linkClosed
	l.wheel.Stop(&k.timer)
	_ = l.poll.Delete(k.fd)
	if k.abandoned() {
		dropUnsent(k.fd)
	}
	closeFD(k.fd)
	l.slots.drop(k.handle)
	k.lead.Clear()
	k.dropChunk()
	k.takeBack(wasUp)
	k.out.Clear()
	k.server.lost(k, wasUp, cause)
}

// abandoned reports that what the link's kernel has not got rid of must not reach its server any more: it would go on sending
// for seconds after the end.
func (k *link) abandoned() bool {
	g := k.server.group
	return k.inflight.count > 0 && (k.replaced || g.topo.Hold || g.topo.Access != topology.Serve || g.lapsed())
}
