package engine

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"respgate/engine/poller"
	"respgate/engine/resp"
	"respgate/engine/shard"
	"respgate/engine/topology"
)

// driven is a loop without a goroutine, its clients and its servers, all in the hands of one test: what is measured is the
// loop, and nothing happens by itself.
type driven struct {
	t       testing.TB
	e       *Engine
	l       *loop
	ring    *shard.Ring
	value   []byte // what GET and MGET answer for any key
	servers []*rawServer
	clients []int // our ends
	in      []byte
}

// rawServer answers on descriptors, without allocating.
type rawServer struct {
	d        *driven
	listener int
	conns    []*rawConn
	out      []byte
}

type rawConn struct {
	fd   int
	scan resp.RequestScanner
	in   []byte
	left []byte // of replies, not written yet
}

func newDriven(t testing.TB, groups int, change func(*topology.Settings)) *driven {
	t.Helper()
	p, err := poller.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	d := &driven{t: t, value: []byte("0123456789abcdef"), in: make([]byte, 1<<20)}
	d.e = &Engine{start: time.Now(), stopped: make(chan struct{}), listeners: map[listenKey]*listener{}, shared: map[[2]string]*groupShared{}}
	d.e.opts.Fatal = func(err error) { t.Error(err) }
	d.l = newLoop(0, d.e, p)
	d.e.loops = []*loop{d.l}
	pool := &topology.Pool{Name: "p", Settings: testSettings()}
	if change != nil {
		change(&pool.Settings)
	}
	for i := range groups {
		s := &rawServer{d: d}
		path := filepath.Join(t.TempDir(), "s")
		if s.listener, err = bind(topology.Listen{Network: "unix", Address: path, Backlog: 16}); err != nil {
			t.Fatal(err)
		}
		d.servers = append(d.servers, s)
		pool.Groups = append(pool.Groups, &topology.Group{Name: "g" + strconv.Itoa(i), Master: topology.Master{Name: path, Path: path, Generation: 1}})
	}
	t.Cleanup(d.close)
	setRing(pool)
	d.ring = pool.Ring
	d.l.swap(&topology.Snapshot{Serial: 1, Pools: []*topology.Pool{pool}})
	return d
}

func (d *driven) close() {
	d.l.closeAll()
	for _, fd := range d.clients {
		unix.Close(fd)
	}
	for _, s := range d.servers {
		for _, c := range s.conns {
			unix.Close(c.fd)
		}
		unix.Close(s.listener)
	}
}

// client connects a client and returns our end.
func (d *driven) client() int {
	d.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil { // not every system has it as a flag of the call
			d.t.Fatal(err)
		}
	}
	d.clients = append(d.clients, fds[0])
	d.e.clients.Add(1)
	d.l.openClient(fds[1], d.l.pools["p"], d.e.lastClient.Add(1))
	return fds[0]
}

// turn is one iteration, as loop.run has it, that waits for nothing.
func (d *driven) turn() {
	l := d.l
	n, err := l.poll.Wait(l.events[:], 0)
	if err != nil {
		d.t.Fatal(err)
	}
	l.now = d.e.clock()
	l.act(n)
}

// step is a turn, and what the servers do then.
func (d *driven) step() {
	d.turn()
	for _, s := range d.servers {
		s.serve()
	}
}

// round sends a request and steps until so many bytes of reply have come; they are returned if they fit the scratch.
func (d *driven) round(fd int, request []byte, reply int) []byte {
	got := 0
	for len(request) > 0 || got < reply {
		if len(request) > 0 {
			if n, err := unix.Write(fd, request); err == nil {
				request = request[n:]
			}
		}
		d.step()
		for got < reply {
			n, err := unix.Read(fd, d.in[min(got, len(d.in)/2):])
			if err != nil {
				break
			}
			if n == 0 {
				d.t.Fatal("the client was closed")
			}
			got += n
		}
	}
	return d.in[:min(got, len(d.in))]
}

// dialling reports whether a link is being established.
func (d *driven) dialling() bool {
	for _, g := range d.l.pools["p"].groups {
		for _, s := range g.servers {
			if s != nil && !s.connected() {
				return true
			}
		}
	}
	return false
}

func (s *rawServer) serve() {
	if s.d.dialling() { // accept(2) allocates, for the address, even if there is nobody
		if fd, err := acceptFD(s.listener); err == nil {
			s.conns = append(s.conns, &rawConn{fd: fd, in: make([]byte, 0, 1<<20)})
		}
	}
	for _, c := range s.conns {
		if n, err := unix.Read(c.fd, c.in[len(c.in):cap(c.in)]); err == nil {
			c.in = c.in[:len(c.in)+n]
		}
		at := 0
		s.out = append(s.out[:0], c.left...)
		for at < len(c.in) {
			f := &s.d.l.frame // the loop does nothing meanwhile
			done, err := c.scan.Scan(c.in[at:], nil, f)
			if err != nil {
				s.d.t.Fatalf("a server was sent nonsense: %v", err)
			}
			if !done {
				break
			}
			s.answer(c.in[at:at+f.Size], f)
			at += f.Size
		}
		c.in = c.in[:copy(c.in, c.in[at:])]
		n, err := 0, error(nil)
		if len(s.out) > 0 {
			if n, err = unix.Write(c.fd, s.out); err != nil {
				n = 0
			}
		}
		c.left = append(c.left[:0], s.out[n:]...)
	}
}

func (s *rawServer) answer(frame []byte, f *resp.Frame) {
	switch name := arg(frame, f.Args[0]); string(name) {
	case "GET":
		s.out = resp.AppendBulk(s.out, s.d.value)
	case "MGET":
		s.out = resp.AppendArray(s.out, len(f.Args)-1)
		for range f.Args[1:] {
			s.out = resp.AppendBulk(s.out, s.d.value)
		}
	case "DEL":
		s.out = resp.AppendInt(s.out, int64(len(f.Args)-1))
	case "ROLE":
		s.out = append(s.out, "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"...)
	case "INFO":
		s.out = append(s.out, "$21\r\nredis_version:7.2.4\r\n\r\n"...)
	case "HELLO":
		s.out = append(s.out, "%1\r\n+proto\r\n:3\r\n"...)
	default:
		s.out = append(s.out, okReply...)
	}
}

// keys are n keys that take turns over the groups.
func (d *driven) keys(n int) []string {
	var keys []string
	for i := 0; len(keys) < n; i++ {
		k := "key:" + strconv.Itoa(i)
		if d.ring.Index([]byte(k)) == len(keys)%len(d.servers) {
			keys = append(keys, k)
		}
	}
	return keys
}
