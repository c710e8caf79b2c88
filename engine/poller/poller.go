// Package poller waits for readiness of file descriptors and can be woken from another goroutine. One event loop owns a
// Poller; only Wake may be called from elsewhere.
//
// Linux uses epoll(7), level triggered, and an eventfd(2); every other Unix poll(2) and a pipe. The second is built and
// tested on Linux as well (NewPortable), so that it does not rot.
package poller

import "errors"

// ErrClosed is returned by Wake and Close after Close.
var ErrClosed = errors.New("poller: closed")

// Events is a set of readiness conditions.
type Events uint8

const (
	Readable Events = 1 << iota
	Writable
	Closed // error or hang-up; reported whether asked for or not
)

// Event says that the descriptor registered with Handle is ready.
type Event struct {
	Handle uint64
	Events Events
}

// Poller is a set of descriptors. Handle is whatever the owner wants to get back; WakeHandle is reserved.
type Poller interface {
	Add(fd int, handle uint64, ev Events) error
	Modify(fd int, handle uint64, ev Events) error
	Delete(fd int) error
	// Wait fills events and returns how many. timeout is in nanoseconds: 0 = do not block, < 0 = no limit.
	// A wake-up ends it early and is not an event. So may a signal.
	Wait(events []Event, timeout int64) (int, error)
	// Wake makes the current or the next Wait return. Safe from any goroutine; calls between two Waits cost one system call.
	Wake() error
	// Close is the last call of the owner. Wake may still be called, and does nothing.
	Close() error
}

// WakeHandle is the handle of the poller's own wake-up descriptor.
const WakeHandle = ^uint64(0)
