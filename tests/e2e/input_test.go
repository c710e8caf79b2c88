package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"respgate/tests/harness"
)

// hostile is what a client sends, and what it gets.
type hostile struct {
	name   string
	send   string
	prefix string // of everything that comes back
	closes bool   // the proxy closes behind the error, as Redis does after a protocol error
}

var hostileInput = []hostile{
	{"array header beyond the limit", "*1048577\r\n", "-ERR Protocol error: invalid multibulk length\r\n", true},
	{"array header that is no number", "*abc\r\n", "-ERR Protocol error: invalid multibulk length\r\n", true},
	{"array header that overflows", "*99999999999999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n", true},
	{"bulk beyond the limit", "*1\r\n$536870913\r\n", "-ERR Protocol error: invalid bulk length\r\n", true},
	{"bulk of -2", "*1\r\n$-2\r\n", "-ERR Protocol error: invalid bulk length\r\n", true},
	{"null bulk as an argument", "*2\r\n$3\r\nGET\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n", true},
	{"bulk length that is no number", "*1\r\n$abc\r\n", "-ERR Protocol error: invalid bulk length\r\n", true},
	{"nested array", "*1\r\n*1\r\n$4\r\nPING\r\n", "-ERR Protocol error: expected '$', got '*'\r\n", true},
	{"deeply nested arrays", strings.Repeat("*1\r\n", 10000), "-ERR Protocol error: expected '$', got '*'\r\n", true},
	{"simple string as an argument", "*1\r\n+PING\r\n", "-ERR Protocol error: expected '$', got '+'\r\n", true},
	{"bulk longer than it said", "*2\r\n$3\r\nGET\r\n$1\r\nabcdef\r\n", "-ERR Protocol error", true},
	{"endless inline request", strings.Repeat("x", 65<<10), "-ERR Protocol error: too big inline request\r\n", true},
	{"unbalanced quotes", "SET k \"abc\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n", true},
	{"a good request before garbage", harness.Encode("PING") + "*1\r\n$x\r\n", "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n", true},
	{"HTTP", "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\n", "-ERR ", true},
	{"HTTP POST", "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "-ERR ", true},
	{"negative array", "*-5\r\n", "", false},
	{"null array", "*-1\r\n", "", false},
	{"empty array", "*0\r\n", "", false},
	{"bare CRLF", "\r\n\r\n", "", false},
	{"binary noise on a line", "\x01\xff\xfe\x80 \x02\r\n", "-ERR unknown command", false},
	{"unknown command", harness.Encode("NOSUCH", "a", "b"), "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' \r\n", false},
	{"unknown subcommand", harness.Encode("CLIENT", "NOSUCH"), "-ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.\r\n", false},
	{"too few arguments", harness.Encode("GET"), "-ERR wrong number of arguments for 'get' command\r\n", false},
	{"too many arguments", harness.Encode("GET", "a", "b"), "-ERR wrong number of arguments for 'get' command\r\n", false},
	{"MSET without a value", harness.Encode("MSET", "a", "1", "b"), "-ERR wrong number of arguments for 'mset' command\r\n", false},
	{"EVAL with too many keys announced", harness.Encode("EVAL", "return 1", "5", "a"), "-ERR ", false},
	{"EVAL with a negative number of keys", harness.Encode("EVAL", "return 1", "-1"), "-ERR ", false},
	{"inline with quotes", "ECHO \"a b\"\r\n", "$3\r\na b\r\n", false},
}

// TestBadInput sends each piece whole and byte by byte; afterwards the proxy serves, and has given everything back.
func TestBadInput(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{})
	addr := p.Config.Addr("cache")
	l := p.Load("cache", f) // a neighbour, who must not notice
	attack := func(t *testing.T) {
		for _, h := range hostileInput {
			for _, split := range []bool{false, true} {
				if split && len(h.send) > 4096 {
					continue
				}
				h.run(t, addr, split)
			}
		}
		halfRequests(t, addr)
		health(t, addr)
	}
	// Links that are made on the way stay, and which loop makes one is chance: attacks go on until one leaves nothing new. A leak
	// would leave something each time.
	attack(t)
	l.Progress(100)
	before, grown := p.Baseline(), true
	for n := 0; grown && n < 6; n++ {
		attack(t)
		l.Progress(100)
		after := p.Baseline()
		grown = after.FDs > before.FDs || after.Goroutines > before.Goroutines
		before = after
	}
	if grown {
		t.Errorf("each attack leaves more behind: %+v now", before)
	}
	clean(t, l.Finish(f.Masters()))
}

func (h *hostile) run(t *testing.T, addr string, split bool) {
	t.Helper()
	c, err := harness.Dial(addr)
	if err != nil {
		t.Fatalf("%s: %v", h.name, err)
	}
	defer c.Close()
	text := h.send
	const last = "last"
	if !h.closes {
		text += harness.Encode("ECHO", last)
	}
	step := len(text)
	if split {
		step = 1
	}
	for i := 0; i < len(text); i += step {
		if err := c.Write(text[i:min(i+step, len(text))]); err != nil {
			break // it has been closed already, with the reason waiting to be read
		}
	}
	var got strings.Builder
	for {
		r, err := c.Receive()
		if err != nil {
			if !h.closes {
				t.Errorf("%s (split %v): %q, then %v; want the connection to stay", h.name, split, got.String(), err)
			}
			break
		}
		if !h.closes && r.Str == last {
			break
		}
		got.Write(r.Raw)
	}
	if !strings.HasPrefix(got.String(), h.prefix) || h.prefix == "" && got.Len() > 0 {
		t.Errorf("%s (split %v): %q, want %q", h.name, split, got.String(), h.prefix)
	}
}

