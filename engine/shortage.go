package engine

import (
	"respgate/engine/command"
	"respgate/engine/topology"
)

// A master that was promoted a moment ago has no replica until the others have been told of it. With min-replicas-to-write it
// refuses writes until then (-NOREPLICAS), and the one before does once its replicas have left. So for hold.timeout from a change
// of the master on, and while the group is on hold, what it refuses for that waits, with whatever its clients send after it; all
// else goes on. Ten times a second the oldest write is sent again: once it is taken, all are. What has waited for too long is sent
// a last time, and gets the server's own answer. Of a steady master the refusal is an answer at once.

// shortage is what waits for the replicas of a server's master.
type shortage struct {
	queue   serverQueue    // in the order of age
	clients map[int64]bool // whose requests these are
	askAt   int64          // when the master is asked again
	asked   *link          // where a write is on its way that shows whether it is over; nil if none is
	last    uint64         // position of that write
	script  bool           // it is a script
	proven  bool           // plain commands are refused, not just scripts
}

// short reports that a lack of replicas may be over soon.
func (g *group) short() bool {
	set := &g.pool.topo.Settings
	return set.VerifyRole && (g.topo.Hold || g.moved > 0 && g.loop.now-g.moved < int64(set.HoldTimeout))
}

// owner tells apart whose requests must keep their order: on a lane all are its client's.
func (s *server) owner(r *request) int64 {
	if s.lane != nil {
		return 0
	}
	return r.clientID()
}

// behind reports that a request has to wait behind others of its client.
func (s *server) behind(r *request) bool {
	return s.shortage.queue.count > 0 && !r.dead() && s.shortage.clients[s.owner(r)]
}

// join lets a new request wait behind others of its client.
func (s *server) join(r *request) {
	size := int64(r.piece.Len())
	if s.full(size) {
		s.overflow(r)
		return
	}
	r.state = requestPending
	r.queued |= inServer
	s.group.shared.hold(1, size)
	s.shortage.queue.push(r)
}

// await takes what a link has brought back for want of replicas.
func (s *server) await(q *serverQueue) {
	if s.retired != "" {
		s.refuse(q)
		return
	}
	h := &s.shortage
	if h.clients == nil {
		h.clients = map[int64]bool{}
	}
	for r := q.head; r != nil; r = r.nextServer {
		if !r.dead() {
			h.clients[s.owner(r)] = true
		}
	}
	if h.askAt <= s.loop.now {
		h.askAt = s.loop.now + loadingRest
	}
	s.group.shared.hold(int64(q.count), int64(q.bytes))
	h.queue.merge(q)
}

// resume has all that waits for replicas wait as any other request: the shortage may be over, or there is more amiss.
func (s *server) resume() {
	h := &s.shortage
	s.pending.merge(&h.queue)
	clear(h.clients)
	h.asked, h.proven = nil, false
}

// replenished looks whether the write that was sent again has been taken: its reply is in, and was no refusal.
func (s *server) replenished(k *link) {
	if h := &s.shortage; k.inflight.head == nil || k.inflight.head.seq > h.last {
		s.resume()
	}
}

// askAgain sends what may go of what waits for replicas: the oldest write, and the oldest script, for what one says of itself
// proves nothing; what has waited for too long; and what does not write, as far as nothing of its client is before it.
func (s *server) askAgain() {
	h, now := &s.shortage, s.loop.now
	switch {
	case h.queue.count == 0:
		return
	case s.closed() || s.group.topo.Access != topology.Serve || !s.group.short() || h.askAt <= now && s.pending.count > 0:
		s.resume()
		return
	case h.askAt > now:
		return
	}
	h.askAt, h.asked = now+loadingRest, nil
	clear(h.clients)
	limit := int64(s.settings().HoldTimeout)
	var rest serverQueue
	var plain, script bool
	for h.queue.count > 0 {
		r := h.queue.head
		if r.dead() {
			s.loop.leave(s.take(&h.queue), inServer)
			continue
		}
		k := s.linkFor(r.clientID())
		runs := isScript(r.cmd)
		writes := r.cmd.Flags&command.FlagWrite != 0 || runs && r.cmd.Flags&command.FlagReadOnly == 0
		first := k != nil && !h.clients[s.owner(r)]
		switch {
		case first && now-r.start >= limit || first && !writes:
		case first && runs && !script:
			script = true
			if !plain {
				h.asked, h.last, h.script = k, k.queued+uint64(r.piece.Len()), true
			}
		case first && !runs && !plain:
			plain = true
			h.asked, h.last, h.script = k, k.queued+uint64(r.piece.Len()), false
		default:
			h.clients[s.owner(r)] = true
			rest.push(h.queue.pop())
			continue
		}
		k.send(s.take(&h.queue))
	}
	h.queue, h.proven = rest, plain
}

// denied takes note that a request is refused for want of replicas.
func (h *shortage) denied(script bool) {
	if !script || h.script {
		h.asked = nil
	}
}
