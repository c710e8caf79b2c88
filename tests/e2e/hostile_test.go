package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"respgate/tests/harness"
)

// peers are what may stand where a sentinel or a manager should: each handles one connection.
var peers = map[string]func(net.Conn){
	"mute":        func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	"closes":      func(net.Conn) {},
	"http":        say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
	"noise":       say("\x00\xff\xfe\x80garbage\r\n\r\n"),
	"huge-bulk":   say("$9999999999\r\n"),
	"huge-array":  say("*2147483647\r\n"),
	"negative":    say("*-7\r\n"),
	"deep":        say(strings.Repeat("*1\r\n", 1_000_000)),
	"endless":     endless,
	"wrong-types": say(":1\r\n*3\r\n$1\r\na\r\n$3\r\nabc\r\n:70000\r\n"),
	"truncated":   say("*2\r\n$9\r\n127.0."),
	"errors":      say("-ERR no\r\n-ERR no\r\n-ERR no\r\n-ERR no\r\n"),
	"noauth":      answerAll("-NOAUTH Authentication required.\r\n"),
	"pongs":       answerAll("+PONG\r\n"),
	"dribbles":    dribble,
}

// say sends text whatever is asked, and waits for the other side to leave.
func say(text string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := io.WriteString(c, text); err == nil {
			_, _ = io.Copy(io.Discard, c)
		}
	}
}

// answerAll gives the same reply to every request.
func answerAll(reply string) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			if _, err := harness.ReadRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(c, reply); err != nil {
				return
			}
		}
	}
}

// endless sends a line without an end, as fast as it is read.
func endless(c net.Conn) {
	chunk := strings.Repeat("x", 64<<10)
	for {
		if _, err := io.WriteString(c, chunk); err != nil {
			return
		}
	}
}

// dribble sends a valid beginning, a byte each 50 ms.
func dribble(c net.Conn) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, b := range []byte("$60000\r\n" + strings.Repeat("y", 4000)) {
		<-tick.C
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
	}
}

// TestHostileSentinels gives a pool to each kind of false sentinel, beside three real ones: the pool serves, says which
// sentinel is wrong, and the proxy's memory stays flat.
func TestHostileSentinels(t *testing.T) {
	t.Parallel()
	f := harness.StartFleet(t, harness.FleetOptions{Groups: []string{"g1"}})
	c := harness.NewConfig(t)
	var pools []string
	for kind, handle := range peers {
		addr := harness.Serve(t, handle)
		lines := harness.SentinelLines(f.GroupNames(), append([]string{addr}, f.SentinelAddrs()...), f.Options)
		c.Pool(kind, append(lines, "sentinel_timeout: 1s", "sentinel_heartbeat: 300ms")...)
		pools = append(pools, kind)
	}
	p := harness.StartProxy(t, c)
	p.WaitUp(pools...)
	for _, kind := range pools {
		want(t, dial(t, c.Addr(kind)), "OK", "SET", kind, "1")
		harness.Eventually(t, harness.Patience, kind+": a real sentinel is active", func() error {
			return realActive(p, kind, f)
		})
	}
	rss, err := p.RSS()
	if err != nil {
		t.Fatal(err)
	}
	if rss > mebibytes(256) {
		t.Errorf("%d MiB resident with %d false sentinels", rss>>20, len(pools))
	}
	old := f.Group("g1").Master
	f.Failover("g1")
	fresh := f.WaitMaster("g1", old)
	for _, kind := range pools {
		p.WaitMaster(kind, "g1", fresh.Addr())
	}
}

func realActive(p *harness.Proxy, pool string, f *harness.Fleet) error {
	active := p.ActiveSentinel(pool)
	if !contains(f.SentinelAddrs(), active) {
		return fmt.Errorf("active: %q", active)
	}
	return nil
}

