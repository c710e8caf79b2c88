package engine

import (
	"respgate/engine/buffer"
	"respgate/engine/command"
	"respgate/engine/resp"
)

// split is what a request over several groups keeps: its fragments, and which fragment each key went to.
//
//	MGET a b c d ──> fragment 0 (g1): MGET a c ──┐
//	     owner: 0 1 0 1                          ├─> merge in the order of owner
//	             └─> fragment 1 (g2): MGET b d ──┘
type split struct {
	fragments []*request
	groups    []int32  // group index of each fragment
	owner     []uint16 // fragment of each key, in the order of the request
	keys      []int32  // number of keys per fragment
	slot      []int32  // group index -> fragment + 1, cleared after use
	waiting   int      // fragments without an answer
	sum       int64
	stored    int64 // bytes of fragments' replies, which count as the client's
	failed    bool  // the reply of the request is an error, kept in its reply
	next      *split
}

func (l *loop) newSplit() *split {
	s := l.freeSplits
	if s == nil {
		return &split{}
	}
	l.freeSplits, s.next = s.next, nil
	return s
}

// freeSplit recycles a split that its request is done with.
func (l *loop) freeSplit(s *split) {
	clear(s.fragments)
	*s = split{fragments: s.fragments[:0], groups: s.groups[:0], owner: s.owner[:0], keys: s.keys[:0], slot: s.slot, next: l.freeSplits}
	if cap(s.owner) > 4096 {
		s.owner = nil
	}
	l.freeSplits = s
}

// sendSplit sends a request with many keys: whole if one group has them all, in fragments otherwise.
func (c *client) sendSplit(cmd *command.Command, frame []byte, f *resp.Frame) {
	l, p := c.loop, c.pool
	step := int(cmd.Step)
	if (len(f.Args)-1)%step != 0 {
		c.wrongArity(cmd)
		return
	}
	s := l.newSplit()
	if len(s.slot) < len(p.groups) {
		s.slot = make([]int32, len(p.groups))
	}
	for i := 1; i < len(f.Args); i += step {
		g := p.route(arg(frame, f.Args[i]))
		if g < 0 { // for the first key as for all
			l.freeSplit(s)
			c.allEjected()
			return
		}
		at := s.slot[g]
		if at == 0 {
			s.groups = append(s.groups, int32(g))
			s.keys = append(s.keys, 0)
			at = int32(len(s.groups))
			s.slot[g] = at
		}
		s.owner = append(s.owner, uint16(at-1))
		s.keys[at-1]++
	}
	for _, g := range s.groups {
		s.slot[g] = 0
	}
	if len(s.groups) == 1 {
		g := int(s.groups[0])
		l.freeSplit(s)
		c.forward(cmd, p.groups[g], frame)
		return
	}
	r := l.newRequest()
	r.client, r.cmd, r.split = c, cmd, s
	r.start, r.size = l.now, int32(len(frame))
	r.queued = inClient
	r.state = requestPending
	c.await(r)
	c.inflight += int64(r.size)
	p.fragmented++
	s.waiting = len(s.groups)
	for i := range s.groups {
		s.fragments = append(s.fragments, l.newFragment(r, int32(i)))
	}
	for i, g := range s.groups {
		body := l.fragmentBody(s, uint16(i), step, frame, f)
		p.groups[g].send(s.fragments[i], body, c) // may fail at once; the last answer recycles s
	}
}

func (l *loop) newFragment(parent *request, part int32) *request {
	r := l.newRequest()
	r.parent, r.part, r.cmd = parent, part, parent.cmd
	r.start = l.now
	r.queued = inClient
	return r
}

// fragmentBody writes the request for one group; valid until the next use of the scratch.
func (l *loop) fragmentBody(s *split, part uint16, step int, frame []byte, f *resp.Frame) []byte {
	b := resp.AppendArray(l.scratch(), 1+int(s.keys[part])*step)
	b = resp.AppendBulk(b, arg(frame, f.Args[0]))
	for k, owner := range s.owner {
		if owner != part {
			continue
		}
		// Arguments of one key stand together in the frame, headers included.
		for j := range step {
			b = resp.AppendBulk(b, arg(frame, f.Args[1+k*step+j]))
		}
	}
	l.batch = b[:0]
	return b
}

