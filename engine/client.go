package engine

import (
	"fmt"

	"respgate/engine/buffer"
	"respgate/engine/poller"
	"respgate/engine/resp"
	"respgate/engine/timer"
)

// client is the connection of an application. It owns no buffer while it is idle: requests are framed in the loop's read
// buffer, replies are collected in chunks that go back as soon as they are written.
//
//	open ──> closing (the last replies are written) ──> lingering (what still comes is read and dropped) ──> closed
type client struct {
	loop      *loop
	pool      *pool
	handle    uint64
	id        int64
	fd        int32
	inLen     uint32 // bytes in in
	state     clientState
	dirty     bool
	authed    bool
	proto3    bool
	eof       bool  // it has sent everything it will send
	postponed bool  // the request being handled is to be handled again when its turn comes
	paused    pause // why it is not read
	wants     poller.Events

	scan resp.RequestScanner
	in   *buffer.Chunk      // the beginning of a request, or what was read before a pause
	skip *resp.ReplyScanner // set while a request that is too large is thrown away

	queue    clientQueue
	inflight int64 // bytes of requests in the queue
	stored   int64 // bytes of replies that wait for their turn
	expect   int64 // how large its next reply may be: the largest of late, slowly forgotten
	out      buffer.Chain

	db      int32    // poolDB, or what it has SELECTed
	last    uint16   // ID of its last command
	muted   muting   // CLIENT REPLY
	notices notices  // CLIENT MAINT_NOTIFICATIONS
	session *session // what it has of its own with the servers; nil for most

	prev, next *client      // in the pool's list
	meta       *clientMeta  // what CLIENT SETNAME and the like set; nil for most
	timer      *timer.Timer // closing and lingering: when it is closed at the latest; else nil
	since      uint32       // seconds of the loop's clock
	active     uint32       // when something was read of it or written to it, likewise
}

// clientMeta is what a client told of itself.
type clientMeta struct{ name, libName, libVersion string }

type clientState uint8

const (
	clientOpen clientState = iota
	clientClosing
	clientLingering
	clientClosed
)

// pause is the set of reasons for which a client is not read: back-pressure instead of growth.
type pause uint8

const (
	pauseWindow  pause = 1 << iota // too much of its own is in flight or unread
	pauseMemory                    // the process is at its memory limit
	pauseServer                    // its requests wait for a server that is behind
	pauseSwitch                    // what follows takes another way to the servers, and must not overtake what went before
	pauseEnd                       // it has closed its side
	pauseAsk                       // its request waits for what other clients' loops have to say
	pauseClients                   // CLIENT PAUSE
)

// lingerTime is how long what a client still sends is read and dropped after the last reply, so that the kernel does not
// answer it with a reset that would take the reply along.
const lingerTime = int64(1e9)

// closingTime is how long a client that is being closed may take to read the replies it has, when all of them are there.
const closingTime = int64(10e9)

// openClient takes over an accepted descriptor, on the loop that will serve it; nil if the poller cannot take it.
func (l *loop) openClient(fd int, p *pool, id int64) *client {
	c := &client{loop: l, pool: p, fd: int32(fd), id: id, since: l.seconds(), active: l.seconds(), wants: poller.Readable, db: poolDB}
	c.expect = min(firstReply, p.topo.Settings.ClientBuffer/firstWindow)
	c.authed = p.topo.Settings.Password == ""
	c.handle = l.slots.put(c)
	if err := l.poll.Add(fd, c.handle, c.wants); err != nil {
		l.slots.drop(c.handle)
		closeFD(fd)
		l.eng.clientGone()
		return nil
	}
	p.addClient(c)
	l.clients++
	l.open.Store(int32(l.clients))
	return c
}

func (c *client) onReady(ev poller.Events) {
	if ev&poller.Writable != 0 {
		c.flush()
	}
	if c.state == clientClosed || ev&(poller.Readable|poller.Closed) == 0 {
		return
	}
	switch {
	case c.state == clientLingering:
		c.discard()
	case c.state == clientOpen && c.paused == 0:
		c.readable()
	case c.readsAhead():
		c.readAhead()
	case ev&poller.Closed != 0:
		c.close() // both directions are gone
	}
}

