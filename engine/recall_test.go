package engine

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"respgate/engine/buffer"
	"respgate/engine/topology"
)

// choked is a rig with a client whose requests fill its link: the first one, "APPEND k x", is written, of the second one a
// part, and of what follows nothing. The server reads on when it is told to.
func choked(t *testing.T, v variant, requests ...[]string) (r *rig, s *fake, a *app, read func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = serveFake(t, &smallBuffers{ln, v.loops})
	r = newRig(t, v, []string{"g1"}, change("g1", func(g *topology.Group) { g.Master = s.master(2) }))
	deaf := make(chan struct{})
	s.on(func(c *fakeConn, args []string) (string, bool) {
		if args[0] == "APPEND" && c.number == 0 {
			s.mu.Unlock()
			<-deaf
			s.mu.Lock()
		}
		return "", false
	})
	a = r.dial()
	a.do(":0\r\n", "TOUCH", "k")
	r.narrow()
	a.send(req("APPEND", "k", "x"))
	until(t, "the server has stopped reading", func() bool { return r.stats("g1").Inflight == 1 })
	sent := r.pool().ServerSent
	for _, q := range requests {
		a.send(req(q...))
	}
	until(t, "a part is written", func() bool { return r.pool().ServerSent > sent+4096 && r.stats("g1").Inflight == 1+len(requests) })
	return r, s, a, func() { close(deaf) }
}

// narrow has the links of now send little before their server reads.
func (r *rig) narrow() {
	for _, l := range r.e.loops {
		l.call(func() {
			l.pools["p"].byName["g1"].each(func(s *server) {
				for _, k := range s.links {
					if k != nil && k.state == linkUp {
						_ = unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
						tuneUserTimeout(k.fd, 0) // the server takes nothing for as long as the test wants
					}
				}
			})
		})
	}
}

// names are the requests that a server saw, without long arguments.
func (s *fake) names() string {
	var names []string
	for _, q := range s.requests() {
		names = append(names, clip(q, 8))
	}
	return strings.Join(names, ",")
}

// TestHoldTakesBack: with a hold, what has not begun to leave does not leave; it follows in order when the hold ends.
func TestHoldTakesBack(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r, s, a, read := choked(t, v, []string{"SET", "p", strings.Repeat("x", 200<<10)}, []string{"SET", "q", "1"}, []string{"GET", "q"})
		r.apply(change("g1", onHold))
		if st := r.stats("g1"); st.Held != 2 || st.Inflight != 2 || st.HeldBytes != int64(len(req("SET", "q", "1")+req("GET", "q"))) {
			t.Errorf("on hold: %+v", st)
		}
		a.send(req("SET", "q", "2"))
		read()
		a.want(bulk("APPEND k x") + "+OK\r\n")
		until(t, "the later one waits", func() bool { return r.stats("g1").Held == 3 })
		if got := s.names(); got != "TOUCH k,APPEND k,SET p xx" {
			t.Errorf("the server saw %s", got)
		}
		r.apply(change("g1", release))
		a.want("+OK\r\n" + bulk("1") + "+OK\r\n")
		if st := r.stats("g1"); st.Held != 0 || st.HeldBytes != 0 || st.Inflight != 0 || st.Unknown != 0 {
			t.Errorf("in the end: %+v", st)
		}
		if _, ever := s.connections(); ever != 1 {
			t.Errorf("%d connections", ever)
		}
	})
}

// TestFenceTakesBack: what a group is not asked for any more does not leave for its master, be it in a link already. What was
// written is finished; a write that was written in part cannot be.
func TestFenceTakesBack(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const denied = "-ERR respgate: group 'g1': no sentinel is reachable\r\n"
		long := strings.Repeat("x", 200<<10)
		for _, tc := range []struct {
			access topology.Access
			begun  []string
			want   string
			seen   string // by the server, in the end
		}{
			{topology.Fence, []string{"EXISTS", long}, bulk("APPEND k x") + ":0\r\n" + denied + "$-1\r\n", "TOUCH k,APPEND k,EXISTS x,GET q"},
			{topology.Fence, []string{"SET", "p", long}, unknownOutcome + denied + denied + "$-1\r\n", "TOUCH k,APPEND k,GET q"},
			{topology.Reject, []string{"EXISTS", long}, unknownOutcome + denied + denied + denied, "TOUCH k,APPEND k"},
		} {
			r, s, a, read := choked(t, v, tc.begun, []string{"SET", "q", "1"}, []string{"GET", "q"})
			r.apply(change("g1", func(g *topology.Group) { g.Access, g.Reason = tc.access, "no sentinel is reachable" }))
			read()
			a.want(tc.want)
			r.dial().do(denied, "SET", "q", "2")
			until(t, "the server has read all", func() bool { return strings.Contains(s.names(), "APPEND") && r.stats("g1").Inflight == 0 })
			if got := strings.Join(unique(strings.Split(s.names(), ",")), ","); got != tc.seen {
				t.Errorf("%v, %s: the server saw %s", tc.access, tc.begun[0], got)
			}
		}
	})
}

