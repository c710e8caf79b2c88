package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"respgate/engine/poller"
	"respgate/engine/topology"
)

// withPool adds a pool of groups whose fakes the rig has.
func (r *rig) withPool(name string, groups ...string) func(*topology.Snapshot) {
	return func(s *topology.Snapshot) { s.Pools = append(s.Pools, r.newPool(name, groups)) } // names ascend in the tests
}

// TestPortTaken: new listeners are bound before anything else, and if one cannot be, nothing has changed.
func TestPortTaken(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		a := r.dial()
		a.do("+OK\r\n", "SET", "k", "v")
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		serial := r.e.Stats().Serial
		err = r.try(r.withPool("pa", "g1"), r.withPool("pbb", "g1"), set(withPassword), func(s *topology.Snapshot) {
			s.Pool("pbb").Listen.Address = taken.Addr().String()
			g, _ := s.Pool("p").Group("g1")
			g.Access, g.Reason = topology.Reject, "never applied"
		})
		if err == nil || !strings.Contains(err.Error(), "pool 'pbb': listen on "+taken.Addr().String()+": address already in use") {
			t.Fatalf("error %v", err)
		}
		if st := r.e.Stats(); st.Serial != serial || len(st.Pools) != 1 {
			t.Errorf("serial %d, %d pools: something was applied", st.Serial, len(st.Pools))
		}
		a.do(bulk("v"), "GET", "k")
		r.dial().do(bulk("v"), "GET", "k") // no password
		for _, bad := range []string{"nowhere", "127.0.0.1:99999", "127.0.0.1:x"} {
			if err := r.try(r.withPool("pa", "g1"), func(s *topology.Snapshot) { s.Pool("pa").Listen.Address = bad }); err == nil {
				t.Errorf("listening on %q went well", bad)
			}
		}
		r.apply(r.withPool("pa", "g1"))
		r.dialPool("pa").do(bulk("v"), "GET", "k")
	})
}

// descriptors is the number of this process' open files.
func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestPoolsChange: pools come, go and change while the connections of the others are not touched.
func TestPoolsChange(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2", "g3"})
		r.apply(r.withPool("pa", "g1"), r.withPool("pbb", "g2"))
		a, b, c := r.dial(), r.dialPool("pa"), r.dialPool("pbb")
		for _, app := range []*app{a, b, c} {
			app.do("+OK\r\n", "SET", "k", "v")
		}
		x := r.key("g1", 0)
		s := r.servers["g1"]
		s.hold()
		a.send(req("SET", x, "in flight"))
		b.send(req("SET", "k", "in flight too"))
		until(t, "both are there", func() bool {
			n := 0
			for _, q := range s.requests() {
				if strings.Contains(q, "in flight") {
					n++
				}
			}
			return n == 2
		})
		// Pool pa goes: its client gets what it waits for and is closed; its port is free.
		_, gone := r.address("pa")
		r.apply(func(s *topology.Snapshot) { s.Pools = append(s.Pools[:1:1], s.Pools[2]) })
		if conn, err := net.Dial("tcp", gone); err == nil {
			conn.Close()
			t.Error("the port of a pool that is gone takes connections")
		}
		s.open()
		a.want("+OK\r\n")
		b.want("+OK\r\n")
		b.wantClosed()
		// The pool changes its port: its clients stay, new ones come through the new one.
		_, before := r.address("p")
		r.apply(func(s *topology.Snapshot) { s.Pool("p").Listen.Address = "127.0.0.1:00000000" })
		if _, now := r.address("p"); now == before {
			t.Errorf("still at %s", now)
		}
		a.do(bulk("in flight"), "GET", x)
		r.dial().do(bulk("in flight"), "GET", x)
		// Groups are added and removed.
		y := r.key("g3", 0)
		a.do("+OK\r\n", "SET", y, "3")
		r.apply(func(s *topology.Snapshot) {
			p := s.Pool("p")
			p.Groups = p.Groups[:2]
			setRing(p)
		})
		a.do("$-1\r\n", "GET", y)
		until(t, "no link to the group that is gone is left", func() bool { open, _ := r.servers["g3"].connections(); return open == 0 })
		r.apply(func(s *topology.Snapshot) {
			p := s.Pool("p")
			p.Groups = append(p.Groups, &topology.Group{Name: "g3", Master: r.servers["g3"].master(5)})
			setRing(p)
		})
		a.do(bulk("3"), "GET", y)
		c.do(bulk("v"), "GET", "k") // nobody has touched this one
		if st := r.e.Stats(); st.Pools["pbb"].Accepted != 1 || st.Pools["pbb"].Dials != 1 {
			t.Errorf("pool pbb: %d clients, %d dials so far, want 1 and 1", st.Pools["pbb"].Accepted, st.Pools["pbb"].Dials)
		}
		if len(r.e.shared) != 4 {
			t.Errorf("%d groups are known, want 4", len(r.e.shared))
		}
	})
}

