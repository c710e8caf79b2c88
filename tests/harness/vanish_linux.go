package harness

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// dropSYNs stops accepting and fills the queue: Linux drops a SYN when it has no room for its connection.
func (f *FaultProxy) dropSYNs(t testing.TB) {
	t.Helper()
	if err := errors.Join(f.pauseAccept(), f.backlog(0)); err != nil {
		t.Fatal(err)
	}
	// An accept that was under way may have made room once more.
	for range 16 {
		c, err := net.DialTimeout("tcp", f.Addr(), 50*time.Millisecond)
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return
		}
		if err != nil {
			t.Fatalf("fill the queue of %s: %v", f.Addr(), err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatalf("%s goes on answering SYNs", f.Addr())
}

func (f *FaultProxy) answerSYNs(t testing.TB) {
	t.Helper()
	if err := errors.Join(f.backlog(syscall.SOMAXCONN), f.resumeAccept()); err != nil {
		t.Fatal(err)
	}
}

// backlog sets how many connections may wait to be accepted; one more than that may.
func (f *FaultProxy) backlog(n int) error {
	raw, err := f.listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), n) }); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("listen(%s, %d): %w", f.Addr(), n, failed)
	}
	return nil
}

// pauseAccept ends the loop that accepts connections; resumeAccept starts another one.
func (f *FaultProxy) pauseAccept() error {
	return f.listener.(*net.TCPListener).SetDeadline(time.Unix(1, 0))
}

func (f *FaultProxy) resumeAccept() error {
	if err := f.listener.(*net.TCPListener).SetDeadline(time.Time{}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.wg.Go(f.accept)
	}
	return nil
}
