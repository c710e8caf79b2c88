package e2e

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// peers are what may stand where a manager should: each handles one connection.
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

// TestHostileManagers gives a pool to each kind of false manager, which is asked first, beside a real one.
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
