package sentinelclient

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"respgate/internal/respconn"
)

// fake is a server in this process that does whatever handle does with each
// connection.
type fake struct {
	addr  Address
	open  atomic.Int32
	most  atomic.Int32 // connections at a time
	total atomic.Int32

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func startFake(t *testing.T, handle func(c net.Conn)) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{addr: Address{"127.0.0.1", ln.Addr().(*net.TCPAddr).Port}, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[c] = true
			f.mu.Unlock()
			f.total.Add(1)
			f.most.Store(max(f.most.Load(), f.open.Add(1)))
			wg.Go(func() {
				defer f.open.Add(-1)
				defer c.Close()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		f.mu.Lock()
		for c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		wg.Wait()
	})
	return f
}

// fakeSentinel is one that behaves, until it is told not to.
type fakeSentinel struct {
	*fake
	resp2 bool // it does not know HELLO
	mute  atomic.Bool
	deaf  atomic.Bool                                // it closes instead of answering
	asked atomic.Int64                               // SENTINEL MASTER
	hook  func(args []string) (respconn.Value, bool) // answers before it does, if it wants to

	mu      sync.Mutex
	masters map[string]candidate
	subs    map[*respconn.Conn]net.Conn
}

func startFakeSentinel(t *testing.T, resp2 bool, masters map[string]candidate) *fakeSentinel {
	t.Helper()
	s := &fakeSentinel{resp2: resp2, masters: masters, subs: map[*respconn.Conn]net.Conn{}}
	s.fake = startFake(t, s.serve)
	return s
}

func (s *fakeSentinel) serve(nc net.Conn) {
	c := respconn.NewServer(nc, respconn.RequestLimits{})
	defer func() {
		s.mu.Lock()
		delete(s.subs, c)
		s.mu.Unlock()
	}()
	for {
		args, err := c.ReadRequest()
		if err != nil {
			return
		}
		if s.mute.Load() {
			continue
		}
		replies := s.reply(c, nc, args)
		if s.deaf.Load() {
			return
		}
		for _, v := range replies {
			err = c.Reply(v)
		}
		if err == nil {
			err = c.Flush()
		}
		if err != nil {
			return
		}
	}
}

func (s *fakeSentinel) reply(c *respconn.Conn, nc net.Conn, args []string) []respconn.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hook != nil {
		if v, ok := s.hook(args); ok {
			return []respconn.Value{v}
		}
	}
	switch args[0] {
	case "HELLO":
		if s.resp2 {
			return []respconn.Value{respconn.Errorf("ERR unknown command 'HELLO'")}
		}
		c.SetProtocol(3)
		return []respconn.Value{respconn.Fields("proto", 3, "mode", "sentinel")}
	case "PSUBSCRIBE":
		var list []respconn.Value
		for i, p := range args[1:] {
			list = append(list, respconn.Value{Kind: respconn.Push, Elems: []respconn.Value{respconn.Bulk("psubscribe"), respconn.Bulk(p), respconn.Int(int64(i + 1))}})
		}
		s.subs[c] = nc
		return list
	case "PING":
		if s.resp2 && s.subs[c] != nil {
			return []respconn.Value{respconn.Strings("pong", "")}
		}
		return []respconn.Value{respconn.Simple("PONG")}
	case "INFO":
		return []respconn.Value{respconn.Bulk("# Sentinel\r\nsentinel_tilt:0\r\n")}
	case "SENTINEL":
		m, ok := s.masters[args[2]]
		switch {
		case !ok && args[1] == "MASTER":
			return []respconn.Value{respconn.Errorf("ERR No such master with that name")}
		case !ok:
			return []respconn.Value{respconn.Nil()}
		case args[1] == "MASTER":
			s.asked.Add(1)
			return []respconn.Value{respconn.Fields("name", args[2], "ip", m.Address.Host, "port", fmt.Sprint(m.Address.Port), "flags", "master",
				"last-ok-ping-reply", "10", "down-after-milliseconds", "5000", "config-epoch", fmt.Sprint(m.Epoch),
				"num-slaves", "0", "num-other-sentinels", "2", "quorum", "2")}
		}
		return []respconn.Value{respconn.Strings(m.Address.Host, fmt.Sprint(m.Address.Port))}
	}
	return []respconn.Value{respconn.Errorf("ERR unknown command '%s'", args[0])}
}

// say changes what the sentinel tells; it publishes nothing.
func (s *fakeSentinel) say(group string, c candidate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.masters[group] = c
}

