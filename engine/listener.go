package engine

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"respgate/engine/poller"
	"respgate/engine/timer"
	"respgate/engine/topology"
)

// listener accepts the clients of a pool, on the first loop, and gives each to the loop with the fewest.
type listener struct {
	eng    *Engine
	loop   *loop
	at     topology.Listen
	pool   string // may change: a pool can be renamed without its port being closed
	fd     int
	handle uint64
	rest   timer.Timer // accepting pauses when descriptors have run out
	closed bool
}

const (
	acceptBatch = 64           // connections taken per readiness
	acceptRest  = int64(100e6) // pause when no descriptor is left
)

// bind opens a listening socket; nothing is accepted yet.
func bind(at topology.Listen) (fd int, err error) {
	domain, sa, err := listenAddress(at)
	if err != nil {
		return -1, err
	}
	if fd, err = socketFD(domain); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			closeFD(fd)
		}
	}()
	if at.Network == "unix" {
		if err := removeStale(at.Address); err != nil {
			return -1, err
		}
	} else if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return -1, os.NewSyscallError("setsockopt", err)
	}
	if at.ReusePort {
		if err := reusePort(fd); err != nil {
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return -1, err
	}
	if at.Network == "unix" && at.Mode != 0 {
		if err := os.Chmod(at.Address, os.FileMode(at.Mode)); err != nil {
			return -1, err
		}
	}
	if err := unix.Listen(fd, max(at.Backlog, 1)); err != nil {
		return -1, os.NewSyscallError("listen", err)
	}
	return fd, nil
}

// listenAddress turns a listen address into what bind(2) wants. Host names are resolved; an empty host is every address.
func listenAddress(at topology.Listen) (int, unix.Sockaddr, error) {
	if at.Network == "unix" {
		return unix.AF_UNIX, &unix.SockaddrUnix{Name: at.Address}, nil
	}
	host, port, err := net.SplitHostPort(at.Address)
	if err != nil {
		return 0, nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, nil, fmt.Errorf("port %q: %w", port, errors.Unwrap(err))
	}
	if host == "" || host == "*" {
		host = "0.0.0.0"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		resolved, lookup := net.ResolveTCPAddr("tcp", at.Address)
		if lookup != nil {
			return 0, nil, lookup
		}
		addr = resolved.AddrPort().Addr()
	}
	domain, sa := address(netip.AddrPortFrom(addr, uint16(n)))
	return domain, sa, nil
}

// removeStale removes a socket file that nobody listens on any more.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // nothing in the way
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is no socket", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return unix.EADDRINUSE
	}
	return os.Remove(path)
}

// open starts accepting. On the first loop.
func (ln *listener) open() error {
	l := ln.loop
	ln.rest.Func = func(int64) { _ = l.poll.Modify(ln.fd, ln.handle, poller.Readable) }
	ln.handle = l.slots.put(ln)
	if err := l.poll.Add(ln.fd, ln.handle, poller.Readable); err != nil {
		l.slots.drop(ln.handle)
		return err
	}
	return nil
}

// close stops accepting. On the first loop.
func (ln *listener) close() {
	if ln.closed {
		return
	}
	ln.closed = true
	ln.loop.wheel.Stop(&ln.rest)
	_ = ln.loop.poll.Delete(ln.fd)
	ln.loop.slots.drop(ln.handle)
	closeFD(ln.fd)
	if ln.at.Network == "unix" {
		_ = os.Remove(ln.at.Address)
	}
}

func (ln *listener) onReady(poller.Events) {
	l := ln.loop
	for range acceptBatch {
		fd, err := acceptFD(ln.fd)
		if err != nil {
			if err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOBUFS || err == unix.ENOMEM {
				_ = l.poll.Modify(ln.fd, ln.handle, 0)
				l.wheel.Set(&ln.rest, l.now+acceptRest)
				l.eng.observe(Event{Kind: EventAcceptFailed, Pool: ln.pool, Cause: err.Error()})
			}
			return // nothing left, or a connection that was gone before it was accepted
		}
		ln.admit(fd)
	}
}

// admit decides about one connection.
func (ln *listener) admit(fd int) {
	l, e := ln.loop, ln.eng
	p := l.pools[ln.pool]
	if p == nil {
		closeFD(fd)
		return
	}
	if fd > e.lastFile {
		// The lowest free number is taken: nearly all are in use, and the rest is not for clients.
		p.reject("descriptors")
		_, _ = writeFD(fd, maxClients)
		closeFD(fd)
		e.observe(Event{Kind: EventAcceptFailed, Pool: ln.pool, Cause: "the descriptors that are left are for servers, sentinels and the console"})
		return
	}
	id := e.lastClient.Add(1)
	if limit := l.snap.Limits.MaxClients; e.clients.Add(1) > int64(limit) && limit > 0 {
		e.clientHits.Add(1)
		p.reject("max_clients")
		_, _ = writeFD(fd, maxClients) // a fresh socket takes this much
		closeFD(fd)
		e.clientGone()
		return
	}
	tuneClient(fd, p.topo.Settings.TCPKeepalive)
	target := e.quietest()
	if target == l {
		l.admitted(fd, ln.pool, id)
		return
	}
	target.open.Add(1) // so that a burst is spread before the loop has seen any of it
	name := ln.pool    // which may change meanwhile
	target.post(func() { target.admitted(fd, name, id) })
}

// admitted makes a client of an accepted descriptor, on the loop that will serve it.
func (l *loop) admitted(fd int, pool string, id int64) {
	p := l.pools[pool]
	if p == nil || l.stopping {
		closeFD(fd)
		l.eng.clientGone()
		return
	}
	c := l.openClient(fd, p, id)
	if c != nil && p.topo.Access == topology.Reject {
		p.reject("rejecting")
		c.replyError("ERR respgate: " + p.topo.Reason + " (pool '" + p.name + "')")
		c.finish()
	}
}

// lastClientFile is the highest descriptor that a client gets: a quarter of those that the process may have, 1,024 at the
// most, are kept for servers, sentinels and the console, or a crowd of clients could keep a failover from being followed.
func lastClientFile() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	files := uint64(limit.Cur)
	return int(min(files-min(files/4, 1024), math.MaxInt32)) - 1
}

// reject counts a connection that was refused.
func (p *pool) reject(reason string) {
	if p.rejected == nil {
		p.rejected = map[string]uint64{}
	}
	p.rejected[reason]++
}
