package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// FakeSentinel is a sentinel that says what a test wants it to say. It answers what a client of Sentinel asks, in RESP2
// and RESP3, and lies where it is told to.
type FakeSentinel struct {
	listener net.Listener
	id       string
	wg       sync.WaitGroup

	mu      sync.Mutex
	masters map[string]fakeMaster
	down    time.Duration
	answer  func(args []string) (reply string, ok bool)
	peers   int
	open    map[*fakeSession]bool
	closed  bool
	asked   map[string]int
}

type fakeMaster struct {
	host     string
	port     int
	epoch    int
	replicas []string
}

// fakeSession is one client of a FakeSentinel.
type fakeSession struct {
	conn       net.Conn
	mu         sync.Mutex // of writes: replies and events
	resp3      bool
	subscribed []string
}

// StartFakeSentinel starts a sentinel that claims to have so many peers.
func StartFakeSentinel(t testing.TB, peers int) *FakeSentinel {
	t.Helper()
	l := listen(t)
	s := &FakeSentinel{
		listener: l, id: newSentinelPlan(t, "").id, masters: map[string]fakeMaster{}, down: 5 * time.Second, peers: peers,
		open: map[*fakeSession]bool{}, asked: map[string]int{},
	}
	s.wg.Go(s.accept)
	t.Cleanup(s.Close)
	return s
}

// Addr is the sentinel's host:port.
func (s *FakeSentinel) Addr() string { return s.listener.Addr().String() }

// Name makes it name a master for the group, without an event.
func (s *FakeSentinel) Name(group, host string, port, epoch int, replicas ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.masters[group] = fakeMaster{host: host, port: port, epoch: epoch, replicas: replicas}
}

// DownAfter is what it says of every group, instead of 5 s.
func (s *FakeSentinel) DownAfter(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = d
}