// readable reads once and handles every whole request.
func (c *client) readable() {
	l := c.loop
	if l.tight && c.holds() > l.share() {
		c.pause(pauseMemory)
		l.stalled = append(l.stalled, c)
		return
	}
	buf := l.read
	if c.in != nil {
		buf = c.in.Bytes()[c.inLen:]
	}
	n, err := readFD(int(c.fd), buf)
	if err != nil {
		if !wouldBlock(err) {
			c.close()
		}
		return
	}
	if n == 0 {
		c.end()
		return
	}
	c.pool.received += uint64(n)
	c.active = l.seconds()
	l.backlog = l.backlog || n == len(buf)
	if c.in != nil {
		c.inLen += uint32(n)
		c.consume(c.in.Bytes()[:c.inLen])
	} else {
		c.consume(buf[:n])
	}
}

// consume handles what has been read. data is either in c.in from its start, or in the loop's read buffer.
func (c *client) consume(data []byte) {
	for len(data) > 0 {
		if c.skip != nil {
			n, done, err := c.skip.Feed(data)
			if err != nil {
				c.protocolError("Protocol error: " + err.Error())
				return
			}
			data = data[n:]
			if done {
				c.skip = nil
			}
			continue
		}
		done, err := c.scan.Scan(data, c.limits(), &c.loop.frame)
		if err != nil {
			c.protocolError(err.Error())
			return
		}
		if !done {
			break
		}
		f := &c.loop.frame
		frame, before := data[:f.Size], data
		data = data[f.Size:]
		if f.Inline {
			c.inline(frame)
		} else if len(f.Args) > 0 {
			c.handleRequest(frame, f)
		}
		if c.muted > muteOff && !c.postponed {
			c.muted = c.muted.next()
		}
		if c.state != clientOpen {
			c.dropInput()
			return
		}
		if c.full() {
			c.pause(pauseWindow)
		}
		if c.paused != 0 {
			if c.postponed {
				c.postponed = false
				data = before
			}
			break
		}
	}
	c.keep(data)
}

// limits of what may be sent now: little before AUTH.
func (c *client) limits() *resp.Limits {
	if c.authed {
		return &authedLimits
	}
	return &unauthedLimits
}

var (
	authedLimits   = resp.Limits{}
	unauthedLimits = resp.Limits{Unauthenticated: true}
)

// inline handles a request typed as a line.
func (c *client) inline(line []byte) {
	l := c.loop
	multibulk, n, err := resp.ParseInline(l.batch[:0], line)
	if err != nil {
		c.protocolError(err.Error())
		return
	}
	l.batch = multibulk[:0]
	if n == 0 {
		return
	}
	if isHTTP(line) {
		c.replyError("ERR respgate: this is a Redis port, not HTTP: the connection is closed")
		c.finish()
		return
	}
	var scan resp.RequestScanner
	if done, err := scan.Scan(multibulk, c.limits(), &l.frame); err != nil || !done {
		c.protocolError("Protocol error: too big inline request")
		return
	}
	l.batch = nil // the frame lives there: whoever answers it needs another scratch
	c.handleRequest(multibulk, &l.frame)
	l.batch = multibulk[:0]
}

// keep stores the beginning of a request until the rest arrives, or everything that was read before a pause.
func (c *client) keep(rest []byte) {
	if len(rest) == 0 {
		c.dropInput()
		return
	}
	room := len(rest) + 1
	if c.paused == 0 {
		limit := c.pool.topo.Settings.ClientBuffer
		need := max(room, c.scan.Need())
		if int64(need) > limit {
			c.skipRequest(rest, limit)
			return
		}
		// Grow with what has come, not with what a header promises; but not by the next few bytes only.
		room = min(2*len(rest)+minInput, max(need, len(rest)+len(rest)/4+minInput))
	}
	if c.in == nil || c.in.Cap() < room || c.in.Cap() > 4*max(room, buffer.Small) {
		fitting := c.loop.bufs.Get(room)
		copy(fitting.Bytes(), rest)
		if c.in != nil {
			c.in.Release()
		}
		c.in = fitting
	} else if &rest[0] != &c.in.Bytes()[0] {
		copy(c.in.Bytes(), rest)
	}
	c.inLen = uint32(len(rest))
}

// minInput is the least room for the rest of a request.
const minInput = 512

