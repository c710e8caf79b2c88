package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"respgate/internal/respconn"
)

func expect(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestConnectionCap(t *testing.T) {
	t.Parallel()
	s, address := start(t, Config{MaxClients: 2}, newFake(), io.Discard)
	first, second := dial(t, address), dial(t, address)
	expect(t, first.do("PING"), "+PONG\r\n")
	expect(t, second.do("PING"), "+PONG\r\n")
	third := dial(t, address)
	expect(t, third.reply(), "-ERR max number of clients reached\r\n")
	expect(t, third.reply(), "(closed)")
	if got := s.limit(); got.Used != 2 || got.Max != 2 || got.Hits != 1 {
		t.Errorf("limit %+v, want 2 of 2 and one hit", got)
	}
	expect(t, first.do("QUIT"), "+OK\r\n")
	_ = first.tap.Close()
	eventually(t, "the place is free again", func() bool { return len(s.clients()) == 1 })
	expect(t, dial(t, address).do("PING"), "+PONG\r\n")
}

func TestManyRefusedClients(t *testing.T) {
	t.Parallel()
	s, address := start(t, Config{MaxClients: 1}, newFake(), io.Discard)
	only := dial(t, address)
	expect(t, only.do("PING"), "+PONG\r\n")
	for range 4 * farewells { // none of them reads or closes
		dial(t, address)
	}
	eventually(t, "all are refused", func() bool { return s.refusals.Load() == 4*farewells })
	expect(t, only.do("PING"), "+PONG\r\n")
}

// TestSlowReader asks for more than the sockets buffer and reads nothing.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	s, address := start(t, Config{WriteTimeout: 200 * time.Millisecond}, newFake(), io.Discard)
	w := dial(t, address)
	request := bytes.Repeat([]byte("COMMAND DOCS\r\n"), 50000)
	go func() { _, _ = w.tap.Conn.Write(request) }() // ends with the connection
	eventually(t, "the session runs", func() bool { return s.accepted.Load() == 1 })
	eventually(t, "it is dropped", func() bool { return len(s.clients()) == 0 })
	expect(t, dial(t, address).do("PING"), "+PONG\r\n")
}

func TestPipeline(t *testing.T) {
	t.Parallel()
	_, address := start(t, Config{}, newFake(), io.Discard)
	w := dial(t, address)
	const n = 5000
	go func() {
		for i := range n {
			_ = w.conn.Send("ECHO", strconv.Itoa(i))
		}
		_ = w.conn.Flush()
	}()
	for i := range n {
		v, err := w.conn.Receive()
		if err != nil || v.Str != strconv.Itoa(i) {
			t.Fatalf("reply %d: %v %v", i, v.Str, err)
		}
	}
}

// TestSplitRequests sends each request in two pieces, cut at every byte.
func TestSplitRequests(t *testing.T) {
	t.Parallel()
	_, address := start(t, Config{}, newFake(), io.Discard)
	w := dial(t, address)
	for _, request := range []string{"*3\r\n$5\r\nPROXY\r\n$5\r\nPOOLS\r\n$1\r\nx\r\n", "PROXY pools \"x\"\r\n"} {
		for i := range len(request) {
			for _, piece := range []string{request[:i], request[i:]} {
				if _, err := io.WriteString(w.tap.Conn, piece); err != nil {
					t.Fatal(err)
				}
			}
			expect(t, w.reply(), "-NOPOOL no such pool 'x'\r\n")
		}
	}
}

func TestHalfRequestThenGone(t *testing.T) {
	t.Parallel()
	s, address := start(t, Config{}, newFake(), io.Discard)
	for _, half := range []string{"*", "*3\r\n$5\r\nPR", "PROXY PO", "*2\r\n$4\r\nECHO\r\n$60000\r\nabc"} {
		w := dial(t, address)
		if _, err := io.WriteString(w.tap.Conn, half); err != nil {
			t.Fatal(err)
		}
		_ = w.tap.Close()
	}
	eventually(t, "all sessions end", func() bool { return s.accepted.Load() == 4 && len(s.clients()) == 0 })
}

