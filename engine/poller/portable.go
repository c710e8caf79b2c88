package poller

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// portable is poll(2) over a dense table: linear in the number of descriptors, which is what a laptop needs.
type portable struct {
	fds     []unix.PollFd
	handles []uint64
	index   map[int]int // fd -> position in fds
	pipe    [2]int
	waking  sync.Mutex // between Wake and Close, see epoll
	closed  bool
	pending atomic.Bool
	start   int // where the next scan begins, so that a busy descriptor does not starve the ones behind it
}

// NewPortable returns the poller for every Unix.
func NewPortable() (Poller, error) {
	p := &portable{index: map[int]int{}}
	if err := unix.Pipe(p.pipe[:]); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	for _, fd := range p.pipe {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			p.Close()
			return nil, fmt.Errorf("pipe: %w", err)
		}
	}
	if err := p.Add(p.pipe[0], WakeHandle, Readable); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func pollEvents(ev Events) (m int16) {
	if ev&Readable != 0 {
		m |= unix.POLLIN
	}
	if ev&Writable != 0 {
		m |= unix.POLLOUT
	}
	return m
}

func (p *portable) Add(fd int, handle uint64, ev Events) error {
	if _, ok := p.index[fd]; ok {
		return fmt.Errorf("poll: descriptor %d: %w", fd, unix.EEXIST)
	}
	p.index[fd] = len(p.fds)
	p.fds = append(p.fds, unix.PollFd{Fd: int32(fd), Events: pollEvents(ev)})
	p.handles = append(p.handles, handle)
	return nil
}

func (p *portable) Modify(fd int, handle uint64, ev Events) error {
	i, ok := p.index[fd]
	if !ok {
		return fmt.Errorf("poll: descriptor %d: %w", fd, unix.ENOENT)
	}
	p.fds[i].Events, p.handles[i] = pollEvents(ev), handle
	return nil
}

func (p *portable) Delete(fd int) error {
	i, ok := p.index[fd]
	if !ok {
		return fmt.Errorf("poll: descriptor %d: %w", fd, unix.ENOENT)
	}
	last := len(p.fds) - 1
	p.fds[i], p.handles[i] = p.fds[last], p.handles[last]
	p.index[int(p.fds[i].Fd)] = i
	p.fds, p.handles = p.fds[:last], p.handles[:last]
	delete(p.index, fd)
	return nil
}

func (p *portable) Wait(events []Event, timeout int64) (int, error) {
	n, err := unix.Poll(p.fds, pollTimeout(timeout))
	if err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("poll: %w", err)
	}
	out, total := 0, len(p.fds)
	for k := 0; k < total && n > 0 && out < len(events); k++ {
		i := (p.start + k) % total
		got := p.fds[i].Revents
		if got == 0 {
			continue
		}
		n--
		if p.handles[i] == WakeHandle {
			p.drainWake()
			continue
		}
		var ev Events
		if got&unix.POLLIN != 0 {
			ev |= Readable
		}
		if got&unix.POLLOUT != 0 {
			ev |= Writable
		}
		if got&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			ev |= Closed
		}
		events[out] = Event{Handle: p.handles[i], Events: ev}
		out++
		if out == len(events) {
			p.start = i + 1
		}
	}
	return out, nil
}

// pollTimeout is in milliseconds, rounded up, so that a timer is due when the wait ends.
func pollTimeout(ns int64) int {
	if ns < 0 {
		return -1
	}
	return int((ns + 999999) / 1000000)
}

func (p *portable) Wake() error {
	if p.pending.Swap(true) {
		return nil
	}
	p.waking.Lock()
	defer p.waking.Unlock()
	if p.closed {
		return ErrClosed
	}
	if _, err := unix.Write(p.pipe[1], []byte{1}); err != nil && err != unix.EAGAIN {
		return fmt.Errorf("pipe: %w", err)
	}
	return nil
}

func (p *portable) drainWake() {
	var b [64]byte
	_, _ = unix.Read(p.pipe[0], b[:])
	p.pending.Store(false)
}

func (p *portable) Close() error {
	p.waking.Lock()
	defer p.waking.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.closed = true
	unix.Close(p.pipe[0])
	return unix.Close(p.pipe[1])
}
