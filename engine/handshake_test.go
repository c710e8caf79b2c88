package engine

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"respgate/engine/topology"
)

// shortHold makes requests fail soon when their server is not there.
func shortHold(s *topology.Settings) { s.HoldTimeout = 30 * time.Millisecond }

func TestHandshake(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set         func(s *topology.Settings)
		resp2, want []string // what a RESP2 link asks, and a RESP3 one
	}{
		"plain":       {func(s *topology.Settings) { s.VerifyRole = false }, []string{"INFO server"}, []string{"HELLO 3", "INFO server"}},
		"role":        {func(*topology.Settings) {}, []string{"ROLE", "INFO server"}, []string{"HELLO 3", "ROLE", "INFO server"}},
		"password":    {func(s *topology.Settings) { s.ServerPassword = "pw" }, []string{"AUTH pw", "ROLE", "INFO server"}, []string{"HELLO 3 AUTH default pw", "ROLE", "INFO server"}},
		"user and db": {func(s *topology.Settings) { s.ServerUser, s.ServerPassword, s.DB = "u", "pw", 3 }, []string{"AUTH u pw", "SELECT 3", "ROLE", "INFO server"}, []string{"HELLO 3 AUTH u pw", "SELECT 3", "ROLE", "INFO server"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, resp3 := range []bool{false, true} {
				r := newRig(t, plain, []string{"g1"}, set(tc.set))
				a, want := r.dial(), tc.resp2
				if resp3 {
					a.send(req("HELLO", "3"))
					a.want(hello("7.0.15", 1, true))
					want = tc.want
				}
				a.do(bulk("APPEND k v"), "APPEND", "k", "v")
				if diff := cmp.Diff(want, r.servers["g1"].greetings()); diff != "" {
					t.Errorf("handshake, RESP3 %v (-want +got):\n%s", resp3, diff)
				}
				if r.happened(EventLinkUp) != 1 || r.stats("g1").Version != "7.2.4" || r.stats("g1").Links != 1 {
					t.Errorf("link-up events %d, group %+v", r.happened(EventLinkUp), r.stats("g1"))
				}
			}
		})
	}
}

// TestNoMaster: a node that is no master never sees a client's byte; when it becomes one, it is served.
func TestNoMaster(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for role, reply := range map[string]string{
			"slave":    "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:1\r\n",
			"sentinel": "*2\r\n$8\r\nsentinel\r\n*1\r\n$2\r\ng1\r\n",
			"":         "*0\r\n",
		} {
			r := newRig(t, v, []string{"g1", "g2"})
			s := r.servers["g1"]
			s.on(func(_ *fakeConn, args []string) (string, bool) { return reply, args[0] == "ROLE" })
			a, b := r.dial(), r.dial()
			a.send(req("SET", r.key("g1", 0), "x"))
			until(t, "the node was refused twice", func() bool { return r.happened(EventDemoted) > 1 })
			if got, want := r.causes(EventDemoted), "ROLE of "+s.ln.Addr().String()+" is '"+role+"', not master\n"; !strings.HasPrefix(got, want) {
				t.Errorf("cause %q, want %q", got, want)
			}
			b.do("+OK\r\n", "SET", r.key("g2", 0), "x") // the other group is not concerned
			if got := s.requests(); len(got) > 0 {
				t.Errorf("a %s was sent %q", role, got)
			}
			s.on(nil)
			a.want("+OK\r\n")
		}
	})
}

