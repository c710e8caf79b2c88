package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"respgate/engine/topology"
)

// fake is a server in this process: it speaks RESP over real sockets, keeps strings, and does what a test tells it to.
type fake struct {
	t  testing.TB
	ln net.Listener

	mu      sync.Mutex
	cond    *sync.Cond // whenever something below changes
	conns   map[*fakeConn]bool
	dialed  int // connections accepted so far
	role    string
	version string
	script  handler  // asked first
	seen    []string // requests other than the handshake's, arguments joined by blanks
	greeted []string // requests of the handshake
	data    map[string]string
	gated   bool // replies to requests wait for tokens
	tokens  int
	cuts    []int // sizes of the pieces that replies are written in, in turn; nil = whole
	cut     int
	closing bool
	ends    []error // of what was read from connections
	running sync.WaitGroup
}

// handler may answer a request; "" with true answers nothing.
type handler func(c *fakeConn, args []string) (reply string, handled bool)

// fakeConn is one connection of a link. Its reader and its writer are separate, so that a server that does not answer still
// takes requests.
type fakeConn struct {
	s       *fake
	conn    net.Conn
	replies []string
	closed  bool
	number  int
	proto3  bool
	asked   int // requests taken on this connection, without the handshake's
}

func newFake(t testing.TB) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveFake(t, ln)
}

func serveFake(t testing.TB, ln net.Listener) *fake {
	s := &fake{t: t, ln: ln, role: "master", version: "7.2.4", conns: map[*fakeConn]bool{}, data: map[string]string{}}
	s.cond = sync.NewCond(&s.mu)
	s.running.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *fake) master(generation uint64) topology.Master {
	if a, ok := s.ln.Addr().(*net.UnixAddr); ok {
		return topology.Master{Name: a.Name, Path: a.Name, Generation: generation}
	}
	addr := s.ln.Addr().(*net.TCPAddr).AddrPort()
	return topology.Master{Name: addr.String(), Addrs: []netip.AddrPort{addr}, Generation: generation}
}

func (s *fake) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			conn.Close()
			return
		}
		c := &fakeConn{s: s, conn: conn, number: s.dialed}
		s.dialed++
		s.conns[c] = true
		s.running.Go(c.read)
		s.running.Go(c.write)
		s.cond.Broadcast()
		s.mu.Unlock()
	}
}

func (s *fake) close() {
	s.ln.Close()
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.dropAll()
	s.running.Wait()
}

// dropAll closes every connection, in the middle of whatever goes on.
func (s *fake) dropAll() {
	s.change(func() {
		for c := range s.conns {
			c.closed = true
			c.conn.Close()
		}
	})
}

// change does something under the lock and wakes everybody who waits.
func (s *fake) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.cond.Broadcast()
}

// on installs the script of the server.
func (s *fake) on(h handler) { s.change(func() { s.script = h }) }

// hold makes replies wait for tokens; let gives n of them, and open ends it.
func (s *fake) hold()     { s.change(func() { s.gated, s.tokens = true, 0 }) }
func (s *fake) let(n int) { s.change(func() { s.tokens += n }) }
func (s *fake) open()     { s.change(func() { s.gated = false }) }

// requests are those that came, without the handshakes.
func (s *fake) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func (s *fake) greetings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.greeted)
}

func (s *fake) connections() (open, ever int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns), s.dialed
}

func (c *fakeConn) read() {
	s := c.s
	defer func() {
		s.change(func() {
			c.closed = true
			delete(s.conns, c)
		})
		c.conn.Close()
	}()
	r := bufio.NewReader(c.conn)
	for {
		args, err := readRequest(r)
		if err != nil {
			s.change(func() { s.ends = append(s.ends, err) })
			return
		}
		s.mu.Lock()
		reply, handled, greeting := "", false, isGreeting(args)
		if s.script != nil {
			reply, handled = s.script(c, args)
		}
		if !handled {
			reply = c.answer(args)
		}
		if greeting {
			s.greeted = append(s.greeted, strings.Join(args, " "))
		} else {
			s.seen = append(s.seen, strings.Join(args, " "))
			c.asked++
		}
		if reply != "" {
			if !greeting {
				reply = "\x00" + reply // a mark for the writer: this one waits for a token
			}
			c.replies = append(c.replies, reply)
		}
		s.cond.Broadcast()
		s.mu.Unlock()
	}
}