func TestOversizedRequests(t *testing.T) {
	t.Parallel()
	_, address := start(t, Config{}, newFake(), io.Discard)
	for name, request := range map[string]string{
		"too many arguments": "*1025\r\n" + strings.Repeat("$1\r\na\r\n", 1025),
		"too many bytes":     "*2\r\n$4\r\nECHO\r\n$70000\r\n" + strings.Repeat("a", 70000) + "\r\n",
		"endless line":       strings.Repeat("a", 1<<20),
		"endless nesting":    strings.Repeat("*1\r\n", 100000),
	} {
		w := dial(t, address)
		go func() { _, _ = io.WriteString(w.tap.Conn, request) }() // ends with the connection
		if got := w.reply(); !strings.HasPrefix(got, "-ERR Protocol error: ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	w := dial(t, address)
	// As many arguments and bytes as are allowed, for the commands that take any number.
	keys := slices.Repeat([]string{"k"}, 1000)
	if got := w.do(append([]string{"PROXY", "ROUTE", "cache"}, keys...)...); !strings.HasPrefix(got, "*1000\r\n") {
		t.Errorf("route of 1000 keys: %.40q", got)
	}
	if got := w.do(append([]string{"CONFIG", "GET"}, strings.Repeat("*", 60000))...); !strings.HasPrefix(got, "*14\r\n") {
		t.Errorf("a long pattern: %.40q", got)
	}
	long := strings.Repeat("x", 60000)
	for _, request := range [][]string{{long}, {"PROXY", long}, {"PROXY", "POOLS", long}, {"CLIENT", "SETNAME", long}, {"HELLO", "3", "SETNAME", long}, {"nosuch", long},
		{"PROXY", "INFO", long}, {"SELECT", long}, {"CLIENT", "SETINFO", long, "a"}, {"CONFIG", "SET", long, "a"}, {"PROXY", "SWITCH", "cache", "g1", long, "1"},
		{"PROXY", "SWITCH", "cache", "g1", "h", long}, {"PROXY", "LOGLEVEL", long}} {
		if got := w.do(request...); !strings.HasPrefix(got, "-") || len(got) > 512 {
			t.Errorf("%.20q: reply of %d bytes: %.80q", request, len(got), got)
		}
	}
}

func TestOneSwitchAGroup(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.entered, f.release = make(chan struct{}), make(chan struct{})
	_, address := start(t, Config{}, f, io.Discard)
	first, second := dial(t, address), dial(t, address)
	outcome := make(chan string, 1)
	go func() { outcome <- first.do("PROXY", "SWITCH", "cache", "g1") }()
	<-f.entered
	expect(t, second.do("PROXY", "SWITCH", "cache", "g1"), "-INPROG a switch of group 'g1' in pool 'cache' is running already, see PROXY MASTERS\r\n")
	expect(t, second.do("PROXY", "SWITCH", "cache", "g1", "127.0.0.1", "6390"), "-INPROG a switch of group 'g1' in pool 'cache' is running already, see PROXY MASTERS\r\n")
	other := make(chan string, 1)
	go func() { other <- second.do("PROXY", "SWITCH", "cache", "g2") }()
	<-f.entered // another group is free
	close(f.release)
	expect(t, <-outcome, "+OK 127.0.0.1:6379 127.0.0.1:6381 412\r\n")
	expect(t, <-other, "-NOREPLICA group 'g2' in pool 'cache' has no replica that is connected\r\n")
	expect(t, first.do("PROXY", "SWITCH", "cache", "g1", "127.0.0.1", "6390"), "+OK - 127.0.0.1:6390 1\r\n")
}

func TestSwitchAll(t *testing.T) {
	t.Parallel()
	f := newFake()
	_, address := start(t, Config{}, f, io.Discard)
	w := dial(t, address)
	expect(t, w.do("PROXY", "SWITCH", "cache", "all"), "*2\r\n+g1 OK 127.0.0.1:6379 127.0.0.1:6381 412\r\n-NOREPLICA group 'g2' in pool 'cache' has no replica that is connected\r\n")
	expect(t, w.do("PROXY", "SWITCH", "sessions", "ALL"), "-NOQUORUM only 1 of 3 sentinels answers\r\n")
	expect(t, w.do("PROXY", "SWITCH", "nosuch", "ALL"), "-NOPOOL no such pool 'nosuch'\r\n")
	expect(t, w.do("PROXY", "SWITCH", "cache", "ALL", "127.0.0.1", "6390"), "-NOGROUP no such group 'ALL' in pool 'cache'\r\n")
}

func TestOneSwitchOfAll(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.entered, f.release = make(chan struct{}), make(chan struct{})
	_, address := start(t, Config{}, f, io.Discard)
	first, second := dial(t, address), dial(t, address)
	outcome := make(chan string)
	go func() { outcome <- first.do("PROXY", "SWITCH", "cache", "ALL") }()
	<-f.entered
	expect(t, second.do("PROXY", "SWITCH", "cache", "ALL"), "-INPROG a switch of all groups in pool 'cache' is running already, see PROXY MASTERS\r\n")
	close(f.release)
	<-f.entered
	if got := <-outcome; !strings.Contains(got, "+g1 OK") {
		t.Errorf("%q", got)
	}
}

func TestSwitchOutlivesItsClient(t *testing.T) {
	t.Parallel()
	f, log := newFake(), &journal{}
	f.entered, f.release = make(chan struct{}), make(chan struct{})
	s, address := start(t, Config{}, f, log)
	w := dial(t, address)
	if err := w.conn.Send("PROXY", "SWITCH", "cache", "g1"); err != nil {
		t.Fatal(err)
	}
	if err := w.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	<-f.entered
	_ = w.tap.Close()
	close(f.release)
	eventually(t, "the session ends", func() bool { return len(s.clients()) == 0 })
	if got := log.String(); !strings.Contains(got, "action=switch") || !strings.Contains(got, "outcome=done") {
		t.Errorf("log: %s", got)
	}
}

func TestSwitchDeadline(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.entered, f.release = make(chan struct{}, 1), make(chan struct{})
	_, address := start(t, Config{SwitchTimeout: 20 * time.Millisecond}, f, io.Discard)
	expect(t, dial(t, address).do("PROXY", "SWITCH", "cache", "g1"), "-TIMEOUT switch of group 'g1': sentinel 127.0.0.1:26379: context deadline exceeded\r\n")
}

func TestCloseCancelsSwitch(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.entered, f.release = make(chan struct{}), make(chan struct{})
	s, address := start(t, Config{}, f, io.Discard)
	w := dial(t, address)
	if err := errors.Join(w.conn.Send("PROXY", "SWITCH", "cache", "g1"), w.conn.Flush()); err != nil {
		t.Fatal(err)
	}
	<-f.entered
	if err := s.Close(); err != nil { // returns only if the switch does
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); err != nil {
		t.Errorf("Serve after Close: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

func TestSeveralListeners(t *testing.T) {
	t.Parallel()
	s, address := start(t, Config{}, newFake(), io.Discard)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	w := dial(t, l.Addr().String())
	expect(t, w.do("PING"), "+PONG\r\n")
	_ = l.Close() // its owner moves the port
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	expect(t, w.do("PING"), "+PONG\r\n")
	expect(t, dial(t, address).do("PING"), "+PONG\r\n")
}

// badListener fails some times before it accepts.
type badListener struct {
	net.Listener
	failures int
}

func (l *badListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	t.Parallel()
	log := &journal{}
	s, _ := start(t, Config{}, newFake(), log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(&badListener{l, 3}) }()
	expect(t, dial(t, l.Addr().String()).do("PING"), "+PONG\r\n")
	if n := strings.Count(log.String(), "cannot accept"); n != 1 {
		t.Errorf("%d lines of the log, want one", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	s, address := start(t, Config{}, newFake(), io.Discard)
	victim, killer := dial(t, address), dial(t, address)
	expect(t, victim.do("CLIENT", "ID"), ":1\r\n")
	expect(t, killer.do("CLIENT", "KILL", "ID", "1"), ":1\r\n")
	if got := victim.reply(); !strings.HasPrefix(got, "(") {
		t.Errorf("the victim got %q", got)
	}
	eventually(t, "the victim is gone", func() bool { return s.client(1) == nil })
	expect(t, killer.do("CLIENT", "KILL", "ID", "1"), ":0\r\n")
	expect(t, killer.do("CLIENT", "KILL", "ID", "2"), ":1\r\n")
	expect(t, killer.reply(), "(closed)")
}

func TestNewPasswords(t *testing.T) {
	t.Parallel()
	s, address := start(t, Config{Password: "one"}, newFake(), io.Discard)
	w := dial(t, address)
	expect(t, w.do("AUTH", "one"), "+OK\r\n")
	s.Configure(Config{Password: "one", MaxClients: 5})
	expect(t, w.do("PING"), "+PONG\r\n")
	s.Configure(Config{Password: "two"})
	expect(t, w.do("PING"), "-NOAUTH Authentication required.\r\n")
	expect(t, w.do("AUTH", "one"), "-WRONGPASS invalid username-password pair or user is disabled.\r\n")
	expect(t, w.do("AUTH", "two"), "+OK\r\n")
	s.Configure(Config{})
	expect(t, w.do("PROXY", "ROTATE", "cache"), "+OK\r\n")
}

func TestPanicOfAHandler(t *testing.T) {
	t.Parallel()
	f, log := newFake(), &journal{}
	f.panics = true
	_, address := start(t, Config{}, f, log)
	w := dial(t, address)
	expect(t, w.do("PROXY", "POOLS"), "-ERR internal error, see the proxy's log\r\n")
	expect(t, w.reply(), "(closed)")
	if got := log.String(); !strings.Contains(got, "proxy|pools") || strings.Contains(got, "must not be logged") {
		t.Errorf("log: %s", got)
	}
}

// TestSecrets looks for passwords and keys in the log and in whatever prints a Config.
func TestSecrets(t *testing.T) {
	t.Parallel()
	log := &journal{}
	cfg := Config{Password: "hush-operator", StatsPassword: "hush-stats"}
	s, address := start(t, cfg, newFake(), log)
	w := dial(t, address)
	for _, request := range []string{"AUTH hush-wrong", "AUTH hush-stats", "AUTH hush-operator", "PROXY ROUTE cache hush-key", "PROXY ROUTE sessions hush-key",
		"PROXY SWITCH cache g1", "PROXY ROTATE cache", "PROXY RELOAD", "PROXY LOGLEVEL debug", "PROXY hush", "hush me"} {
		w.do(strings.Fields(request)...)
	}
	s.log.Info("settings", "cfg", cfg)
	all := log.String() + fmt.Sprintf("%v %+v %s %#v", cfg, cfg, cfg, cfg)
	if strings.Contains(all, "hush") {
		t.Errorf("a secret in: %s", all)
	}
	for _, want := range []string{"action=switch", "action=rotate", "action=reload", "action=\"log level\"", "wrong password on the admin port"} {
		if !strings.Contains(all, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

// pipe runs a session over a net.Pipe within a synctest bubble, where timers are exact.
func pipe(t *testing.T, cfg Config) (client *respconn.Conn, ended chan struct{}, s *Server) {
	t.Helper()
	f := newFake()
	s = New(cfg, f, f, f, slog.New(slog.DiscardHandler))
	ours, theirs := net.Pipe()
	ended = make(chan struct{})
	session := newSession(s, theirs, 1)
	go func() {
		defer close(ended)
		session.serve()
	}()
	t.Cleanup(func() {
		_ = ours.Close()
		<-ended
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return respconn.New(ours, respconn.Limits{}), ended, s
}

func TestWrongPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ended, _ := pipe(t, Config{Password: "secret", AuthTimeout: time.Hour})
		pause := authPause
		for i := 1; i < authAttempts; i++ {
			began := time.Now()
			v, err := client.Do("AUTH", "guess")
			if err != nil || v.Code() != "WRONGPASS" {
				t.Fatalf("attempt %d: %v %v", i, v.Str, err)
			}
			if took := time.Since(began); took != pause {
				t.Fatalf("attempt %d took %v, want %v", i, took, pause)
			}
			pause = min(2*pause, authPause<<authDoubling)
		}
		v, err := client.Do("AUTH", "guess")
		if err != nil || v.Str != "ERR too many wrong passwords, closing the connection" {
			t.Fatalf("the last attempt: %v %v", v.Str, err)
		}
		<-ended
	})
}

func TestAuthTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ended, _ := pipe(t, Config{Password: "secret"})
		began := time.Now()
		v, err := client.Receive()
		if err != nil || !v.IsError() || time.Since(began) != time.Minute {
			t.Fatalf("%v %v after %v", v.Str, err, time.Since(began))
		}
		<-ended
	})
}

func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ended, _ := pipe(t, Config{Password: "secret", IdleTimeout: 5 * time.Minute})
		if v, err := client.Do("AUTH", "secret"); err != nil || v.IsError() {
			t.Fatal(v.Str, err)
		}
		began := time.Now()
		v, err := client.Receive()
		if err != nil || !v.IsError() || time.Since(began) != 5*time.Minute {
			t.Fatalf("%v %v after %v", v.Str, err, time.Since(began))
		}
		<-ended
	})
}

func TestCloseEndsAuthPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ended, s := pipe(t, Config{Password: "secret"})
		began := time.Now()
		go func() { _, _ = client.Do("AUTH", "guess") }() // its reply is cut off
		synctest.Wait()
		s.cancel()
		<-time.After(time.Millisecond)
		synctest.Wait()
		if time.Since(began) != time.Millisecond {
			t.Fatal("the clock went on")
		}
		if v, err := client.Do("PING"); err != nil || v.Code() != "NOAUTH" {
			t.Fatalf("%v %v: the session still pauses", v.Str, err)
		}
		_ = client.Close()
		<-ended
	})
}
