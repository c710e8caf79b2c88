package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

const (
	statsConnections = 16 // at once; further ones wait to be accepted
	statsTime        = 5 * time.Second
	statsFarewell    = time.Second
	acceptPause      = time.Second // longest wait after an accept that failed
)

// TwemproxyStats is a statistics port as twemproxy has it (22222 there): whoever connects gets one JSON object, then the connection is closed. Its
// methods may be called by any goroutine.
type TwemproxyStats struct {
	source Source
	log    *slog.Logger
	host   string
	now    func() time.Time
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
}

// NewTwemproxyStats makes a server; Serve starts it.
func NewTwemproxyStats(source Source, log *slog.Logger) *TwemproxyStats {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	s := &TwemproxyStats{source: source, log: log, host: host, now: time.Now, listeners: map[net.Listener]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Serve answers on l, which it owns, until Close or until l is closed by somebody else; it returns nil then. After Close it closes l.
func (s *TwemproxyStats) Serve(l net.Listener) error {
	b := newBounded(l, statsConnections)
	if !s.enter(b) {
		return l.Close()
	}
	defer s.leave(b)
	pause := time.Duration(0)
	for {
		c, err := b.Accept()
		switch {
		case err == nil:
			pause = 0
			s.work.Go(func() { s.answer(c) })
		case s.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default:
			if pause == 0 {
				s.log.Warn("statistics port cannot accept clients, will try again", "listen", l.Addr().String(), "err", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), acceptPause)
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
				return nil
			}
		}
	}
}

// Close closes the listeners and waits for the answers under way, for some seconds at most.
func (s *TwemproxyStats) Close() error {
	s.mu.Lock()
	s.closed = true
	s.cancel()
	var errs []error
	for l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close statistics listener %s: %w", l.Addr(), err))
		}
	}
	s.mu.Unlock()
	s.work.Wait()
	return errors.Join(errs...)
}

func (s *TwemproxyStats) enter(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[l] = struct{}{}
	s.work.Add(1)
	return true
}

func (s *TwemproxyStats) leave(l net.Listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	_ = l.Close() // closed already in most cases
	s.work.Done()
}

// answer writes the object and closes c, so that it arrives even if the peer sent something. A peer that does not take it is nobody's concern.
func (s *TwemproxyStats) answer(c net.Conn) {
	defer c.Close()
	body, err := json.Marshal(s.object())
	if err != nil {
		s.log.Error("statistics cannot be written as JSON", "err", err)
		return
	}
	if c.SetDeadline(time.Now().Add(statsTime)) != nil {
		return
	}
	if _, err := c.Write(append(body, '\n')); err != nil {
		return
	}
	if half, ok := c.(*boundedConn).Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(statsFarewell))
	_, _ = io.Copy(io.Discard, io.LimitReader(c, 64<<10))
}

// object is twemproxy's, with the groups in the place of its servers. What twemproxy counts and respgate does not is 0: ejections, client_eof,
// server_eof and the bytes by server; a pool of the name of a field of the process gives way to it.
func (s *TwemproxyStats) object() map[string]any {
	o := map[string]any{}
	errs := map[string]map[string]uint64{}
	var total uint64
	current := 0
	for _, t := range s.source.Totals() {
		errs[t.Pool] = t.Errors
		total += t.Accepted + t.Dials
	}
	groups := map[string]map[string]any{}
	for _, m := range s.source.Masters("", "") {
		if groups[m.Pool] == nil {
			groups[m.Pool] = map[string]any{}
		}
		current += m.Links
		groups[m.Pool][m.Group] = map[string]any{
			"server_eof": 0, "server_err": m.Failed, "server_timedout": 0, "server_connections": m.Links, "server_ejected_at": 0,
			"requests": m.Requests, "request_bytes": 0, "responses": answered(m.Requests, m.Failed, m.Inflight, m.Held), "response_bytes": 0,
			"in_queue": m.Held, "in_queue_bytes": m.HeldBytes, "out_queue": m.Inflight, "out_queue_bytes": 0,
		}
	}
	for _, p := range s.source.Pools("") {
		current += p.Clients
		pool := groups[p.Name]
		if pool == nil {
			pool = map[string]any{}
		}
		for name, n := range map[string]any{
			"client_eof": 0, "client_err": errs[p.Name]["protocol"], "client_connections": p.Clients, "server_ejects": 0,
			"forward_error": p.Errors, "fragments": 0,
		} {
			pool[name] = n
		}
		o[p.Name] = pool
	}
	process, now := s.source.Process(), s.now()
	o["service"], o["source"], o["version"] = "respgate", s.host, process.Version
	o["uptime"], o["timestamp"] = int64(max(0, now.Sub(process.Started))/time.Second), now.Unix()
	o["total_connections"], o["curr_connections"] = total, current
	return o
}

// answered is the number of requests that servers answered.
func answered(requests, failed uint64, inflight, held int) uint64 {
	open := failed + uint64(max(0, inflight)) + uint64(max(0, held))
	if open > requests {
		return 0 // the numbers are not read at one moment
	}
	return requests - open
}