// fragmentDone takes the answer of one fragment; the last one merges.
func (l *loop) fragmentDone(f *request, rep *reply) {
	r := f.parent
	if f.queued&inClient == 0 {
		return
	}
	s := r.split
	s.waiting--
	first := rep.first()
	switch {
	case s.failed:
	case len(first) > 0 && isError(first[0]):
		l.splitFailed(r, f, rep)
	case r.cmd.Route == command.RouteMGet:
		size := int64(rep.size())
		if r.client.swamped(size) {
			r.client.pool.count(errTooLarge)
			l.splitFailed(r, f, &reply{text: resp.AppendError(nil, r.client.swampedText(size))})
			break
		}
		l.store(f, rep)
		s.stored += size
		r.client.stored += size
	case r.cmd.Route == command.RouteSum:
		n, ok := integer(first)
		if !ok {
			l.splitFailed(r, f, &reply{text: []byte("-ERR unexpected reply")})
			break
		}
		s.sum += n
	}
	if s.waiting == 0 {
		l.merge(r)
	}
}

// splitFailed makes the whole reply the error of one fragment, with the group's name behind it.
func (l *loop) splitFailed(r, f *request, rep *reply) {
	s := r.split
	s.failed = true
	text := line(rep.first())
	if rep.chunk != nil { // a server's; the proxy's own name the group already
		text += " (respgate: group '" + r.client.pool.groupName(int(s.groups[f.part])) + "')"
	}
	own := reply{text: resp.AppendError(nil, text)}
	l.store(r, &own)
}

// merge makes the reply of a request out of its fragments' and passes it on.
func (l *loop) merge(r *request) {
	s, c := r.split, r.client
	if !s.failed {
		switch r.cmd.Route {
		case command.RouteMGet:
			if !l.mergeArrays(r) {
				r.reply.Clear()
				own := reply{text: resp.AppendError(nil, "ERR respgate: a server answered MGET with a reply of another shape")}
				l.store(r, &own)
			}
		case command.RouteSum:
			own := reply{text: resp.AppendInt(l.scratch(), s.sum)}
			l.store(r, &own)
		default:
			own := reply{text: okReply}
			l.store(r, &own)
		}
	}
	for _, f := range s.fragments {
		l.leave(f, inClient)
	}
	c.stored -= s.stored
	l.freeSplit(s)
	r.split, r.state = nil, requestAnswered
	size := int64(r.reply.Size())
	c.stored += size
	c.learn(size)
	c.pool.latency.observe(l.now - r.start)
	if c.queue.head == r {
		c.emit()
		l.markClient(c)
	}
}

// mergeArrays interleaves the elements of the fragments' arrays in the order of the keys.
func (l *loop) mergeArrays(r *request) bool {
	s := r.split
	for i, f := range s.fragments {
		if !skipArrayHeader(&f.reply, int64(s.keys[i])) {
			return false
		}
	}
	header := reply{text: resp.AppendArray(l.scratch(), len(s.owner))}
	l.store(r, &header)
	for _, part := range s.owner {
		if !l.moveElement(&r.reply, &s.fragments[part].reply) {
			return false
		}
	}
	for _, f := range s.fragments {
		if f.reply.Size() != 0 {
			return false
		}
	}
	return true
}

// skipArrayHeader consumes "*n\r\n" from the front of an array reply; false if it is anything else.
func skipArrayHeader(c *buffer.Chain, n int64) bool {
	var want [24]byte
	header := resp.AppendArray(want[:0], int(n))
	if c.Size() < len(header) {
		return false
	}
	i := 0
	for _, p := range c.Pieces() {
		for _, b := range p.Bytes() {
			if b != header[i] {
				return false
			}
			if i++; i == len(header) {
				c.Advance(i)
				return true
			}
		}
	}
	return false
}

// moveElement takes one reply from the front of src and appends it to dst, by reference where it is large.
func (l *loop) moveElement(dst, src *buffer.Chain) bool {
	var scan resp.ReplyScanner
	for src.Size() > 0 {
		p := src.Pieces()[0]
		n, done, err := scan.Feed(p.Bytes())
		if err != nil {
			return false
		}
		rep := reply{chunk: p.Chunk, off: p.Off, end: p.Off + uint32(n)}
		if n >= refSize {
			dst.AppendRef(rep.chunk, rep.off, rep.end)
		} else {
			dst.Append(&l.bufs, rep.tail())
		}
		src.Advance(n)
		if done {
			return true
		}
	}
	return false
}

// integer reads a ":n\r\n" reply.
func integer(b []byte) (int64, bool) {
	if len(b) < 4 || b[0] != ':' {
		return 0, false
	}
	return resp.ParseInt(b[1 : len(b)-2])
}
