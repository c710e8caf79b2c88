package engine

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"respgate/engine/command"
	"respgate/engine/topology"
)

func clientHelpText() string {
	var lines []string
	for _, l := range clientHelp {
		lines = append(lines, "+"+l+"\r\n")
	}
	return array(lines...)
}

// TestClientHelp: each subcommand that is served is there, and no other.
func TestClientHelp(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, l := range clientHelp[1:] {
		if l[0] != ' ' {
			name, _, _ := strings.Cut(l, " ")
			listed["client|"+strings.ToLower(name)] = true
		}
	}
	for _, cmd := range command.All() {
		if !strings.HasPrefix(cmd.Name, "client|") {
			continue
		}
		if served := cmd.Route != command.RouteRefused; served != listed[cmd.Name] {
			t.Errorf("%s is served: %v, and listed: %v", cmd.Name, served, listed[cmd.Name])
		}
		delete(listed, cmd.Name)
	}
	if len(listed) > 0 {
		t.Errorf("listed, and unknown: %v", listed)
	}
}

// hello is the reply to HELLO.
func hello(version string, id int64, resp3 bool) string {
	head, proto := "*14\r\n", 2
	if resp3 {
		head, proto = "%7\r\n", 3
	}
	return head + bulk("server") + bulk("redis") + bulk("version") + bulk(version) + bulk("proto") + fmt.Sprintf(":%d\r\n", proto) +
		bulk("id") + fmt.Sprintf(":%d\r\n", id) + bulk("mode") + bulk("standalone") + bulk("role") + bulk("master") + bulk("modules") + "*0\r\n"
}

// allHeld is a change that lets no group be up.
func allHeld(s *topology.Snapshot) {
	for _, g := range s.Pool("p").Groups {
		g.Hold, g.Cause = true, "a test"
	}
}