// TestGroupRemoved: what waits for a group that is gone is told so.
func TestGroupRemoved(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"}, change("g1", onHold))
		x, y := r.key("g1", 0), r.key("g2", 0)
		a := r.dial()
		a.send(req("SET", x, "v") + req("MGET", x, y) + req("PING"))
		until(t, "they wait", func() bool { return r.stats("g1").Held == 2 })
		r.apply(func(s *topology.Snapshot) {
			p := s.Pool("p")
			p.Groups = p.Groups[1:]
			setRing(p)
		})
		gone := "-ERR respgate: group 'g1' was removed from pool 'p'\r\n"
		a.want(gone + gone + "+PONG\r\n")
		a.do("+OK\r\n", "SET", x, "v") // belongs to g2 now
	})
}

func TestPreconnect(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.Preconnect, s.ServerConnections = true, 2 }))
		until(t, "all links are up", func() bool { return r.stats("g1").Links == 2*v.loops && r.stats("g2").Links == 2*v.loops })
		r.servers["g1"].dropAll()
		until(t, "they come back by themselves", func() bool {
			_, ever := r.servers["g1"].connections()
			return ever >= 4*v.loops && r.stats("g1").Links == 2*v.loops
		})
		if r.happened(EventLinkLost) != 2*v.loops {
			t.Errorf("%d links were lost, want %d", r.happened(EventLinkLost), 2*v.loops)
		}
	})
}

func TestUnixListener(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pool.sock")
	at := func(s *topology.Snapshot) {
		s.Pool("p").Listen = topology.Listen{Network: "unix", Address: path, Mode: 0o600}
	}
	r := newRig(t, plain, []string{"g1"}, at)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	a := r.dial()
	a.do("+OK\r\n", "SET", "k", "v")
	a.send(req("CLIENT", "INFO"))
	if got := a.text(); !strings.Contains(got, "laddr="+path+":0 ") {
		t.Errorf("CLIENT INFO %q", got)
	}
	if err := r.try(r.withPool("pa", "g1"), func(s *topology.Snapshot) {
		s.Pool("pa").Listen = topology.Listen{Network: "unix", Address: path + "x/y"}
	}); err == nil {
		t.Error("a socket in a directory that does not exist was bound")
	}
	file := filepath.Join(filepath.Dir(path), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.try(r.withPool("pa", "g1"), func(s *topology.Snapshot) { s.Pool("pa").Listen = topology.Listen{Network: "unix", Address: file} }); err == nil || !strings.Contains(err.Error(), "exists and is no socket") {
		t.Errorf("over a file: %v", err)
	}
	r.apply(func(s *topology.Snapshot) {
		s.Pool("p").Listen = topology.Listen{Network: "tcp", Address: "127.0.0.1:0"}
	})
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file was left behind: %v", err)
	}
	a.do(bulk("v"), "GET", "k")

	// One that a process left behind when it died is replaced; one that somebody listens on is not.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.try(at); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("over a socket in use: %v", err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	r.apply(at)
	r.dial().do(bulk("v"), "GET", "k")
}

// TestShutdown: no new clients; those there get what they wait for; then everything is closed.
func TestShutdown(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		r.apply(r.withPool("pa", "g1"))
		s := r.servers["g1"]
		a, idle, removed := r.dial(), r.dial(), r.dialPool("pa")
		a.do("+OK\r\n", "SET", "k", "v")
		s.hold()
		a.send(req("GET", "k"))
		removed.send(req("GET", "k"))
		until(t, "they are in flight", func() bool { return len(s.requests()) == 3 })
		r.apply(func(s *topology.Snapshot) { s.Pools = s.Pools[:1] }) // one pool is draining already
		_, address := r.address("p")
		ended := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			ended <- r.e.Shutdown(ctx)
		}()
		idle.wantClosed()
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Error("a connection was accepted during the shutdown")
		}
		s.open()
		a.want(bulk("v"))
		a.wantClosed()
		removed.want(bulk("v"))
		removed.wantClosed()
		for _, app := range []*app{a, idle, removed} {
			app.conn.Close()
		}
		if err := <-ended; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		until(t, "the links are closed", func() bool { open, _ := s.connections(); return open == 0 })
		if err := r.try(); !errors.Is(err, ErrClosed) {
			t.Errorf("Apply afterwards: %v", err)
		}
		if err := r.e.Shutdown(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("Shutdown afterwards: %v", err)
		}
		r.e.Stats() // returns, with whatever it found
	})
}

