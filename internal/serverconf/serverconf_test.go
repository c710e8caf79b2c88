package serverconf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"respgate/internal/respconn"
	"respgate/internal/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// redis answers each request as a test says, and notes it. A reply without a kind closes the connection.
type redis struct {
	mu    sync.Mutex
	asked []string
}

func serve(t *testing.T, network, address string, answer func(args []string) respconn.Value) (*redis, net.Addr) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	r := &redis{}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { r.talk(c, answer) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return r, l.Addr()
}

func (r *redis) talk(c net.Conn, answer func(args []string) respconn.Value) {
	conn := respconn.NewServer(c, respconn.RequestLimits{})
	defer func() { _ = conn.Close() }()
	for {
		args, err := conn.ReadRequest()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.asked = append(r.asked, strings.Join(args, " "))
		r.mu.Unlock()
		v := answer(args)
		if v.Kind == 0 || conn.Reply(v) != nil || conn.Flush() != nil {
			return
		}
	}
}

func (r *redis) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func always(v respconn.Value) func([]string) respconn.Value {
	return func([]string) respconn.Value { return v }
}

func settings(pairs ...string) func([]string) respconn.Value {
	return always(respconn.Strings(pairs...))
}

func at(group string, addr net.Addr) Server {
	return Server{Group: group, Name: addr.String(), Network: addr.Network(), Addresses: []string{addr.String()}}
}

func clientOf(servers ...Server) *Client {
	return &Client{Servers: func(_, group string) ([]Server, error) {
		var out []Server
		for _, s := range servers {
			if group == "" || group == s.Group {
				out = append(out, s)
			}
		}
		return out, nil
	}}
}

// closed is an address that nobody listens on.
func closed(t *testing.T) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr()
}