// TestBadServers: what becomes of a server that is none, and what the client is told.
func TestBadServers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	for name, tc := range map[string]struct {
		script handler
		want   string
	}{
		"http":      {func(*fakeConn, []string) (string, bool) { return "HTTP/1.1 400 Bad Request\r\n\r\n", true }, "it does not speak the Redis protocol"},
		"garbage":   {func(*fakeConn, []string) (string, bool) { return "\x15\x03\x01", true }, "it does not speak the Redis protocol"},
		"wrongpass": {func(_ *fakeConn, a []string) (string, bool) { return wrongPassText, a[0] == "AUTH" }, "AUTH: WRONGPASS invalid username-password pair"},
		"repeats the password": {func(_ *fakeConn, a []string) (string, bool) {
			return "-ERR unknown command 'AUTH', with args beginning with: 'top-secret' \r\n", a[0] == "AUTH"
		}, "AUTH: ERR unknown command 'AUTH'"},
		"repeats it oddly": {func(_ *fakeConn, a []string) (string, bool) {
			return "-ERR top-secret what? " + long + "\r\n", a[0] == "AUTH"
		}, "AUTH: ERR (password) what? xxx"},
		"busy": {func(_ *fakeConn, a []string) (string, bool) {
			return "-BUSY Redis is busy running a script\r\n", a[0] == "ROLE"
		}, "ROLE: BUSY Redis is busy"},
		"noperm": {func(_ *fakeConn, a []string) (string, bool) {
			return "-NOPERM this user has no permissions to run the '" + strings.ToLower(a[0]) + "' command\r\n", a[0] == "ROLE" || a[0] == "INFO" && a[1] == "replication"
		}, "INFO replication: NOPERM this user has no permissions"},
		"max clients":      {func(c *fakeConn, _ []string) (string, bool) { return "-ERR max number of clients reached\r\n", true }, "AUTH: ERR max number of clients reached"},
		"too many replies": {func(_ *fakeConn, a []string) (string, bool) { return "+OK\r\n+a-value\r\n", a[0] == "INFO" }, "it sent a reply that nobody asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plain, []string{"g1"}, set(shortHold), set(func(s *topology.Settings) { s.ServerPassword = "top-secret" }))
			s := r.servers["g1"]
			s.on(tc.script)
			a := r.dial()
			a.send(req("APPEND", "k", "v"))
			got := a.line()
			if !strings.HasPrefix(got, "-ERR respgate: group 'g1': no connection to its master "+s.ln.Addr().String()+": "+tc.want) || !strings.HasSuffix(got, " ms)\r\n") {
				t.Errorf("the client is told %q, want %q", got, tc.want)
			}
			events := r.causes(EventDialFailed) + r.causes(EventLinkLost)
			if !strings.Contains(events, tc.want) {
				t.Errorf("events say %q, want %q", events, tc.want)
			}
			if strings.Contains(got+events, "top-secret") || strings.Contains(got+events, "a-value") {
				t.Errorf("something secret got out: %q, %q", got, events)
			}
			if got := s.requests(); len(got) > 0 {
				t.Errorf("it was sent %q", got)
			}
			s.on(nil)
			until(t, "it is served when it is well again", func() bool {
				a.send(req("APPEND", "k", "v"))
				return a.line()[0] == '$' && a.line() != ""
			})
		})
	}
}

// TestRoleWithoutPermission: an ACL that denies ROLE leaves INFO replication.
func TestRoleWithoutPermission(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		s.change(func() { s.role = "slave" })
		s.on(func(_ *fakeConn, args []string) (string, bool) { return "-NOPERM no\r\n", args[0] == "ROLE" })
		a := r.dial()
		a.send(req("APPEND", "k", "v"))
		until(t, "it is no master", func() bool { return strings.Contains(r.causes(EventDemoted), "is 'slave', not master") })
		s.change(func() { s.role = "master" })
		a.want(bulk("APPEND k v"))
		until(t, "the fallback was asked", func() bool {
			return strings.HasSuffix(strings.Join(s.greetings(), ", "), "ROLE, INFO server, INFO replication")
		})
	})
}

// TestHandshakeInPieces: replies that come byte by byte are the same replies.
func TestHandshakeInPieces(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.ServerPassword, s.DB = "pw", 1 }))
		s := r.servers["g1"]
		s.change(func() { s.cuts = []int{1} })
		a := r.dial()
		a.do(bulk("APPEND k v"), "APPEND", "k", "v")
		a.do("+OK\r\n", "SELECT", "0")
		a.do("+OK\r\n", "SELECT", "1")
		if _, ever := s.connections(); ever != 1 {
			t.Errorf("%d connections", ever)
		}
	})
}

