package engine

import (
	"bytes"
	"slices"

	"respgate/engine/buffer"
	"respgate/engine/command"
	"respgate/engine/resp"
)

// split is what a request over several groups keeps: its parts, and which part each key went to.
//
//	MGET a b c d ──> part 0 (g1): MGET a c ──┐
//	      owner: 0 1 0 1                     ├─> merge in the order of owner, straight into what the client is written
//	             └─> part 1 (g2): MGET b d ──┘
//
// Its cost is linear in keys and parts: every key is looked at once on the way there and once on the way back.
type split struct {
	parts   []part
	owner   []uint16 // part of each key, in the order of the request
	sizes   []int    // bytes of each element of the parts' replies, part after part; of MGET only
	slot    []int32  // group index -> part + 1, cleared after use
	waiting int      // parts without an answer
	sum     int64
	stored  int64  // bytes of fragments' replies, which count as the client's
	failed  []byte // the reply of the request, if it is an error
	next    *split

	// Of a fan-out (fanout.go):
	head    []byte       // what stands for the headers of the replies that are joined
	limit   int64        // of SLOWLOG GET: entries asked for; of SCAN: groups that the cursor counts
	refusal []byte       // the error that says most, where one group's success is enough
	info    *infoRequest // of INFO
}

// part is what one group has of a request.
type part struct {
	fragment *request
	group    int32
	keys     int32
	size     int          // bytes of its keys in the frame
	at       int          // where its next key is written to
	element  int          // index in sizes: of its first element, while merging of the next
	header   int          // bytes of its reply before the first element
	from     buffer.Piece // while merging: the rest of a piece of its reply
	piece    int          // and the index of the next one
	omit     bool         // of a fan-out: its reply is no part of the whole
}

func (l *loop) newSplit() *split {
	s := l.freeSplits
	if s == nil {
		return &split{}
	}
	l.freeSplits, s.next = s.next, nil
	return s
}

// keepKeys is the number of keys from which the memory of a split is not kept.
const keepKeys = 4096

