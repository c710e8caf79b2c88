package sentinelclient

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"respgate/internal/respconn"
)

// wire is the I/O of one connection to a sentinel: a goroutine that dials and
// reads, one that writes. It has no deadline but the dial's: the link's machine
// watches the time and hangs up.
type wire struct {
	id   wireID
	to   Address
	ctx  context.Context
	stop context.CancelFunc
	wake chan struct{} // there is something in queue

	mu     sync.Mutex
	conn   *respconn.Conn
	queue  [][]string
	broken error // the first error of the writer
}

// wireQueue bounds what waits to be written. The machine has at most two
// requests of a group and a few PINGs on their way.
const wireQueue = 1 << 14

var errQueue = errors.New("too many requests wait to be written")

// wireEvent is what a wire tells the monitor.
type wireEvent struct {
	wire  wireID
	event any // evConnected, evValue, evBroken
}

func newWire(parent context.Context, d dial) *wire {
	ctx, stop := context.WithCancel(parent)
	return &wire{id: d.wire, to: d.to, ctx: ctx, stop: stop, wake: make(chan struct{}, 1)}
}

// run dials, then reads until the connection ends. What it reads goes to the
// bounded channel out, so that a flood waits in the kernel.
func (w *wire) run(out chan<- wireEvent) {
	defer w.hangUp()
	post := func(ev any) bool {
		select {
		case out <- wireEvent{w.id, ev}:
			return true
		case <-w.ctx.Done():
			return false
		}
	}
	dialing, cancel := context.WithTimeout(w.ctx, connectTimeout)
	conn, err := respconn.Dial(dialing, "tcp", w.to.String(), respconn.Limits{})
	cancel()
	if err != nil {
		post(evBroken{w.id, tidy(err)})
		return
	}
	if !w.attach(conn) {
		return
	}
	var writer sync.WaitGroup
	writer.Go(w.write)
	defer writer.Wait()
	defer w.hangUp() // before the wait: it ends the writer
	if !post(evConnected{w.id}) {
		return
	}
	for {
		v, err := conn.Receive()
		if err != nil {
			post(evBroken{w.id, tidy(w.firstError(err))})
			return
		}
		if !post(evValue{w.id, v}) {
			return
		}
	}
}

// attach keeps the connection unless the wire was hung up while it was dialed.
func (w *wire) attach(conn *respconn.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		_ = conn.Close() // nothing was sent on it
		return false
	}
	w.conn = conn
	return true
}

// send queues one request; it never blocks.
func (w *wire) send(args []string) {
	w.mu.Lock()
	if len(w.queue) >= wireQueue {
		w.failLocked(errQueue)
	} else {
		w.queue = append(w.queue, args)
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *wire) write() {
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.wake:
		}
		w.mu.Lock()
		batch := w.queue
		w.queue = nil
		w.mu.Unlock()
		var err error
		for _, args := range batch {
			if err = w.conn.Send(args...); err != nil {
				break
			}
		}
		if err == nil {
			err = w.conn.Flush()
		}
		if err != nil {
			w.mu.Lock()
			w.failLocked(err)
			w.mu.Unlock()
			return
		}
	}
}

// failLocked ends the connection; the reader reports err.
func (w *wire) failLocked(err error) {
	if w.broken == nil {
		w.broken = err
	}
	if w.conn != nil {
		_ = w.conn.Close() // the reader tells what is wrong
	}
}

func (w *wire) firstError(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	return err
}

// hangUp ends both goroutines soon; it does not wait for them.
func (w *wire) hangUp() {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		_ = w.conn.Close() // a second Close is harmless
	}
}

// tidy leaves out of a network error what changes from time to time, such as
// the local port, so that the same complaint is recognised as the same.
func tidy(err error) error {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return errTimeout
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return errTimeout
		}
		return errors.New(dns.Err)
	case errors.As(err, &op):
		if op.Timeout() {
			return errTimeout
		}
		return op.Err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errHungUp
	}
	return err
}

var (
	errTimeout = errors.New("i/o timeout")
	errHungUp  = errors.New("the peer closed the connection")
)

// within is a context of at most d, for calls that may come without a deadline.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}
