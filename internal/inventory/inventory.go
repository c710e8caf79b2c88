// Package inventory asks a server for its commands: COMMAND, on a connection of its own, read as the rows that package command makes an offer of.
//
// The server is a stranger: connect, authenticate and answer have one deadline, the answer has caps, and of what it says nothing is taken that is
// not a row. What the rows mean is not decided here.
package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"respgate/conf"
	"respgate/engine/command"
	"respgate/internal/respconn"
)

// Server is whom to ask, and as whom.
type Server struct {
	Network   string   // tcp or unix
	Addresses []string // tried in this order
	User      string
	Password  conf.Secret
}

// DeniedError is an answer that will be the same the next time: the server does not tell what it has.
type DeniedError struct{ Text string }

func (e *DeniedError) Error() string { return e.Text }

// replyLimits: Redis 7.0 answers with 90 KiB and 11,500 elements, eight deep; modules can double that.
var replyLimits = respconn.Limits{Reply: 2 << 20, Elements: 1 << 16, Depth: 12}

// Ask gives the rows of the server's COMMAND. It ends with ctx, whatever the server does.
func Ask(ctx context.Context, s Server) ([]command.Row, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // what it would tell is of no more interest
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	table, err := s.exchange(conn)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("COMMAND: no answer in time: %w", ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	return rows(table.Elems), nil
}

// connectTimeout is for each address: one that swallows everything leaves time for the next.
const connectTimeout = time.Second

// dial tries one address after the other.
func (s *Server) dial(ctx context.Context) (conn *respconn.Conn, err error) {
	err = errors.New("it has no address")
	for _, a := range s.Addresses {
		dialing, cancel := context.WithTimeout(ctx, connectTimeout)
		conn, err = respconn.Dial(dialing, s.Network, a, replyLimits)
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// exchange is one round trip: AUTH, if there is something to say, and COMMAND. Errors of writing are Flush's.
func (s *Server) exchange(conn *respconn.Conn) (table respconn.Value, err error) {
	password := s.Password.Reveal()
	switch {
	case password != "" && s.User != "":
		_ = conn.Send("AUTH", s.User, password)
	case password != "":
		_ = conn.Send("AUTH", password)
	}
	_ = conn.Send("COMMAND")
	if err := conn.Flush(); err != nil {
		return table, err
	}
	var auth respconn.Value
	if password != "" {
		if auth, err = conn.Receive(); err != nil {
			return table, fmt.Errorf("AUTH: %w", err)
		}
	}
	table, err = conn.Receive()
	var broken *respconn.ProtocolError
	switch {
	case err != nil && auth.IsError():
		return table, errors.New("AUTH: " + shown(auth.Str)) // "max number of clients reached", then the end
	case errors.As(err, &broken):
		return table, &DeniedError{"COMMAND: " + err.Error()} // too large, or no RESP: so it will be again
	case err != nil:
		return table, fmt.Errorf("COMMAND: %w", err)
	}
	return table, judge(auth, table)
}

// judge tells a table from a refusal, and a refusal for now from one for good.
func judge(auth, table respconn.Value) error {
	switch table.Code() {
	case "":
	case "LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN":
		return errors.New("COMMAND: " + shown(table.Str))
	case "NOAUTH":
		return &DeniedError{"AUTH: " + shown(cmp.Or(auth.Str, table.Str)) + ": see redis_user and redis_auth of the pool"}
	case "NOPERM":
		return &DeniedError{"COMMAND: " + shown(table.Str) + ": allow the user of the pool +command"}
	default:
		if strings.Contains(table.Str, "max number of clients") {
			return errors.New(shown(table.Str))
		}
		return &DeniedError{"COMMAND: " + shown(table.Str)}
	}
	if table.Kind != respconn.Array || table.Null {
		return &DeniedError{fmt.Sprintf("COMMAND was answered with %s, which is no table of commands", table.Kind)}
	}
	return nil
}

// shown is a server's text, short and on one line.
func shown(text string) string {
	const most = 120
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, text)
}
