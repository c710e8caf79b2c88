package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"respgate/engine/poller"
	"respgate/engine/topology"
)

// Options are fixed for the life of an engine.
type Options struct {
	Loops     int                           // event loops; 0 = one per CPU
	Version   string                        // of respgate, for INFO
	NewPoller func() (poller.Poller, error) // nil = the platform's best
	Observe   func(Event)                   // called from the loops: must not block; nil = nobody
	Trimmed   func(bytes int64)             // a loop has let go of so many bytes that a burst had taken: must not block; nil = nobody
	Fatal     func(error)                   // a loop cannot go on; nil = panic
}

// Engine is the data plane: event loops, listeners and the snapshot they serve. Its methods are for the control plane
// and safe for several goroutines.
type Engine struct {
	opts    Options
	start   time.Time
	loops   []*loop
	running sync.WaitGroup
	stopped chan struct{} // closed when all loops have ended

	mu        sync.Mutex // held by Apply and Shutdown: one change at a time
	listeners map[listenKey]*listener
	closed    bool

	sharedMu sync.Mutex
	shared   map[[2]string]*groupShared // by pool and group

	lastFile   int // the highest descriptor that a client gets
	clients    atomic.Int64
	lastClient atomic.Int64
	memoryHits atomic.Uint64
	clientHits atomic.Uint64
	trimmed    atomic.Int64
	serial     atomic.Uint64
}

// listenKey is what makes two listeners the same socket.
type listenKey struct{ network, address string }

// ErrClosed is returned by calls after Shutdown.
var ErrClosed = errors.New("engine: closed")

// New starts the event loops. They serve nothing until the first Apply.
func New(opts Options) (*Engine, error) {
	if opts.Loops <= 0 {
		opts.Loops = runtime.GOMAXPROCS(0)
	}
	if opts.NewPoller == nil {
		opts.NewPoller = poller.New
		if runtime.GOMAXPROCS(0) > opts.Loops {
			opts.NewPoller = poller.NewHolding
		}
	}
	e := &Engine{opts: opts, start: time.Now(), lastFile: lastClientFile(), stopped: make(chan struct{}), listeners: map[listenKey]*listener{}, shared: map[[2]string]*groupShared{}}
	for i := range opts.Loops {
		p, err := opts.NewPoller()
		if err != nil {
			for _, l := range e.loops {
				l.poll.Close()
			}
			return nil, fmt.Errorf("engine: loop %d: %w", i, err)
		}
		e.loops = append(e.loops, newLoop(i, e, p))
	}
	for _, l := range e.loops {
		e.running.Go(l.run)
	}
	go func() { e.running.Wait(); close(e.stopped) }()
	return e, nil
}

// clock is the time of the loops: nanoseconds since the engine's start, monotonic. The first second is left out, so that
// no time is ever zero.
func (e *Engine) clock() int64 { return int64(time.Since(e.start)) + int64(time.Second) }

// clockStart is what clock said when the engine was made.
func (e *Engine) clockStart() int64 { return int64(time.Second) }

func (e *Engine) fail(err error) {
	if e.opts.Fatal == nil {
		panic(err)
	}
	e.opts.Fatal(err)
}

// memory is the number of bytes in buffers of all loops.
func (e *Engine) memory() (n int64) {
	for _, l := range e.loops {
		n += l.memory.Load()
	}
	return n
}

// clientGone gives the place of a client back.
func (e *Engine) clientGone() { e.clients.Add(-1) }

// quietest is the loop with the fewest clients.
func (e *Engine) quietest() *loop {
	best := e.loops[0]
	for _, l := range e.loops[1:] {
		if l.open.Load() < best.open.Load() {
			best = l
		}
	}
	return best
}

// sharedGroup is the state of a group that its loops share.
func (e *Engine) sharedGroup(pool, group string) *groupShared {
	e.sharedMu.Lock()
	defer e.sharedMu.Unlock()
	key := [2]string{pool, group}
	s := e.shared[key]
	if s == nil {
		s = &groupShared{}
		e.shared[key] = s
	}
	return s
}

