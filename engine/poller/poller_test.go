package poller

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	punctual = map[string]func() (Poller, error){"best": New, "portable": NewPortable}
	all      = map[string]func() (Poller, error){"best": New, "portable": NewPortable, "holding": NewHolding}
)

// each runs a test with every implementation that this system has.
func each(t *testing.T, f func(t *testing.T, p Poller)) { with(t, all, f) }

// eachPunctual leaves out the one whose waits a signal of the Go runtime may end.
func eachPunctual(t *testing.T, f func(t *testing.T, p Poller)) { with(t, punctual, f) }

func with(t *testing.T, pollers map[string]func() (Poller, error), f func(t *testing.T, p Poller)) {
	for name, newPoller := range pollers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := newPoller()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Close() })
			f(t, p)
		})
	}
}

// pair is a connected pair of sockets that do not block.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait polls once and returns what is ready, by handle.
func wait(t *testing.T, p Poller, timeout int64) map[uint64]Events {
	t.Helper()
	var events [16]Event
	n, err := p.Wait(events[:], timeout)
	must(t, err)
	ready := map[uint64]Events{}
	for _, ev := range events[:n] {
		ready[ev.Handle] = ev.Events
	}
	return ready
}

func TestReadiness(t *testing.T) {
	each(t, func(t *testing.T, p Poller) {
		a, b := pair(t)
		const handle = 7<<32 | 9 // both halves must come back
		must(t, p.Add(a, handle, Readable))
		if got := wait(t, p, 0); len(got) != 0 {
			t.Errorf("ready before anything happened: %v", got)
		}
		_, err := unix.Write(b, []byte("x"))
		must(t, err)
		for range 2 { // level triggered: as long as it is true
			if got := wait(t, p, -1); got[handle] != Readable {
				t.Errorf("events %v, want readable", got)
			}
		}
		must(t, p.Modify(a, handle, Writable))
		if got := wait(t, p, -1); got[handle] != Writable {
			t.Errorf("events %v, want writable", got)
		}
		must(t, p.Modify(a, handle+1, Readable|Writable))
		if got := wait(t, p, -1); got[handle+1] != Readable|Writable || len(got) != 1 {
			t.Errorf("events %v, want both, under the new handle alone", got)
		}
		must(t, p.Modify(a, handle, 0))
		if got := wait(t, p, 0); len(got) != 0 {
			t.Errorf("events %v, want none", got)
		}
	})
}

// TestPeerCloses: an end that is gone is reported even to who asked for nothing; a half-closed one only reads as ended.
func TestPeerCloses(t *testing.T) {
	each(t, func(t *testing.T, p Poller) {
		a, b := pair(t)
		must(t, p.Add(a, 1, Readable))
		must(t, unix.Shutdown(b, unix.SHUT_WR))
		if got := wait(t, p, -1); got[1]&Readable == 0 || got[1]&Closed != 0 {
			t.Errorf("half-closed: events %v, want readable and not closed", got)
		}
		must(t, p.Modify(a, 1, 0))
		must(t, unix.Shutdown(b, unix.SHUT_RDWR))
		must(t, unix.Shutdown(a, unix.SHUT_RDWR))
		if got := wait(t, p, -1); got[1]&Closed == 0 {
			t.Errorf("closed: events %v", got)
		}
	})
}

func TestDelete(t *testing.T) {
	each(t, func(t *testing.T, p Poller) {
		a, b := pair(t)
		c, d := pair(t)
		must(t, p.Add(a, 1, Readable))
		must(t, p.Add(c, 2, Readable))
		for _, fd := range []int{b, d} {
			_, err := unix.Write(fd, []byte("x"))
			must(t, err)
		}
		must(t, p.Delete(a))
		if got := wait(t, p, -1); len(got) != 1 || got[2] != Readable {
			t.Errorf("events %v, want those of the second alone", got)
		}
		if p.Delete(a) == nil || p.Modify(a, 1, Readable) == nil {
			t.Error("a descriptor that was deleted is still known")
		}
		if p.Add(c, 3, Readable) == nil {
			t.Error("a descriptor was added twice")
		}
		// The number of a closed descriptor comes back with another handle.
		must(t, p.Add(a, 9, Readable))
		if got := wait(t, p, -1); got[9] != Readable || got[1] != 0 {
			t.Errorf("events %v, want the new handle", got)
		}
	})
}

