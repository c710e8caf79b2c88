package engine

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"respgate/engine/topology"
)

func TestInlineRequests(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		a := r.dial()
		k := r.key("g1", 0)
		a.send("PING\r\n")
		a.want("+PONG\r\n")
		a.send("\r\n\n  \r\nset " + k + " \"a\\x41 b\"\nGET " + k + "\r\n")
		a.want("+OK\r\n" + bulk("aA b"))
		a.send("echo 'it\\'s'\r\n" + req("ECHO", "x") + "NOPE x\r\n")
		a.want(bulk("it's") + bulk("x") + "-ERR unknown command 'NOPE', with args beginning with: 'x' \r\n")
		a.send("*0\r\n*-1\r\n" + req("PING")) // no request: no reply
		a.want("+PONG\r\n")
		if got := r.servers["g1"].requests(); len(got) != 2 || got[0] != "set "+k+" aA b" {
			t.Errorf("the server saw %q", got)
		}
	})
}

// badInput is what cannot be understood: the answer, and the end.
var badInput = []struct{ in, reply string }{
	{"*1048577\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
	{"*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
	{"*99999999999999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
	{"*1\r\n$536870913\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
	{"*1\r\n$-2\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
	{"*1\r\n$x\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
	{"*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"},
	{"*1\r\n\r\n", "-ERR Protocol error: expected '$', got ' '\r\n"},
	{"*1\r\n$1\r\nabc", "-ERR Protocol error: expected CR LF behind bulk\r\n"},
	{"ECHO \"x\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
	{strings.Repeat("x", 70000), "-ERR Protocol error: too big inline request\r\n"},
	{"*" + strings.Repeat("1", 70000), "-ERR Protocol error: too big mbulk count string\r\n"},
	{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "-ERR respgate: this is a Redis port, not HTTP: the connection is closed\r\n"},
	{"POST /x HTTP/1.0\r\n\r\n", "-ERR respgate: this is a Redis port, not HTTP: the connection is closed\r\n"},
}

func TestBadInput(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		good := r.dial()
		good.do("+PONG\r\n", "PING")
		k := r.key("g2", 0)
		for _, tc := range badInput {
			a := r.dial()
			a.send(req("APPEND", k, "x") + tc.in + strings.Repeat("more of it", 1000))
			a.want(bulk("APPEND "+k+" x") + tc.reply) // what came before is answered
			a.wantClosed()
			a.conn.Close()
		}
		good.do("+PONG\r\n", "PING")
		if got := r.pool().Errors["protocol"]; got != uint64(len(badInput)-2) {
			t.Errorf("%d protocol errors counted, want %d", got, len(badInput)-2)
		}
	})
}

// TestEveryByteAlone sends each kind of input a byte at a time.
func TestEveryByteAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1", "g2"})
	x, y := r.key("g1", 0), r.key("g2", 0)
	in := req("SET", x, "1") + "PING\r\n" + req("MSET", x, "2", y, "3") + "\r\n" + req("MGET", x, y) + "*0\r\n" + "ECHO 'a b'\n" + req("DEL", x, y)
	want := "+OK\r\n+PONG\r\n+OK\r\n" + array(bulk("2"), bulk("3")) + bulk("a b") + ":2\r\n"
	for cut := range len(in) {
		a := r.dial()
		a.send(in[:cut])
		until(t, "the first part is read", func() bool { return r.pool().Received >= uint64(cut) })
		a.send(in[cut:])
		a.want(want)
		a.conn.Close()
		until(t, "the client is gone", func() bool { return r.e.clients.Load() == 0 })
		r.e.loops[0].call(func() {
			for _, p := range r.e.loops[0].pools {
				p.received = 0
			}
		})
	}
}

func TestQuit(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		k := r.key("g1", 0)
		r.servers["g1"].hold()
		a := r.dial()
		a.send(req("APPEND", k, "x") + req("QUIT") + req("SET", k, "never"))
		until(t, "the request is there", func() bool { return len(r.servers["g1"].requests()) == 1 })
		r.servers["g1"].open()
		a.want(bulk("APPEND "+k+" x") + "+OK\r\n")
		a.wantClosed()
		if got := r.servers["g1"].requests(); len(got) != 1 {
			t.Errorf("a request behind QUIT was sent: %q", got)
		}
	})
}

// TestHalfClose: a client that sends, and shuts down its side, gets every reply and then the end.
func TestHalfClose(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		x, y := r.key("g1", 0), r.key("g2", 0)
		r.servers["g1"].hold()
		r.servers["g2"].hold()
		a := r.dial()
		var sent, want strings.Builder
		for i := range 100 {
			sent.WriteString(req("APPEND", x, fmt.Sprint(i)) + req("MGET", x, y) + req("PING"))
			want.WriteString(bulk("APPEND "+x+" "+fmt.Sprint(i)) + array("$-1\r\n", "$-1\r\n") + "+PONG\r\n")
		}
		a.send(sent.String() + "*2\r\n$3\r\nGET") // and half a request
		a.closeWrite()
		until(t, "the requests are there", func() bool { return len(r.servers["g1"].requests()) == 200 })
		for _, s := range r.servers {
			s.open()
		}
		a.want(want.String())
		a.wantClosed()
		b := r.dial() // one that had nothing under way
		b.do("+PONG\r\n", "PING")
		b.closeWrite()
		b.wantClosed()
		until(t, "both are gone", func() bool { return r.e.Stats().Clients == 0 })
	})
}