func TestGet(t *testing.T) {
	t.Parallel()
	_, a := serve(t, "tcp", "127.0.0.1:0", settings("maxmemory", "100", "requirepass", "s3cret", "masterauth", ""))
	_, b := serve(t, "unix", filepath.Join(t.TempDir(), "s"), settings("maxmemory", "200"))
	g1, g2 := at("g1", a), at("g2", b)
	g1.Addresses = []string{closed(t).String(), a.String()} // the next address of a name is tried
	c := clientOf(g1, g2, Server{Group: "g3", Cause: "nobody knows it"})
	got, err := c.Get(t.Context(), "p", "", "*")
	if err != nil {
		t.Fatal(err)
	}
	want := []status.ServerSetting{
		{Group: "g1", Server: g1.Name, Name: "maxmemory", Value: "100"},
		{Group: "g1", Server: g1.Name, Name: "requirepass", Value: "***"},
		{Group: "g1", Server: g1.Name, Name: "masterauth"},
		{Group: "g2", Server: g2.Name, Name: "maxmemory", Value: "200"},
		{Group: "g3", Cause: "group 'g3' has no master: nobody knows it"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got, err := c.Get(t.Context(), "p", "g2", "*"); err != nil || len(got) != 1 {
		t.Errorf("one group: %v, %v", got, err)
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	first, a := serve(t, "tcp", "127.0.0.1:0", always(respconn.Simple("OK")))
	second, b := serve(t, "tcp", "127.0.0.1:0", always(respconn.Errorf("ERR Invalid argument 's3cret' for CONFIG SET")))
	third, d := serve(t, "tcp", "127.0.0.1:0", always(respconn.Simple("OK")))
	c := clientOf(at("g1", a), at("g2", b), at("g3", d))
	if err := c.Set(t.Context(), "p", "g1", "maxmemory", "1 gb"); err != nil {
		t.Error(err)
	}
	err := c.Set(t.Context(), "p", "", "masterauth", "s3cret")
	want := fmt.Sprintf("group 'g2', server %s: ERR Invalid argument '***' for CONFIG SET; set before in 'g1'; not tried in 'g3'", b)
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if err := c.Set(t.Context(), "p", "g3", "a", "b"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"CONFIG SET maxmemory 1 gb", "CONFIG SET masterauth s3cret"}, first.all()); diff != "" {
		t.Error(diff)
	}
	if len(second.all()) != 1 || len(third.all()) != 1 {
		t.Errorf("asked: %q, %q", second.all(), third.all())
	}
}

func TestAuth(t *testing.T) {
	t.Parallel()
	r, a := serve(t, "tcp", "127.0.0.1:0", func(args []string) respconn.Value {
		switch {
		case args[0] != "AUTH":
			return respconn.Strings("hz", "10")
		case args[len(args)-1] == "right":
			return respconn.Simple("OK")
		}
		return respconn.Errorf("WRONGPASS invalid: %s", args[len(args)-1])
	})
	for _, s := range []Server{{Password: "right"}, {User: "me", Password: "right"}, {User: "me"}} {
		s.Group, s.Name, s.Network, s.Addresses = "g1", "x", "tcp", []string{a.String()}
		if rows, err := clientOf(s).Get(t.Context(), "p", "g1", "hz"); err != nil || len(rows) != 1 {
			t.Errorf("%q: %v, %v", s.User, rows, err)
		}
	}
	if diff := cmp.Diff([]string{"AUTH right", "CONFIG GET hz", "AUTH me right", "CONFIG GET hz", "CONFIG GET hz"}, r.all()); diff != "" {
		t.Error(diff)
	}
	s := at("g1", a)
	s.Password = "wrong"
	_, err := clientOf(s).Get(t.Context(), "p", "g1", "hz")
	if err == nil || !strings.Contains(err.Error(), "AUTH: WRONGPASS invalid: ***; see redis_user and redis_auth") {
		t.Errorf("%v", err)
	}
}

// TestFailures has what servers should not do: every one is an error that names group and server.
func TestFailures(t *testing.T) {
	t.Parallel()
	huge := make([]string, 2*replyLimits.Elements)
	for name, answer := range map[string]func([]string) respconn.Value{
		"an error":        always(respconn.Errorf("NOPERM no")),
		"a number":        always(respconn.Int(1)),
		"half a pair":     settings("a", "b", "c"),
		"nested":          always(respconn.List(respconn.Bulk("a"), respconn.Strings("b"))),
		"null":            always(respconn.Nil()),
		"too much":        settings(huge...),
		"end of the link": always(respconn.Value{}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, a := serve(t, "tcp", "127.0.0.1:0", answer)
			c, prefix := clientOf(at("g1", a)), fmt.Sprintf("group 'g1', server %s: ", a)
			if rows, err := c.Get(t.Context(), "p", "g1", "*"); err == nil || !strings.HasPrefix(err.Error(), prefix) {
				t.Errorf("get: %v, %v", rows, err)
			}
			if err := c.Set(t.Context(), "p", "g1", "a", "b"); err == nil || !strings.HasPrefix(err.Error(), prefix) {
				t.Errorf("set: %v", err)
			}
		})
	}
	if err := clientOf(at("g1", closed(t))).Set(t.Context(), "p", "g1", "a", "b"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}
	gone := errors.New("no such pool")
	c := &Client{Servers: func(string, string) ([]Server, error) { return nil, gone }}
	if _, err := c.Get(t.Context(), "p", "", "*"); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

// TestEndsWithItsContext asks a server that never answers, until the console closes.
func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	hold := make(chan struct{})
	_, a := serve(t, "tcp", "127.0.0.1:0", func([]string) respconn.Value {
		cancel()
		<-hold
		return respconn.Value{}
	})
	t.Cleanup(func() { close(hold) })
	err := clientOf(at("g1", a), at("g2", a)).Set(ctx, "p", "", "a", "b")
	if err == nil || !strings.Contains(err.Error(), "may or may not have been executed") || !strings.Contains(err.Error(), "not tried in 'g2'") {
		t.Errorf("%v", err)
	}
}

func TestTooManySettings(t *testing.T) {
	t.Parallel()
	pairs := make([]string, replyLimits.Elements/2*2)
	_, a := serve(t, "tcp", "127.0.0.1:0", settings(pairs...))
	var servers []Server
	for i := range maxSettings/(len(pairs)/2) + 1 {
		servers = append(servers, at(fmt.Sprintf("g%d", i), a))
	}
	if _, err := clientOf(servers...).Get(t.Context(), "p", "", "*"); err == nil || !strings.Contains(err.Error(), "narrower pattern") {
		t.Errorf("%v", err)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"requirepass": true, "MASTERAUTH": true, "masteruser": true, "primaryauth": true, "tls-key-file-pass": true, "search-password": true,
		"maxmemory": false, "tls-auth-clients": false, "save": false, "acl-pubsub-default": false, "": false,
	} {
		if Secret(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 20)
	for _, c := range []struct{ text, value, want string }{
		{"no 'abc'", "abc", "no '***'"},
		{"no", "abc", "no"},
		{"no", "", "no"},
		{"no '" + long + "'", long, "no '***'"},
		{"no '" + long[:128] + "'", long, "no '***"}, // the server has cut it
	} {
		if got := mask(errors.New(c.text), c.value).Error(); got != c.want {
			t.Errorf("%q without %q: %q", c.text, c.value, got)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	many := make([]Server, named+3)
	if got := names(many); !strings.HasSuffix(got, "and 3 more") {
		t.Errorf("%s", got)
	}
}
