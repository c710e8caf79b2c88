package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"respgate/internal/respconn"
)

const (
	farewells     = 16               // refused connections that are told why at the same time; the others are just closed
	farewellTime  = time.Second      // for the peer to read its last reply
	farewellBytes = 1 << 20          // of requests that are thrown away meanwhile
	acceptPause   = time.Second      // longest wait after an accept that failed
	keepAliveIdle = 60 * time.Second // before a silent client is probed
)

// Server serves the console on any number of listeners. Its methods may be called by any goroutine.
type Server struct {
	status   StatusReader
	switcher Switcher
	servers  Servers
	log      *slog.Logger
	table    *table
	now      func() time.Time
	settings atomic.Pointer[settings]
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	refusals atomic.Uint64
	cut      atomic.Uint64 // sessions that did not read their events
	accepted atomic.Uint64
	badAuth  alarm
	leaving  chan struct{} // holds one for each connection in farewell
	work     sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	sessions  map[uint64]*session
	listening map[*session]struct{}  // sessions that were subscribed once
	switching map[groupName]struct{} // groups with a running PROXY SWITCH
	lastID    uint64
}

type groupName struct{ pool, group string }

// New makes a server; Serve starts it.
func New(cfg Config, sr StatusReader, sw Switcher, servers Servers, log *slog.Logger) *Server {
	s := &Server{
		status:    sr,
		switcher:  sw,
		servers:   servers,
		log:       log,
		table:     newTable(),
		now:       time.Now,
		leaving:   make(chan struct{}, farewells),
		listeners: make(map[net.Listener]struct{}),
		sessions:  make(map[uint64]*session),
		listening: make(map[*session]struct{}),
		switching: make(map[groupName]struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.settings.Store(newSettings(cfg, 0))
	return s
}

// Configure changes the settings of the running server. After a change of a password every connection has to authenticate again; a smaller
// MaxClients closes nobody.
func (s *Server) Configure(cfg Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.settings.Load()
	generation := old.generation
	if old.Password != cfg.Password || old.StatsPassword != cfg.StatsPassword {
		generation++
		for c := range s.listening { // nothing else would make them authenticate again
			c.kill()
		}
	}
	s.settings.Store(newSettings(cfg, generation))
}

// Serve accepts clients on l, which it owns, until Close or until l is closed by somebody else; it returns nil then, and after Close
// it closes l. Errors of accept (no file descriptors left) are waited out.
func (s *Server) Serve(l net.Listener) error {
	if !s.enter(l) {
		if err := l.Close(); err != nil {
			return fmt.Errorf("close admin listener %s: %w", l.Addr(), err)
		}
		return nil
	}
	defer s.leave(l)
	pause := time.Duration(0)
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(c)
		case s.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default:
			if pause == 0 {
				s.log.Warn("admin port cannot accept clients, will try again", "listen", l.Addr().String(), "err", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), acceptPause)
			if !s.wait(pause) {
				return nil
			}
		}
	}
}

// Close closes the listeners and the connections, cancels a running switch, and waits for all of it.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.cancel()
	var errs []error
	for l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close admin listener %s: %w", l.Addr(), err))
		}
	}
	for _, c := range s.sessions {
		c.kill()
	}
	s.mu.Unlock()
	s.work.Wait()
	return errors.Join(errs...)
}

func (s *Server) enter(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[l] = struct{}{}
	s.work.Add(1)
	return true
}

func (s *Server) leave(l net.Listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	_ = l.Close() // closed already in most cases, and nothing is written to it
	s.work.Done()
}

// admit starts a session for c, or refuses it.
func (s *Server) admit(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		// A failure means that the peer is gone, which the first read tells as well.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: 15 * time.Second, Count: 4})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return
	}
	if len(s.sessions) >= s.settings.Load().MaxClients {
		s.refusals.Add(1)
		s.refuse(c)
		return
	}
	s.accepted.Add(1)
	s.lastID++
	session := newSession(s, c, s.lastID)
	s.sessions[session.id] = session
	s.work.Go(func() {
		session.serve()
		s.mu.Lock()
		delete(s.sessions, session.id)
		s.mu.Unlock()
	})
}

// refuse tells c that there are too many clients. The caller holds mu.
func (s *Server) refuse(c net.Conn) {
	select {
	case s.leaving <- struct{}{}:
	default:
		_ = c.Close()
		return
	}
	s.work.Go(func() {
		defer func() { <-s.leaving }()
		conn := respconn.NewServer(c, respconn.RequestLimits{})
		// A peer that cannot be told is closed all the same.
		_ = conn.SetWriteDeadline(time.Now().Add(farewellTime))
		_ = conn.Reply(respconn.Errorf("ERR max number of clients reached"))
		_ = conn.Flush()
		farewell(c)
	})
}

// farewell closes c so that its peer gets the last reply: closing with unread requests would reset the connection and take the reply with it.
// Nobody is left to be told of an error.
func farewell(c net.Conn) {
	defer c.Close()
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(farewellTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(c, farewellBytes))
}

// wait returns after d, or at once with false when the server closes.
func (s *Server) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// clients are the sessions, oldest first.
func (s *Server) clients() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.sessions), func(a, b *session) int { return int(int64(a.id) - int64(b.id)) })
}

// client is the session with that id, or nil.
func (s *Server) client(id uint64) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

// beginSwitch reserves a group for one PROXY SWITCH; endSwitch gives it back.
func (s *Server) beginSwitch(g groupName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, running := s.switching[g]; running {
		return false
	}
	s.switching[g] = struct{}{}
	return true
}

func (s *Server) endSwitch(g groupName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.switching, g)
}
