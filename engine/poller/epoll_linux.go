package poller

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

type epoll struct {
	fd      int
	wakeFD  int
	waking  sync.Mutex  // between Wake and Close: a closed descriptor's number may be somebody else's by now
	closed  bool        //
	pending atomic.Bool // a wake-up was written and not yet read
	hold    int         // ms of waiting outside the scheduler's sight before it is told
	raw     [256]unix.EpollEvent
}

// New returns the platform's best poller.
func New() (Poller, error) { return newEpoll(0) }

// NewHolding returns the platform's best poller for a loop that may keep its processor for itself: for the first few
// milliseconds of a wait the Go scheduler is not told. Telling it costs more than the wait where requests come one by one:
// its monitor wakes every 20 us to take the processor away. For programs that have more processors (GOMAXPROCS) than
// loops; a garbage collection interrupts the wait by a signal.
func NewHolding() (Poller, error) { return newEpoll(holdTime) }

const holdTime = 5 // ms

func newEpoll(hold int) (Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &epoll{fd: fd, wakeFD: wake, hold: hold}
	if err := p.Add(wake, WakeHandle, Readable); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// interest is what to ask epoll for. EPOLLRDHUP is left out: a half-closed peer shows as readable with 0 bytes.
func interest(ev Events) uint32 {
	var m uint32
	if ev&Readable != 0 {
		m |= unix.EPOLLIN
	}
	if ev&Writable != 0 {
		m |= unix.EPOLLOUT
	}
	return m
}

func (p *epoll) control(op, fd int, handle uint64, ev Events) error {
	e := unix.EpollEvent{Events: interest(ev)}
	*(*uint64)(unsafe.Pointer(&e.Fd)) = handle // epoll_data is a union of 64 bits, x/sys splits it in two
	if err := unix.EpollCtl(p.fd, op, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (p *epoll) Add(fd int, handle uint64, ev Events) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, handle, ev)
}

func (p *epoll) Modify(fd int, handle uint64, ev Events) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, handle, ev)
}

func (p *epoll) Delete(fd int) error {
	return p.control(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

func (p *epoll) Wait(events []Event, timeout int64) (int, error) {
	room := min(len(events), len(p.raw))
	full := pollTimeout(timeout)
	first := p.hold
	if full >= 0 {
		first = min(first, full)
	}
	// Outside the scheduler's sight first: under load there is always something, and a raw system call does not give the
	// processor away.
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.raw[0])), uintptr(room), uintptr(first), 0, 0)
	if errno == 0 && n == 0 && first != full {
		if full > 0 {
			full -= first
		}
		n, _, errno = syscall.Syscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.raw[0])), uintptr(room), uintptr(full), 0, 0)
	}
	if errno != 0 {
		if errno == syscall.EINTR {
			return 0, nil
		}
		return 0, fmt.Errorf("epoll_wait: %w", errno)
	}
	out := 0
	for i := range int(n) {
		raw := &p.raw[i]
		handle := *(*uint64)(unsafe.Pointer(&raw.Fd))
		if handle == WakeHandle {
			p.drainWake()
			continue
		}
		var ev Events
		if raw.Events&unix.EPOLLIN != 0 {
			ev |= Readable
		}
		if raw.Events&unix.EPOLLOUT != 0 {
			ev |= Writable
		}
		if raw.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			ev |= Closed
		}
		events[out] = Event{Handle: handle, Events: ev}
		out++
	}
	return out, nil
}

func (p *epoll) Wake() error {
	if p.pending.Swap(true) {
		return nil
	}
	p.waking.Lock()
	defer p.waking.Unlock()
	if p.closed {
		return ErrClosed
	}
	one := [8]byte{1}
	if _, err := unix.Write(p.wakeFD, one[:]); err != nil && err != unix.EAGAIN {
		return fmt.Errorf("eventfd: %w", err)
	}
	return nil
}

func (p *epoll) drainWake() {
	var b [8]byte
	_, _ = unix.Read(p.wakeFD, b[:])
	// A Wake between the two lines writes nothing. It is not lost: the owner looks at its mailbox after each Wait.
	p.pending.Store(false)
}

func (p *epoll) Close() error {
	p.waking.Lock()
	defer p.waking.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.closed = true
	unix.Close(p.wakeFD)
	return unix.Close(p.fd)
}
