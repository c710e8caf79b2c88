package sentinelclient

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fullListener accepts nobody: its queue is full, and Linux drops a SYN that it has no room for.
func fullListener(t *testing.T) (addr *net.TCPAddr, drain func()) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: bound.(*syscall.SockaddrInet4).Port}
	first, err := net.DialTCP("tcp4", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Close() })
	return addr, func() {
		accepted, _, err := syscall.Accept(fd)
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Close(accepted)
	}
}

// waiting counts the connections to a port whose SYN has not been answered.
func waiting(t *testing.T, port int) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	const synSent = "02"
	to := fmt.Sprintf("0100007F:%04X", port)
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == to && f[3] == synSent {
			n++
		}
	}
	return n
}

// TestDialDespiteALostSYN: the kernel sends a SYN again after a second; a node that can be reached again is reached sooner.
func TestDialDespiteALostSYN(t *testing.T) {
	t.Parallel()
	addr, drain := fullListener(t)
	n := &node{addr: Address{Host: "127.0.0.1", Port: addr.Port}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		conn, err := n.dial(ctx, true)
		if err == nil {
			_ = conn.Close()
		}
		done <- err
	}()
	eventually(t, "there is a second dial beside the first, whose SYN is lost", func() bool { return waiting(t, addr.Port) > 1 })
	drain()
	if err := <-done; err != nil {
		t.Error(err)
	}
	eventually(t, "no dial is left behind", func() bool { return waiting(t, addr.Port) == 0 })
}

// TestDialGivesUp: the time for all of the dials is that of one.
func TestDialGivesUp(t *testing.T) {
	t.Parallel()
	addr, _ := fullListener(t)
	n := &node{addr: Address{Host: "127.0.0.1", Port: addr.Port}}
	r := n.ask(t.Context(), question{timeout: 200 * time.Millisecond})
	if r.Verdict != verdictUnreachable || r.Cause != errTimeout.Error() {
		t.Errorf("%v: %q", r.Verdict, r.Cause)
	}
}