// halfRequests leaves in the middle of a request, in every way there is.
func halfRequests(t *testing.T, addr string) {
	t.Helper()
	whole := harness.Encode("SET", "half", "value")
	for i := range len(whole) {
		c, err := harness.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Write(whole[:i]); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if rest, err := c.EOF(); err != nil || rest != "" {
				t.Errorf("half a request (%d bytes), then EOF: %q, %v", i, rest, err)
			}
		}
		c.Close()
	}
	// A whole request and EOF behind it still gets its reply.
	c, err := harness.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Write(whole); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := c.EOF(); err != nil || rest != "+OK\r\n" {
		t.Errorf("a request, then EOF: %q, %v; want its reply", rest, err)
	}
}

// health is what a pool that works does.
func health(t *testing.T, addr string) {
	t.Helper()
	c, err := harness.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 20 {
		key := fmt.Sprintf("health:%d", i)
		want(t, c, "OK", "SET", key, "1")
		want(t, c, "1", "GET", key)
	}
}

// TestSlowReader asks for far more than it reads. The proxy must not buffer it, must not close, and its neighbours must
// not wait.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}}, "client_buffer: 8mb")
	addr := p.Config.Addr("cache")
	value := strings.Repeat("v", 64<<10)
	slow := dial(t, addr)
	want(t, slow, "OK", "SET", "big", value)
	l := p.Load("cache", f)
	l.Progress(200)
	base, err := p.RSS()
	if err != nil {
		t.Fatal(err)
	}
	const requests = 4000 // 256 MiB of replies
	var b strings.Builder
	for range requests {
		b.WriteString(harness.Encode("GET", "big"))
	}
	wrote := make(chan error, 1)
	go func() { wrote <- slow.Write(b.String()) }()

	var highest int64
	for range 10 {
		l.Progress(100)
		rss, err := p.RSS()
		if err != nil {
			t.Fatal(err)
		}
		highest = max(highest, rss)
	}
	t.Logf("resident before %d MiB, with a reader that does not read %d MiB", base>>20, highest>>20)
	// A pipeline of a client that the proxy knows nothing of starts with about a thousand replies: 64 MiB of these.
	if grown := highest - base; grown > mebibytes(96) {
		t.Errorf("the proxy grew by %d MiB for one slow reader", grown>>20)
	}
	for i := range requests {
		r, err := slow.Receive()
		if err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
		if r.Str != value {
			t.Fatalf("reply %d: %d bytes, %.200q; want the value", i, len(r.Str), r.Raw)
		}
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	clean(t, l.Finish(f.Masters()))
}

// TestPipelineWithoutReading sends 50,000 requests over two groups before it reads the first reply. Every reply comes, in
// order.
func TestPipelineWithoutReading(t *testing.T) {
	t.Parallel()
	_, p := stack(t, harness.FleetOptions{})
	c := dial(t, p.Config.Addr("cache"))
	keys := keysIn(t, p, "cache", "seq", 1)
	const requests = 50000
	var b strings.Builder
	for i := range requests {
		switch i % 3 {
		case 0:
			b.WriteString(harness.Encode("INCR", keys["g1"][0]))
		case 1:
			b.WriteString(harness.Encode("INCR", keys["g2"][0]))
		case 2:
			b.WriteString(harness.Encode("ECHO", fmt.Sprint(i)))
		}
	}
	text := b.String()
	var sent atomic.Int64
	wrote := make(chan error, 1)
	go func() {
		for rest := text; rest != ""; {
			n := min(len(rest), 4096)
			if err := c.Write(rest[:n]); err != nil {
				wrote <- err
				return
			}
			sent.Add(int64(n))
			rest = rest[n:]
		}
		wrote <- nil
	}()
	// Nothing is read until everything is sent, or until nothing more can be sent.
	last, still := int64(-1), 0
	harness.Eventually(t, harness.Patience, "the pipe is full", func() error {
		now := sent.Load()
		if now == last {
			still++
		} else {
			last, still = now, 0
		}
		if now < int64(len(text)) && still < 30 {
			return fmt.Errorf("%d of %d bytes sent", now, len(text))
		}
		return nil
	})
	next := [2]int{}
	for i := range requests {
		r, err := c.Receive()
		if err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
		want := fmt.Sprint(i)
		if i%3 < 2 {
			next[i%3]++
			want = fmt.Sprint(next[i%3])
		}
		if r.Str != want {
			t.Fatalf("reply %d: %q, want %q", i, r.Text(), want)
		}
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// TestManyClients opens and leaves connections in large numbers; afterwards nothing of them is left.
func TestManyClients(t *testing.T) {
	t.Parallel()
	_, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}, Replicas: -1, Sentinels: 1})
	addr := p.Config.Addr("cache")
	crowd := func() {
		var open []*harness.Conn
		for i := range 800 {
			c, err := harness.Dial(addr)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
			want(t, c, "OK", "SET", fmt.Sprintf("k%d", i), "v")
		}
		harness.Eventually(t, harness.Patience, "the console counts them, and nobody who has left", func() error {
			if got := p.Pool("cache")["clients"]; got != "800" {
				return fmt.Errorf("%s clients, want 800", got)
			}
			return nil
		})
		for i, c := range open {
			if i%2 == 0 {
				_ = c.Write(harness.Encode("GET", "k1") + "*2\r\n$3\r\nGE") // leaves with a reply due and a request half sent
			}
			c.Close()
		}
		health(t, addr)
	}
	crowd() // links that are made on the way stay
	before := p.Baseline()
	crowd()
	p.WaitBaseline(before)
}
