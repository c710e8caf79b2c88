package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"respgate/engine/poller"
)

// loadConn is a connection of the load generator. It has one batch of requests under way at a time.
type loadConn struct {
	fd      int
	handle  uint64 // its place in the list
	in      replies
	out     []byte  // not yet written
	blocked bool    // the poller tells when it can be written again
	waiting int     // requests without an answer
	begin   int64   // of the batch
	owed    []int64 // with a rate: when requests were due that have not been sent
	key     []byte
}

// dialLoad connects to an IPv4 address.
func dialLoad(address string) (*loadConn, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	if !ap.Addr().Is4() {
		return nil, errors.New("not an IPv4 address")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()})
		if err != unix.EINTR && err != unix.EALREADY {
			break
		}
	}
	if err == unix.EISCONN {
		err = nil
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &loadConn{fd: fd}, nil
}

// send begins a batch of requests; their time runs from begin.
func (l *loader) send(c *loadConn, begin int64) error {
	for range l.spec.Pipeline {
		c.out = l.request(c, c.out)
	}
	c.begin, c.waiting = begin, l.spec.Pipeline
	l.open += l.spec.Pipeline
	return l.write(c)
}

func (l *loader) request(c *loadConn, dst []byte) []byte {
	width := 1
	if l.spec.Width == 0 {
		dst = append(dst, "*2\r\n$3\r\nGET\r\n"...)
	} else {
		width = l.spec.Width
		dst = append(dst, '*')
		dst = fmt.Append(dst, width+1)
		dst = append(dst, "\r\n$4\r\nMGET\r\n"...)
	}
	for range width {
		c.key = l.key(c.key[:0])
		dst = appendBulk(dst, c.key)
	}
	return dst
}

// write sends what the socket takes, and asks the poller for the moment when it takes the rest.
func (l *loader) write(c *loadConn) error {
	for len(c.out) > 0 {
		n, err := unix.Write(c.fd, c.out)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return l.block(c, true)
		case err != nil:
			return fmt.Errorf("write to the proxy: %w", err)
		}
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
	return l.block(c, false)
}

func (l *loader) block(c *loadConn, blocked bool) error {
	if c.blocked == blocked {
		return nil
	}
	c.blocked = blocked
	events := poller.Readable
	if blocked {
		events |= poller.Writable
	}
	return l.poll.Modify(c.fd, c.handle, events)
}

// step waits for events, for at most the time given in nanoseconds, and handles them.
func (l *loader) step(ctx context.Context, timeout int64) error {
	var events [256]poller.Event
	// A signal that arrives while it waits is seen within a tenth of a second.
	n, err := l.poll.Wait(events[:], min(timeout, int64(100*time.Millisecond)))
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, e := range events[:n] {
		c := l.conns[e.Handle]
		if e.Events&poller.Writable != 0 {
			if err := l.write(c); err != nil {
				return err
			}
		}
		if e.Events&(poller.Readable|poller.Closed) != 0 {
			if err := l.read(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loader) read(c *loadConn) error {
	n, err := unix.Read(c.fd, l.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("read from the proxy: %w", err)
	case n == 0:
		return errors.New("the proxy has closed a connection")
	}
	now := l.now()
	err = c.in.feed(l.buf[:n], func(o outcome) {
		c.waiting--
		l.open--
		l.last = now
		l.times.add(uint64(max(now-c.begin, 0)) / 1000)
		l.result.Requests++
		if o.refused {
			l.result.Errors++
		}
		if o.missing {
			l.result.Missing++
		}
	})
	if err != nil || c.waiting > 0 {
		return err
	}
	switch {
	case len(c.owed) > 0:
		begin := c.owed[0]
		c.owed = c.owed[:copy(c.owed, c.owed[1:])]
		return l.send(c, begin)
	case l.sending:
		return l.send(c, now)
	}
	return nil
}