// TestHostileManagers does the same with managers: the false one is asked first, the real one second.
func TestHostileManagers(t *testing.T) {
	t.Parallel()
	f := harness.StartFleet(t, harness.FleetOptions{Groups: []string{"g1"}})
	m := harness.StartManager(t, map[string]harness.Cluster{"c": {Version: 1, Groups: f.GroupNames(), Sentinels: f.SentinelAddrs()}})
	c := harness.NewConfig(t)
	var pools []string
	for kind, handle := range peers {
		c.ManagerPool(kind, "c", []string{harness.Serve(t, handle), m.Addr})
		pools = append(pools, kind)
	}
	p := harness.StartProxy(t, c)
	p.WaitUp(pools...)
	for _, kind := range pools {
		want(t, dial(t, c.Addr(kind)), "OK", "SET", kind, "1")
	}
	if rss, err := p.RSS(); err != nil || rss > mebibytes(256) {
		t.Errorf("%d MiB resident with %d false managers, %v", rss>>20, len(pools), err)
	}
}

// TestLyingManager answers in form and lies in content: what was good stays, and the console counts the rest.
func TestLyingManager(t *testing.T) {
	t.Parallel()
	f := harness.StartFleet(t, harness.FleetOptions{Groups: []string{"g1"}})
	array := func(items []string) string { return harness.Encode(items...) }
	topology := func(version string, groups, sentinels string) string {
		return "*6\r\n$7\r\nversion\r\n:" + version + "\r\n$6\r\ngroups\r\n" + groups + "$9\r\nsentinels\r\n" + sentinels
	}
	pairs := func(addrs []string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "*%d\r\n", len(addrs))
		for _, a := range addrs {
			host, port, _ := strings.Cut(a, ":")
			b.WriteString(array([]string{host, port}))
		}
		return b.String()
	}
	good := topology("7", array([]string{"g1"}), pairs(f.SentinelAddrs()))
	var many []string
	for i := range 100_000 {
		many = append(many, fmt.Sprintf("g%d", i))
	}
	lies := map[string]string{
		"lower version":      topology("6", array([]string{"g1", "g2"}), pairs(f.SentinelAddrs())),
		"same version":       topology("7", array([]string{"g1", "g2"}), pairs(f.SentinelAddrs())),
		"no groups":          topology("8", "*0\r\n", pairs(f.SentinelAddrs())),
		"no sentinels":       topology("8", array([]string{"g1"}), "*0\r\n"),
		"duplicate group":    topology("8", array([]string{"g1", "g1"}), pairs(f.SentinelAddrs())),
		"bad name":           topology("8", array([]string{"g 1\r\n"}), pairs(f.SentinelAddrs())),
		"bad port":           topology("8", array([]string{"g1"}), pairs([]string{"127.0.0.1:70000"})),
		"port is a word":     topology("8", array([]string{"g1"}), pairs([]string{"127.0.0.1:abc"})),
		"negative version":   topology("-1", array([]string{"g1"}), pairs(f.SentinelAddrs())),
		"a hundred thousand": topology("8", array(many), pairs(f.SentinelAddrs())),
	}
	var reply atomic.Pointer[string]
	var served atomic.Int64
	reply.Store(&good)
	addr := harness.Serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			args, err := harness.ReadRequest(r)
			if err != nil {
				return
			}
			text := *reply.Load()
			switch {
			case strings.EqualFold(args[0], "HELLO"):
				text = "-ERR unknown command 'HELLO'\r\n"
			case !strings.EqualFold(args[0], "MANAGER"):
				text = "+OK\r\n"
			default:
				served.Add(1)
			}
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	})
	c := harness.NewConfig(t)
	pool := c.ManagerPool("lied-to", "c", []string{addr})
	p := harness.StartProxy(t, c)
	p.WaitUp("lied-to")
	conn := dial(t, pool)
	want(t, conn, "OK", "SET", "a", "1")
	for name, lie := range lies {
		before := p.Rows("PROXY", "MANAGER", "lied-to")[0]["rejected"]
		reply.Store(&lie)
		harness.Eventually(t, harness.Patience, name+": the console counts the refusal", func() error {
			if now := p.Rows("PROXY", "MANAGER", "lied-to")[0]["rejected"]; now == before {
				return fmt.Errorf("rejected is %s after %d answers", now, served.Load())
			}
			return nil
		})
		row := p.Pool("lied-to")
		if row["version"] != "7" || row["groups"] != "1" || row["state"] != "up" {
			t.Errorf("%s: the pool is now %v", name, row)
		}
		want(t, conn, "1", "GET", "a")
	}
	f.AddGroup("g2")
	f.WaitSettled()
	fine := topology("9", array([]string{"g1", "g2"}), pairs(f.SentinelAddrs()))
	reply.Store(&fine)
	waitVersion(t, p, "lied-to", "9")
}