// localCases are what the proxy answers itself, COMMAND while no group is up: the request, the reply in RESP2, and the one in RESP3 where it differs.
var localCases = []struct{ request, resp2, resp3 string }{
	{"PING", "+PONG\r\n", ""},
	{"ping hi", "$2\r\nhi\r\n", ""},
	{"PING a b", "-ERR wrong number of arguments for 'ping' command\r\n", ""},
	{"ECHO x", "$1\r\nx\r\n", ""},
	{"ECHO", "-ERR wrong number of arguments for 'echo' command\r\n", ""},
	{"SELECT 0", "+OK\r\n", ""},
	{"SELECT 15", "+OK\r\n", ""},
	{"SELECT 16", "-ERR DB index is out of range\r\n", ""},
	{"SELECT -1", "-ERR DB index is out of range\r\n", ""},
	{"SELECT x", "-ERR value is not an integer or out of range\r\n", ""},
	{"READONLY", "-ERR This instance has cluster support disabled\r\n", ""},
	{"READWRITE", "-ERR This instance has cluster support disabled\r\n", ""},
	{"CLIENT ID", ":1\r\n", ""},
	{"CLIENT GETNAME", "$-1\r\n", "_\r\n"},
	{"CLIENT SETNAME bad\x01name", "-ERR Client names cannot contain spaces, newlines or special characters.\r\n", ""},
	{"CLIENT SETNAME worker-1", "+OK\r\n", ""},
	{"CLIENT GETNAME", "$8\r\nworker-1\r\n", ""},
	{"CLIENT SETINFO lib-name go-redis", "+OK\r\n", ""},
	{"CLIENT SETINFO LIB-VER 9.23", "+OK\r\n", ""},
	{"CLIENT SETINFO lib-name bad\x7f", "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n", ""},
	{"CLIENT SETINFO lib-ver bad\x7f", "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n", ""},
	{"CLIENT SETINFO colour red", "-ERR Unrecognized option 'colour'\r\n", ""},
	{"CLIENT NO-EVICT on", "+OK\r\n", ""},
	{"CLIENT NO-EVICT maybe", "-ERR syntax error\r\n", ""},
	{"CLIENT HELP", clientHelpText(), ""},
	{"CLIENT SETINFO LIB-NAME bad\x7f", "-ERR LIB-NAME cannot contain spaces, newlines or special characters.\r\n", ""},
	{"CLIENT SETNAME " + strings.Repeat("x", 257), "-ERR respgate: a client's name, and that of its library, may have 256 bytes\r\n", ""},
	{"CLIENT LIST TYPE", "-ERR syntax error\r\n", ""},
	{"CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'\r\n", ""},
	{"CLIENT LIST TYPE replica", "$0\r\n\r\n", "=4\r\ntxt:\r\n"},
	{"CLIENT LIST ID", "-ERR syntax error\r\n", ""},
	{"CLIENT LIST ID 1 x", "-ERR Invalid client ID\r\n", ""},
	{"CLIENT LIST ID 99", "$0\r\n\r\n", "=4\r\ntxt:\r\n"},
	{"CLIENT LIST a b", "-ERR syntax error\r\n", ""},
	{"CLIENT KILL", "-ERR wrong number of arguments for 'client|kill' command\r\n", ""},
	{"CLIENT KILL 1.2.3.4:5", "-ERR No such client\r\n", ""},
	{"CLIENT KILL ", "-ERR No such client\r\n", ""},
	{"CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n", ""},
	{"CLIENT KILL ID x", "-ERR client-id should be greater than 0\r\n", ""},
	{"CLIENT KILL ID 99", ":0\r\n", ""},
	{"CLIENT KILL ID 1", ":0\r\n", ""}, // SKIPME is yes
	{"CLIENT KILL TYPE x", "-ERR Unknown client type 'x'\r\n", ""},
	{"CLIENT KILL TYPE master SKIPME no", ":0\r\n", ""},
	{"CLIENT KILL TYPE pubsub SKIPME no", ":0\r\n", ""},
	{"CLIENT KILL USER nope", "-ERR No such user 'nope'\r\n", ""},
	{"CLIENT KILL USER default", ":0\r\n", ""},
	{"CLIENT KILL ADDR 1:2 LADDR 1:3", ":0\r\n", ""},
	{"CLIENT KILL LADDR 1:3 SKIPME no", ":0\r\n", ""},
	{"CLIENT KILL MAXAGE 1000 SKIPME no", ":0\r\n", ""},
	{"CLIENT KILL MAXAGE x", "-ERR maxage is not an integer or out of range\r\n", ""},
	{"CLIENT KILL MAXAGE 0", "-ERR maxage should be greater than 0\r\n", ""},
	{"CLIENT KILL SKIPME maybe", "-ERR syntax error\r\n", ""},
	{"CLIENT KILL ID 1 ADDR", "-ERR syntax error\r\n", ""},
	{"CLIENT KILL foo bar", "-ERR syntax error\r\n", ""},
	{"CLIENT PAUSE x", "-ERR timeout is not an integer or out of range\r\n", ""},
	{"CLIENT PAUSE -1", "-ERR timeout is negative\r\n", ""},
	{"CLIENT PAUSE 1 some", "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n", ""},
	{"CLIENT PAUSE 1 ALL x", "-ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.\r\n", ""},
	{"CLIENT PAUSE 0", "+OK\r\n", ""},
	{"CLIENT PAUSE 9223372036854775807 write", "+OK\r\n", ""},
	{"CLIENT UNPAUSE", "+OK\r\n", ""},
	{"CLIENT UNPAUSE", "+OK\r\n", ""},
	{"CLIENT UNBLOCK x", "-ERR value is not an integer or out of range\r\n", ""},
	{"CLIENT UNBLOCK 1", ":0\r\n", ""},
	{"CLIENT UNBLOCK 99 error", ":0\r\n", ""},
	{"CLIENT UNBLOCK x y", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n", ""},
	{"CLIENT UNBLOCK 1 TIMEOUT x", "-ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.\r\n", ""},
	{"CLIENT GETREDIR", ":-1\r\n", ""},
	{"CLIENT REPLY on", "+OK\r\n", ""},
	{"CLIENT REPLY x", "-ERR syntax error\r\n", ""},
	{"CLIENT MAINT_NOTIFICATIONS OFF", "+OK\r\n", ""},
	{"CLIENT MAINT_NOTIFICATIONS on", "-ERR CLIENT MAINT_NOTIFICATIONS needs RESP3: send HELLO 3 first\r\n", "+OK\r\n"},
	{"CLIENT MAINT_NOTIFICATIONS on moving-endpoint-type external-fqdn", "-ERR CLIENT MAINT_NOTIFICATIONS needs RESP3: send HELLO 3 first\r\n", "+OK\r\n"},
	{"CLIENT MAINT_NOTIFICATIONS on moving-endpoint-type x", "-ERR Unknown MOVING-ENDPOINT-TYPE 'x'\r\n", ""},
	{"CLIENT MAINT_NOTIFICATIONS on moving-endpoint-type", "-ERR syntax error\r\n", ""},
	{"CLIENT MAINT_NOTIFICATIONS maybe", "-ERR syntax error\r\n", ""},
	{"CLIENT", "-ERR wrong number of arguments for 'client' command\r\n", ""},
	{"CLIENT WHAT", "-ERR unknown subcommand 'WHAT'. Try CLIENT HELP.\r\n", ""},
	{"CLIENT GETNAME x", "-ERR wrong number of arguments for 'client|getname' command\r\n", ""},
	{"CLUSTER INFO", "-ERR This instance has cluster support disabled\r\n", ""},
	{"CLUSTER SLOTS", "-ERR This instance has cluster support disabled\r\n", ""},
	{"CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n"},
	{"CONFIG GET TIME* appendonly nothing", "*4\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$7\r\ntimeout\r\n$1\r\n0\r\n", "%2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$7\r\ntimeout\r\n$1\r\n0\r\n"},
	{"CONFIG GET *?only", "*6\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$17\r\nreplica-read-only\r\n$3\r\nyes\r\n$15\r\nslave-read-only\r\n$3\r\nyes\r\n", "%3\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$17\r\nreplica-read-only\r\n$3\r\nyes\r\n$15\r\nslave-read-only\r\n$3\r\nyes\r\n"},
	{"CONFIG GET nothing", "*0\r\n", "%0\r\n"},
	{"ACL WHOAMI x", "-ERR wrong number of arguments for 'acl|whoami' command\r\n", ""},
	{"ACL WHOAMI", "$7\r\ndefault\r\n", ""},
	{"COMMAND GETKEYS MSET a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", ""},
	{"COMMAND GETKEYS PING", "-ERR The command has no key arguments\r\n", ""},
	{"COMMAND GETKEYS NOPE x", "-ERR Invalid command specified\r\n", ""},
	{"COMMAND GETKEYS GET", "-ERR Invalid number of arguments specified for command\r\n", ""},
	{"COMMAND GETKEYS EVAL s 3 a", "-ERR Invalid arguments specified for command\r\n", ""},
	{"COMMAND LIST FILTERBY PATTERN X?ROUP|D*", "*2\r\n" + bulk("xgroup|delconsumer") + bulk("xgroup|destroy"), ""},
	{"COMMAND LIST FILTERBY MODULE any", "*0\r\n", ""},
	{"COMMAND LIST FILTERBY ACLCAT read", "-ERR respgate: command 'command|list' is not supported: the categories of commands are the servers': ask one of them\r\n", ""},
	{"COMMAND LIST FILTERBY WHAT x", "-ERR syntax error\r\n", ""},
	{"COMMAND LIST PATTERN x", "-ERR syntax error\r\n", ""},
	{"COMMAND GETKEYSANDFLAGS GET a", "-ERR respgate: command 'command|getkeysandflags' is not supported: the servers answer it, and none is up\r\n", ""},
	{"COMMAND INFO nope", "*1\r\n*-1\r\n", "*1\r\n_\r\n"},
	{"COMMAND INFO get", "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0\r\n",
		"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n~0\r\n*0\r\n*0\r\n*0\r\n"},
	{"COMMAND DOCS echo", "*2\r\n" + bulk("echo") + "*8\r\n" + docs("echo"), "%1\r\n" + bulk("echo") + "%4\r\n" + docs("echo")},
	{"COMMAND DOCS nope", "*0\r\n", "%0\r\n"},
	{"NOPE a b", "-ERR unknown command 'NOPE', with args beginning with: 'a' 'b' \r\n", ""},
	{"NOPE", "-ERR unknown command 'NOPE', with args beginning with: \r\n", ""},
	{"NO\x00PE a\x00b c", "-ERR unknown command 'NO', with args beginning with: 'a' 'c' \r\n", ""},
	{"CLIENT NO\x00PE", "-ERR unknown subcommand 'NO'. Try CLIENT HELP.\r\n", ""},
	{"GET", "-ERR wrong number of arguments for 'get' command\r\n", ""},
	{"GET a b", "-ERR wrong number of arguments for 'get' command\r\n", ""},
	{"EXEC now", "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n", ""},
	{"SET a", "-ERR wrong number of arguments for 'set' command\r\n", ""},
	{"AUTH x", "-" + noPassword + "\r\n", ""},
	{"AUTH a b c", "-ERR syntax error\r\n", ""},
	{"HELLO x", "-ERR Protocol version is not an integer or out of range\r\n", ""},
	{"HELLO 4", "-NOPROTO unsupported protocol version\r\n", ""},
	{"HELLO 2 WHAT", "-ERR Syntax error in HELLO option 'WHAT'\r\n", ""},
	{"HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'\r\n", ""},
	{"HELLO 3 SETNAME a\tb", "-" + badClientName + "\r\n", ""},
	{"HELLO 3 AUTH other x", "-" + wrongPass + "\r\n", ""},
}

func docs(name string) string {
	cmd := command.Lookup([]byte(name))
	return bulk("summary") + bulk(cmd.Summary) + bulk("since") + bulk(cmd.Since) + bulk("group") + bulk(cmd.Group) + bulk("arguments") + "*0\r\n"
}

func TestLocalCommands(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for _, resp3 := range []bool{false, true} {
			r := newRig(t, v, []string{"g1", "g2"}, allHeld)
			a := r.dial()
			if resp3 {
				a.send(req("HELLO", "3"))
				a.want(hello("7.0.15", 1, true))
			}
			for _, tc := range localCases {
				want := tc.resp2
				if resp3 && tc.resp3 != "" {
					want = tc.resp3
				}
				a.do(want, strings.Split(tc.request, " ")...)
			}
			if got := r.servers["g1"].requests(); len(got) != 0 {
				t.Errorf("a server saw %q", got)
			}
		}
	})
}

