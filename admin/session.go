package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"respgate/internal/respconn"
)

const defaultUser = "default"

// session is one connection of an operator or a tool; its goroutine reads a request, runs it and writes the reply, so the replies are in order
// and a client that does not read stops itself.
type session struct {
	server *Server
	raw    net.Conn
	conn   *respconn.Conn
	id     uint64
	remote string
	local  string
	since  time.Time // by the server's clock
	opened time.Time // for deadlines

	// Of the session's goroutine alone.
	generation uint64 // of the passwords that granted was decided by
	failures   int    // wrong passwords in a row
	closing    bool   // after the reply

	// Of whoever writes to the connection: the session's goroutine, and once it has subscribed the one that brings it events.
	writing sync.Mutex
	subs    subscriptions // written by the session's goroutine only

	mu   sync.Mutex // of what CLIENT LIST shows
	info clientInfo
}

// clientInfo is what sessions see of each other.
type clientInfo struct {
	name       string
	libName    string
	libVersion string
	last       string // the command run last, as in "proxy|pools"
	lastAt     time.Time
	channels   int
	patterns   int
	granted    permission
	protocol   int
}

func newSession(s *Server, c net.Conn, id uint64) *session {
	st, now := s.settings.Load(), s.now()
	return &session{
		server:     s,
		raw:        c,
		conn:       respconn.NewServer(c, respconn.RequestLimits{}),
		id:         id,
		remote:     c.RemoteAddr().String(),
		local:      c.LocalAddr().String(),
		since:      now,
		opened:     time.Now(),
		generation: st.generation,
		info:       clientInfo{lastAt: now, granted: st.initial(), protocol: 2},
	}
}

// serve runs the session until its end.
func (s *session) serve() {
	defer s.raw.Close()
	defer s.unsubscribed()
	for !s.closing {
		deadline := s.readDeadline()
		if s.conn.SetReadDeadline(deadline) != nil {
			return // closed by kill
		}
		args, err := s.conn.ReadRequest()
		reply, tell := respconn.Value{}, true
		if err != nil {
			s.closing = true
			reply, tell = s.lastWords(err)
		} else {
			reply = s.run(args)
		}
		if tell && reply.Kind != 0 && s.send(reply) != nil {
			return // the client is gone, or does not read
		}
	}
	s.unsubscribed()
	farewell(s.raw)
}

// readDeadline is when the client has to have sent its next request; zero = never.
func (s *session) readDeadline() time.Time {
	st := s.server.settings.Load()
	var deadline time.Time
	if st.IdleTimeout > 0 && !s.subs.any() { // one that listens need not ask
		deadline = time.Now().Add(st.IdleTimeout)
	}
	if s.permission(st) == anyone {
		if auth := s.opened.Add(st.AuthTimeout); deadline.IsZero() || auth.Before(deadline) {
			deadline = auth
		}
	}
	return deadline
}

// lastWords is what a client is told when its connection ends for err; tell is false when there is nobody to be told.
func (s *session) lastWords(err error) (reply respconn.Value, tell bool) {
	var protocol *respconn.ProtocolError
	switch {
	case errors.As(err, &protocol):
		return respconn.Errorf("ERR %s", protocol.Error()), true
	case errors.Is(err, os.ErrDeadlineExceeded):
		return respconn.Errorf("ERR closing the connection: no request, or no AUTH, for too long"), true
	}
	return respconn.Value{}, false
}

func (s *session) send(v respconn.Value) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.write(v)
}

// write sends values in one go. The caller holds writing.
func (s *session) write(values ...respconn.Value) error {
	timeout := s.server.settings.Load().WriteTimeout
	if err := s.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	for _, v := range values {
		if err := s.conn.Reply(v); err != nil {
			return err
		}
	}
	return s.conn.Flush()
}

// run finds the command and runs it if it may be run.
func (s *session) run(args []string) respconn.Value {
	if crossProtocol(args[0]) {
		s.closing = true
		s.server.log.Warn("HTTP on the admin port, closed: a browser may be tricked into sending commands", "client", s.remote)
		return respconn.Errorf("ERR this is the admin port, it speaks RESP and not HTTP")
	}
	allowed := s.permission(s.server.settings.Load())
	cmd, rest, refusal, ok := s.server.table.find(args)
	if !ok {
		if allowed == anyone {
			return errNoAuth
		}
		return refusal
	}
	s.note(cmd.full)
	switch {
	case allowed < cmd.permission && allowed == anyone:
		return errNoAuth
	case !accepts(cmd.arguments, len(rest)):
		return wrongArity(cmd.full)
	case allowed < cmd.permission:
		return noPermission(cmd.full)
	case !cmd.subscribed && s.subs.any() && s.conn.Protocol() == 2:
		return respconn.Errorf("ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context", cmd.full)
	}
	return s.call(cmd, rest)
}

// call runs a handler. The data plane must not fall with the console: a panic costs the operator the connection, and is told in the log.
func (s *session) call(cmd *command, args []string) (reply respconn.Value) {
	defer func() {
		if p := recover(); p != nil {
			s.closing = true
			s.server.log.Error("admin command failed unexpectedly, please report it", "command", cmd.full, "panic", describe(p), "stack", string(debug.Stack()))
			reply = errInternal
		}
	}()
	return cmd.handler(s, args)
}

// describe tells a panic without a value that might hold somebody's key or password.
func describe(p any) string {
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", p)
}

// crossProtocol says that a request is a line of HTTP that can carry commands behind it, as Redis checks it.
func crossProtocol(word string) bool {
	return strings.EqualFold(word, "post") || strings.EqualFold(word, "host:")
}

// permission is what the session may do now. A change of passwords takes back what the old ones granted.
func (s *session) permission(st *settings) permission {
	if s.generation != st.generation {
		s.grant(st.initial(), st.generation)
	}
	return s.info.granted // written by this goroutine only
}

func (s *session) grant(p permission, generation uint64) {
	s.generation = generation
	s.update(func(i *clientInfo) { i.granted = p })
}

func (s *session) note(command string) {
	now := s.server.now()
	s.update(func(i *clientInfo) { i.last, i.lastAt = command, now })
}

// update changes what others see of the session.
func (s *session) update(change func(*clientInfo)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.info)
}

// snapshot is a copy of what others see.
func (s *session) snapshot() clientInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

func (s *session) setProtocol(version int) {
	s.writing.Lock()
	s.conn.SetProtocol(version)
	s.writing.Unlock()
	s.update(func(i *clientInfo) { i.protocol = version })
}

// kill ends the session from any goroutine; an error means that it has ended.
func (s *session) kill() { _ = s.raw.Close() }