func (c *fakeConn) write() {
	s := c.s
	for {
		s.mu.Lock()
		for !c.closed && (len(c.replies) == 0 || c.replies[0][0] == 0 && s.gated && s.tokens == 0) {
			s.cond.Wait()
		}
		if c.closed {
			s.mu.Unlock()
			return
		}
		reply := c.replies[0]
		c.replies = c.replies[1:]
		if reply[0] == 0 {
			reply = reply[1:]
			if s.gated {
				s.tokens--
			}
		}
		pieces := s.pieces(reply)
		s.mu.Unlock()
		for _, p := range pieces {
			if _, err := io.WriteString(c.conn, p); err != nil {
				return
			}
		}
	}
}

// pieces cuts a reply as the test wants it.
func (s *fake) pieces(reply string) (pieces []string) {
	for len(s.cuts) > 0 && reply != "" {
		n := min(len(reply), s.cuts[s.cut%len(s.cuts)])
		s.cut++
		pieces = append(pieces, reply[:n])
		reply = reply[n:]
	}
	if reply != "" {
		pieces = append(pieces, reply)
	}
	return pieces
}

func isGreeting(args []string) bool {
	switch args[0] {
	case "AUTH", "HELLO", "SELECT", "ROLE", "INFO":
		return true
	}
	return false
}

// answer is what a plain server says.
func (c *fakeConn) answer(args []string) string {
	s := c.s
	switch strings.ToUpper(args[0]) {
	case "AUTH", "SELECT":
		return "+OK\r\n"
	case "HELLO":
		c.proto3 = true
		return "%1\r\n+proto\r\n:3\r\n"
	case "ROLE":
		return "*3\r\n" + bulk(s.role) + ":0\r\n*0\r\n"
	case "INFO":
		return bulk("# Server\r\nredis_version:" + s.version + "\r\nrole:" + s.role + "\r\n")
	case "GET":
		return c.value(args[1])
	case "SET":
		s.data[args[1]] = args[2]
		return "+OK\r\n"
	case "MGET":
		b := fmt.Sprintf("*%d\r\n", len(args)-1)
		for _, k := range args[1:] {
			b += c.value(k)
		}
		return b
	case "MSET":
		for i := 1; i+1 < len(args); i += 2 {
			s.data[args[i]] = args[i+1]
		}
		return "+OK\r\n"
	case "DEL", "UNLINK", "EXISTS", "TOUCH":
		n := 0
		for _, k := range args[1:] {
			if _, ok := s.data[k]; ok {
				n++
				if args[0][0] != 'E' && args[0][0] != 'T' {
					delete(s.data, k)
				}
			}
		}
		return fmt.Sprintf(":%d\r\n", n)
	}
	return bulk(strings.Join(args, " ")) // an echo tells replies apart
}

func (c *fakeConn) value(key string) string {
	if v, ok := c.s.data[key]; ok {
		return bulk(v)
	}
	if c.proto3 {
		return "_\r\n"
	}
	return "$-1\r\n"
}

func bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

// req is a request as bytes.
func req(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		b.WriteString(bulk(a))
	}
	return b.String()
}

// array is an array reply of the elements, which are replies themselves.
func array(elements ...string) string {
	return fmt.Sprintf("*%d\r\n%s", len(elements), strings.Join(elements, ""))
}

// readRequest reads one multibulk request, the only form that may reach a server.
func readRequest(r *bufio.Reader) ([]string, error) {
	n, err := readCount(r, '*')
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readCount(r, '$')
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func readCount(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind || !strings.HasSuffix(line, "\r\n") {
		return 0, fmt.Errorf("a server was sent %q where %q belongs", line, kind)
	}
	return strconv.Atoi(line[1 : len(line)-2])
}
