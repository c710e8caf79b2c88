package engine

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"respgate/engine/topology"
)

// TestLease: beyond the time until which somebody vouches for a master nothing leaves for it, and what waits goes out when it
// is vouched for again.
func TestLease(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		a, k, other := r.dial(), r.key("g1", 0), r.key("g2", 0)
		a.do("+OK\r\n", "SET", k, "1")
		r.e.Vouch("p", "g1", time.Now().Add(-time.Millisecond))
		a.send(req("SET", k, "2"))
		until(t, "the request is held", func() bool { return r.stats("g1").Held == 1 })
		r.dial().do("+OK\r\n", "SET", other, "1")
		if got := r.servers["g1"].requests(); len(got) != 1 {
			t.Errorf("the server was sent %q", got)
		}
		if cause := r.stats("g1").Cause; cause != "nobody has vouched for the master "+r.servers["g1"].master(1).Name+" of group 'g1' lately: neither its sentinels nor its replicas" {
			t.Errorf("the cause is %q", cause)
		}
		r.e.Vouch("p", "g1", time.Now().Add(time.Hour))
		a.want("+OK\r\n")
		r.e.Vouch("p", "g1", time.Now().Add(-time.Hour))
		a.send(req("SET", k, "3"))
		until(t, "the request is held", func() bool { return r.stats("g1").Held == 1 })
		r.e.Vouch("p", "g1", time.Time{})
		a.want("+OK\r\n")
	})
}

// TestLeaseRefused: what waits for somebody to vouch is refused when control says so; reads of a fenced group are served.
func TestLeaseRefused(t *testing.T) {
	t.Parallel()
	for access, want := range map[topology.Access]string{topology.Reject: "-ERR respgate: group 'g1': lost\r\n", topology.Fence: "$1\r\n1\r\n"} {
		r := newRig(t, plain, []string{"g1"})
		a := r.dial()
		a.do("+OK\r\n", "SET", "k", "1")
		r.e.Vouch("p", "g1", time.Now().Add(-time.Hour))
		a.send(req("SET", "k", "2") + req("GET", "k"))
		until(t, "the requests are held", func() bool { return r.stats("g1").Held == 2 })
		r.apply(change("g1", func(g *topology.Group) { g.Access, g.Reason = access, "lost" }))
		r.e.Vouch("p", "g1", time.Now().Add(-time.Minute)) // which wakes what waits
		if access == topology.Reject {
			r.e.Vouch("p", "g1", time.Now().Add(time.Hour))
		}
		a.want("-ERR respgate: group 'g1': lost\r\n" + want)
	}
}

// TestStoppedBeforeWriting: a process that was stopped between handling a request and writing it does not write it when
// nobody vouches for the master any more.
func TestStoppedBeforeWriting(t *testing.T) {
	d := newDriven(t, 1, nil)
	keys := d.keys(1)
	d.round(d.client(), []byte(req("GET", keys[0])), len(bulk(string(d.value))))
	s := d.l.pools["p"].groups[0].servers[0]
	k := s.links[0]
	r := d.l.newRequest()
	r.internal, r.cmd, r.server, r.start = true, cmdPing, s, d.l.now
	r.piece = s.store.Put(&d.l.bufs, []byte(req("PING")))
	k.send(r)
	written := k.written
	d.e.Vouch("p", "g0", time.Now().Add(-time.Millisecond))
	d.l.now = d.e.clock()
	d.l.flush()
	if k.written != written || s.pending.count != 1 {
		t.Errorf("%d bytes were written, %d requests wait", k.written-written, s.pending.count)
	}
}

// TestLapseKeepsReplies: when nobody vouches for a master any more, what was written before is still answered, and what was
// not follows on the same link.
func TestLapseKeepsReplies(t *testing.T) {
	d := newDriven(t, 1, nil)
	keys, fd := d.keys(1), d.client()
	d.round(fd, []byte(req("GET", keys[0])), len(bulk(string(d.value))))
	g := d.l.pools["p"].groups[0]
	s := g.servers[0]
	k := s.links[0]
	if _, err := unix.Write(fd, []byte(req("PUBLISH", "c", "1"))); err != nil {
		t.Fatal(err)
	}
	d.turn()
	if k.inflight.count != 1 || k.written != k.queued {
		t.Fatalf("%d requests are in flight, %d bytes are not written", k.inflight.count, k.queued-k.written)
	}
	r := d.l.newRequest()
	r.internal, r.cmd, r.server, r.start = true, cmdPublish, s, d.l.now
	r.piece = s.store.Put(&d.l.bufs, []byte(req("PUBLISH", "c", "2")))
	k.send(r)
	d.e.Vouch("p", "g0", time.Now().Add(-time.Millisecond))
	d.l.now = d.e.clock()
	d.l.flush()
	if s.pending.count != 1 || !s.timer.Set() {
		t.Errorf("%d requests wait, with an end: %t", s.pending.count, s.timer.Set())
	}
	if got := string(d.round(fd, nil, len(okReply))); got != string(okReply) {
		t.Errorf("what was written is answered with %q", got)
	}
	d.e.Vouch("p", "g0", time.Now().Add(time.Hour))
	d.turn()
	if s.links[0] != k || k.state != linkUp || k.inflight.count != 1 || k.written != k.queued || s.pending.count != 0 || g.unknown != 0 {
		t.Errorf("vouched for again: %d in flight, %d wait, %d in doubt", k.inflight.count, s.pending.count, g.unknown)
	}
}

// TestLapseEndsBegun: a request that was written in part when nobody vouches for its master any more is not finished there, not even
// when somebody does again.
func TestLapseEndsBegun(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, s, a, read := choked(t, v, []string{"SET", "p", strings.Repeat("x", 200<<10)}, []string{"GET", "p"})
		r.e.Vouch("p", "g1", time.Now().Add(-time.Millisecond))
		r.apply(change("g1", onHold)) // which takes back what has not begun
		read()
		if first := a.line(); first == "$10\r\n" { // the reply may be there before there is room to write
			a.want("APPEND k x\r\n")
		} else if first != unknownOutcome {
			t.Errorf("reply %q", first)
		}
		until(t, "the others wait", func() bool { return r.stats("g1").Held == 2 })
		if got := s.names(); strings.Contains(got, "SET") {
			t.Errorf("the server saw %s", got)
		}
		r.apply(change("g1", release))
		r.e.Vouch("p", "g1", time.Now().Add(time.Hour))
		a.want("+OK\r\n" + bulk(strings.Repeat("x", 200<<10)))
	})
}
