package managerclient

import (
	"context"
	"fmt"
	"time"

	"respgate/internal/respconn"
)

// link is one connection to a manager. Its goroutine dials, authenticates and carries one heartbeat at a time; whatever happens is posted to the client as
// an event of its attempt. The machine's timer ends a step that takes too long by closing the link.
type link struct {
	c       *Client
	cfg     Config
	attempt uint64
	address string
	ctx     context.Context
	close   context.CancelFunc
	beats   chan []string
}

func newLink(c *Client, cfg Config, dial actDial) *link {
	ctx, cancel := context.WithCancel(context.Background())
	return &link{c: c, cfg: cfg, attempt: dial.attempt, address: dial.address, ctx: ctx, close: cancel, beats: make(chan []string, 1)}
}

// beat hands one heartbeat to the link's goroutine; the machine has never more than one in flight.
func (l *link) beat(args []string) { l.beats <- args }

func (l *link) run() {
	if err := l.talk(); err != nil && l.ctx.Err() == nil {
		l.c.post(evFailed{attempt: l.attempt, err: err})
	}
	l.close()
}

// talk returns nil only when the link was closed from outside.
func (l *link) talk() error {
	conn, err := respconn.Dial(l.ctx, "tcp", l.address, answerLimits)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(l.ctx, func() { _ = conn.Close() }) // unblocks a read; run has nothing to tell then
	defer func() {
		if stop() {
			_ = conn.Close() // the link failed: there is nothing left to lose
		}
	}()
	if err := l.authenticate(conn); err != nil {
		return err
	}
	l.c.post(evDialed{attempt: l.attempt})
	for {
		select {
		case <-l.ctx.Done():
			return nil
		case args := <-l.beats:
			v, err := l.do(conn, args...)
			if err != nil {
				return fmt.Errorf("heartbeat: %w", err)
			}
			l.c.post(evReply{attempt: l.attempt, v: v})
		}
	}
}

// authenticate sends AUTH if there is a password. Of an error reply only the code is told: some servers repeat the arguments in the text.
func (l *link) authenticate(conn *respconn.Conn) error {
	if l.cfg.Password == "" {
		return nil
	}
	args := []string{"AUTH", l.cfg.Password}
	if l.cfg.User != "" {
		args = []string{"AUTH", l.cfg.User, l.cfg.Password}
	}
	v, err := l.do(conn, args...)
	switch {
	case err != nil:
		return fmt.Errorf("AUTH: %w", err)
	case v.IsError():
		return fmt.Errorf("AUTH refused with %s: check the manager's password", printable(v.Code()))
	case v.Kind != respconn.SimpleString || v.Str != "OK":
		return fmt.Errorf("AUTH answered with a %s", v.Kind)
	}
	return nil
}

// do is one request and its reply. The deadline is the machine's with some room, in case its timer is late.
func (l *link) do(conn *respconn.Conn, args ...string) (respconn.Value, error) {
	if err := conn.SetDeadline(time.Now().Add(2 * l.cfg.Timeout)); err != nil {
		return respconn.Value{}, err
	}
	v, err := conn.Do(args...)
	if err == nil && conn.Buffered() > 0 {
		return v, &respconn.ProtocolError{Reason: "more than one reply to a request"}
	}
	return v, err
}