func TestHello(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1", "g2"})
	r.servers["g2"].change(func() { r.servers["g2"].version = "7.0.9" })
	a := r.dial()
	a.do(hello("7.0.15", 1, false), "HELLO") // before any server was asked
	a.do(bulk("APPEND "+r.key("g1", 0)+" x"), "APPEND", r.key("g1", 0), "x")
	a.do(hello("7.2.4", 1, false), "HELLO", "2")
	a.do(bulk("APPEND "+r.key("g2", 0)+" x"), "APPEND", r.key("g2", 0), "x")
	a.do(hello("7.0.9", 1, true), "HELLO", "3", "SETNAME", "me", "AUTH", "default", "any") // the oldest server's
	a.do(bulk("me"), "CLIENT", "GETNAME")
	a.do(hello("7.0.9", 1, true), "hello") // keeps the version
	a.do(resetReplyText, "RESET")
	a.do("$-1\r\n", "CLIENT", "GETNAME")
	a.do(hello("7.0.9", 1, false), "HELLO")
}

const resetReplyText = "+RESET\r\n"

func TestTime(t *testing.T) {
	t.Parallel()
	a := newRig(t, plain, []string{"g1"}).dial()
	a.send(req("TIME"))
	a.want("*2\r\n$10\r\n")
	a.line()
	if micros := a.line() + a.line(); !strings.HasPrefix(micros, "$") {
		t.Errorf("TIME: %q", micros)
	}
}

