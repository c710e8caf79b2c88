package engine

import (
	"bytes"
	"fmt"

	"respgate/engine/buffer"
	"respgate/engine/resp"
)

// reply is an answer on its way to a client: a server's, where it was read, or one of the proxy's own. It is valid for
// the moment it is handled; who keeps it copies it or takes references.
type reply struct {
	lead     *buffer.Chain // the part that came in earlier chunks; nil or empty for a reply in one piece
	chunk    *buffer.Chunk // the rest; nil for the proxy's own
	off, end uint32
	text     []byte // the proxy's own
}

// refSize is the size from which bytes are passed on by reference: below it a copy is cheaper than an element of writev.
const refSize = 4 << 10

func (r *reply) tail() []byte {
	if r.chunk != nil {
		return r.chunk.Bytes()[r.off:r.end]
	}
	return r.text
}

// first is the beginning of the reply, contiguous: its type and, of an error, the code.
func (r *reply) first() []byte {
	if r.lead != nil && r.lead.Size() > 0 {
		return r.lead.Pieces()[0].Bytes()
	}
	return r.tail()
}

func (r *reply) size() int {
	n := len(r.tail())
	if r.lead != nil {
		n += r.lead.Size()
	}
	return n
}

// appendTo puts the reply at the end of dst.
func (r *reply) appendTo(dst *buffer.Chain, p *buffer.Pool) {
	if r.lead != nil && r.lead.Size() > 0 {
		dst.AppendChain(r.lead)
	}
	if r.chunk != nil && r.end-r.off >= refSize {
		dst.AppendRef(r.chunk, r.off, r.end)
		return
	}
	dst.Append(p, r.tail())
}

// refer puts the reply at the end of dst without copying a byte of it, however small: for a moment only.
func (r *reply) refer(dst *buffer.Chain) {
	if r.lead != nil && r.lead.Size() > 0 {
		dst.AppendChain(r.lead)
	}
	dst.AppendRef(r.chunk, r.off, r.end)
}

// complete gives a request its answer. The request has left the server's queue or is about to; whoever waits for it gets
// the reply now, or when those before it have theirs.
func (l *loop) complete(r *request, rep *reply) {
	r.state = requestAnswered
	if r.parent != nil {
		l.fragmentDone(r, rep)
		return
	}
	if r.internal {
		l.answered(r, rep)
		return
	}
	c := r.client
	p := c.pool
	if !r.blocking {
		p.latency.observe(l.now - r.start)
	}
	if c.session != nil {
		c.session.replied(r, rep)
	}
	if r.mute {
		rep = &reply{}
	}
	if r.split != nil { // its parts have what it is merged from
		c.learn(r.split.stored)
		if c.queue.head == r {
			c.emit()
			l.markClient(c)
		}
		return
	}
	size := int64(rep.size())
	c.learn(size)
	if c.swamped(size) {
		p.count(errTooLarge)
		rep = &reply{text: resp.AppendError(l.scratch(), c.swampedText(size))}
		size = int64(len(rep.text))
	}
	if c.queue.head != r {
		if !r.mute {
			l.store(r, rep)
			c.stored += size
		}
		return
	}
	rep.appendTo(&c.out, &l.bufs)
	c.drop()
	c.emit()
	l.markClient(c)
}

// swampedText is the error in place of a reply that would not fit.
func (c *client) swampedText(size int64) string {
	return fmt.Sprintf("ERR respgate: the request was executed, its reply (%d bytes) was dropped: limits.memory is reached, and the client has not read %d bytes of earlier replies, twice its client_buffer",
		size, int64(c.out.Size())+c.stored)
}

// store keeps a reply until its turn: large ones where they are, small ones copied, so that a few bytes do not hold a
// whole chunk.
func (l *loop) store(r *request, rep *reply) {
	if rep.lead != nil && rep.lead.Size() > 0 {
		r.reply.AppendChain(rep.lead)
	}
	if rep.chunk != nil && rep.end-rep.off >= refSize {
		r.reply.AppendRef(rep.chunk, rep.off, rep.end)
		return
	}
	piece := l.early.Put(&l.bufs, rep.tail())
	r.reply.AppendRef(piece.Chunk, piece.Off, piece.End)
	piece.Chunk.Release()
}

// emit passes on every consecutive reply that is ready.
func (c *client) emit() {
	l := c.loop
	for c.queue.head != nil && c.queue.head.state == requestAnswered {
		r := c.queue.head
		if r.split != nil {
			if r.mute {
				l.unsplit(r)
			} else {
				l.merge(r)
			}
			c.drop()
			continue
		}
		c.stored -= int64(r.reply.Size())
		for _, p := range r.reply.Pieces() {
			if p.Len() >= refSize {
				c.out.AppendRef(p.Chunk, p.Off, p.End)
			} else {
				c.out.Append(&l.bufs, p.Bytes())
			}
		}
		c.drop()
	}
}

// drop takes the answered head out of the client's queue.
func (c *client) drop() {
	r := c.shift()
	c.inflight -= int64(r.size)
	c.loop.leave(r, inClient)
}

// respond answers the request being handled by the proxy itself, in its turn.
func (c *client) respond(text []byte) {
	if c.muted.silent() {
		return
	}
	l := c.loop
	if c.queue.count == 0 {
		c.out.Append(&l.bufs, text)
		l.markClient(c)
		return
	}
	r := l.newRequest()
	r.client, r.state, r.start = c, requestAnswered, l.now
	r.queued = inClient
	c.await(r)
	rep := reply{text: text}
	l.store(r, &rep)
	c.stored += int64(len(text))
}

// replyError answers with an error; text begins with its code.
func (c *client) replyError(text string) {
	c.respond(resp.AppendError(c.loop.scratch(), text))
}

// scratch is memory for a reply of the proxy's own, valid until the next call.
func (l *loop) scratch() []byte {
	if l.batch == nil {
		l.batch = make([]byte, 0, 1024)
	}
	return l.batch[:0]
}

// fail answers a request with an error of the proxy's own.
func (l *loop) fail(r *request, kind errorKind, text string) {
	if !r.dead() {
		l.failWith(r, kind, resp.AppendError(nil, text))
	}
}

// failWith is fail for a request that somebody waits for, with the error as it is sent: many may get the same.
func (l *loop) failWith(r *request, kind errorKind, text []byte) {
	if p := r.pool(); p != nil {
		p.count(kind)
	}
	rep := reply{text: text}
	l.complete(r, &rep)
}

// pool is the pool of the client that waits for the request.
func (r *request) pool() *pool {
	if r.parent != nil {
		r = r.parent
	}
	if r.client == nil {
		return nil
	}
	return r.client.pool
}

// isError reports whether a reply is an error, simple or bulk.
func isError(kind byte) bool { return kind == '-' || kind == '!' }

// hasCode reports whether the error line b carries the code.
func hasCode(b []byte, code string) bool {
	return len(b) > len(code)+1 && string(b[1:1+len(code)]) == code && (b[1+len(code)] == ' ' || b[1+len(code)] == '\r')
}

// line is the text of an error reply without its type and end, for a message of our own; at most 200 bytes of it.
func line(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	b = b[1:]
	if i := bytes.IndexByte(b, '\r'); i >= 0 {
		b = b[:i]
	}
	return string(b[:min(len(b), 200)])
}