// skipRequest answers a request that is larger than the client's bound and throws it away as it comes.
func (c *client) skipRequest(rest []byte, limit int64) {
	c.pool.count(errTooLarge)
	c.replyError(fmt.Sprintf("ERR respgate: the request is larger than client_buffer (%d bytes) and was skipped", limit))
	c.scan.Reset()
	c.skip = &resp.ReplyScanner{} // a request is an array of bulk strings, as a reply could be
	if _, _, err := c.skip.Feed(rest); err != nil {
		c.protocolError("Protocol error: " + err.Error())
		return
	}
	c.dropInput()
}

func (c *client) dropInput() {
	if c.in != nil {
		c.in.Release()
		c.in, c.inLen = nil, 0
	}
}

// full reports that no more may be read for now: its requests in flight have reached the pipeline bound, or the replies
// that are here and those expected have reached the client's buffer.
func (c *client) full() bool {
	s := &c.pool.topo.Settings
	return c.inflight >= s.Pipeline || c.owed() >= s.ClientBuffer
}

// A pipeline of a new client starts with as many requests as large replies would fit its buffer, firstWindow at least, and
// goes on with what they turn out to be.
const (
	firstReply  = 64 << 10
	firstWindow = 1024
)

// learn takes the size of a reply into account for those to come.
func (c *client) learn(size int64) {
	if size > c.expect {
		c.expect = size
		return
	}
	c.expect -= (c.expect - size) >> 6
}

// swamped reports that a reply of n bytes cannot be kept: the client has far more unread than its buffer, and the process
// is at its memory limit. What is read from a client is bounded by what its replies have been like; those under way may
// still turn out larger.
func (c *client) swamped(n int64) bool {
	return c.loop.tight && n > minInput && int64(c.out.Size())+c.stored+n > 2*c.pool.topo.Settings.ClientBuffer
}

// holds is the memory that the client takes: what it has not read, what it is being read, and its requests in flight.
func (c *client) holds() int64 {
	return int64(c.out.Size()) + c.stored + int64(c.inLen) + c.inflight
}

// owed is what the client has still to read, as far as it is known: here, waiting, and expected from its own past.
func (c *client) owed() int64 {
	return int64(c.out.Size()) + c.stored + int64(c.queue.count)*c.expect
}

// await queues a request whose reply the client waits for.
func (c *client) await(r *request) {
	if c.queue.count == 0 {
		c.loop.waiting++
	}
	r.mute = c.muted.silent()
	c.queue.push(r)
}

// shift takes the oldest request out of the queue.
func (c *client) shift() *request {
	r := c.queue.pop()
	if c.queue.count == 0 {
		c.loop.waiting--
	}
	return r
}

// drained reports that a client paused by its window has made enough room to be read again.
func (c *client) drained() bool {
	s := &c.pool.topo.Settings
	return c.inflight <= s.Pipeline/2 && c.owed() <= s.ClientBuffer/2
}

func (c *client) pause(why pause) {
	if why&pauseWindow != 0 && c.paused&pauseWindow == 0 {
		c.pool.stalls++
	}
	c.paused |= why
	c.watch()
}

// resume takes a reason for the pause away and goes on with what was read before it.
func (c *client) resume(why pause) {
	if c.paused&why == 0 {
		return
	}
	c.paused &^= why
	if c.paused != 0 || c.state != clientOpen {
		return
	}
	if c.in != nil {
		c.consume(c.in.Bytes()[:c.inLen])
		if c.state != clientOpen || c.paused != 0 {
			return
		}
	}
	c.watch()
}

// watch tells the poller what the client waits for, if that has changed.
func (c *client) watch() {
	if c.state == clientClosed {
		return
	}
	var want poller.Events
	if c.state == clientOpen && c.paused == 0 || c.state == clientLingering || c.readsAhead() {
		want |= poller.Readable
	}
	if c.out.Size() > 0 && !c.dirty {
		want |= poller.Writable
	}
	if want == c.wants {
		return
	}
	c.wants = want
	if err := c.loop.poll.Modify(int(c.fd), c.handle, want); err != nil {
		c.close()
	}
}

// flush writes what is ready.
func (c *client) flush() {
	if c.state == clientClosed {
		return
	}
	for c.out.Size() > 0 {
		n, err := writeChain(int(c.fd), &c.out)
		if n > 0 {
			c.pool.sentBytes += uint64(n)
			c.active = c.loop.seconds()
			c.out.Advance(n)
		}
		if err != nil {
			if wouldBlock(err) {
				break
			}
			c.close()
			return
		}
	}
	c.progress()
	c.watch()
}