// text reads a bulk or verbatim string.
func (a *app) text() string {
	a.t.Helper()
	head := a.line()
	n, err := strconv.Atoi(strings.TrimRight(head[1:], "\r\n"))
	if err != nil || head[0] != '$' && head[0] != '=' {
		a.t.Fatalf("reply %q, want a string", head)
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(a.r, b); err != nil {
		a.t.Fatal(err)
	}
	return strings.TrimPrefix(string(b[:n]), "txt:")
}

// TestOwnInfo is INFO while no group is up.
func TestOwnInfo(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"}, allHeld, func(s *topology.Snapshot) { s.Limits.MaxClients = 99 })
		a := r.dial()
		for _, ask := range [][]string{{"INFO"}, {"INFO", "ALL"}, {"info", "everything"}, {"INFO", "default"}} {
			a.send(req(ask...))
			got := a.text()
			for _, want := range []string{
				"# Server\r\n", "redis_version:7.0.15\r\n", "redis_mode:standalone\r\n", "tcp_port:0\r\n",
				"# Respgate\r\nrespgate_version:1.2.3\r\nrespgate_pool:p\r\nrespgate_groups:2\r\nrespgate_groups_answered:0\r\n",
				"# Clients\r\nconnected_clients:1\r\nmaxclients:99\r\n", "maxmemory_policy:noeviction\r\n", "loading:0\r\n", "# Stats\r\n",
				"# Replication\r\nrole:master\r\n", "# Cluster\r\ncluster_enabled:0\r\n",
			} {
				if !strings.Contains(got, want) {
					t.Errorf("%v: no %q in %q", ask, want, got)
				}
			}
		}
		a.send(req("INFO", "Replication", "cluster"))
		if got, want := a.text(), "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n"; got != want {
			t.Errorf("two sections: %q, want %q", got, want)
		}
		a.do("$0\r\n\r\n", "INFO", "nothing")
		r.apply(func(s *topology.Snapshot) { s.Pool("p").Access, s.Pool("p").Reason = topology.Reject, "no authority" })
		a.do("-ERR respgate: no authority (pool 'p')\r\n", "DBSIZE")
		a.send(req("INFO", "replication") + req("COMMAND", "GETKEYS", "GET", "a"))
		if got, want := a.text(), "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"; got != want {
			t.Errorf("INFO of a pool that rejects: %q, want %q", got, want)
		}
		a.want(array(bulk("a")))
		a.send(req("CLIENT", "SETNAME", "me") + req("CLIENT", "SETINFO", "lib-name", "lib") + req("CLIENT", "INFO"))
		a.want("+OK\r\n+OK\r\n")
		got := a.text()
		for _, want := range []string{"id=1 ", " addr=" + a.conn.LocalAddr().String() + " ", " laddr=" + a.conn.RemoteAddr().String() + " ", " name=me ", " resp=2 ", " lib-name=lib "} {
			if !strings.Contains(got, want) {
				t.Errorf("CLIENT INFO: no %q in %q", want, got)
			}
		}
	})
}

