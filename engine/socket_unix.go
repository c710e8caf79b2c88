//go:build unix

package engine

import (
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"respgate/engine/buffer"
	"respgate/engine/topology"
)

// wouldBlock reports that a descriptor has nothing to give or take now.
func wouldBlock(err error) bool { return err == unix.EAGAIN || err == unix.EINTR }

// socketError is the result of a connect(2) that had been under way.
func socketError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if n != 0 {
		return unix.Errno(n)
	}
	return nil
}

// selfConnected reports a TCP connection that met itself: the kernel chose the very port that was dialled as its source,
// which it can where nobody listens. Everything sent there would come back as a reply.
func selfConnected(fd int) bool {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return false
	}
	name := sockaddrName(local)
	return name != "" && name != ":0" && name == sockaddrName(peer)
}

func closeFD(fd int) { _ = unix.Close(fd) }

// dropUnsent lets the end of a connection take along what the kernel still holds for the peer.
func dropUnsent(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

func shutdownWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// maxPieces is how many pieces one vectored write takes.
const maxPieces = 64

// writeChain writes from the front of a chain, once, and returns what the kernel took.
func writeChain(fd int, c *buffer.Chain) (int, error) {
	pieces := c.Pieces()
	if len(pieces) == 1 {
		return writeFD(fd, pieces[0].Bytes())
	}
	return writePieces(fd, pieces[:min(len(pieces), maxPieces)])
}

// address turns an IP address and port into what the system calls want.
func address(a netip.AddrPort) (domain int, sa unix.Sockaddr) {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// dialFD starts a connection to a master; attempt chooses among its addresses. The descriptor becomes writable when the
// connection is there or has failed.
func dialFD(m *topology.Master, attempt int) (int, error) {
	domain, sa := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: m.Path})
	if m.Path == "" {
		domain, sa = address(m.Addrs[attempt%len(m.Addrs)])
	}
	fd, err := socketFD(domain)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if domain != unix.AF_UNIX {
		tuneLink(fd)
	}
	if err := unix.Connect(fd, sa); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

// tuneLink sets what a link to a server needs: no delay, and an end to a peer that vanished within seconds.
func tuneLink(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	tuneKeepalive(fd, 10, 3, 3)
	tuneUserTimeout(fd, 3000)
}

// tuneClient sets what a client's connection needs.
func tuneClient(fd int, keepalive bool) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // fails on a unix socket, which has no delay
	if keepalive {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	}
}

// peerName is the address of the other end, for CLIENT INFO.
func peerName(fd int) string {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return ""
	}
	return sockaddrName(sa)
}

// localName is the address of this end.
func localName(fd int) string {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return ""
	}
	return sockaddrName(sa)
}

func sockaddrName(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)).String()
	case *unix.SockaddrUnix:
		return a.Name + ":0"
	}
	return ""
}
