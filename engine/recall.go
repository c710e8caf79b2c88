package engine

import "slices"

// When a group goes on hold, or is not served any more, what waits in its links to be written does not leave for its master:
// there may be half a mebibyte of it in each. The requests of which not a byte was written go back to those that wait. So they
// do when nobody vouches for the master any more.

// recall takes back what has not begun to leave.
func (s *server) recall() {
	if s.lane != nil && s.lane.feed {
		return // what is sent there is no request
	}
	for _, k := range append(slices.Clone(s.draining), s.links...) {
		if k != nil && k.state == linkUp && !k.void && k.out.Size() > 0 {
			k.recall()
		}
	}
}

func (k *link) recall() {
	s, l := k.server, k.loop
	var begun, rest serverQueue
	end := k.written // of what the link keeps
	for k.inflight.count > 0 {
		switch r := k.inflight.pop(); {
		case r.seq-uint64(r.piece.Len()) < k.written:
			end = r.seq
			begun.push(r)
		case r.dead():
			l.leave(r, inServer)
		default:
			if r.counts() {
				s.count(-1)
			}
			r.state = requestPending
			rest.push(r)
		}
	}
	k.inflight, k.oldest, k.queued = begun, begun.head, end
	k.out.Truncate(int(end - k.written))
	s.requeue(&rest)
	last := begun.tail
	switch {
	case last != nil && end > k.written && !s.group.takes(last.cmd):
		k.close("its group is not served any more, and a request to it was written in part")
		return
	case k.retiring && k.awaited() == nil:
		k.close("retired")
		return
	}
	k.arm()
	k.watch()
	k.settle()
}

// withhold keeps what has not left from a master that nobody vouches for. The replies to what was written may still come, so the
// link stays for them; not if there is the rest of a request, which must not leave later without authority either.
func (k *link) withhold() {
	s := k.server
	if s.lane == nil || !s.lane.feed {
		k.recall()
	}
	if k.state == linkUp && k.out.Size() > 0 {
		k.close(s.group.lapsedReason())
	}
	if k.state != linkClosed {
		s.schedule()
	}
}
