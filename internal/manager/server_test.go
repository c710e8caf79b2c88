package manager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"respgate/internal/respconn"
)

// started is a server on loopback; most bounds its clients, 0 as in production.
func started(t *testing.T, file string, most int) (s *Server, addr string) {
	t.Helper()
	s = NewServer(open(t, fileOf(t, file)), "test", slog.New(slog.DiscardHandler))
	if most > 0 {
		s.most = most
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

func dial(t *testing.T, addr string) *respconn.Conn {
	t.Helper()
	c, err := respconn.Dial(context.Background(), "tcp", addr, respconn.Limits{Reply: 1 << 20, Elements: 1 << 14})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// words is a reply in the manner of redis-cli: aggregates in brackets.
func words(v respconn.Value) string {
	switch {
	case v.Null:
		return "nil"
	case v.Aggregate():
		var list []string
		for _, e := range v.Elems {
			list = append(list, words(e))
		}
		open, end := "[", "]"
		if v.Kind == respconn.Map {
			open, end = "{", "}"
		}
		return open + strings.Join(list, " ") + end
	case v.IsError():
		return "-" + v.Str
	}
	text, _ := v.Text()
	return text
}

func ask(t *testing.T, c *respconn.Conn, request string) string {
	t.Helper()
	v, err := c.Do(strings.Fields(request)...)
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return words(v)
}

type exchange struct{ request, want string }

func converse(t *testing.T, c *respconn.Conn, list []exchange) {
	t.Helper()
	for _, e := range list {
		if d := cmp.Diff(e.want, ask(t, c, e.request)); d != "" {
			t.Errorf("%s: %s", e.request, d)
		}
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	_, addr := started(t, example, 0)
	c := dial(t, addr)
	converse(t, c, []exchange{
		{"PING", "PONG"},
		{"ping hello", "hello"},
		{"ping a b", "-ERR wrong number of arguments for 'ping' command"},
		{"ECHO x", "x"},
		{"manager clusters", "[[name cache version 7 groups 1 sentinels 1 proxies 0 applied 0] [name sessions version 1 groups 2 sentinels 2 proxies 0 applied 0]]"},
		{"MANAGER GET sessions", "[version 1 groups [g1 g2] sentinels [[127.0.0.1 26379] [::1 26380]] weights [g2 2] hash_tag {}]"},
		{"MANAGER GET nope", "-ERR no such cluster 'nope'"},
		{"MANAGER GET", "-ERR wrong number of arguments for 'manager|get' command"},
		{"MANAGER", "-ERR wrong number of arguments for 'manager' command"},
		{"MANAGER FOO", "-ERR unknown subcommand 'FOO'. Try HELP MANAGER."},
		{"FOO bar", "-ERR unknown command 'FOO'"},
		{"MANAGER HEARTBEAT sessions 0 p1", "[version 1 groups [g1 g2] sentinels [[127.0.0.1 26379] [::1 26380]] weights [g2 2] hash_tag {}]"},
		{"MANAGER HEARTBEAT sessions 1 p1 applied 1 pool web", "[version 1]"},
		{"MANAGER HEARTBEAT sessions 1 p2 applied 0", "[version 1]"},
		{"MANAGER HEARTBEAT nope 1 p1", "-ERR no such cluster 'nope'"},
		{"MANAGER HEARTBEAT sessions x p1", "-ERR the version a proxy has is an integer, 0 for none"},
		{"MANAGER HEARTBEAT sessions 1", "-ERR wrong number of arguments for 'manager|heartbeat' command"},
		{"MANAGER HEARTBEAT sessions 1 p1 applied", "-ERR the fields of a heartbeat are at most 16 pairs of name and value"},
		{"MANAGER HEARTBEAT sessions 1 p1 applied -1", "-ERR the version a proxy has applied is an integer, 0 for none"},
		{"MANAGER HEARTBEAT sessions 1 p1 a/b c", "-ERR a field of a heartbeat has a name like a group's and at most 256 bytes of printable ASCII"},
		{"MANAGER HEARTBEAT sessions 1 " + strings.Repeat("p", 129), "-ERR a proxy's id has 1 to 128 printable characters and no space"},
		{"manager clusters", "[[name cache version 7 groups 1 sentinels 1 proxies 0 applied 0] [name sessions version 1 groups 2 sentinels 2 proxies 2 applied 1]]"},
		{"MANAGER SET sessions GROUPS g1 g3:4", "OK 2"},
		{"MANAGER HEARTBEAT sessions 1 p1", "[version 2 groups [g1 g3] sentinels [[127.0.0.1 26379] [::1 26380]] weights [g3 4] hash_tag {}]"},
		{"MANAGER SET sessions SETTINGS", "-ERR wrong number of arguments for 'manager|set' command"},
		{"MANAGER SET sessions SETTINGS hash_tag", "-ERR SETTINGS are pairs of name and value"},
		{"MANAGER SET sessions SETTINGS weights 1", "-ERR 'weights' is a field of the protocol and cannot be a setting"},
		{"MANAGER SET sessions GROUPS g1 g1", "-ERR refused: group 'g1' is there twice"},
		{"MANAGER SET sessions GROUPS g1:x", "-ERR a group is <name> or <name>:<weight>"},
		{"MANAGER SET sessions GROUPS g1:0", "-ERR a group's weight is 1 to 1000"},
		{"MANAGER SET sessions GROUPS VERSION 9", "-ERR a cluster needs a group"},
		{"MANAGER SET sessions SENTINELS h", "-ERR a sentinel is host:port, with IPv6 in brackets"},
		{"MANAGER SET sessions VERSION 2", "-ERR refused: version 2 is not above 2"},
		{"MANAGER SET sessions VERSION x", "-ERR VERSION is one positive integer"},
		{"MANAGER SET sessions FOO x", "-ERR syntax error: GROUPS, SENTINELS, SETTINGS or VERSION was expected"},
		{"MANAGER SET a/b GROUPS x", "-ERR a cluster's name has 1 to 64 of the characters A-Z a-z 0-9 . _ -"},
		{"MANAGER SET sessions VERSION 58", "OK 58"},
		{"MANAGER SET new groups n1 sentinels h:1 settings a b", "OK 1"},
		{"MANAGER GET new", "[version 1 groups [n1] sentinels [[h 1]] a b]"},
		{"MANAGER PROXIES nope", "-ERR no such cluster 'nope'"},
		{"MANAGER PROXIES new", "[]"},
		{"CLIENT SETNAME me", "OK"},
		{"CLIENT GETNAME", "me"},
		{"CLIENT SETINFO LIB-NAME x", "OK"},
		{"HELLO 4", "-NOPROTO unsupported protocol version"},
		{"HELLO x", "-ERR Protocol version is not an integer or out of range"},
		{"HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"},
		{"AUTH x", "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"},
		{"COMMAND COUNT", "8"},
		{"COMMAND INFO nope ping", "[nil [ping -1 [] 0 0 0 [] [] [] []]]"},
		{"HELLO 3", "{server respgate-manager version test proto 3 id 1 mode standalone role master modules []}"},
		{"MANAGER HEARTBEAT sessions 58 p1", "{version 58}"},
		{"COMMAND INFO nope", "[nil]"},
		{"QUIT", "OK"},
	})
	if _, err := c.Receive(); err != io.EOF {
		t.Errorf("after QUIT: %v", err)
	}
}

func TestProxiesCommand(t *testing.T) {
	t.Parallel()
	s, addr := started(t, example, 0)
	c := dial(t, addr)
	content := func() string { cl, _ := s.store.Cluster("cache"); return cl.Fingerprint() }
	for _, request := range []string{
		"MANAGER HEARTBEAT cache 0 p1 applied 0 pool web state waiting",
		"MANAGER HEARTBEAT cache 7 p2 applied 7 content " + content(),
		"MANAGER HEARTBEAT cache 7 p3 applied 7 content 0123456789abcdef",
		"MANAGER HEARTBEAT cache 7 p4 applied 6 state refused cause no",
		"MANAGER HEARTBEAT cache 9 p5 applied 9",
		"MANAGER HEARTBEAT sessions 1 p1 applied 1",
	} {
		if got := ask(t, c, request); got[0] == '-' {
			t.Fatalf("%s: %s", request, got)
		}
	}
	v, err := c.Do("MANAGER", "PROXIES")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range v.Elems {
		f := map[string]string{}
		for i := 0; i < len(row.Elems); i += 2 {
			f[row.Elems[i].Str] = words(row.Elems[i+1])
		}
		got = append(got, strings.Join([]string{f["cluster"], f["proxy"], f["pool"], f["address"], f["state"], f["version"], f["applied-version"], f["cause"]}, ","))
		if f["last-heartbeat-ms-ago"] == "" || f["first-heartbeat-ms-ago"] == "" {
			t.Error("a row without times")
		}
	}
	want := []string{"cache,p1,web,127.0.0.1,behind,0,0,", "cache,p2,,127.0.0.1,current,7,7,", "cache,p3,,127.0.0.1,differs,7,7,",
		"cache,p4,,127.0.0.1,refused,7,6,no", "cache,p5,,127.0.0.1,ahead,9,9,", "sessions,p1,,127.0.0.1,current,1,1,"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAuth(t *testing.T) {
	t.Parallel()
	_, addr := started(t, "password: s3cret\n"+example, 0)
	c := dial(t, addr)
	converse(t, c, []exchange{
		{"PING", "-NOAUTH Authentication required."},
		{"MANAGER CLUSTERS", "-NOAUTH Authentication required."},
		{"FOO", "-NOAUTH Authentication required."},
		{"AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."},
		{"AUTH other s3cret", "-WRONGPASS invalid username-password pair or user is disabled."},
		{"AUTH a b c", "-ERR syntax error"},
		{"HELLO 3 AUTH default wrong", "-WRONGPASS invalid username-password pair or user is disabled."},
		{"AUTH s3cret", "OK"},
		{"PING", "PONG"},
	})
	if got := ask(t, dial(t, addr), "HELLO 3"); !strings.HasPrefix(got, "-NOAUTH HELLO must be called") {
		t.Error(got)
	}
	c = dial(t, addr)
	converse(t, c, []exchange{
		{"HELLO 3 AUTH default s3cret SETNAME me", "{server respgate-manager version test proto 3 id 3 mode standalone role master modules []}"},
		{"CLIENT GETNAME", "me"},
	})
	// Who has not authenticated may not send much.
	c = dial(t, addr)
	if got := ask(t, c, "AUTH "+strings.Repeat("x", 20<<10)); got != "-ERR Protocol error: invalid bulk length" {
		t.Error(got)
	}
}

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	_, addr := started(t, example, 0)
	for in, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n": "-ERR unknown command 'GET'\r\n-ERR unknown command 'Host:'\r\n",
		"*1048577\r\n":                      "-ERR Protocol error: invalid multibulk length\r\n",
		"*1\r\n$536870913\r\n":              "-ERR Protocol error: invalid bulk length\r\n",
		"*1\r\n:1\r\n":                      "-ERR Protocol error: expected '$', got ':'\r\n",
		"PING \"x\r\n":                      "-ERR Protocol error: unbalanced quotes in request\r\n",
		"\r\n*0\r\nPING\r\n":                "+PONG\r\n",
		strings.Repeat("*1\r\n", 1000):      "-ERR Protocol error: expected '$', got '*'\r\n",
		"*1\r\n$4\r\nPI":                    "",
	} {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(nc, in)
		if err == nil {
			err = nc.(*net.TCPConn).CloseWrite()
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(nc)
		nc.Close()
		if string(got) != want || err != nil {
			t.Errorf("%.40q: got %q, %v", in, got, err)
		}
	}
}

// 10,000 pipelined requests, written while the answers are read, come back in order.
func TestPipeline(t *testing.T) {
	t.Parallel()
	_, addr := started(t, example, 0)
	c := dial(t, addr)
	const n = 10_000
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := range n {
			err = errors.Join(err, c.Send("ECHO", fmt.Sprint(i)))
		}
		sent <- errors.Join(err, c.Flush())
	}()
	for i := range n {
		v, err := c.Receive()
		if err != nil || v.Str != fmt.Sprint(i) {
			t.Fatalf("answer %d: %q, %v", i, v.Str, err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestTooManyClients(t *testing.T) {
	t.Parallel()
	_, addr := started(t, example, 2)
	one, two := dial(t, addr), dial(t, addr)
	ask(t, one, "PING")
	ask(t, two, "PING")
	if v, err := dial(t, addr).Receive(); err != nil || v.Str != "ERR max number of clients reached" {
		t.Error(v.Str, err)
	}
	one.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 { // until the server has noticed
		if v, err := dial(t, addr).Do("PING"); err == nil && v.Str == "PONG" {
			return
		}
		<-tick.C
	}
	t.Error("the place of a client that left stays taken")
}

// At the end idle clients are closed at once, and Serve leaves no goroutine (TestMain looks).
func TestServeEnds(t *testing.T) {
	t.Parallel()
	s := NewServer(open(t, fileOf(t, example)), "test", slog.New(slog.DiscardHandler))
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	c := dial(t, l.Addr().String())
	ask(t, c, "PING")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := c.Receive(); err == nil {
		t.Error("the client was not closed")
	}
}

func TestProxiesAreBounded(t *testing.T) {
	ps := newProxies()
	ps.most = 3
	now := time.Unix(1_800_000_000, 0)
	for i, id := range []string{"a", "b", "c", "a", "d"} {
		ps.Heard(now.Add(time.Duration(i)*time.Second), Heartbeat{Cluster: "x", Proxy: id})
	}
	var got []string
	for _, p := range ps.List("") {
		got = append(got, p.Proxy)
	}
	if d := cmp.Diff([]string{"a", "c", "d"}, got); d != "" {
		t.Error(d)
	}
	if p := ps.List("x")[0]; !p.First.Equal(now) || !p.Last.Equal(now.Add(3*time.Second)) {
		t.Error(p.First, p.Last)
	}
}

func TestNoticesAreBounded(t *testing.T) {
	var n notices
	now := time.Unix(1_800_000_000, 0)
	for i := range noticesMost + 7 {
		if allowed, _ := n.take(now); allowed != (i < noticesMost) {
			t.Fatalf("line %d: %v", i, allowed)
		}
	}
	if allowed, dropped := n.take(now.Add(time.Second)); !allowed || dropped != 7 {
		t.Error(allowed, dropped)
	}
}

// The log tells a proxy's news once, and no password.
func TestNoticesOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(p)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	store, err := Open(fileOf(t, "password: s3cret\n"+example), log)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(store, "test", log)
	client, server := net.Pipe()
	s.admit(server)
	c := respconn.New(client, respconn.Limits{})
	converse(t, c, []exchange{
		{"AUTH wrong-s3cret", "-WRONGPASS invalid username-password pair or user is disabled."},
		{"AUTH s3cret", "OK"},
		{"MANAGER HEARTBEAT cache 7 p1 applied 7", "[version 7]"},
		{"MANAGER HEARTBEAT cache 7 p1 applied 7", "[version 7]"},
		{"MANAGER HEARTBEAT cache 9 p1 applied 9", "[version 7 groups [c1] sentinels [[sentinel.example 26379]]]"},
		{"MANAGER HEARTBEAT cache 9 p1 applied 9", "[version 7 groups [c1] sentinels [[sentinel.example 26379]]]"},
	})
	c.Close()
	s.drain()
	mu.Lock()
	defer mu.Unlock()
	for text, n := range map[string]int{"proxy heard of": 1, "proxy refuses what it is told": 1, "s3cret": 0} {
		if got := strings.Count(out.String(), text); got != n {
			t.Errorf("%q %d times, want %d:\n%s", text, got, n, out.String())
		}
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