// unique drops what came twice: two connections may be read in any order, and a read may be asked again.
func unique(names []string) (rest []string) {
	seen := map[string]bool{}
	for _, n := range names {
		if !seen[n] {
			rest = append(rest, n)
		}
		seen[n] = true
	}
	return rest
}

// TestNothingLingers: what the kernel still holds for a master that was left does not reach it when it reads on.
func TestNothingLingers(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, leave := range []func(g *topology.Group, next *fake){
			func(g *topology.Group, next *fake) { g.Master = next.master(g.Master.Generation + 1) },
			func(g *topology.Group, _ *fake) { g.Access, g.Reason = topology.Reject, "lost" },
		} {
			r, s, a, read := choked(t, v, []string{"SET", "p", strings.Repeat("x", 200<<10)})
			next := newFake(t)
			r.apply(change("g1", func(g *topology.Group) { leave(g, next) }))
			a.want(unknownOutcome)
			s.change(func() {
				for c := range s.conns {
					c.closed = true // no reply is written, which would learn of the end instead
				}
			})
			read()
			until(t, "the connection has ended", func() (ended bool) {
				s.change(func() { ended = len(s.ends) > 0 })
				return ended
			})
			s.change(func() {
				if !errors.Is(s.ends[0], unix.ECONNRESET) {
					t.Errorf("its end was: %v", s.ends[0])
				}
			})
		}
	})
}

// TestAnsweredTooEarly: a reply that comes before the last byte of its request was written is one too many, and the link is out of
// step; an error may be meant, for a server need not read to the end what it refuses.
func TestAnsweredTooEarly(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		long := strings.Repeat("x", 200<<10)
		for early, want := range map[string]string{
			"+EXTRA\r\n": "+OK\r\n" + bulk(long),
			"-ERR Protocol error: invalid bulk length\r\n":        "-ERR Protocol error: invalid bulk length\r\n$-1\r\n",
			"!21\r\nSYNTAX invalid syntax\r\n":                    "!21\r\nSYNTAX invalid syntax\r\n$-1\r\n",
			"-LOADING Redis is loading the dataset in memory\r\n": "+OK\r\n" + bulk(long),
		} {
			r, s, a, read := choked(t, v, []string{"SET", "p", long}, []string{"GET", "p"})
			defer read()
			s.change(func() {
				for c := range s.conns {
					if _, err := io.WriteString(c.conn, "+1\r\n"+early); err != nil {
						t.Error(err)
					}
				}
			})
			a.want("+1\r\n" + want)
			if _, ever := s.connections(); ever != 2 {
				t.Errorf("%q: %d connections", early, ever)
			}
			if st := r.stats("g1"); st.Unknown != 0 || st.Inflight != 0 || st.Held != 0 {
				t.Errorf("%q: %+v", early, st)
			}
		}
	})
}

// TestUnsentForEver: what has not left may be taken back as often as its link is lost.
func TestUnsentForEver(t *testing.T) {
	d := newDriven(t, 1, nil)
	keys := d.keys(1)
	d.round(d.client(), []byte(req("GET", keys[0])), len(bulk(string(d.value))))
	s := d.l.pools["p"].groups[0].servers[0]
	r := d.l.newRequest()
	r.internal, r.cmd, r.server, r.start, r.retries = true, cmdPublish, s, d.l.now, maxRetries
	r.piece = s.store.Put(&d.l.bufs, []byte(req("PUBLISH", "c", "x")))
	s.links[0].send(r)
	s.links[0].close("lost")
	if s.pending.head != r || r.state != requestPending {
		t.Error("a request that never left was given up")
	}
}

// TestMerge: what comes back from several links waits by its age, and keeps the order of each link.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q serverQueue
		total, bytes := 0, 0
		for link := range rapid.IntRange(1, 5).Draw(t, "links") {
			var back serverQueue
			at := int64(0)
			for i := range rapid.IntRange(0, 10).Draw(t, "requests") {
				at += rapid.Int64Range(0, 3).Draw(t, "later")
				back.push(&request{requestFields: requestFields{start: at, seq: uint64(i), part: int32(link), piece: buffer.Piece{End: uint32(i)}}})
				total, bytes = total+1, bytes+i
			}
			q.merge(&back)
			if back.head != nil || back.tail != nil || back.count != 0 || back.bytes != 0 {
				t.Fatalf("something is left: %+v", back)
			}
		}
		if q.count != total || q.bytes != bytes {
			t.Fatalf("%d requests of %d bytes, want %d of %d", q.count, q.bytes, total, bytes)
		}
		next := map[int32]uint64{}
		var last *request
		for r := q.head; r != nil; r = r.nextServer {
			if last != nil && last.start > r.start || next[r.part] != r.seq {
				t.Fatalf("link %d, request %d of %d is out of order", r.part, r.seq, r.start)
			}
			next[r.part]++
			last = r
			total--
		}
		if total != 0 || q.tail != last {
			t.Fatalf("%d are missing", total)
		}
	})
}
