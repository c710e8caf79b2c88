package failover

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestFault64NoDescriptors takes all descriptors that the proxy may have: new clients wait or are turned away, those that
// are there are served, the sentinels are watched, and when there is room again it is used.
func TestFault64NoDescriptors(t *testing.T) {
	t.Parallel()
	s := newStage(t, []string{"g1"})
	c := harness.NewConfig(t)
	addr := c.Pool("cache", harness.SentinelLines(s.groups, s.sentinels(), harness.FleetOptions{})...)
	const files = 128
	s.proxy = harness.StartProxyWithFiles(t, c, files)
	s.proxy.WaitUp("cache")
	s.proxy.WaitWatching("cache")
	l := s.load()
	l.Progress(50)
	var crowd []*harness.Conn
	for range 2 * files {
		conn, err := harness.Dial(addr)
		if err != nil {
			break // the kernel's queue is full as well
		}
		crowd = append(crowd, conn)
		_ = conn.Write(harness.Encode("PING")) // whoever was turned away does not mind
	}
	harness.Eventually(t, harness.Patience, "few descriptors are left", func() error {
		if n, err := s.proxy.FDs(); err != nil || n < files/2 {
			return fmt.Errorf("%d in use, %v", n, err)
		}
		return nil
	})
	l.Progress(100)
	// Who is needed finds one: a switch is followed, and the console answers.
	fresh := harness.StartRedis(t, harness.RedisOptions{})
	untouched(t, l.Finish(s.servers))
	s.announce("g1", "127.0.0.1", fresh.Port, 2)
	s.proxy.WaitMaster("cache", "g1", fresh.Addr())
	for _, conn := range crowd {
		conn.Close()
	}
	s.servers["g1"] = fresh
	harness.Eventually(t, harness.Patience, "a new client is served", func() error {
		r, err := harness.Ask(addr, "SET", "a", "1")
		if err == nil {
			err = r.Err()
		}
		return err
	})
	l = s.load()
	l.Progress(50)
	untouched(t, l.Finish(s.servers))
}

// TestFault65CrowdAtCrash has many clients ask while the master dies: the queue is bounded, who does not fit is told at
// once, and memory and connections stay within their bounds.
func TestFault65CrowdAtCrash(t *testing.T) {
	t.Parallel()
	clients := 600
	if *soakFlag > 0 {
		clients = 5000
	}
	const room = 100
	f, p := stack(t, quickly("g1"), "hold: { timeout: 2m, requests: 100 }")
	addr := p.Config.Addr("cache")
	conns := make([]*harness.Conn, clients)
	for i := range conns {
		conns[i] = dial(t, addr)
		conns[i].Timeout = 5 * harness.Patience
		want(t, conns[i], "PONG", "PING")
	}
	rss, err := p.RSS()
	if err != nil {
		t.Fatal(err)
	}
	old := f.Group("g1").Master
	old.Freeze() // no request is answered before the crash
	before, began := dials(t, p), time.Now()
	old.Kill()
	harness.Eventually(t, harness.Patience, "the proxy knows", func() error {
		if state := p.Master("cache", "g1")["state"]; state == "up" {
			return errors.New("it is up")
		}
		return nil
	})
	var served, refused atomic.Int64
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			r, err := c.Do("SET", fmt.Sprint("k", i), "1")
			switch {
			case err != nil:
				t.Errorf("client %d: %v", i, err)
			case r.Text() == "OK":
				served.Add(1)
			case strings.Contains(r.Str, "hold queue of group 'g1' is full"):
				refused.Add(1)
			default:
				t.Errorf("client %d: %s", i, r.Text())
			}
		})
	}
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	wg.Wait()
	t.Logf("%d served, %d refused", served.Load(), refused.Load())
	if served.Load() < room {
		t.Errorf("%d were served, want the %d that there was room for at the least", served.Load(), room)
	}
	if refused.Load() == 0 {
		t.Error("nobody was refused: the bound was not reached, or does not hold")
	}
	dialled(t, p, before, began)
	if now, err := p.RSS(); err != nil || now > rss+mebibytes(64) {
		t.Errorf("%d MiB resident, %d before: %v", now>>20, rss>>20, err)
	}
}

// TestFault66HostileClients lets clients send garbage, announce too much, stop in the middle, and read nothing: each of
// them has to bear it alone.
func TestFault66HostileClients(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	l := s.load()
	l.Progress(50)
	rss, err := s.proxy.RSS()
	if err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("v", 64<<10)
	want(t, dial(t, s.addr()), "OK", "SET", "large", value)
	for _, text := range []string{"*1048577\r\n", "*1\r\n$536870913\r\n", "*1\r\n$abc\r\n", strings.Repeat("*1\r\n", 10000), strings.Repeat("x", 80<<10), "GET / HTTP/1.1\r\n\r\n"} {
		c := dial(t, s.addr())
		_ = c.Write(text) // it may be closed before all of it is sent
		if r, err := c.Receive(); err == nil && r.Kind != '-' {
			t.Errorf("%.20q: %s, want an error", text, r.Text())
		}
		if _, err := c.EOF(); err != nil {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	half := dial(t, s.addr())
	if err := half.Write("*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$1000\r\nabc"); err != nil {
		t.Fatal(err)
	}
	deaf := dial(t, s.addr())
	if err := deaf.SetReadBuffer(8 << 10); err != nil {
		t.Fatal(err)
	}
	deaf.Timeout = time.Second // writing ends when the proxy reads no more of it
	request := strings.Repeat(harness.Encode("GET", "large"), 100)
	for range 1000 {
		if deaf.Write(request) != nil {
			break
		}
	}
	l.Progress(200)
	if now, err := s.proxy.RSS(); err != nil || now > rss+mebibytes(128) {
		t.Errorf("%d MiB resident, %d before: %v", now>>20, rss>>20, err)
	}
	if err := half.Write(strings.Repeat("d", 997) + "\r\n"); err != nil {
		t.Fatal(err)
	}
	if r, err := half.Receive(); err != nil || r.Text() != "OK" {
		t.Errorf("half a request, and then the rest: %s, %v", r.Text(), err)
	}
	untouched(t, l.Finish(s.servers))
}

// TestFault68ProxyKilled kills the proxy under load and starts it again: clients come back, nothing acknowledged is lost.
func TestFault68ProxyKilled(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1", "g2"})
	l := s.load()
	l.Progress(100)
	s.proxy.Kill()
	began := time.Now()
	s.proxy.Restart()
	s.proxy.WaitUp("cache")
	t.Logf("killed, started and serving in %v", time.Since(began).Round(time.Millisecond))
	l.Progress(100)
	for _, r := range l.Finish(s.servers) {
		sound(t, r, r.Failed())
		for text := range r.Errors {
			if !strings.HasPrefix(text, "connection: ") {
				t.Errorf("%s: an error that is no lost connection: %s", r.Group, text)
			}
		}
	}
}
