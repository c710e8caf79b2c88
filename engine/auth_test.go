package engine

import (
	"fmt"
	"strings"
	"testing"

	"respgate/engine/topology"
)

const (
	wrongPassText   = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	noAuthText      = "-NOAUTH Authentication required.\r\n"
	helloNoAuthText = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n"
)

func withPassword(s *topology.Settings) { s.Password = "secret" }

func TestAuthMatrix(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"}, set(withPassword))
		k := r.key("g1", 0)
		for _, tc := range []struct {
			args   []string
			reply  string // %d stands for the client's id
			authed bool
		}{
			{[]string{"AUTH", "secret"}, "+OK\r\n", true},
			{[]string{"AUTH", "default", "secret"}, "+OK\r\n", true},
			{[]string{"AUTH", "Secret"}, wrongPassText, false},
			{[]string{"AUTH", ""}, wrongPassText, false},
			{[]string{"AUTH", "secret "}, wrongPassText, false},
			{[]string{"AUTH", "other", "secret"}, wrongPassText, false},
			{[]string{"AUTH", "default", "no"}, wrongPassText, false},
			{[]string{"AUTH", "a", "b", "c"}, "-ERR syntax error\r\n", false},
			{[]string{"AUTH"}, "-ERR wrong number of arguments for 'auth' command\r\n", false},
			{[]string{"HELLO"}, helloNoAuthText, false},
			{[]string{"HELLO", "3"}, helloNoAuthText, false},
			{[]string{"HELLO", "3", "SETNAME", "x"}, helloNoAuthText, false},
			{[]string{"HELLO", "9"}, "-NOPROTO unsupported protocol version\r\n", false},
			{[]string{"HELLO", "3", "AUTH", "default", "no"}, wrongPassText, false},
			{[]string{"HELLO", "3", "AUTH", "other", "secret"}, wrongPassText, false},
			{[]string{"HELLO", "3", "AUTH", "default"}, "-ERR Syntax error in HELLO option 'AUTH'\r\n", false},
			{[]string{"HELLO", "2", "AUTH", "default", "secret"}, "hello", true},
			{[]string{"HELLO", "3", "AUTH", "default", "secret", "SETNAME", "n"}, "hello", true},
			{[]string{"HELLO", "3", "SETNAME", "n", "auth", "default", "secret"}, "hello", true},
			{[]string{"HELLO", "3", "AUTH", "default", "secret", "WHAT"}, "-ERR Syntax error in HELLO option 'WHAT'\r\n", false},
			{[]string{"PING"}, noAuthText, false},
			{[]string{"GET", k}, noAuthText, false},
			{[]string{"EXEC"}, "-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n", false},
			{[]string{"MGET", k, r.key("g2", 0)}, noAuthText, false},
			{[]string{"CONFIG", "GET", "*"}, noAuthText, false},
			{[]string{"CLIENT", "ID"}, noAuthText, false},
			{[]string{"NOPE"}, "-ERR unknown command 'NOPE', with args beginning with: \r\n", false}, // first, as in Redis
			{[]string{"GET"}, "-ERR wrong number of arguments for 'get' command\r\n", false},
			{[]string{"RESET"}, resetReplyText, false},
			{[]string{"QUIT"}, "+OK\r\n", false},
		} {
			a := r.dial()
			if tc.reply == "hello" {
				var id int64
				until(t, "the client is counted", func() bool {
					id = r.e.lastClient.Load()
					return r.e.clients.Load() > 0
				})
				a.do(hello("7.0.15", id, tc.args[1] == "3"), tc.args...)
			} else {
				a.do(tc.reply, tc.args...)
			}
			switch {
			case tc.args[0] == "QUIT":
				a.wantClosed()
			case tc.authed:
				a.do("+PONG\r\n", "PING")
			default:
				a.do(noAuthText, "PING")
			}
			a.conn.Close()
			until(t, "the client is gone", func() bool { return r.e.clients.Load() == 0 })
		}
		for _, g := range []string{"g1", "g2"} {
			if got := r.servers[g].requests(); len(got) != 0 {
				t.Errorf("a server saw %q of clients that were not authenticated", got)
			}
		}
	})
}

func TestResetTakesTheLoginBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"}, set(withPassword))
	a := r.dial()
	a.do("+OK\r\n", "AUTH", "secret")
	a.do("+PONG\r\n", "PING")
	a.do(resetReplyText, "RESET")
	a.do(noAuthText, "PING")
}

// TestPasswordChanges: who is in stays in; who comes later needs the new one.
func TestPasswordChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"})
	a := r.dial()
	a.do("+PONG\r\n", "PING")
	r.apply(set(withPassword))
	a.do("+PONG\r\n", "PING")
	b := r.dial()
	b.do(noAuthText, "PING")
	b.do("+OK\r\n", "AUTH", "secret")
	r.apply(set(func(s *topology.Settings) { s.Password = "" }))
	r.dial().do("+PONG\r\n", "PING")
}

// TestLimitsBeforeAuth: ten arguments of 16 KiB, as Redis has it; all there is afterwards.
func TestLimitsBeforeAuth(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(withPassword))
		many := append([]string{"MSET"}, strings.Split(strings.Repeat("x ", 10), " ")[:10]...)
		large := strings.Repeat("x", 16<<10+1)
		a := r.dial()
		a.send(req(many...))
		a.want("-ERR Protocol error: unauthenticated multibulk length\r\n")
		a.wantClosed()
		a = r.dial()
		a.send(req("PING", large))
		a.want("-ERR Protocol error: unauthenticated bulk length\r\n")
		a.wantClosed()
		a = r.dial()
		a.do(noAuthText, "PING", large[1:])
		// The limits end with the login, in the middle of a read.
		a.send(req("AUTH", "secret") + req("ECHO", large) + req(many...))
		a.want("+OK\r\n" + bulk(large) + "+OK\r\n")
		a.do(resetReplyText, "RESET")
		a.send(req("PING", large))
		a.want("-ERR Protocol error: unauthenticated bulk length\r\n")
		a.wantClosed()
	})
}

// TestProtocolSwitchKeepsOrder: requests before and after HELLO take different links; the later ones wait for the earlier.
func TestProtocolSwitchKeepsOrder(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		a := r.dial()
		a.do("+OK\r\n", "SET", "k", "0")
		s.hold()
		a.send(req("SET", "k", "1") + req("HELLO", "3") + req("SET", "k", "2") + req("RESET") + req("SET", "k", "3") + req("PING"))
		until(t, "the first request is there", func() bool { return len(s.requests()) == 2 })
		r.e.Stats() // a whole iteration later nothing has overtaken it
		for i, want := range []string{"SET k 0", "SET k 1", "SET k 2", "SET k 3"} {
			until(t, "request "+fmt.Sprint(i), func() bool { return len(s.requests()) > i })
			if got := s.requests(); got[i] != want || len(got) > max(i, 1)+1 {
				t.Errorf("step %d: the server saw %q", i, got)
			}
			if i > 0 {
				s.let(1)
			}
		}
		a.want("+OK\r\n" + hello("7.2.4", 1, true) + "+OK\r\n" + resetReplyText + "+OK\r\n+PONG\r\n")
	})
}