// TestShutdownIsBounded: who keeps it waiting is cut off at the end of the context, in pools that were removed as well.
func TestShutdownIsBounded(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		r.apply(r.withPool("pa", "g1"))
		s := r.servers["g1"]
		s.hold()
		var apps []*app
		for i := range 6 {
			a := r.dialPool([]string{"p", "pa"}[i%2])
			a.send(req("SET", "k", fmt.Sprint(i)))
			apps = append(apps, a)
		}
		until(t, "they are in flight", func() bool { return len(s.requests()) == 6 })
		r.apply(func(s *topology.Snapshot) { s.Pools = s.Pools[:1] })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := r.e.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v", err)
		}
		for _, a := range apps {
			if _, err := a.r.ReadByte(); err == nil {
				t.Error("a connection is still open, and talks")
			}
		}
		until(t, "the links are closed", func() bool { open, _ := s.connections(); return open == 0 })
		if n := r.e.clients.Load(); n != 0 {
			t.Errorf("%d clients are counted", n)
		}
	})
}

// TestNewFails: an engine that cannot have its pollers leaves nothing behind.
func TestNewFails(t *testing.T) {
	t.Parallel()
	left := 2
	e, err := New(Options{Loops: 5, NewPoller: func() (poller.Poller, error) {
		if left--; left < 0 {
			return nil, errors.New("no descriptors")
		}
		return poller.New()
	}})
	if e != nil || err == nil || err.Error() != "engine: loop 2: no descriptors" {
		t.Errorf("New: %v, %v", e, err)
	}
}

// TestDescriptors opens and closes everything there is several times over and counts what is left. It runs alone: before
// the tests that run in parallel go on.
func TestDescriptors(t *testing.T) {
	round := func() {
		done := make(chan struct{})
		t.Run("round", func(t *testing.T) {
			defer close(done)
			r := newRig(t, variant{2, poller.New}, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.ServerConnections = 3; s.Preconnect = true }))
			for i := range 20 {
				a := r.dial()
				a.do("+OK\r\n", "SET", r.key("g1", i), "v")
				a.send("*x\r\n")
			}
			r.apply(r.withPool("pa", "g1"))
			r.dialPool("pa").do("+PONG\r\n", "PING")
			_ = r.try(r.withPool("pbb", "g1"), func(s *topology.Snapshot) { s.Pool("pbb").Listen.Address = "127.0.0.1:bad" })
			r.apply(change("g1", func(g *topology.Group) { g.Master = r.servers["g2"].master(9) }))
			r.apply(func(s *topology.Snapshot) { s.Pools = s.Pools[:1] })
		})
		<-done
	}
	round()
	before := descriptors(t)
	for range 3 {
		round()
	}
	until(t, "no descriptor is left open", func() bool { return descriptors(t) <= before })
}

// TestBlameAfterReload: an error of one group in a request over several names that group, whatever place it has got meanwhile.
func TestBlameAfterReload(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		a, k1, k2 := r.dial(), r.key("g1", 0), r.key("g2", 0)
		r.servers["g2"].on(func(_ *fakeConn, args []string) (string, bool) { return "-OOM x\r\n", args[0] == "MGET" })
		r.servers["g2"].hold()
		a.send(req("MGET", k1, k2))
		until(t, "the group is asked", func() bool { return r.stats("g2").Inflight == 1 })
		r.apply(func(s *topology.Snapshot) {
			p := s.Pool("p")
			p.Groups[0], p.Groups[1] = p.Groups[1], p.Groups[0]
			setRing(p)
		})
		r.servers["g2"].open()
		a.want("-OOM x (respgate: group 'g2')\r\n")
	})
}
