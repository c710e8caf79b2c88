package engine

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"respgate/engine/topology"
)

// TestLinksGiveUp: a peer that has vanished ends a link within seconds, whether bytes of it are on their way or none.
func TestLinksGiveUp(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	fd, err := dialFD(&topology.Master{Addrs: []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fd)
	for _, o := range []struct {
		name             string
		level, opt, want int
	}{
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 3000},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 10},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 3},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
	} {
		if got, err := unix.GetsockoptInt(fd, o.level, o.opt); err != nil || got != o.want {
			t.Errorf("%s is %d, %v; want %d", o.name, got, err, o.want)
		}
	}
}
