package engine

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"respgate/engine/buffer"
	"respgate/engine/poller"
	"respgate/engine/resp"
	"respgate/engine/timer"
	"respgate/engine/topology"
)

// loop is an event loop: one goroutine that owns its clients, links, requests, buffers and timers. Everything below runs
// on it unless it says otherwise; other goroutines get in by post only.
type loop struct {
	id   int
	eng  *Engine
	poll poller.Poller
	mail mailbox

	now     int64 // ns since the engine's start, read once per iteration
	stamped int64 // the last stamp
	wheel   *timer.Wheel
	bufs    buffer.Pool
	slots   slots

	read  []byte     // what clients' sockets are read into; nothing stays in it between two reads
	frame resp.Frame // the request being handled
	batch []byte     // scratch for replies of the proxy's own and for rewritten requests
	keys  []int32    // scratch for key positions
	early buffer.Store
	reply reply // the reply being handled

	dirtyLinks   []*link
	dirtyClients []*client
	stalled      []*client // not read because of the memory limit
	inquiries    int       // under way for clients of this loop

	dialsAt int64 // the turn of the loop that dials counts
	dials   int   // connections begun in it

	freeRequests *request
	freeCount    int
	freeLow      int // fewest of them since the last trim: what nobody needed
	freeSplits   *split

	snap      *topology.Snapshot
	pools     map[string]*pool
	clients   int // open on this loop
	tight     bool
	trimTimer timer.Timer
	stopping  bool
	done      bool

	voiding    voiding
	moderation moderation
	iterations uint64
	waiting    int          // clients that wait for a reply
	live       int          // requests in flight that somebody waits for
	backlog    bool         // a socket has more than was read of it
	late       int          // turns for which full batches of events go before the deadlines
	memory     atomic.Int64 // bytes of buffers in use, published once per iteration
	open       atomic.Int32 // clients, published for the choice of a loop
	seed       uint64
	events     [256]poller.Event
}

// endpoint is what a descriptor belongs to: a client, a link or a listener.
type endpoint interface{ onReady(ev poller.Events) }

func newLoop(id int, eng *Engine, poll poller.Poller) *loop {
	l := &loop{
		id: id, eng: eng, poll: poll,
		read:    make([]byte, readSize),
		pools:   map[string]*pool{},
		snap:    &topology.Snapshot{},
		voiding: defaultVoiding,
		seed:    uint64(id)*0x9e3779b97f4a7c15 + 1,
	}
	l.now = eng.clock()
	l.wheel = timer.New(l.now)
	l.trimTimer.Func = l.trim
	l.wheel.Set(&l.trimTimer, l.now+trimEvery)
	return l
}

const (
	readSize  = 64 << 10         // of one read from a client
	maxWait   = int64(time.Hour) // of one poll
	unseen    = int64(100e6)     // that much more than a turn takes has passed without the loop
	lateTurns = 64               // that may be full of what came meanwhile before deadlines are looked at
)

// run serves until shut down.
func (l *loop) run() {
	for !l.done {
		n, err := l.wait()
		l.iterations++
		if err != nil {
			l.eng.fail(err) // a poller that fails is beyond repair: the process ends with the cause
			return
		}
		l.act(n)
		if rest := l.moderation.after(n, min(l.waiting, l.live), l.backlog, l.snap.Limits.Batch); rest > 0 {
			nap(rest)
		}
		l.backlog = false
	}
	l.poll.Close()
}

// act does what n events and the time ask for.
func (l *loop) act(n int) {
	for _, ev := range l.events[:n] {
		if ep := l.slots.get(ev.Handle); ep != nil { // nil: closed earlier in this iteration
			ep.onReady(ev.Events)
		}
	}
	l.mail.run()
	if l.late > 0 && n == len(l.events) {
		l.late--
	} else {
		l.late = 0
		l.wheel.Advance(l.now)
	}
	l.now = l.eng.clock() // the process may have been stopped meanwhile, and what was due to leave with it
	l.flush()
	l.publish()
}

// wait polls. When time has passed that the loop did not see, since the process was stopped or got no processor, what came
// meanwhile is in the sockets: that is read before anybody's deadline.
func (l *loop) wait() (int, error) {
	before, limit := l.now, l.waitTime()
	n, err := l.poll.Wait(l.events[:], limit)
	l.now = l.eng.clock()
	if err != nil || l.now-before-limit < unseen {
		return n, err
	}
	l.late = lateTurns
	if n == 0 { // a signal ends a poll without a look at the sockets
		n, err = l.poll.Wait(l.events[:], 0)
	}
	return n, err
}

