package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"respgate/tests/harness"
)

// unread is a client that sends requests from a goroutine of its own and reads nothing until it is told to.
type unread struct {
	conn  *harness.Conn
	sent  atomic.Int64 // requests that the kernel took
	total int
	wrote chan error
}

// pour sends total requests, request i as told, batch by batch.
func pour(t *testing.T, addr string, total int, request func(b []byte, i int) []byte) *unread {
	t.Helper()
	u := &unread{conn: dial(t, addr), total: total, wrote: make(chan error, 1)}
	if err := u.conn.SetReadBuffer(64 << 10); err != nil { // else the kernel takes megabytes of replies
		t.Fatal(err)
	}
	go func() {
		var b []byte
		for i := 0; i < total; {
			n := 0
			for b = b[:0]; i+n < total && len(b) < 16<<10; n++ {
				b = request(b, i+n)
			}
			if err := u.conn.Write(string(b)); err != nil {
				u.wrote <- err
				return
			}
			i += n
			u.sent.Add(int64(n))
		}
		u.wrote <- nil
	}()
	return u
}

// watch works as another client until the proxy has stopped reading from u, and returns the highest resident size seen.
func (u *unread) watch(t *testing.T, p *harness.Proxy, other func()) (highest int64) {
	t.Helper()
	last, still := int64(-1), 0
	harness.Eventually(t, harness.Patience, "the client is not read any more", func() error {
		other()
		rss, err := p.RSS()
		if err != nil {
			return err
		}
		highest = max(highest, rss)
		row, now := p.Pool("cache"), u.sent.Load()
		if still++; now != last || row["inflight"] != "0" || stalls(t, p) == 0 {
			last, still = now, 0
		}
		if still < 10 {
			return fmt.Errorf("%d of %d requests sent, %s in flight", now, u.total, row["inflight"])
		}
		return nil
	})
	return highest
}

// read wants reply i to be as told, for every request, and nothing behind the last.
func (u *unread) read(t *testing.T, reply func(b []byte, i int) []byte) {
	t.Helper()
	var b []byte
	for i := 0; i < u.total; {
		n := 0
		for b = b[:0]; i+n < u.total && len(b) < 16<<10; n++ {
			b = reply(b, i+n)
		}
		if err := u.conn.Expect(b); err != nil {
			t.Fatalf("replies %d to %d: %v", i, i+n-1, err)
		}
		i += n
	}
	if err := <-u.wrote; err != nil {
		t.Error(err)
	}
	want(t, u.conn, "last", "ECHO", "last")
}

// stalls is how often clients of the pool were not read because of their own bounds.
func stalls(t *testing.T, p *harness.Proxy) float64 {
	t.Helper()
	n, err := p.Metric(`respgate_limit_hits_total{limit="pipeline",scope="pool 'cache' each client",unit="bytes"}`)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// unreadExtra, in MiB, is what a client may cost beyond its client_buffer and pipeline: see docs/ARCHITECTURE.md, "Back-pressure".
const unreadExtra = 16

// grownBy compares how much the proxy grew with what it may.
func grownBy(t *testing.T, before, highest, bound int64) {
	t.Helper()
	t.Logf("resident before %.1f MiB, at most %.1f MiB more", float64(before)/(1<<20), float64(highest-before)/(1<<20))
	if highest-before > bound {
		t.Errorf("the proxy grew by %d bytes, at most %d are documented", highest-before, bound)
	}
}

// twoServers is a proxy over two servers of a fixed list, and a client that works while another one does not read.
func twoServers(t *testing.T, lines ...string) (p *harness.Proxy, keys map[string][]string, work func()) {
	t.Helper()
	c := harness.NewConfig(t)
	c.ServersPool("cache", []string{harness.StartRedis(t, harness.RedisOptions{}).Addr() + ":1 g1", harness.StartRedis(t, harness.RedisOptions{}).Addr() + ":1 g2"}, lines...)
	p = harness.StartProxy(t, c)
	p.WaitUp("cache")
	keys = keysIn(t, p, "cache", "k", 4)
	other := dial(t, p.Config.Addr("cache"))
	return p, keys, func() {
		t.Helper()
		for range 25 {
			want(t, other, "OK", "SET", keys["g1"][3], "1")
			want(t, other, "1", "GET", keys["g1"][3])
			want(t, other, "[1 (nil)]", "MGET", keys["g1"][3], keys["g2"][3])
		}
	}
}

// TestMillionUnread: a client that sends a million requests and reads nothing costs what docs/ARCHITECTURE.md says under
// "Back-pressure", stalls nobody but itself, and gets every reply when it reads.
func TestMillionUnread(t *testing.T) {
	t.Parallel()
	p, keys, work := twoServers(t, "client_buffer: 1mb", "pipeline: 1mb")
	value := strings.Repeat("v", 30)
	for _, g := range []string{"g1", "g2"} {
		want(t, dial(t, p.Config.Addr("cache")), "OK", "SET", keys[g][0], value)
	}
	const total = 1_000_000
	var requests [4]string
	for i, g := range []string{"g1", "g2"} {
		requests[2*i], requests[2*i+1] = harness.Encode("GET", keys[g][0]), harness.Encode("INCR", keys[g][1])
	}
	work()
	fresh, err := p.RSS()
	if err != nil {
		t.Fatal(err)
	}
	u := pour(t, p.Config.Addr("cache"), total, func(b []byte, i int) []byte { return append(b, requests[i%4]...) })
	highest := u.watch(t, p, work)
	if u.sent.Load() == total {
		t.Error("every request was taken from a client that reads nothing")
	}
	// 35,000 requests in flight, and what is noted of each.
	grownBy(t, fresh, highest, mebibytes(1+1+unreadExtra))
	get := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	u.read(t, func(b []byte, i int) []byte {
		if i%2 == 0 {
			return append(b, get...)
		}
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(i/4+1), 10)
		return append(b, "\r\n"...)
	})
	work()
}

// TestLargeUnread is the same with replies that are larger than their requests.
func TestLargeUnread(t *testing.T) {
	t.Parallel()
	p, keys, work := twoServers(t)
	var get, reply [2]string
	for i, g := range []string{"g1", "g2"} {
		value := strings.Repeat(g, 8<<10)
		want(t, dial(t, p.Config.Addr("cache")), "OK", "SET", keys[g][0], value)
		get[i], reply[i] = harness.Encode("GET", keys[g][0]), fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	}
	const total = 20_000
	work()
	fresh, err := p.RSS()
	if err != nil {
		t.Fatal(err)
	}
	u := pour(t, p.Config.Addr("cache"), total, func(b []byte, i int) []byte { return append(b, get[i%2]...) })
	highest := u.watch(t, p, work)
	grownBy(t, fresh, highest, mebibytes(32+1+unreadExtra))
	u.read(t, func(b []byte, i int) []byte { return append(b, reply[i%2]...) })
	work()
}