// TestCommandTable: what the proxy says it serves is what it does not refuse.
func TestCommandTable(t *testing.T) {
	t.Parallel()
	a := newRig(t, plain, []string{"g1"}, allHeld).dial()
	a.send(req("COMMAND", "COUNT"))
	count, err := strconv.Atoi(strings.TrimSpace(a.line()[1:]))
	if err != nil || count < 200 {
		t.Fatalf("COMMAND COUNT: %d, %v", count, err)
	}
	a.send(req("COMMAND", "LIST"))
	listed, err := strconv.Atoi(strings.TrimSpace(a.line()[1:]))
	if err != nil || listed <= count {
		t.Fatalf("COMMAND LIST: %d, %v; it has the subcommands as well", listed, err)
	}
	names := map[string]bool{}
	for range listed {
		names[a.text()] = true
	}
	for name, want := range map[string]bool{"get": true, "mset": true, "client": true, "eval": true, "cluster": true, "migrate": false, "shutdown": false, "client|id": true, "acl|setuser": false} {
		if names[name] != want {
			t.Errorf("%q is listed: %v, want %v", name, names[name], want)
		}
	}
	a.send(req("COMMAND") + req("COMMAND", "DOCS") + req("ECHO", "end"))
	a.want(fmt.Sprintf("*%d\r\n", count))
	for line := a.line(); line != "end\r\n"; line = a.line() {
	}
}

// TestRefused: every command that needs what the proxy does not do is refused with its name, and the connection stays.
func TestRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1", "g2"})
	a := r.dial()
	refused := 0
	for _, cmd := range command.All() {
		fanout := cmd.Route == command.RouteFanout && cmd.Merge == command.MergeNone
		if cmd.Route != command.RouteRefused && !fanout || cmd.Container() {
			continue
		}
		args := strings.Split(cmd.Name, "|")
		for len(args) < max(cmd.Arity, -cmd.Arity) {
			args = append(args, "1")
		}
		a.send(req(args...))
		a.wantError("ERR respgate: command '" + cmd.Name + "' is not supported: ")
		refused++
	}
	a.do("+PONG\r\n", "PING")
	if refused < 50 || r.pool().Errors["unsupported"] != uint64(refused) {
		t.Errorf("%d refused, %d counted", refused, r.pool().Errors["unsupported"])
	}
}

// TestOneGroup: where all keys lie in one place, more commands can be served.
func TestOneGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"})
	a := r.dial()
	for _, args := range [][]string{
		{"DBSIZE"}, {"FLUSHALL"}, {"SCAN", "no number"}, {"MEMORY", "DOCTOR"}, {"LASTSAVE"}, {"SLOWLOG", "GET"}, {"PUBLISH", "c", "m"}, {"EVAL", "return 1", "0"}, {"MSETNX", "a", "1", "b", "2"}, {"EVAL", "s", "3", "a"}, {"MGET", "no", "where"},
	} {
		if args[0] == "MGET" {
			a.do(array("$-1\r\n", "$-1\r\n"), args...)
			continue
		}
		a.do(bulk(strings.Join(args, " ")), args...)
	}
}

func TestAllEjected(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1", "g2"})
	x, y := r.key("g1", 0), r.key("g2", 0)
	r.apply(func(s *topology.Snapshot) {
		p := s.Pool("p")
		cfg := p.Ring.Config()
		for i := range cfg.Nodes {
			cfg.Nodes[i].Ejected = true
		}
		p.Ring = mustRing(cfg)
	})
	a := r.dial()
	for _, args := range [][]string{{"GET", x}, {"MGET", x, y}, {"DEL", y}, {"RENAME", x, x}} {
		a.do("-ERR respgate: every server of pool 'p' is ejected\r\n", args...)
	}
}