// TestManyDescriptors: more are ready than one Wait takes; none is starved by those in front of it.
func TestManyDescriptors(t *testing.T) {
	each(t, func(t *testing.T, p Poller) {
		const many = 100
		for i := range uint64(many) {
			a, b := pair(t)
			must(t, p.Add(a, i, Readable))
			_, err := unix.Write(b, []byte("x"))
			must(t, err)
		}
		seen := map[uint64]int{}
		for range 2 * many {
			for h := range wait(t, p, -1) {
				seen[h]++
			}
		}
		if len(seen) != many {
			t.Errorf("%d of %d ready descriptors were reported", len(seen), many)
		}
	})
}

// TestTimeout: Wait returns by itself, not before its time unless a signal of the Go runtime ends it.
func TestTimeout(t *testing.T) {
	eachPunctual(t, func(t *testing.T, p Poller) {
		for _, ns := range []int64{1, 1e6, 5e6} {
			inTime := false
			for range 10 {
				start := time.Now()
				if got := wait(t, p, ns); len(got) != 0 {
					t.Errorf("events %v", got)
				}
				if inTime = time.Since(start).Nanoseconds() >= ns; inTime {
					break
				}
			}
			if !inTime {
				t.Errorf("Wait(%d) returned before its time, each time", ns)
			}
		}
	})
}

func TestWakeIsNoEvent(t *testing.T) {
	eachPunctual(t, func(t *testing.T, p Poller) {
		for range 10 {
			must(t, p.Wake())
			must(t, p.Wake())
			if got := wait(t, p, -1); len(got) != 0 {
				t.Errorf("events %v", got)
			}
			start := time.Now()
			wait(t, p, 2e6)
			if time.Since(start) >= 2*time.Millisecond {
				return
			}
		}
		t.Error("each wake-up ended two Waits, more often than signals of the Go runtime do")
	})
}

// TestNoWakeIsLost: the way a mailbox is used: put, wake; and after each Wait, look. Whatever was put is seen.
func TestNoWakeIsLost(t *testing.T) {
	each(t, func(t *testing.T, p Poller) {
		const writers, letters = 4, 2000
		var put atomic.Int64
		var writing sync.WaitGroup
		for range writers {
			writing.Go(func() {
				for range letters {
					put.Add(1)
					if err := p.Wake(); err != nil {
						t.Error(err)
						return
					}
					runtime.Gosched()
				}
			})
		}
		for seen := int64(0); seen < writers*letters; {
			wait(t, p, -1) // hangs, and with it the test, if one is lost
			seen = put.Load()
		}
		writing.Wait()
	})
}

// TestWakeAfterClose: the number of a closed descriptor may belong to anything by then, so nothing may be written to it.
func TestWakeAfterClose(t *testing.T) {
	each(t, func(t *testing.T, p Poller) {
		must(t, p.Close())
		a, b := pair(t) // very likely with the numbers just given back
		for range 3 {
			if err := p.Wake(); err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
		if err := p.Close(); !errors.Is(err, ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		for _, fd := range []int{a, b} {
			var buf [8]byte
			if n, err := unix.Read(fd, buf[:]); err != unix.EAGAIN {
				t.Errorf("%d bytes (%v) came out of a descriptor of somebody else: %v", n, err, slices.Clone(buf[:max(n, 0)]))
			}
		}
	})
}

func TestWaitAllocatesNothing(t *testing.T) {
	for name, newPoller := range all {
		p, err := newPoller()
		must(t, err)
		a, b := pair(t)
		must(t, p.Add(a, 1, Readable))
		_, err = unix.Write(b, []byte("x"))
		must(t, err)
		var events [16]Event
		if n := testing.AllocsPerRun(100, func() {
			_, _ = p.Wait(events[:], 0)
			_ = p.Modify(a, 1, Readable)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		p.Close()
	}
}

// A garbage collection stops every goroutine, also one that the scheduler takes for running although it waits.
func TestCollectionDuringWait(t *testing.T) {
	p, err := NewHolding()
	must(t, err)
	defer p.Close()
	done := make(chan struct{})
	var stop atomic.Bool
	go func() {
		defer close(done)
		var events [16]Event
		for !stop.Load() {
			_, _ = p.Wait(events[:], int64(time.Hour))
		}
	}()
	for range 20 {
		runtime.GC()
		must(t, p.Wake())
	}
	stop.Store(true)
	must(t, p.Wake())
	<-done
}
