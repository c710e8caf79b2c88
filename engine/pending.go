package engine

import (
	"fmt"
	"slices"
	"time"

	"respgate/engine/resp"
)

// What waits for a server: because there is no link, the link is behind, or the group is on hold.

// enqueue lets a request wait. A busy link stalls the client; without a master the hold's bounds decide.
func (s *server) enqueue(r *request, c *client) {
	shared := s.group.shared
	busy := s.busy()
	size := int64(r.piece.Len())
	if !busy && s.full(size) {
		s.overflow(r)
		s.connect() // where nothing may be held it is the requests that fail which bring the links up
		s.schedule()
		return
	}
	r.state = requestPending
	r.queued |= inServer
	s.pending.push(r)
	shared.hold(1, size)
	if busy && s.pending.bytes > stallPending && c.paused&pauseServer == 0 {
		s.stall(c)
	}
	s.connect()
	s.schedule()
}

// overflow answers a request for which there is no room.
func (s *server) overflow(r *request) {
	shared := s.group.shared
	shared.overflows.Add(1)
	r.dropBytes()
	s.loop.fail(r, errHoldFull, fmt.Sprintf("ERR respgate: hold queue of group '%s' is full (%d requests, %d bytes wait): %s",
		s.group.name, shared.held.Load(), shared.heldBytes.Load(), s.why()))
}

// full reports that a request of so many bytes would exceed the group's hold. Requests of clients that are gone do not
// count, if they make up enough of the queue to be worth a walk.
func (s *server) full(size int64) bool {
	set, shared := s.settings(), s.group.shared
	over := func() bool {
		return set.HoldTimeout <= 0 || shared.held.Load() >= int64(set.HoldRequests) || shared.heldBytes.Load()+size > set.HoldBytes
	}
	if over() && s.dead > s.pending.count/8 {
		s.sweep()
	}
	return over()
}

// sweep takes requests of clients that are gone out of the pending queue.
func (s *server) sweep() {
	var live serverQueue
	for s.pending.count > 0 {
		if r := s.popPending(); r.dead() {
			s.loop.leave(r, inServer)
		} else {
			live.push(r)
		}
	}
	s.dead = 0
	s.group.shared.waited.Add(-int64(live.count)) // they are counted once
	s.requeue(&live)
}

// requeue puts requests that came back from a link among those that wait: by age, for there may be several links. So what
// is too old is at the head. It may be more than the bounds of the hold allow, by what fits into the links: failing it would
// free nothing that its clients had not been given before, and it counts against what comes next.
func (s *server) requeue(q *serverQueue) {
	if q.count == 0 {
		return
	}
	if s.retired != "" {
		s.refuse(q)
		return
	}
	s.group.shared.hold(int64(q.count), int64(q.bytes))
	s.pending.merge(q)
}

func (s *server) popPending() *request { return s.take(&s.pending) }

// take ends the wait of the first of a queue.
func (s *server) take(q *serverQueue) *request {
	size := int64(q.head.piece.Len())
	r := q.pop()
	if s.dead > 0 && r.dead() {
		s.dead--
	}
	s.group.shared.held.Add(-1)
	s.group.shared.heldBytes.Add(-size)
	return r
}

// refuse answers all requests of a queue of a server that is retired.
func (s *server) refuse(q *serverQueue) {
	for q.count > 0 {
		r := q.pop()
		s.loop.fail(r, errGroupGone, "ERR respgate: "+s.retired)
		s.loop.leave(r, inServer)
	}
}

// stall stops reading from a client until the pending queue has shrunk.
func (s *server) stall(c *client) {
	c.pause(pauseServer)
	if len(s.stalled) == cap(s.stalled) {
		// Clients that have gone are looked for only when the list would grow, and it grows to twice of what is left.
		s.stalled = slices.DeleteFunc(s.stalled, func(c *client) bool { return c.state == clientClosed })
		s.stalled = slices.Grow(s.stalled, len(s.stalled)+1)
	}
	s.stalled = append(s.stalled, c)
}

// release goes on reading from the clients that were stalled, the first of them first, until as much waits as before: a
// crowd is not woken for what a few can fill.
func (s *server) release() {
	stalled := s.stalled
	s.stalled = s.resumed[:0] // who is stalled again meanwhile goes there
	n := 0
	for n < len(stalled) && !(s.pending.bytes > stallPending && s.busy()) {
		stalled[n].resume(pauseServer)
		n++
	}
	again := s.stalled
	s.stalled = append(slices.Delete(stalled, 0, n), again...)
	clear(again)
	s.resumed = again[:0]
}

// expire answers pending requests that have waited too long, not too many at once.
func (s *server) expire(now int64) {
	limit := s.holdLimit()
	var text []byte
	told := int64(-1) // ms that the text says
	for n := 0; s.pending.count > 0 && n < maxAtOnce; n++ {
		r := s.pending.head
		if !r.dead() && now-r.start < limit {
			return
		}
		s.popPending()
		if !r.dead() {
			if ms := (now - r.start) / int64(time.Millisecond); ms != told {
				told, text = ms, resp.AppendError(nil, fmt.Sprintf("ERR respgate: %s (waited %d ms)", s.why(), ms))
			}
			s.group.shared.expired.Add(1)
			s.loop.failWith(r, errHeld, text)
		}
		s.loop.leave(r, inServer)
	}
}

// holdLimit is how long a request may wait, in nanoseconds: for a link that is behind at least as long as for a reply.
func (s *server) holdLimit() int64 {
	set := s.settings()
	if s.busy() {
		return int64(max(set.HoldTimeout, set.Timeout))
	}
	return int64(set.HoldTimeout)
}
