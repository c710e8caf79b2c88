package manager

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"respgate/internal/respconn"
)

// The bounds of the server.
const (
	maxClients   = 2048
	idleTimeout  = 5 * time.Minute // above the longest interval of heartbeats that makes sense
	authTimeout  = 30 * time.Second
	writeTimeout = 10 * time.Second
	closeTimeout = 2 * time.Second // for the requests being answered at the end
	patience     = 500 * time.Millisecond
	maxTurned    = 64 // clients being turned away at a time
)

var (
	strangerLimits = respconn.RequestLimits{Bytes: 16 << 10, Args: 16} // before AUTH, if there is a password
	clientLimits   = respconn.RequestLimits{Bytes: 256 << 10, Args: 4096}
)

// Server answers proxies and operators over RESP2 and RESP3: a goroutine for each connection, all of them gone when Serve returns.
type Server struct {
	store    *Store
	proxies  *Proxies
	notices  notices
	log      *slog.Logger
	version  string
	most     int // clients
	turned   chan struct{}
	commands []command

	lastID  atomic.Int64
	mu      sync.Mutex
	clients map[*client]struct{}
	closing bool
	running sync.WaitGroup
}

// NewServer makes a server over a store. version is the program's.
func NewServer(store *Store, version string, log *slog.Logger) *Server {
	return &Server{
		store: store, proxies: newProxies(), log: log, version: version, commands: commandTable(),
		most: maxClients, turned: make(chan struct{}, maxTurned), clients: map[*client]struct{}{},
	}
}

// client is one connection; it belongs to its goroutine.
type client struct {
	s      *Server
	id     int64
	conn   *respconn.Conn
	name   string
	authed bool
	quit   bool
}

// Serve accepts clients until ctx ends; requests that are being answered then are, within two seconds. It owns the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // Accept tells it
	defer stop()
	err := s.accept(ctx, l)
	_ = l.Close() // a second time at the end of ctx
	s.drain()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Server) accept(ctx context.Context, l net.Listener) error {
	var delay time.Duration
	for {
		c, err := l.Accept()
		if err == nil {
			delay = 0
			s.admit(c)
			continue
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return err
		}
		// Out of descriptors, most likely: wait for some to come back.
		delay = min(max(2*delay, 50*time.Millisecond), time.Second)
		s.log.Error("cannot accept clients", slog.String("cause", err.Error()), slog.Duration("retry", delay))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(delay):
		}
	}
}

func (s *Server) admit(nc net.Conn) {
	c := &client{s: s, id: s.lastID.Add(1), conn: respconn.NewServer(nc, strangerLimits)}
	s.mu.Lock()
	full := len(s.clients) >= s.most
	if !full && !s.closing {
		s.clients[c] = struct{}{}
		s.running.Go(c.run)
	}
	s.mu.Unlock()
	if full {
		s.turnAway(c)
	}
}

// turnAway tells the client why, unless too many are being told already.
func (s *Server) turnAway(c *client) {
	select {
	case s.turned <- struct{}{}:
		s.running.Go(func() {
			_ = c.conn.Reply(respconn.Errorf("ERR max number of clients reached")) // buffered: it cannot fail
			c.conn.CloseGently(patience)
			<-s.turned
		})
	default:
		_ = c.conn.Close()
	}
}

// drain ends the clients: idle ones at once, the others after their answer.
func (s *Server) drain() {
	s.mu.Lock()
	s.closing = true
	for c := range s.clients {
		_ = c.conn.SetReadDeadline(time.Now()) // a closed connection needs none
	}
	s.mu.Unlock()
	timer := time.AfterFunc(closeTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.clients {
			_ = c.conn.Close() // its goroutine ends with whatever error
		}
	})
	defer timer.Stop()
	s.running.Wait()
}

// idle arms the deadline of the next request; not any more once the server closes.
func (s *Server) idle(c *client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	timeout := idleTimeout
	if !c.authed {
		timeout = authTimeout
	}
	return !s.closing && c.conn.SetReadDeadline(time.Now().Add(timeout)) == nil
}

func (c *client) run() {
	c.serve()
	c.close()
	c.s.mu.Lock()
	delete(c.s.clients, c)
	c.s.mu.Unlock()
}

// serve answers requests until the client leaves, breaks the protocol or is idle for too long, or the server closes.
func (c *client) serve() {
	if c.s.store.Password() == "" {
		c.become()
	}
	for !c.quit && c.s.idle(c) {
		args, err := c.conn.ReadRequest()
		var protocol *respconn.ProtocolError
		switch {
		case err == nil:
			err = c.answer(c.s.dispatch(c, args))
		case errors.As(err, &protocol):
			c.quit = true
			_ = c.answer(respconn.Errorf("ERR %s", protocol)) // the connection ends all the same
		}
		if err != nil {
			c.s.log.Debug("client gone", slog.Int64("id", c.id), slog.String("peer", c.conn.RemoteAddr().String()), slog.String("cause", err.Error()))
			return
		}
	}
}

// close lets the last reply arrive where the client may still be sending.
func (c *client) close() {
	if c.quit || c.conn.Buffered() > 0 {
		c.conn.CloseGently(patience)
		return
	}
	_ = c.conn.Flush() // what it cannot write now, nobody waits for
	_ = c.conn.Close()
}

// answer buffers a reply: reading the next request flushes it.
func (c *client) answer(v respconn.Value) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return c.conn.Reply(v)
}

// become makes the client one that has authenticated.
func (c *client) become() {
	c.authed = true
	c.conn.LimitRequests(clientLimits)
}

// authenticate takes the words of AUTH or of HELLO's AUTH; the zero Value means success.
func (c *client) authenticate(user, password string) respconn.Value {
	want := c.s.store.Password()
	if want == "" {
		return respconn.Errorf("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	}
	right := subtle.ConstantTimeCompare([]byte(password), []byte(want)) == 1
	if user != "default" || !right {
		return respconn.Errorf("WRONGPASS invalid username-password pair or user is disabled.")
	}
	c.become()
	return respconn.Value{}
}

// Listen opens the socket of the server.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}
