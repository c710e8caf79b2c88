package engine

import (
	"cmp"
	"slices"

	"respgate/engine/buffer"
	"respgate/engine/command"
)

// request is one command of a client on its way to a server and back, or one fragment of such a command.
//
// Two queues hold it: the client's, in the order the replies must leave, and a server's (pending, then a link's in
// flight). It goes back to the loop's free list when it has left both, so neither can ever see a recycled one: a reply
// that comes after its client was answered (a time-out) or is gone finds the request still in the link's queue, and
// is dropped there.
type request struct {
	reply buffer.Chain // an answer that waits for its turn; empty, and nothing to clear, in most requests
	requestFields
}

// requestFields is all of a request that ends with it.
type requestFields struct {
	client *client          // nil once the client is gone; of a fragment always nil
	parent *request         // of a fragment
	split  *split           // of a request that was split into fragments
	cmd    *command.Command //
	server *server          // that has or had it

	piece   buffer.Piece // the bytes for the server, kept until its reply
	size    int32        // of the client's frame in bytes, for the pipeline bound
	part    int32        // index among the parent's fragments
	start   int64        // when it was read, ns of the loop's clock; of what goes to a server no two are the same on a loop
	sent    int64        // when it was given to a link
	seq     uint64       // position of its last byte in the link's output
	state   requestState
	queued  queueMask
	mute    bool  // CLIENT REPLY: its reply goes nowhere
	retries uint8 // times it was asked again because its link was lost, or because of the order

	blocking bool // it may wait at the server for as long as it says: no time-out of the pool's
	internal bool // the proxy's own: no client waits for it; its reply is the session's, if there is one
	inMulti  bool // it is queued by the server for EXEC

	refusedBy uint8 // the era of the master that has refused it, of a script

	nextClient *request
	nextServer *request
}

type requestState uint8

const (
	requestNew      requestState = iota
	requestPending               // in a server's queue, not sent
	requestSent                  // given to a link
	requestAnswered              // has its reply; waits for its turn, or its late reply is still to come
)

type queueMask uint8

const (
	inClient queueMask = 1 << iota // in the client's queue, or a fragment its parent waits for
	inServer                       // in a server's pending queue or a link's in-flight queue
)

// maxRetries bounds how often a request is sent again to a server that may have died of it. One that was rejected, or of
// which not a byte was sent, was not executed: only the age bound of the hold ends its tries.
const maxRetries = 20

// maxBegun is for one that was sent, but not to its last byte: a server hangs up in the middle of what is too large for it.
const maxBegun = 3

// newRequest takes a request from the free list.
func (l *loop) newRequest() *request {
	r := l.freeRequests
	if r == nil {
		l.freeLow = 0
		batch := make([]request, 64) // one allocation for many: a burst grows the list, Trim lets it go
		for i := range batch[1:] {
			batch[i+1].nextClient = l.freeRequests
			l.freeRequests = &batch[i+1]
		}
		l.freeCount += len(batch) - 1
		return &batch[0]
	}
	l.freeRequests = r.nextClient
	r.nextClient = nil
	l.freeCount--
	l.freeLow = min(l.freeLow, l.freeCount)
	return r
}

// leave takes the request out of one of its queues and recycles it when it was the last one.
func (l *loop) leave(r *request, q queueMask) {
	r.queued &^= q
	if r.queued != 0 {
		return
	}
	r.dropBytes()
	if r.reply.Size() > 0 {
		r.reply.Clear()
	}
	r.requestFields = requestFields{}
	r.nextClient = l.freeRequests
	l.freeRequests = r
	l.freeCount++
}

// dropBytes gives up the copy of what is sent to the server.
func (r *request) dropBytes() {
	if r.piece.Chunk != nil {
		r.piece.Chunk.Release()
		r.piece = buffer.Piece{}
	}
}

// dead reports that nobody waits for the reply any more.
func (r *request) dead() bool {
	if r.parent != nil {
		return r.queued&inClient == 0 || r.state == requestAnswered
	}
	if r.internal {
		return r.state == requestAnswered || r.server.lane != nil && r.server.lane.session == nil
	}
	return r.client == nil || r.state == requestAnswered
}

// counts reports that a request in flight is work under way: a client that is blocked keeps no loop from waiting for it.
func (r *request) counts() bool { return !r.blocking && !r.internal }

// clientQueue is the FIFO of a client's requests.
type clientQueue struct {
	head, tail *request
	count      int
}

func (q *clientQueue) push(r *request) {
	if q.tail == nil {
		q.head = r
	} else {
		q.tail.nextClient = r
	}
	q.tail = r
	q.count++
}

func (q *clientQueue) pop() *request {
	r := q.head
	q.head = r.nextClient
	if q.head == nil {
		q.tail = nil
	}
	r.nextClient = nil
	q.count--
	return r
}

// serverQueue is a FIFO of requests for a server.
type serverQueue struct {
	head, tail *request
	count      int
	bytes      int
}

func (q *serverQueue) push(r *request) {
	if q.tail == nil {
		q.head = r
	} else {
		q.tail.nextServer = r
	}
	q.tail = r
	q.count++
	q.bytes += r.piece.Len()
}

func (q *serverQueue) pop() *request {
	r := q.head
	q.head = r.nextServer
	if q.head == nil {
		q.tail = nil
	}
	r.nextServer = nil
	q.count--
	q.bytes -= r.piece.Len()
	return r
}

// stamp is the age of the next request that goes to a server, which is its place among all of its loop for good.
func (l *loop) stamp() int64 {
	l.stamped = max(l.now, l.stamped+1)
	return l.stamped
}

// sort puts the queue in the order of age, as it nearly always is. It is not when a link has been sent old requests again while
// new ones of other clients went on.
func (q *serverQueue) sort() {
	sorted := true
	for r := q.head; r != nil && r.nextServer != nil && sorted; r = r.nextServer {
		sorted = r.start <= r.nextServer.start
	}
	if sorted {
		return
	}
	all := make([]*request, 0, q.count)
	for q.count > 0 {
		all = append(all, q.pop())
	}
	slices.SortStableFunc(all, func(a, b *request) int { return cmp.Compare(a.start, b.start) })
	for _, r := range all {
		q.push(r)
	}
}

// merge puts all of o where its age belongs, and before what is as old; q, which is in order, stays so, and o is empty afterwards.
func (q *serverQueue) merge(o *serverQueue) {
	o.sort()
	if q.tail != nil && o.head != nil && q.tail.start < o.head.start {
		q.tail.nextServer, q.tail = o.head, o.tail
		q.count += o.count
		q.bytes += o.bytes
		*o = serverQueue{}
		return
	}
	at := &q.head
	for r := o.head; r != nil; {
		for *at != nil && (*at).start < r.start {
			at = &(*at).nextServer
		}
		next := r.nextServer
		if r.nextServer = *at; *at == nil {
			q.tail = r
		}
		*at = r
		at, r = &r.nextServer, next
	}
	q.count += o.count
	q.bytes += o.bytes
	*o = serverQueue{}
}