// Apply makes every loop serve s and returns when all of them do. New listeners are bound first: if one cannot be, the
// error names the pool and the address, and everything stays as it was. s must not be changed afterwards.
func (e *Engine) Apply(s *topology.Snapshot) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	fresh, err := e.bindNew(s)
	if err != nil {
		return err
	}
	e.everywhere(func(l *loop) { l.swap(s) })
	e.serial.Store(s.Serial)
	err = e.listen(s, fresh)
	e.pruneShared(s)
	return err
}

// everywhere runs f on each loop at the same time and waits for all.
func (e *Engine) everywhere(f func(*loop)) {
	var wg sync.WaitGroup
	for _, l := range e.loops {
		wg.Go(func() { l.call(func() { f(l) }) })
	}
	wg.Wait()
}

// bindNew opens the sockets that s wants and that are not open yet; all or none.
func (e *Engine) bindNew(s *topology.Snapshot) (map[listenKey]int, error) {
	fresh := map[listenKey]int{}
	for _, p := range s.Pools {
		key := listenKey{p.Listen.Network, p.Listen.Address}
		if e.listeners[key] != nil {
			continue
		}
		fd, err := bind(p.Listen)
		if err != nil {
			for _, fd := range fresh {
				closeFD(fd)
			}
			return nil, fmt.Errorf("pool '%s': listen on %s: %w", p.Name, p.Listen.Address, err)
		}
		fresh[key] = fd
	}
	return fresh, nil
}

// listen starts accepting on the fresh sockets and closes those that s has no pool for.
func (e *Engine) listen(s *topology.Snapshot, fresh map[listenKey]int) (err error) {
	l := e.loops[0]
	l.call(func() {
		wanted := map[listenKey]bool{}
		for _, p := range s.Pools {
			key := listenKey{p.Listen.Network, p.Listen.Address}
			wanted[key] = true
			ln := e.listeners[key]
			if ln == nil {
				ln = &listener{eng: e, loop: l, at: p.Listen, fd: fresh[key]}
				if openErr := ln.open(); openErr != nil {
					closeFD(ln.fd)
					err = errors.Join(err, fmt.Errorf("pool '%s': %w", p.Name, openErr))
					continue
				}
				e.listeners[key] = ln
			}
			ln.pool = p.Name
		}
		for key, ln := range e.listeners {
			if !wanted[key] {
				ln.close()
				delete(e.listeners, key)
			}
		}
	})
	return err
}

// pruneShared forgets groups that are gone.
func (e *Engine) pruneShared(s *topology.Snapshot) {
	e.sharedMu.Lock()
	defer e.sharedMu.Unlock()
	for key := range e.shared {
		p := s.Pool(key[0])
		if p == nil {
			delete(e.shared, key)
			continue
		}
		if g, _ := p.Group(key[1]); g == nil {
			delete(e.shared, key)
		}
	}
}

// Shutdown stops accepting, lets clients have the replies they wait for, and ends the loops; when ctx is done first, the
// rest is closed at once.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	e.closed = true
	e.loops[0].call(func() {
		for _, ln := range e.listeners {
			ln.close()
		}
	})
	grace := graceWithin(ctx)
	e.everywhere(func(l *loop) { l.drainAll(grace) })
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for e.clients.Load() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	e.everywhere(func(l *loop) { l.closeAll() })
	for _, l := range e.loops {
		l.post(func() { l.done = true })
	}
	<-e.stopped
	return ctx.Err()
}

// drainAll lets every client of the loop finish.
func (l *loop) drainAll(grace int64) {
	l.stopping = true
	for name, p := range l.pools {
		p.retire("pool '"+name+"': the proxy is shutting down", grace)
	}
}

// closeAll closes what is left, of pools that were removed and are still draining as well.
func (l *loop) closeAll() {
	l.slots.each(func(ep endpoint) {
		switch ep := ep.(type) {
		case *client:
			ep.close()
		case *link:
			ep.server.becomeRetired("the proxy is shutting down")
			ep.close("the proxy is shutting down")
		}
	})
}