// seconds is the time of the clock in seconds, where that is enough.
func (l *loop) seconds() uint32 { return uint32(l.now / int64(time.Second)) }

// waitTime is how long the poller may block, in nanoseconds.
func (l *loop) waitTime() int64 {
	next := l.wheel.Next()
	if next < 0 {
		return maxWait
	}
	return max(next-l.now, 0)
}

// flush writes each dirty descriptor once: links first, so that servers work while clients are written to.
// Writing can dirty others (a link that breaks answers its requests), hence the loop.
func (l *loop) flush() {
	for len(l.dirtyLinks) > 0 || len(l.dirtyClients) > 0 {
		for i := 0; i < len(l.dirtyLinks); i++ {
			k := l.dirtyLinks[i]
			k.dirty = false
			k.flush()
		}
		clear(l.dirtyLinks)
		l.dirtyLinks = l.dirtyLinks[:0]
		for i := 0; i < len(l.dirtyClients); i++ {
			c := l.dirtyClients[i]
			c.dirty = false
			c.flush()
		}
		clear(l.dirtyClients)
		l.dirtyClients = l.dirtyClients[:0]
	}
}

// publish shows other goroutines what they may need of the loop, and compares memory with the limit.
func (l *loop) publish() {
	if used := l.bufs.InUse(); used != l.memory.Load() {
		l.memory.Store(used)
	}
	limit := l.snap.Limits.Memory
	if limit == 0 {
		l.relax()
		return
	}
	used := l.eng.memory()
	switch {
	case !l.tight && used > limit:
		l.tight = true
		l.eng.memoryHits.Add(1)
		l.wheel.Set(&l.trimTimer, l.now+tightPoll)
	case l.tight && used <= limit-limit/8:
		l.relax()
	}
}

// tightPoll is how often a loop that waits for memory looks again: others may have freed it.
const tightPoll = int64(10e6)

// relax reads again from those whom the memory limit had stalled.
func (l *loop) relax() {
	l.tight = false
	l.unstall(math.MaxInt64)
}

// unstall reads again from those of the stalled who hold no more than share.
func (l *loop) unstall(share int64) {
	stalled := l.stalled
	l.stalled = nil
	for _, c := range stalled {
		if c.holds() > share {
			l.stalled = append(l.stalled, c)
			continue
		}
		c.resume(pauseMemory)
	}
}

// share is what a client may hold at the memory limit and still be read: half of the limit, divided by all clients. Those
// who fill the memory wait, and nobody else notices.
func (l *loop) share() int64 {
	return l.snap.Limits.Memory / (2 * max(l.eng.clients.Load(), 1))
}

// markLink and markClient note that something is to be written at the end of the iteration.
func (l *loop) markLink(k *link) {
	if !k.dirty {
		k.dirty = true
		l.dirtyLinks = append(l.dirtyLinks, k)
	}
}

func (l *loop) markClient(c *client) {
	if !c.dirty {
		c.dirty = true
		l.dirtyClients = append(l.dirtyClients, c)
	}
}

// jitter returns a pseudo-random duration in [d/2, d): retries of many loops and proxies must not coincide.
func (l *loop) jitter(d int64) int64 {
	l.seed ^= l.seed << 13
	l.seed ^= l.seed >> 7
	l.seed ^= l.seed << 17
	return d/2 + int64(l.seed>>1)%(d/2+1)
}

// post runs f on the loop, between two iterations. Safe from any goroutine; never blocks.
func (l *loop) post(f func()) {
	l.mail.put(f)
	_ = l.poll.Wake()
}

// call runs f on the loop and waits until it is done, or the loop is.
func (l *loop) call(f func()) {
	done := make(chan struct{})
	l.post(func() { f(); close(done) })
	select {
	case <-done:
	case <-l.eng.stopped:
	}
}

// mailbox is the only way into a loop. The control plane writes to it a few times per second, and other loops when a client
// asks for clients of theirs.
type mailbox struct {
	mu    sync.Mutex
	full  atomic.Bool
	items []func()
}

func (m *mailbox) put(f func()) {
	m.mu.Lock()
	m.items = append(m.items, f)
	m.full.Store(true)
	m.mu.Unlock()
}

func (m *mailbox) run() {
	if !m.full.Load() {
		return
	}
	m.mu.Lock()
	items := m.items
	m.items = nil
	m.full.Store(false)
	m.mu.Unlock()
	for _, f := range items {
		f()
	}
}