// progress looks whether something that waited for replies to leave may go on.
func (c *client) progress() {
	if c.paused&pauseWindow != 0 && c.drained() {
		c.resume(pauseWindow)
	}
	if c.paused&pauseSwitch != 0 && c.queue.count == 0 && !c.proving() {
		if c.session != nil {
			c.session.settle()
		}
		c.resume(pauseSwitch)
	}
	if c.queue.count > 0 {
		return
	}
	switch written := c.out.Size() == 0; {
	case c.state == clientClosing && written:
		c.becomeLingering()
	case c.state == clientClosing && c.timer == nil:
		c.closeWithin(closingTime)
	case c.paused == pauseEnd && written:
		c.close()
	}
}

// closeWithin sets the latest time at which the client is closed.
func (c *client) closeWithin(d int64) {
	if c.timer == nil {
		c.timer = &timer.Timer{Func: func(int64) { c.close() }}
	}
	c.loop.wheel.Set(c.timer, c.loop.now+d)
}

// end notes that the client has closed its side: replies that are due are still written.
func (c *client) end() {
	c.eof = true
	if c.queue.count == 0 && c.out.Size() == 0 {
		c.close()
		return
	}
	c.pause(pauseEnd)
}

// protocolError answers what cannot be framed, as Redis does, and closes: nothing behind it can be understood.
func (c *client) protocolError(text string) {
	c.pool.count(errProtocol)
	c.replyError("ERR " + text)
	c.finish()
}

// finish closes once everything due has been written.
func (c *client) finish() {
	if c.state != clientOpen {
		return
	}
	c.state = clientClosing
	if c.session != nil {
		c.session.end("ERR respgate: the connection is being closed")
	}
	c.dropInput()
	c.loop.markClient(c)
}

// becomeLingering ends the sending side and waits for the peer to close, for a bounded time.
func (c *client) becomeLingering() {
	if c.eof || shutdownWrite(int(c.fd)) != nil {
		c.close()
		return
	}
	c.state = clientLingering
	c.closeWithin(lingerTime)
	c.watch()
}

// discard reads and drops what a client still sends after its last reply.
func (c *client) discard() {
	n, err := readFD(int(c.fd), c.loop.read)
	if n == 0 && err == nil || err != nil && !wouldBlock(err) {
		c.close()
	}
}

// close drops the connection and everything the client had under way. Replies still to come find it gone.
func (c *client) close() {
	if c.state == clientClosed {
		return
	}
	c.state = clientClosed
	l := c.loop
	if c.timer != nil {
		l.wheel.Stop(c.timer)
	}
	_ = l.poll.Delete(int(c.fd))
	closeFD(int(c.fd))
	l.slots.drop(c.handle)
	for c.queue.count > 0 {
		r := c.shift()
		r.client = nil
		l.abandon(r)
	}
	c.inflight, c.stored = 0, 0
	if c.session != nil {
		c.session.close()
	}
	c.out.Clear()
	c.dropInput()
	c.pool.removeClient(c)
	l.clients--
	l.open.Store(int32(l.clients))
	l.eng.clientGone()
}

// abandon gives up a request whose client is gone, with its fragments.
func (l *loop) abandon(r *request) {
	if s := r.split; s != nil {
		for i := range s.parts {
			l.forsake(s.parts[i].fragment)
		}
		l.freeSplit(s)
		r.split = nil
	}
	l.forsake(r)
}

// forsake takes a request out of its client's hands; one that waits for its server is left there, to be passed over.
func (l *loop) forsake(r *request) {
	switch {
	case r.queued&inServer == 0:
	case r.state == requestPending:
		r.server.dead++
	case r.state == requestSent && r.counts():
		r.server.count(-1)
	}
	l.leave(r, inClient)
}

// isHTTP recognises the first line of an HTTP request: a browser or a health check on the wrong port.
func isHTTP(line []byte) bool {
	n := len(line)
	for n > 0 && (line[n-1] == '\n' || line[n-1] == '\r') {
		n--
	}
	const version = "HTTP/1."
	return n >= len(version)+1 && string(line[n-len(version)-1:n-1]) == version
}