// freeSplit recycles a split that its request is done with.
func (l *loop) freeSplit(s *split) {
	if s.info != nil {
		l.wheel.Stop(&s.info.timer)
	}
	clear(s.parts)
	*s = split{parts: s.parts[:0], owner: s.owner[:0], sizes: s.sizes[:0], slot: s.slot, head: s.head[:0], next: l.freeSplits}
	if cap(s.owner) > keepKeys {
		s.owner, s.sizes = nil, nil
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
	if !s.place(p, step, frame, f) {
		l.freeSplit(s)
		c.allEjected()
		return
	}
	if len(s.parts) == 1 {
		g := int(s.parts[0].group)
		l.freeSplit(s)
		c.forward(cmd, p.groups[g], frame)
		return
	}
	c.awaitSplit(cmd, s, len(frame))
	bodies := s.write(l.scratch(), step, frame, f)
	l.batch = nil // the fragments' bytes live there: whoever answers one needs another scratch
	start := 0
	for i, n := 0, len(s.parts); i < n; i++ {
		pt := &s.parts[i]
		g, fragment, end := p.groups[pt.group], pt.fragment, pt.at
		g.send(fragment, bodies[start:end], c) // may fail at once; the last answer recycles s
		start = end
	}
	l.batch = bodies[:0]
}

// awaitSplit queues a request of size bytes with its fragments, one for each part of s.
func (c *client) awaitSplit(cmd *command.Command, s *split, size int) *request {
	l := c.loop
	r := c.request(cmd, size)
	r.split, r.state = s, requestPending
	c.pool.fragmented++
	s.waiting = len(s.parts)
	keys := 0
	for i := range s.parts {
		pt := &s.parts[i]
		pt.fragment = l.newFragment(r, int32(i))
		pt.element = keys
		keys += int(pt.keys)
	}
	if cmd.Route == command.RouteMGet {
		s.sizes = slices.Grow(s.sizes, keys)[:keys]
	}
	return r
}

// place finds the part of each key; false if every group is ejected.
func (s *split) place(p *pool, step int, frame []byte, f *resp.Frame) bool {
	if len(s.slot) < len(p.groups) {
		s.slot = make([]int32, len(p.groups))
	}
	start := f.Args[0].End()
	for i := 1; i < len(f.Args); i += step {
		g := p.route(arg(frame, f.Args[i]))
		if g < 0 { // for the first key as for all
			return false
		}
		at := s.slot[g]
		if at == 0 {
			s.parts = append(s.parts, part{group: int32(g)})
			at = int32(len(s.parts))
			s.slot[g] = at
		}
		s.owner = append(s.owner, uint16(at-1))
		pt := &s.parts[at-1]
		end := f.Args[i+step-1].End()
		pt.size += int(end - start)
		pt.keys++
		start = end
	}
	for i := range s.parts {
		s.slot[s.parts[i].group] = 0
	}
	return true
}

// write appends the requests of all parts to b, one after the other; the end of each is in at. The arguments of a key stand
// together in the frame, headers included, and are copied as they are: there is only one way to write a length.
func (s *split) write(b []byte, step int, frame []byte, f *resp.Frame) []byte {
	const crlf = 2
	from := f.Args[0].End() + crlf
	name := frame[bytes.LastIndexByte(frame[:f.Args[0].Off], '$'):from]
	for i := range s.parts {
		pt := &s.parts[i]
		b = resp.AppendArray(b, 1+int(pt.keys)*step)
		b = append(b, name...)
		pt.at = len(b)
		b = slices.Grow(b, pt.size)[:len(b)+pt.size]
	}
	for k, owner := range s.owner {
		end := f.Args[(k+1)*step].End() + crlf
		pt := &s.parts[owner]
		pt.at += copy(b[pt.at:], frame[from:end])
		from = end
	}
	return b
}

func (l *loop) newFragment(parent *request, part int32) *request {
	r := l.newRequest()
	r.parent, r.part, r.cmd = parent, part, parent.cmd
	r.start = l.now
	r.queued = inClient
	return r
}

// fragmentDone takes the answer of one fragment; the last one answers the request.
func (l *loop) fragmentDone(f *request, rep *reply) {
	r := f.parent
	if f.queued&inClient == 0 {
		return
	}
	s := r.split
	s.waiting--
	if s.failed == nil {
		s.failed = l.gather(r, f, rep)
	}
	if s.waiting == 0 {
		l.mergeParts(r)
	}
}

// mergeParts answers a request whose parts are all there, or as soon as it is its turn.
func (l *loop) mergeParts(r *request) {
	s := r.split
	text := s.failed
	if text == nil {
		switch r.cmd.Route {
		case command.RouteMGet:
		case command.RouteMSet:
			text = okReply
		case command.RouteSum:
			text = resp.AppendInt(l.scratch(), s.sum)
		default:
			text = l.mergeWhole(r)
		}
	}
	if text == nil {
		l.complete(r, nil)
		return
	}
	l.unsplit(r)
	l.complete(r, &reply{text: text})
}

// gather takes what the request needs of a fragment's reply. What it returns is the error that the request ends with, or nil.
func (l *loop) gather(r, f *request, rep *reply) []byte {
	s, c := r.split, r.client
	first := rep.first()
	switch {
	case r.cmd.Merge != command.MergeNone:
		return l.gatherWhole(r, f, rep)
	case len(first) > 0 && isError(first[0]):
		return c.blamed(f, rep)
	case r.cmd.Route == command.RouteMGet:
		size := int64(rep.size())
		if c.swamped(size) {
			c.pool.count(errTooLarge)
			return resp.AppendError(nil, c.swampedText(size))
		}
		if !s.measure(&s.parts[f.part], rep) {
			return c.oddReply(f)
		}
		if s.waiting == 0 && c.queue.head == r {
			rep.refer(&f.reply) // for the merge that follows at once
		} else {
			l.store(f, rep)
		}
		s.stored += size
		c.stored += size
	case r.cmd.Route == command.RouteSum:
		n, ok := integer(first)
		if !ok {
			return c.oddReply(f)
		}
		s.sum += n
	}
	return nil
}

// blamed is a fragment's error as the error of the whole: it names the group.
func (c *client) blamed(f *request, rep *reply) []byte {
	text := line(rep.first())
	if rep.chunk != nil { // a server's; the proxy's own name the group already
		text += " (respgate: group '" + f.server.group.name + "')"
	}
	return resp.AppendError(nil, text)
}

// oddReply is the error for a reply that cannot be merged with others.
func (c *client) oddReply(f *request) []byte {
	group := f.server.group.name
	return resp.AppendError(nil, "ERR respgate: group '"+group+"': "+f.server.master.Name+" answered "+f.cmd.Name+" with a reply of another shape")
}

// measure notes where the elements of a part's reply end; false if it is anything but an array of as many as were asked for.
func (s *split) measure(pt *part, rep *reply) bool {
	var room [24]byte
	header := resp.AppendArray(room[:0], int(pt.keys))
	pt.header = len(header)
	sizes := s.sizes[pt.element : pt.element+int(pt.keys)]
	var scan resp.ReplyScanner
	size, i := 0, 0
	var lead []buffer.Piece
	if rep.lead != nil {
		lead = rep.lead.Pieces()
	}
	for k := 0; k <= len(lead); k++ {
		b := rep.tail()
		if k < len(lead) {
			b = lead[k].Bytes()
		}
		for ; len(header) > 0 && len(b) > 0; header, b = header[1:], b[1:] {
			if b[0] != header[0] {
				return false
			}
		}
		for len(b) > 0 {
			if i == len(sizes) {
				return false
			}
			n, done, err := scan.Feed(b)
			if err != nil {
				return false
			}
			b = b[n:]
			size += n
			if done {
				sizes[i] = size
				size = 0
				i++
			}
		}
	}
	return i == len(sizes) && len(header) == 0
}

// unsplit lets go of everything a request needed to be split.
func (l *loop) unsplit(r *request) {
	s := r.split
	for i := range s.parts {
		if f := s.parts[i].fragment; f != nil {
			l.leave(f, inClient)
		}
	}
	r.client.stored -= s.stored
	r.split = nil
	l.freeSplit(s)
}

// merge gives the client what the parts have; it is the request's turn.
func (l *loop) merge(r *request) {
	if r.cmd.Route == command.RouteMGet {
		r.split.merge(&r.client.out, &l.bufs)
	} else {
		r.split.join(&r.client.out, &l.bufs)
	}
	l.unsplit(r)
}

// merge puts the elements of the parts' arrays into the order of the keys.
func (s *split) merge(out *buffer.Chain, p *buffer.Pool) {
	var room [24]byte
	out.Append(p, resp.AppendArray(room[:0], len(s.owner)))
	for i := range s.parts {
		pt := &s.parts[i]
		for pt.header > 0 {
			pt.header -= len(pt.take(pt.header))
		}
	}
	for k := 0; k < len(s.owner); {
		owner := s.owner[k]
		pt := &s.parts[owner]
		run := 0 // elements of one part that follow each other are one copy
		for ; k < len(s.owner) && s.owner[k] == owner; k++ {
			run += s.sizes[pt.element]
			pt.element++
		}
		pt.move(out, p, run)
	}
}

// move appends n bytes of the part's reply to out, by reference where that pays.
func (pt *part) move(out *buffer.Chain, p *buffer.Pool, n int) {
	for n > 0 {
		b := pt.take(n)
		if n -= len(b); len(b) >= refSize {
			out.AppendRef(pt.from.Chunk, pt.from.Off-uint32(len(b)), pt.from.Off)
		} else {
			out.Append(p, b)
		}
	}
}

// take consumes n bytes of the part's reply, or as many as stand together.
func (pt *part) take(n int) []byte {
	if pt.from.Len() == 0 {
		pt.from = pt.fragment.reply.Pieces()[pt.piece]
		pt.piece++
	}
	b := pt.from.Bytes()
	b = b[:min(n, len(b))]
	pt.from.Off += uint32(len(b))
	return b
}

// integer reads a ":n\r\n" reply.
func integer(b []byte) (int64, bool) {
	if len(b) < 4 || b[0] != ':' {
		return 0, false
	}
	return resp.ParseInt(b[1 : len(b)-2])
}
