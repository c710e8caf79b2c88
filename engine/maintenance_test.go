package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"respgate/engine/topology"
)

// told makes a client that wants to be told of maintenance.
func (r *rig) told(args ...string) *app {
	r.t.Helper()
	a := r.dial()
	a.send(req("HELLO", "3"))
	for line := a.line(); line != "*0\r\n"; line = a.line() {
	}
	a.do("+OK\r\n", append([]string{"CLIENT", "MAINT_NOTIFICATIONS", "ON"}, args...)...)
	return a
}

func push(elements ...string) string {
	return fmt.Sprintf(">%d\r\n%s", len(elements), strings.Join(elements, ""))
}

func noticeNumber(n int64) string { return fmt.Sprintf(":%d\r\n", n) }

// TestFailoverNotices: those who asked are told when requests of a group begin and end to wait, between their replies.
func TestFailoverNotices(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2", "g3"}, set(func(s *topology.Settings) { s.HoldTimeout = 9100 * time.Millisecond }))
		apps := []*app{r.told(), r.told("moving-endpoint-type", "none"), r.told()}
		off, other := r.told(), r.dial()
		off.do("+OK\r\n", "CLIENT", "MAINT_NOTIFICATIONS", "OFF")
		hold := func(group string, on bool) func(*topology.Snapshot) {
			return change(group, func(g *topology.Group) { g.Hold = on })
		}
		for _, step := range []struct {
			changes []func(*topology.Snapshot)
			want    []string // without the number
		}{
			{[]func(*topology.Snapshot){hold("g1", true)}, []string{"FAILING_OVER g1"}},
			{[]func(*topology.Snapshot){hold("g2", true), hold("g3", true)}, []string{"FAILING_OVER g2", "FAILING_OVER g3"}},
			{nil, nil},
			{[]func(*topology.Snapshot){hold("g1", false), hold("g3", false)}, []string{"FAILED_OVER g1", "FAILED_OVER g3"}},
			{[]func(*topology.Snapshot){hold("g2", false), hold("g3", true)}, []string{"FAILING_OVER g3", "FAILED_OVER g2"}},
		} {
			r.apply(step.changes...)
			for _, a := range apps {
				for i, w := range step.want {
					name, group, _ := strings.Cut(w, " ")
					seq := noticeNumber(int64(r.snap.Serial)<<16 + int64(i))
					if name == "FAILING_OVER" {
						a.want(push(bulk(name), seq, noticeNumber(10), array(bulk(group))))
					} else {
						a.want(push(bulk(name), seq, array(bulk(group))))
					}
				}
				a.do("+PONG\r\n", "PING")
			}
			off.do("+PONG\r\n", "PING")
			other.do("+PONG\r\n", "PING")
		}
		// With RESP2 there are no pushes, and RESET is the end of it.
		apps[0].send(req("HELLO", "2") + req("HELLO", "3"))
		for range 2 {
			for line := apps[0].line(); line != "*0\r\n"; line = apps[0].line() {
			}
		}
		apps[1].do(resetReplyText, "RESET")
		r.apply(hold("g1", true))
		for _, a := range apps[:2] {
			a.do("+PONG\r\n", "PING")
		}
		apps[2].want(push(bulk("FAILING_OVER"), noticeNumber(int64(r.snap.Serial)<<16), noticeNumber(10), array(bulk("g1"))))
		apps[2].conn.Close()
		until(t, "nobody is left to be told", func() bool {
			n := 0
			for _, l := range r.e.loops {
				l.call(func() { n += l.pools["p"].told })
			}
			return n == 0
		})
	})
}

// TestMovingOnShutdown: those who asked are told to leave and served until they have; others are closed at once. When they
// are gone nobody waits.
func TestMovingOnShutdown(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		a, b, plain := r.told(), r.told("moving-endpoint-type", "none"), r.dial()
		plain.do("+PONG\r\n", "PING")
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		go func() { ended <- r.e.Shutdown(ctx) }()
		a.want(push(bulk("MOVING"), noticeNumber(int64(r.snap.Serial)<<16+1<<15), noticeNumber(3), bulk(a.conn.RemoteAddr().String())))
		b.want(push(bulk("MOVING"), noticeNumber(int64(r.snap.Serial)<<16+1<<15), noticeNumber(3), "_\r\n"))
		plain.wantClosed()
		a.do("+OK\r\n", "SET", "k", "v")
		a.conn.Close()
		b.do("$1\r\nv\r\n", "GET", "k")
		b.do("+OK\r\n", "QUIT")
		b.wantClosed()
		b.conn.Close()
		if err := <-ended; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// TestMovingStubborn: who stays is closed in time, and still gets the replies that are due.
func TestMovingStubborn(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.MovingEndpoint = "redis.example.com:6379" }))
		a := r.told()
		s := r.servers["g1"]
		s.hold()
		a.send(req("GET", "k"))
		until(t, "the request is there", func() bool { return len(s.requests()) == 1 })
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		go func() { ended <- r.e.Shutdown(ctx) }()
		a.want(push(bulk("MOVING"), noticeNumber(int64(r.snap.Serial)<<16+1<<15), noticeNumber(3), bulk("redis.example.com:6379")))
		s.open()
		a.want("_\r\n")
		a.wantClosed()
		if err := <-ended; err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// TestMovingOnRemoval: the clients of a pool that is removed move likewise.
func TestMovingOnRemoval(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		a, plain := r.told(), r.dial()
		plain.do("+PONG\r\n", "PING")
		r.apply(func(s *topology.Snapshot) { s.Pools = nil })
		a.want(push(bulk("MOVING"), noticeNumber(int64(r.snap.Serial)<<16+1<<15), noticeNumber(3), bulk(a.conn.RemoteAddr().String())))
		plain.wantClosed()
		a.do("+OK\r\n", "SET", "k", "v")
		a.wantClosed()
	})
}