// Answer sets a function that is asked first: a reply as bytes, or false for the usual one. An empty reply with true
// is none at all. It runs on the connection's goroutine.
func (s *FakeSentinel) Answer(f func(args []string) (string, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Asked counts the requests whose words begin so, in lower case.
func (s *FakeSentinel) Asked(command string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[command]
}

// Publish sends an event to everybody who has subscribed to it.
func (s *FakeSentinel) Publish(channel, payload string) {
	for _, c := range s.sessions() {
		c.publish(channel, payload)
	}
}

// Switch changes the group's master and announces it.
func (s *FakeSentinel) Switch(group, host string, port, epoch int) {
	s.mu.Lock()
	old := s.masters[group]
	s.mu.Unlock()
	s.Name(group, host, port, epoch)
	s.Publish("+switch-master", fmt.Sprintf("%s %s %d %s %d", group, old.host, old.port, host, port))
}

// Subscribers counts the sessions that have a subscription.
func (s *FakeSentinel) Subscribers() int {
	n := 0
	for _, c := range s.sessions() {
		c.mu.Lock()
		if len(c.subscribed) > 0 {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// Sessions counts its connections.
func (s *FakeSentinel) Sessions() int { return len(s.sessions()) }

// Close ends it with all its connections.
func (s *FakeSentinel) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	_ = s.listener.Close()
	for _, c := range s.sessions() {
		_ = c.conn.Close()
	}
	s.wg.Wait()
}

func (s *FakeSentinel) sessions() []*fakeSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*fakeSession
	for c := range s.open {
		all = append(all, c)
	}
	return all
}

func (s *FakeSentinel) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		c := &fakeSession{conn: conn}
		s.mu.Lock()
		closed := s.closed
		s.open[c] = true
		s.mu.Unlock()
		if closed {
			_ = conn.Close()
		}
		s.wg.Go(func() {
			s.serve(c)
			_ = conn.Close()
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
		})
	}
}

func (s *FakeSentinel) serve(c *fakeSession) {
	r := bufio.NewReader(c.conn)
	for {
		args, err := ReadRequest(r)
		if err != nil {
			return
		}
		name := strings.ToLower(args[0])
		if name == "sentinel" && len(args) > 1 {
			name += " " + strings.ToLower(args[1])
		}
		s.mu.Lock()
		answer := s.answer
		s.asked[name]++
		s.mu.Unlock()
		reply, ok := "", false
		if answer != nil {
			reply, ok = answer(args)
		}
		if !ok {
			reply = s.reply(c, name, args)
		}
		if err := c.write(reply); err != nil {
			return
		}
	}
}

func (c *fakeSession) write(s string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := io.WriteString(c.conn, s)
	return err
}

func (c *fakeSession) publish(channel, payload string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.subscribed {
		if p != "*" && p != channel && !(strings.HasSuffix(p, "*") && strings.HasPrefix(channel, p[:len(p)-1])) {
			continue
		}
		_, _ = io.WriteString(c.conn, c.push("pmessage", p, channel, payload)) // a client that is gone missed it
	}
}

// push is an out-of-band message in the session's protocol; c.mu is held.
func (c *fakeSession) push(args ...string) string {
	s := Encode(args...)
	if c.resp3 {
		return ">" + s[1:]
	}
	return s
}

func (s *FakeSentinel) reply(c *fakeSession, name string, args []string) string {
	switch name {
	case "ping":
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.subscribed) > 0 && !c.resp3 {
			return Encode("pong", "")
		}
		return "+PONG\r\n"
	case "hello":
		c.mu.Lock()
		defer c.mu.Unlock()
		c.resp3 = len(args) > 1 && args[1] == "3"
		hello := Encode("server", "redis", "version", "7.0.15", "mode", "sentinel")
		if c.resp3 {
			return "%3" + strings.TrimPrefix(hello, "*6")
		}
		return hello
	case "auth", "client", "subscribe":
		return "+OK\r\n"
	case "role":
		return "*2\r\n$8\r\nsentinel\r\n*0\r\n"
	case "info":
		return bulk("# Server\r\nredis_version:7.0.15\r\nredis_mode:sentinel\r\nrun_id:" + s.id + "\r\n# Sentinel\r\nsentinel_tilt:0\r\n")
	case "psubscribe":
		c.mu.Lock()
		defer c.mu.Unlock()
		var b strings.Builder
		for _, p := range args[1:] {
			c.subscribed = append(c.subscribed, p)
			item := fmt.Sprintf("*3\r\n%s%s:%d\r\n", bulk("psubscribe"), bulk(p), len(c.subscribed))
			if c.resp3 {
				item = ">" + item[1:]
			}
			b.WriteString(item)
		}
		return b.String()
	}
	if len(args) < 3 {
		return "-ERR unknown command\r\n"
	}
	s.mu.Lock()
	m, known := s.masters[args[2]]
	peers, down := s.peers, s.down
	s.mu.Unlock()
	if !known {
		if name == "sentinel get-master-addr-by-name" {
			if c.resp3 {
				return "_\r\n"
			}
			return "*-1\r\n"
		}
		return "-ERR No such master with that name\r\n"
	}
	switch name {
	case "sentinel get-master-addr-by-name":
		return Encode(m.host, strconv.Itoa(m.port))
	case "sentinel master":
		return Encode("name", args[2], "ip", m.host, "port", strconv.Itoa(m.port), "flags", "master", "last-ok-ping-reply", "1",
			"down-after-milliseconds", strconv.FormatInt(down.Milliseconds(), 10), "config-epoch", strconv.Itoa(m.epoch), "num-slaves", strconv.Itoa(len(m.replicas)),
			"num-other-sentinels", strconv.Itoa(peers), "quorum", "2")
	case "sentinel replicas", "sentinel slaves":
		var b strings.Builder
		fmt.Fprintf(&b, "*%d\r\n", len(m.replicas))
		for _, r := range m.replicas {
			host, port, _ := net.SplitHostPort(r)
			b.WriteString(Encode("name", r, "ip", host, "port", port, "flags", "slave", "master-link-status", "ok", "slave-priority", "100"))
		}
		return b.String()
	case "sentinel sentinels":
		return "*0\r\n"
	case "sentinel ckquorum":
		return "+OK 3 usable Sentinels. Quorum and failover authorization can be reached\r\n"
	}
	return "-ERR unknown command\r\n"
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// ReadRequest reads one request, an array of bulk strings, as a server of a test does.
func ReadRequest(r *bufio.Reader) ([]string, error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	var n int
	if _, err := fmt.Sscanf(head, "*%d\r\n", &n); err != nil || n < 1 || n > 1024 {
		return nil, fmt.Errorf("malformed request %q", head)
	}
	args := make([]string, n)
	for i := range args {
		head, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		var size int
		if _, err := fmt.Sscanf(head, "$%d\r\n", &size); err != nil || size < 0 || size > 1<<20 {
			return nil, fmt.Errorf("malformed argument %q", head)
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

// Serve listens on loopback and runs handle for each connection, which is closed when it returns, or when the test
// ends. For servers that lie, stall or send garbage.
func Serve(t testing.TB, handle func(net.Conn)) (addr string) {
	t.Helper()
	l := listen(t)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		open = map[net.Conn]bool{}
		over bool
	)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			mu.Lock()
			open[c] = true
			if over {
				_ = c.Close()
			}
			mu.Unlock()
			wg.Go(func() {
				handle(c)
				_ = c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		over = true
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}