// publish sends an event to every subscriber, n times. It writes beside serve,
// whole messages at a time.
func (s *fakeSentinel) publish(channel, payload string, n int) {
	s.mu.Lock()
	var subs []net.Conn
	for _, nc := range s.subs {
		subs = append(subs, nc)
	}
	s.mu.Unlock()
	message := ">4\r\n$8\r\npmessage\r\n"
	for _, text := range []string{channel[:1] + "*", channel, payload} {
		message += fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
	}
	for _, nc := range subs {
		for left := n; left > 0; left -= 1000 {
			if _, err := io.WriteString(nc, strings.Repeat(message, min(left, 1000))); err != nil {
				break // the subscriber is gone
			}
		}
	}
}

// startFakeNode answers as a master without replicas.
func startFakeNode(t *testing.T) *fake {
	t.Helper()
	return startFake(t, func(nc net.Conn) {
		c := respconn.NewServer(nc, respconn.RequestLimits{})
		for {
			args, err := c.ReadRequest()
			if err != nil {
				return
			}
			v := respconn.Errorf("ERR unknown command")
			switch strings.Join(args, " ") {
			case "PING":
				v = respconn.Simple("PONG")
			case "ROLE":
				v = respconn.List(respconn.Bulk("master"), respconn.Int(0), respconn.List())
			case "INFO replication":
				v = respconn.Bulk("role:master\r\nconnected_slaves:0\r\n")
			case "INFO server":
				v = respconn.Bulk("run_id:abc\r\n")
			}
			if c.Reply(v) != nil || c.Flush() != nil {
				return
			}
		}
	})
}

// until blocks until the connection is closed by the other side.
func until(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// TestBadSentinels: one sentinel of three does everything that it must not; the
// others decide, it is told what it did, and nothing breaks.
func TestBadSentinels(t *testing.T) {
	t.Parallel()
	raw := func(s string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, s)
			until(c)
		}
	}
	tests := []struct {
		name   string
		handle func(net.Conn)
		cause  string
	}{
		{"closes at once", func(net.Conn) {}, "closed the connection"},
		{"never answers", until, "not through within"},
		{"slow", func(c net.Conn) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for _, b := range []byte("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n") {
				<-tick.C
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
			until(c)
		}, "not through within"},
		{"http", raw("HTTP/1.1 400 Bad Request\r\n\r\n"), "Protocol error"},
		{"garbage", raw("\x00\xff\xfe\r\n\r\n"), "Protocol error"},
		{"truncated", func(c net.Conn) { _, _ = io.WriteString(c, "*2\r\n$4\r\nab") }, "closed the connection"},
		{"huge bulk", raw("$9999999999\r\n"), "Protocol error"},
		{"huge array", raw("*2147483647\r\n"), "Protocol error"},
		{"negative", raw("*-7\r\n"), "Protocol error"},
		{"nested", raw(strings.Repeat("*1\r\n", 1_000_000)), "Protocol error"},
		{"password wanted", raw("-NOAUTH Authentication required.\r\n"), "NOAUTH"},
		{"a plain redis", raw("%1\r\n+mode\r\n+standalone\r\n"), "not a sentinel"},
		{"wrong type", raw(":1\r\n"), "HELLO: want fields and values"},
		{"full", raw("-ERR max number of clients reached\r\n"), "max number of clients"},
		{"extra reply", raw("%1\r\n+proto\r\n:3\r\n+OK\r\n"), "nobody asked for"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			master := startFakeNode(t)
			masters := func() map[string]candidate { return map[string]candidate{"g1": {Address: master.addr, Epoch: 1}} }
			bad := startFake(t, tt.handle)
			cfg := Config{Pool: "p", Groups: []string{"g1"}, Lease: LeaseAuto, Timeout: 300 * time.Millisecond,
				Sentinels: []Sentinel{{Address: bad.addr}, {Address: startFakeSentinel(t, false, masters()).addr}, {Address: startFakeSentinel(t, true, masters()).addr}}}
			m, v := startMonitor(t, cfg)
			eventually(t, "the master is found", up(v, "g1", master.addr))
			eventually(t, "the bad one is told apart", func() bool {
				st := m.Sentinels()
				return len(st) == 3 && strings.Contains(st[0].Cause, tt.cause) && !st[0].Active
			})
			if w := v.get(); !w.Ready || w.Active == bad.addr {
				t.Errorf("not ready: %+v", w)
			}
			if v.any(func(w *View) bool { return w.Groups["g1"].State == GroupSuspect }) {
				t.Error("the group was touched")
			}
		})
	}
}

