package harness

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Direction is one of the two ways through a FaultProxy.
type Direction int

const (
	ToServer Direction = iota
	ToClient
)

// Fault is what happens to bytes on their way. The zero value lets them pass.
type Fault struct {
	Drop    bool                         // swallow them: nothing arrives, nothing is closed
	Stall   bool                         // do not even read them: the sender's buffers fill up
	Delay   time.Duration                // each chunk waits this long
	Split   int                          // at most so many bytes per write; 0 = as they come
	Rewrite func(chunk []byte) []byte    // replaces each chunk as it was read; must not keep it
	After   func(total int64) (cut bool) // called with the bytes passed so far; true cuts the connection
}

// FaultProxy forwards TCP connections to one address and breaks them on demand: what is set applies to all its
// connections, also to those that are open, from the next chunk on.
type FaultProxy struct {
	listener net.Listener
	upstream string
	wg       sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced whenever a fault is set
	faults   [2]Fault
	refuse   bool
	pairs    []*pair
	accepted int
	closed   bool
}

// pair is one forwarded connection.
type pair struct {
	client, server *net.TCPConn
	dead           atomic.Bool // half-open for good: whatever comes is swallowed
	done           chan struct{}
	once           sync.Once
}

// end closes both sides; with reset the peers see RST.
func (p *pair) end(reset bool) {
	p.once.Do(func() {
		close(p.done)
		for _, c := range []*net.TCPConn{p.client, p.server} {
			if reset {
				_ = c.SetLinger(0)
			}
			_ = c.Close()
		}
	})
}

// StartFault starts a FaultProxy in front of host:port.
func StartFault(t testing.TB, upstream string) *FaultProxy {
	t.Helper()
	l := listen(t)
	f := &FaultProxy{listener: l, upstream: upstream, changed: make(chan struct{})}
	f.wg.Go(f.accept)
	t.Cleanup(f.close)
	return f
}

// Addr is where clients connect.
func (f *FaultProxy) Addr() string { return f.listener.Addr().String() }

// Port is the port of Addr.
func (f *FaultProxy) Port() int { return f.listener.Addr().(*net.TCPAddr).Port }

// Set puts a fault on one direction of all connections.
func (f *FaultProxy) Set(d Direction, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[d] = fault
	close(f.changed)
	f.changed = make(chan struct{})
}

// Blackhole makes every connection half-open: bytes vanish both ways, nobody is told. New connections are accepted
// and vanish as well.
func (f *FaultProxy) Blackhole() {
	f.Set(ToServer, Fault{Drop: true})
	f.Set(ToClient, Fault{Drop: true})
}

// BreakOpen makes the connections that are open now half-open for good: bytes vanish both ways and nobody is told.
// New connections pass.
func (f *FaultProxy) BreakOpen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pairs {
		p.dead.Store(true)
	}
}

// Heal takes all faults away, but for what BreakOpen broke. What was swallowed stays lost, which TCP would never do to a
// connection that goes on: cut those as well.
func (f *FaultProxy) Heal() {
	f.Set(ToServer, Fault{})
	f.Set(ToClient, Fault{})
	f.Refuse(false)
}

// Refuse closes new connections at once.
func (f *FaultProxy) Refuse(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = on
}

// Redirect sends new connections to another address.
func (f *FaultProxy) Redirect(upstream string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.upstream = upstream
}

// Cut ends all open connections, by FIN or by RST.
func (f *FaultProxy) Cut(reset bool) {
	f.mu.Lock()
	open := f.pairs
	f.pairs = nil
	f.mu.Unlock()
	for _, p := range open {
		p.end(reset)
	}
}

// HalfClose ends one direction of all open connections: the receiver sees EOF and can still send.
func (f *FaultProxy) HalfClose(d Direction) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pairs {
		to := p.server
		if d == ToClient {
			to = p.client
		}
		_ = to.CloseWrite()
	}
}

// Open counts the connections that are open, Accepted all there have been.
func (f *FaultProxy) Open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pairs)
}

// Accepted counts all connections so far.
func (f *FaultProxy) Accepted() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accepted
}

func (f *FaultProxy) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	_ = f.listener.Close()
	f.Cut(true)
	f.wg.Wait()
}

func (f *FaultProxy) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.forward(c.(*net.TCPConn)) })
	}
}

func (f *FaultProxy) forward(client *net.TCPConn) {
	f.mu.Lock()
	upstream, refuse := f.upstream, f.refuse
	f.accepted++
	f.mu.Unlock()
	if refuse {
		_ = client.Close()
		return
	}
	c, err := net.DialTimeout("tcp", upstream, 5*time.Second)
	if err != nil {
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	p := &pair{client: client, server: c.(*net.TCPConn), done: make(chan struct{})}
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		p.end(true)
		return
	}
	f.pairs = append(f.pairs, p)
	f.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { f.pump(p, ToServer, p.client, p.server) })
	both.Go(func() { f.pump(p, ToClient, p.server, p.client) })
	both.Wait()
	p.end(false)
	f.mu.Lock()
	f.pairs = slices.DeleteFunc(f.pairs, func(q *pair) bool { return q == p })
	f.mu.Unlock()
}

// pump moves bytes one way until the connection ends. EOF is passed on as a half-close.
func (f *FaultProxy) pump(p *pair, d Direction, from, to *net.TCPConn) {
	buf := make([]byte, 32<<10)
	var total int64
	for {
		if !f.waitUnstalled(p, d) {
			return
		}
		n, err := from.Read(buf)
		if n > 0 {
			total += int64(n)
			if !f.pass(p, d, buf[:n], total, to) {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			if fault, _ := f.fault(d); !fault.Drop && !p.dead.Load() {
				_ = to.CloseWrite()
			}
			return
		}
		if err != nil {
			p.end(true)
			return
		}
	}
}

func (f *FaultProxy) fault(d Direction) (Fault, chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults[d], f.changed
}

// waitUnstalled blocks while the direction is stalled; false when the connection has ended.
func (f *FaultProxy) waitUnstalled(p *pair, d Direction) bool {
	for {
		fault, changed := f.fault(d)
		if !fault.Stall {
			return true
		}
		select {
		case <-changed:
		case <-p.done:
			return false
		}
	}
}

func (f *FaultProxy) pass(p *pair, d Direction, chunk []byte, total int64, to *net.TCPConn) bool {
	fault, _ := f.fault(d)
	if fault.Delay > 0 {
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.done:
			return false
		}
	}
	if fault.Rewrite != nil {
		chunk = fault.Rewrite(chunk)
	}
	if !fault.Drop && !p.dead.Load() {
		step := fault.Split
		if step <= 0 {
			step = max(len(chunk), 1)
		}
		for part := range slices.Chunk(chunk, step) {
			if _, err := to.Write(part); err != nil {
				p.end(true)
				return false
			}
		}
	}
	if fault.After != nil && fault.After(total) {
		p.end(true)
		return false
	}
	return true
}
