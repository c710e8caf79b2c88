package failover

import (
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"

	"respgate/tests/harness"
)

// door lets connections to an address through to a server, until it is shut.
type door struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn
}

func openDoor(t *testing.T, host string, port int, to string) *door {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	d := &door{listener: l}
	d.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.open = append(d.open, c)
			d.mu.Unlock()
			d.wg.Go(func() {
				through(to)(c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(d.shut)
	return d
}

// came counts those who have come.
func (d *door) came() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open)
}

func (d *door) shut() {
	_ = d.listener.Close()
	d.mu.Lock()
	for _, c := range d.open {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.wg.Wait()
}

// named is a stage whose sentinels call g1's machine db.test, and a DNS server that knows it by the addresses. The server
// is behind doors, at a port of its own.
func named(t *testing.T, groups []string, addrs ...string) (s *stage, dns *nameServer, port int) {
	t.Helper()
	s = newStage(t, groups)
	dns, port = startNameServer(t), harness.Port(t)
	dns.know("db.test", addrs...)
	for _, fake := range s.fakes {
		fake.Name("g1", "db.test", port, 1)
	}
	return s, dns, port
}

// openNamed starts the proxy, which asks the DNS server.
func (s *stage) openNamed(dns *nameServer, lines ...string) {
	s.t.Helper()
	c := harness.NewConfig(s.t)
	c.Pool("cache", append(harness.SentinelLines(s.groups, s.sentinels(), harness.FleetOptions{}), patient(lines)...)...)
	s.proxy = harness.StartProxyWithDNS(s.t, c, dns.addr())
}

// TestFault53NameMoves has sentinels name a host whose address changes, without a word of theirs: it is resolved again
// when the old one leads nowhere.
func TestFault53NameMoves(t *testing.T) {
	t.Parallel()
	s, dns, port := named(t, []string{"g1"}, "127.0.0.1")
	before := openDoor(t, "127.0.0.1", port, s.servers["g1"].Addr())
	s.openNamed(dns, "hold: { timeout: 30s }")
	s.proxy.WaitUp("cache")
	l := s.load()
	l.Progress(50)
	after := openDoor(t, "127.0.0.2", port, s.servers["g1"].Addr())
	dns.know("db.test", "127.0.0.2")
	before.shut()
	l.Progress(100)
	if after.came() == 0 {
		t.Error("nobody came to the new address")
	}
	sound(t, l.Finish(s.servers)[0], 4) // what was in flight
}

// TestFault54NameUnknown has sentinels name a host that nobody knows, and then a DNS server that does not answer: that
// group says so, the others do not wait for it, and it serves as soon as the name is known.
func TestFault54NameUnknown(t *testing.T) {
	t.Parallel()
	s, dns, port := named(t, []string{"g1", "g2"})
	openDoor(t, "127.0.0.1", port, s.servers["g1"].Addr())
	s.openNamed(dns, "hold: { timeout: 500ms }")
	s.proxy.WaitMaster("cache", "g2", s.servers["g2"].Addr())
	l := harness.StartLedger(t, harness.LedgerOptions{Addr: s.addr(), Groups: []string{"g2"}, Route: s.proxy.Route("cache")})
	l.Progress(50)
	conn, key := dial(t, s.addr()), keyIn(t, s.proxy, "g1")
	waitError(t, conn, "db.test", "SET", key, "1")
	dns.silence(true)
	asked := dns.questions()
	harness.Eventually(t, harness.Patience, "the name is asked for in vain", func() error {
		if dns.questions() < asked+3 {
			return errors.New("not often")
		}
		return nil
	})
	wantError(t, conn, []string{"group 'g1'"}, "SET", key, "1")
	l.Progress(100)
	dns.know("db.test", "127.0.0.1")
	dns.silence(false)
	waitReply(t, conn, "OK", "SET", key, "2")
	l.Progress(50)
	untouched(t, l.Finish(s.servers))
}

// TestFault55SeveralAddresses names a host with two addresses of IPv4 and one of IPv6, of which one leads to the server:
// all are tried.
func TestFault55SeveralAddresses(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			s, dns, port := named(t, []string{"g1"}, "127.0.0.1", "127.0.0.2", "::1")
			way := openDoor(t, host, port, s.servers["g1"].Addr())
			s.openNamed(dns)
			s.proxy.WaitUp("cache")
			l := s.load()
			l.Progress(50)
			if way.came() == 0 {
				t.Errorf("nobody came to %s", host)
			}
			untouched(t, l.Finish(s.servers))
		})
	}
}