// TestHalfOpen: the active sentinel falls silent without a FIN. A switch in that
// window is seen through the others, and the link is replaced.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	a, b := startFakeNode(t), startFakeNode(t)
	var sentinels []*fakeSentinel
	cfg := Config{Pool: "p", Groups: []string{"g1"}, Lease: LeaseAuto, Heartbeat: 100 * time.Millisecond}
	for range 3 {
		s := startFakeSentinel(t, false, map[string]candidate{"g1": {Address: a.addr, Epoch: 1}})
		sentinels = append(sentinels, s)
		cfg.Sentinels = append(cfg.Sentinels, Sentinel{Address: s.addr})
	}
	m, v := startMonitor(t, cfg)
	eventually(t, "all are watched", func() bool {
		for _, st := range m.Sentinels() {
			if st.State != SentinelWatching {
				return false
			}
		}
		return up(v, "g1", a.addr)()
	})
	eventually(t, "the first one is active", func() bool {
		return m.Rotate(&sentinels[0].addr) == nil && v.get().Active == sentinels[0].addr
	})
	sentinels[0].mute.Store(true)
	for _, s := range sentinels[1:] {
		s.say("g1", candidate{Address: b.addr, Epoch: 2})
		s.publish("+switch-master", fmt.Sprintf("g1 %s %d %s %d", a.addr.Host, a.addr.Port, b.addr.Host, b.addr.Port), 1)
	}
	eventually(t, "the switch is seen", up(v, "g1", b.addr))
	eventually(t, "another one is active", func() bool { return v.get().Active != sentinels[0].addr })
	sentinels[0].mute.Store(false)
	eventually(t, "it is watched again, and outvoted", func() bool { return m.Sentinels()[0].State == SentinelWatching })
	if g := v.group("g1"); g.Master != b.addr || g.Epoch != 2 {
		t.Errorf("the stale one was followed: %+v", g)
	}
}

// TestFlood: 100,000 events of a group, and as many of another one, cost ten queries a second, and no memory.
func TestFlood(t *testing.T) { // not parallel: it measures the heap
	a := startFakeNode(t)
	s := startFakeSentinel(t, false, map[string]candidate{"g1": {Address: a.addr, Epoch: 1}})
	m, v := startMonitor(t, Config{Pool: "p", Groups: []string{"g1"}, Lease: LeaseAuto, Sentinels: []Sentinel{{Address: s.addr}},
		Timeout: 30 * time.Second}) // an answer has to wait for the events before it
	eventually(t, "the master is found", up(v, "g1", a.addr))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	asked, start := s.asked.Load(), time.Now()
	const events = 200_000
	s.publish("+sdown", fmt.Sprintf("master g1 %s %d", a.addr.Host, a.addr.Port), events/2)
	s.publish("+sdown", "master g10 10.0.0.1 1", events/2)
	eventually(t, "all are read", func() bool { st := m.Sentinels()[0]; return st.Events >= events/2 && st.Ignored >= events/2 })
	took := time.Since(start)
	t.Logf("%d events in %v", events, took)
	if n, most := s.asked.Load()-asked, int64(took/time.Second+2)*queryBurst; n > most {
		t.Errorf("%d queries in %v, at most %d are allowed", n, took, most)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if g := v.group("g1"); g.State != GroupUp {
		t.Errorf("the group was touched: %+v", g)
	}
}

// TestSingleLink is the source design: one link at a time, and not ready while
// it is being replaced.
func TestSingleLink(t *testing.T) {
	t.Parallel()
	a := startFakeNode(t)
	var sentinels []*fakeSentinel
	cfg := Config{Pool: "p", Groups: []string{"g1"}, Links: 1, Lease: 0, Timeout: 5 * time.Second} // heartbeats that a slow machine does not miss
	for range 2 {
		s := startFakeSentinel(t, false, map[string]candidate{"g1": {Address: a.addr, Epoch: 1}})
		sentinels = append(sentinels, s)
		cfg.Sentinels = append(cfg.Sentinels, Sentinel{Address: s.addr})
	}
	m, v := startMonitor(t, cfg)
	ready := func(at Address) func() bool {
		return func() bool { w := v.get(); return w.Ready && w.Active == at && up(v, "g1", a.addr)() }
	}
	eventually(t, "the first one is in use", ready(sentinels[0].addr))
	if n := sentinels[1].total.Load(); n != 0 {
		t.Errorf("the second sentinel was dialed %d times", n)
	}
	sentinels[0].mute.Store(true)
	eventually(t, "the second one is in use", ready(sentinels[1].addr))
	if !v.any(func(w *View) bool {
		g := w.Groups["g1"]
		return !w.Ready && w.Cause != "" && g.Master == a.addr && !g.Authority
	}) {
		t.Error("no view was without authority during the rotation")
	}
	sentinels[0].mute.Store(false)
	if err := m.Rotate(nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first one is in use again", ready(sentinels[0].addr))
	eventually(t, "the second one is let go", func() bool { return sentinels[1].open.Load() == 0 })
	for i, s := range sentinels {
		if n := s.most.Load(); n != 1 {
			t.Errorf("sentinel %d had %d links at a time", i, n)
		}
	}
}