// reset makes closing send a reset: the client is gone, not only done with sending.
func (a *app) reset() {
	a.t.Helper()
	if err := a.conn.(*net.TCPConn).SetLinger(0); err != nil {
		a.t.Fatal(err)
	}
	a.conn.Close()
}

// TestClientGoes: replies to a client that is gone are dropped, and reach nobody else.
func TestClientGoes(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		s := r.servers["g1"]
		x, y := r.key("g1", 0), r.key("g2", 0)
		b := r.dial()
		b.do(bulk("APPEND "+x+" b"), "APPEND", x, "b")
		s.hold()
		for i := range 10 {
			a := r.dial()
			a.send(req("APPEND", x, "a") + req("MGET", x, y) + req("PING"))
			until(t, "its requests are there", func() bool { return len(s.requests()) == 1+2*(i+1) })
			a.reset()
		}
		until(t, "the clients are gone", func() bool { return r.e.clients.Load() == 1 })
		b.send(req("APPEND", x, "mine"))
		until(t, "its request is there", func() bool { return len(s.requests()) == 22 })
		s.open()
		b.want(bulk("APPEND " + x + " mine"))
		if got := r.stats("g1").Late; got != 20 && v.loops == 1 {
			t.Errorf("%d late replies counted, want 20", got)
		}
	})
}

// TestRequestTooLarge: it is skipped as it comes, whatever its size, and the connection stays.
func TestRequestTooLarge(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const limit = 100_000
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.ClientBuffer = limit }))
		refusal := fmt.Sprintf("-ERR respgate: the request is larger than client_buffer (%d bytes) and was skipped\r\n", limit)
		a := r.dial()
		huge := strings.Repeat("x", 3<<20)
		a.send(req("SET", "k", huge) + req("PING"))
		a.want(refusal + "+PONG\r\n")
		many := append([]string{"DEL"}, strings.Split(strings.Repeat("key ", 30_000), " ")...)
		a.send(req(many...) + req("PING"))
		a.want(refusal + "+PONG\r\n")
		a.do("+OK\r\n", "SET", "k", huge[:limit-100])
		a.send("*2\r\n$3\r\nGET\r\n$400000000\r\n") // the promise is enough
		a.want(refusal)
		a.send(strings.Repeat("y", 1<<20))
		used := r.e.memory()
		if used > 4*limit {
			t.Errorf("%d bytes in buffers while 400 MB are being skipped", used)
		}
		b := r.dial()
		b.send("*2\r\n$3\r\nGET\r\n$400000000\r\n")
		b.want(refusal)
		b.closeWrite()
		b.wantClosed()
		if got := r.pool().Errors["too-large"]; got != 4 {
			t.Errorf("%d counted as too large, want 4", got)
		}
	})
}

// TestReplyTooLarge: it is dropped as it comes; its neighbours on the link are not touched.
func TestReplyTooLarge(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		const limit = 200_000
		r := newRig(t, v, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.ClientBuffer = limit }))
		x, y := r.key("g1", 0), r.key("g2", 0)
		huge := strings.Repeat("x", 5<<20)
		r.servers["g1"].change(func() { r.servers["g1"].data[x] = huge })
		refusal := fmt.Sprintf("-ERR respgate: group 'g1': the reply is larger than client_buffer (%d bytes)\r\n", limit)
		a := r.dial()
		a.send(req("APPEND", x, "a") + req("GET", x) + req("APPEND", x, "b"))
		a.want(bulk("APPEND "+x+" a") + refusal + bulk("APPEND "+x+" b"))
		a.do(refusal, "MGET", x, y)
		a.do("$-1\r\n", "GET", y)
	})
}
