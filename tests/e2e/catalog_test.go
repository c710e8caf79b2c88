package e2e

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"respgate/internal/respconn"
	"respgate/tests/harness"
)

// wantReply asks until the proxy has learned what its servers have.
func wantReply(t *testing.T, addr, want string, args ...string) {
	t.Helper()
	c, err := harness.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	harness.Eventually(t, harness.Patience, strings.Join(args, " "), func() error {
		reply, err := c.Do(args...)
		if err != nil {
			return err
		}
		if got := string(reply.Raw); !strings.HasPrefix(got, want) {
			return fmt.Errorf("%q, and not %q", got, want)
		}
		return nil
	})
}

// spread is a key of some group: with twemproxy's default hash, keys that differ at their end only lie close together.
func spread(i int) string { return fmt.Sprint(i*7919+13, "-key") }

// TestGroupLacksCommand: what one server does not have is refused for every key, with its group's name, until another server takes its place.
func TestGroupLacksCommand(t *testing.T) {
	t.Parallel()
	whole := harness.StartRedis(t, harness.RedisOptions{})
	poor := harness.StartRedis(t, harness.RedisOptions{Config: []string{`rename-command GETEX ""`}})
	other := harness.StartRedis(t, harness.RedisOptions{})
	denied := harness.StartRedis(t, harness.RedisOptions{Config: []string{"user default on nopass ~* &* +@all -command", `rename-command GETDEL ""`}})
	cf := harness.NewConfig(t)
	servers := func(second string) []string {
		return []string{whole.Addr() + ":1 g1", second + ":1 g2", denied.Addr() + ":1 g3"}
	}
	addr := cf.ServersPool("p", servers(poor.Addr()))
	p := harness.StartProxy(t, cf)
	refused := "-ERR respgate: command 'getex' is not supported: group 'g2' does not have it (its master " + poor.Addr() + " does not list it)"
	for i := range 9 { // keys of every group
		wantReply(t, addr, refused, "GETEX", spread(i))
	}
	for i := range 9 {
		k := spread(i)
		wantReply(t, addr, "+OK\r\n", "SET", k, "v")
		wantReply(t, addr, "$1\r\nv\r\n", "GET", k)
	}
	p.WaitLog("commands are refused because some group lacks them")
	p.WaitLog("allow the user of the pool +command")

	cf.ServersPool("p", servers(other.Addr()))
	p.Write(cf.String())
	p.WaitLog("no command is refused any more")
	for i := range 9 {
		wantReply(t, addr, "+OK\r\n", "SET", spread(i), "v") // one of the servers is another one
		wantReply(t, addr, "$1\r\nv\r\n", "GETEX", spread(i))
	}
	wantReply(t, addr, "-ERR unknown command ", "x.set", "k", "v")
}

// TestModuleCommands: commands of a module that the proxy has never heard of go where their keys are.
func TestModuleCommands(t *testing.T) {
	t.Parallel()
	var servers []*harness.Redis
	var list []string
	for i := range 2 {
		r := harness.StartRedis(t, harness.RedisOptions{Password: "secret"})
		servers = append(servers, r)
		list = append(list, fmt.Sprintf("%s:1 g%d", withModule(t, r), i+1))
	}
	cf := harness.NewConfig(t)
	addr := cf.ServersPool("p", list, "redis_auth: secret")
	p := harness.StartProxy(t, cf)
	route := p.Route("p")
	var keys []string
	for i := range 20 {
		keys = append(keys, spread(i))
	}
	groups := route(keys)
	seen := map[string]bool{}
	for i, k := range keys {
		seen[groups[i]] = true
		wantReply(t, addr, "+OK\r\n", "x.set", k, "value of "+k)
		at := servers[groups[i][1]-'1']
		if got := at.Must("GET", k).Text(); got != "value of "+k {
			t.Errorf("%s at %s: %q", k, groups[i], got)
		}
	}
	if len(seen) != 2 {
		t.Errorf("the keys are in %v", seen)
	}
	wantReply(t, addr, "-ERR wrong number of arguments for 'x.set' command", "x.set")
	p.WaitLog("commands that the proxy does not know are taken from the servers")
}

// withModule is a server that has a module, as far as a client can tell: COMMAND lists X.SET, which is executed as SET.
func withModule(t *testing.T, r *harness.Redis) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open []net.Conn
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			running.Go(func() { serveModule(c, r.Addr()) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

const moduleRow = "*10\r\n$5\r\nx.set\r\n:-3\r\n*2\r\n+write\r\n+module\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n" +
	"*1\r\n*6\r\n$5\r\nflags\r\n*1\r\n+RW\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n" +
	"$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"

// serveModule passes requests on, one after the other.
func serveModule(c net.Conn, upstream string) {
	defer c.Close()
	server, err := harness.Dial(upstream)
	if err != nil {
		return
	}
	defer server.Close()
	client := respconn.NewServer(c, respconn.RequestLimits{})
	for {
		args, err := client.ReadRequest()
		if err != nil {
			return
		}
		table := strings.EqualFold(args[0], "COMMAND") && len(args) == 1
		if strings.EqualFold(args[0], "x.set") {
			args[0] = "SET"
		}
		reply, err := server.Do(args...)
		if raw := string(reply.Raw); table && reply.Kind == '*' {
			_, rest, _ := strings.Cut(raw, "\r\n")
			reply.Raw = []byte(fmt.Sprintf("*%d\r\n%s%s", len(reply.Elems)+1, rest, moduleRow))
		}
		_, werr := c.Write(reply.Raw)
		if errors.Join(err, werr) != nil {
			return
		}
	}
}