// TestStalls: connect and handshake are bounded, and say which step it was.
func TestStalls(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		for step, name := range map[string]string{"AUTH": "AUTH", "ROLE": "ROLE", "INFO": "INFO server"} {
			r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) {
				s.ConnectTimeout, s.HoldTimeout, s.ServerPassword = 40*time.Millisecond, patience, "pw"
			}))
			s := r.servers["g1"]
			silent := map[*fakeConn]bool{}
			s.on(func(c *fakeConn, args []string) (string, bool) {
				silent[c] = silent[c] || args[0] == step
				return "", silent[c]
			})
			a := r.dial()
			a.send(req("SET", "k", "v"))
			until(t, "it is the step that is waited for", func() bool { return strings.Contains(r.causes(EventDialFailed), name+": no answer within 40 ms\n") })
			r.apply(set(shortHold))
			a.wantError("ERR respgate: group 'g1': no connection to its master "+s.ln.Addr().String()+": ", ": no answer within 40 ms (waited ")
			if got := s.requests(); len(got) > 0 {
				t.Errorf("a server that stalled was sent %q", got)
			}
		}
	})
}

// redialLongestTime is redialLongest's shorter half, which is the least that jitter leaves of it.
const redialLongestTime = time.Duration(redialLongest) / 2

// TestNobodyThere: refused at once, and dialled again with a back-off, not in a loop.
func TestNobodyThere(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		ln.Close()
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.HoldTimeout = 200 * time.Millisecond }),
			change("g1", func(g *topology.Group) {
				g.Master = topology.Master{Name: addr, Addrs: []netip.AddrPort{netip.MustParseAddrPort(addr)}, Generation: 2}
			}))
		a := r.dial()
		a.send(req("SET", "k", "v"))
		start := time.Now()
		a.wantWaited("ERR respgate: group 'g1': no connection to its master "+addr+": connect: connection refused ", 200)
		if n := r.happened(EventDialFailed); n < 2 || n > 8+int(time.Since(start)/redialLongestTime) {
			t.Errorf("%d dials in %v, want a few", n, time.Since(start))
		}
		// A link that breaks as soon as it is up is not replaced at once either.
		s := newFake(t)
		s.on(func(c *fakeConn, args []string) (string, bool) {
			if isGreeting(args) {
				return "", false
			}
			c.conn.Close()
			return "", true
		})
		start = time.Now()
		r.apply(change("g1", func(g *topology.Group) { g.Master = s.master(3) }), set(func(s *topology.Settings) { s.HoldTimeout = patience }))
		for range 3 {
			a.send(req("GET", "k"))
		}
		until(t, "the link broke five times", func() bool { return r.happened(EventLinkLost) >= 5 })
		if took := time.Since(start); took < 4*25*time.Millisecond {
			t.Errorf("five links in %v: a storm", took)
		}
	})
}

func TestUnixServer(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := serveFake(t, ln)
	r := newRig(t, plain, []string{"g1"}, change("g1", func(g *topology.Group) { g.Master = s.master(2) }))
	r.dial().do("+OK\r\n", "SET", "k", "v")
	if got := s.requests(); len(got) != 1 {
		t.Errorf("the server on a unix socket saw %q", got)
	}
}

// TestSeveralAddresses: a name that resolves to several is tried in turn, also by links that are dialled together, and
// when a hold ends after each failure, which clears the back-off. The one that leads there is dialled from then on.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"}, set(func(s *topology.Settings) { s.ServerConnections = 2 }))
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := dead.Addr().(*net.TCPAddr).AddrPort()
	dead.Close()
	m := r.servers["g1"].master(2)
	m.Addrs = []netip.AddrPort{gone, m.Addrs[0]}
	r.apply(change("g1", func(g *topology.Group) { g.Master = m }), change("g1", onHold))
	a, b := r.dial(), r.dial() // one for each link
	a.send(req("APPEND", "k", "v"))
	b.send(req("APPEND", "k", "w"))
	until(t, "both are through", func() bool {
		r.apply(change("g1", onHold))
		r.apply(change("g1", release))
		return len(r.servers["g1"].requests()) == 2
	})
	a.want(bulk("APPEND k v"))
	b.want(bulk("APPEND k w"))
	failed := r.happened(EventDialFailed)
	r.servers["g1"].dropAll()
	a.do("$-1\r\n", "GET", "k")
	b.do("$-1\r\n", "GET", "k")
	if again := r.happened(EventDialFailed); again > failed {
		t.Errorf("the address that leads nowhere was dialled %d times more", again-failed)
	}
}

// TestSelfConnection: a dial that led back to itself must not pass for a server that echoes.
func TestSelfConnection(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if selfConnected(fd) {
		t.Error("a socket without a peer is connected to itself")
	}
	if err := unix.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	if !selfConnected(fd) {
		t.Error("the connection to itself was not noticed")
	}
}
