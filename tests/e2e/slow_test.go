package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// threeServers is a proxy of two loops over a fixed list, with every link up, and a key for each server that has its name as
// the value.
func threeServers(t *testing.T, lines ...string) (p *harness.Proxy, servers map[string]*harness.Redis, keys map[string]string) {
	t.Helper()
	c := harness.NewConfig(t)
	c.Lines = append(c.Lines, "loops: 2")
	servers, keys = map[string]*harness.Redis{}, map[string]string{}
	var list []string
	for _, g := range []string{"g1", "g2", "slow"} {
		servers[g] = harness.StartRedis(t, harness.RedisOptions{})
		list = append(list, servers[g].Addr()+":1 "+g)
	}
	c.ServersPool("cache", list, append(lines, "preconnect: true")...)
	p = harness.StartProxy(t, c)
	harness.Eventually(t, harness.Patience, "every loop has a link to every server", func() error {
		for _, m := range p.Rows("PROXY", "MASTERS", "cache") {
			if m["links"] != "2" {
				return fmt.Errorf("%s has %s", m["group"], m["links"])
			}
		}
		return nil
	})
	conn := dial(t, p.Config.Addr("cache"))
	for g, k := range keysIn(t, p, "cache", strings.Repeat("k", 200), 1) {
		keys[g] = k[0]
		want(t, conn, "OK", "SET", k[0], g)
	}
	return p, servers, keys
}

// crowd are clients whose requests go to the slow server, and clients that ask another one in between.
func crowd(t *testing.T, addr string, keys map[string]string, each int) []*unread {
	t.Helper()
	var clients []*unread
	slow, fast := harness.Encode("GET", keys["slow"]), harness.Encode("GET", keys["g1"])
	for range 6 {
		clients = append(clients,
			pour(t, addr, each, func(b []byte, i int) []byte { return append(b, slow...) }),
			pour(t, addr, each, func(b []byte, i int) []byte {
				if i%2 == 0 {
					return append(b, fast...)
				}
				return append(b, slow...)
			}))
	}
	return clients
}

// neighbours asks the servers that are well, one request after the other: if one of them waited for the slow one, so would this.
func neighbours(t *testing.T, addr string, keys map[string]string, n int) {
	t.Helper()
	c := dial(t, addr)
	for i := range n {
		switch i % 3 {
		case 0:
			want(t, c, "g1", "GET", keys["g1"])
		case 1:
			want(t, c, "OK", "SET", keys["g2"], "g2")
		case 2:
			want(t, c, "[g2 g1]", "MGET", keys["g2"], keys["g1"])
		}
	}
}

// TestSlowServer stops one of three servers while many ask it for more than the proxy takes. The others are served as if
// nothing were; what waits costs a bounded amount and is answered, in order, when the server goes on.
//
// Nothing is timed: if a request to the others waited for the server that is stopped, it would wait for ever.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	p, servers, keys := threeServers(t, "timeout: 10m")
	addr := p.Config.Addr("cache")
	neighbours(t, addr, keys, 100)
	// Links learn to expect such replies, and so have few requests in flight: were it more than the kernel of the stopped server
	// takes, the connection would be given up after three seconds.
	value := strings.Repeat("slow", 1<<10)
	for range 4 {
		c := dial(t, addr)
		want(t, c, "OK", "SET", keys["slow"], value)
		for range 60 {
			want(t, c, value, "GET", keys["slow"])
		}
	}
	fresh, err := p.RSS()
	if err != nil {
		t.Fatal(err)
	}
	servers["slow"].Freeze()
	const each = 2000
	clients := crowd(t, addr, keys, each)
	highest := int64(0)
	last, same := "", 0
	harness.Eventually(t, harness.Patience, "nobody who asks the slow server is read any more", func() error {
		neighbours(t, addr, keys, 30)
		rss, err := p.RSS()
		if err != nil {
			return err
		}
		highest = max(highest, rss)
		row := p.Pool("cache")
		now := row["inflight"] + " in flight, " + row["held"] + " held"
		held, _ := strconv.Atoi(p.Master("cache", "slow")["held-bytes"])
		if same++; now != last || held <= 256<<10 { // fewer stall nobody
			last, same = now, 0
		}
		if same < 10 {
			return fmt.Errorf("%s, %d bytes of them for the server", now, held)
		}
		return nil
	})
	neighbours(t, addr, keys, 5000)
	t.Log(last)
	grownBy(t, fresh, highest, mebibytes(16))
	servers["slow"].Thaw()
	large := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	for i, u := range clients {
		u.read(t, func(b []byte, j int) []byte {
			if i%2 == 1 && j%2 == 0 {
				return append(b, "$2\r\ng1\r\n"...)
			}
			return append(b, large...)
		})
	}
}

// TestSlowServerTimesOut is the same with a time-out: each request to the stopped server is answered with an error, in its
// place, and the first after it goes on is served.
func TestSlowServerTimesOut(t *testing.T) {
	t.Parallel()
	p, servers, keys := threeServers(t, "timeout: 1500ms", "hold: { timeout: 200ms }")
	addr := p.Config.Addr("cache")
	neighbours(t, addr, keys, 100)
	servers["slow"].Freeze()
	const each = 5_000
	clients := crowd(t, addr, keys, each)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, u := range clients {
			u.failures(t, i%2 == 1)
		}
	}()
	asked := 0
	for running := true; running; asked += 100 {
		neighbours(t, addr, keys, 100)
		select {
		case <-done:
			running = false
		default:
		}
	}
	t.Logf("%d requests to the others meanwhile", asked)
	neighbours(t, addr, keys, max(5000-asked, 0))
	servers["slow"].Thaw()
	c := dial(t, addr)
	harness.Eventually(t, harness.Patience, "the server that goes on is served again", func() error {
		r, err := c.Do("GET", keys["slow"])
		if err == nil {
			err = r.Err()
		}
		return err
	})
}

// failures reads all replies of a client of a crowd, whose requests to the slow server fail.
func (u *unread) failures(t *testing.T, mixed bool) {
	for i := range u.total {
		r, err := u.conn.Receive()
		switch {
		case err != nil:
			t.Errorf("reply %d: %v", i, err)
			return
		case mixed && i%2 == 0:
			if r.Str != "g1" {
				t.Errorf("reply %d: %q, want what the other server says", i, r.Text())
				return
			}
		case !strings.HasPrefix(r.Text(), "-ERR respgate: ") || !strings.Contains(r.Str, "group 'slow'"):
			t.Errorf("reply %d: %q, want an error that names the group", i, r.Text())
			return
		}
	}
	if err := <-u.wrote; err != nil {
		t.Error(err)
	}
}