// TestMasterLinkFaults breaks the way to a master in every way: a reply never reaches the wrong request, and the pool
// serves again by itself.
func TestMasterLinkFaults(t *testing.T) {
	t.Parallel()
	r := harness.StartRedis(t, harness.RedisOptions{})
	front := harness.StartFault(t, r.Addr())
	c := harness.NewConfig(t)
	c.ServersPool("cache", []string{front.Addr() + ":1 alpha"}, "hash_tag: \"{}\"", "timeout: 500ms")
	p := harness.StartProxy(t, c)
	p.WaitUp("cache")
	route := func(keys []string) []string {
		groups := make([]string, len(keys))
		for i := range groups {
			groups[i] = "alpha"
		}
		return groups
	}
	l := harness.StartLedger(t, harness.LedgerOptions{Addr: c.Addr("cache"), Groups: []string{"alpha"}, Route: route})
	l.Progress(100)

	steps := []struct {
		name string
		do   func()
	}{
		{"bytes one by one", func() {
			front.Set(harness.ToServer, harness.Fault{Split: 1})
			front.Set(harness.ToClient, harness.Fault{Split: 1})
		}},
		{"reset", func() { front.Cut(true) }},
		{"closed", func() { front.Cut(false) }},
		{"half-closed", func() { front.HalfClose(harness.ToClient) }},
		{"reset again and again", func() {
			n := 0
			front.Set(harness.ToClient, harness.Fault{After: func(int64) bool { n++; return n < 200 && n%10 == 0 }})
		}},
	}
	for _, s := range steps {
		s.do()
		l.Progress(150)
		front.Heal()
		l.Progress(50)
		t.Logf("%s: %v", s.name, l.Failures("alpha"))
	}
	// Stalled one way, then the other: requests fail at their deadline, and when the network is back their late replies
	// reach nobody.
	for _, d := range []harness.Direction{harness.ToClient, harness.ToServer} {
		before := timeouts(l)
		front.Set(d, harness.Fault{Stall: true})
		harness.Eventually(t, harness.Patience, "requests time out", func() error {
			if now := timeouts(l); now < before+2 { // after two time-outs in silence the link is given up
				return fmt.Errorf("%d more: %v", now-before, l.Failures("alpha"))
			}
			return nil
		})
		front.Heal()
		l.Progress(50)
	}
	// Half-open for good: the link is given up for a new one.
	before := timeouts(l)
	front.BreakOpen()
	harness.Eventually(t, harness.Patience, "requests time out", func() error {
		if now := timeouts(l); now == before {
			return fmt.Errorf("none so far: %v", l.Failures("alpha"))
		}
		return nil
	})
	l.Progress(50)
	got := l.Finish(map[string]*harness.Redis{"alpha": r})[0]
	if got.Wrong > 0 || got.Stale > 0 || got.Lost > 0 || got.Duplicates > 0 {
		t.Errorf("%v", got)
	}
}

// timeouts counts the requests that the proxy gave up waiting for.
func timeouts(l *harness.Ledger) int {
	n := 0
	for text, count := range l.Failures("alpha") {
		if strings.Contains(text, "timed out after") {
			n += count
		}
	}
	return n
}
