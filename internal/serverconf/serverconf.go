// Package serverconf reads and changes the settings of the servers behind a pool: CONFIG GET and CONFIG SET on the master of
// one group, or of each group, one after the other.
//
//	PROXY CONFIG ── Client ── Servers (who the masters are) ── a connection for each question ──> master
//
// Every question has a deadline and a cap; what is asked at once is bounded by the console's connections. A master may change
// while it is asked: each answer names the address it came from.
package serverconf

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"respgate/conf"
	"respgate/internal/respconn"
	"respgate/internal/status"
)

// Server is the master of a group.
type Server struct {
	Group     string
	Name      string   // host:port or a socket's path, as it was told; "" if the group has none
	Network   string   // tcp or unix
	Addresses []string // to be dialled, in this order
	User      string
	Password  conf.Secret
	Cause     string // why there is none
}

// Client asks servers. It is safe for any goroutine.
type Client struct {
	// Servers gives the masters of the pool's groups, or of one group; "" = all. It fails for a group that has none.
	Servers func(pool, group string) ([]Server, error)
}

const (
	serverLimit  = 3 * time.Second  // for one server: connect, authenticate, ask
	connectLimit = time.Second      // for each of its addresses: one that swallows everything leaves time for the next
	totalLimit   = 30 * time.Second // for all of them
	maxSettings  = 1 << 14          // of one answer of the console
)

// replyLimits bound what a server answers; CONFIG GET * is about 10 KiB and 500 elements.
var replyLimits = respconn.Limits{Reply: 1 << 20, Elements: 8192, Depth: 2}

// Get asks for the settings that match the pattern. With all groups, one that cannot be asked is a row with the cause.
func (c *Client) Get(ctx context.Context, pool, group, pattern string) ([]status.ServerSetting, error) {
	servers, err := c.Servers(pool, group)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, totalLimit)
	defer cancel()
	var rows []status.ServerSetting
	for _, s := range servers {
		found, err := s.get(ctx, pattern)
		switch {
		case err == nil:
			rows = append(rows, found...)
		case group != "":
			return nil, err
		default:
			rows = append(rows, status.ServerSetting{Group: s.Group, Server: s.Name, Cause: err.Error()})
		}
		if len(rows) > maxSettings {
			return nil, fmt.Errorf("more than %d settings of the groups of pool '%s' match '%.64s': take a narrower pattern, or one group", maxSettings, pool, pattern)
		}
	}
	return rows, nil
}

// Set changes a setting. With all groups, the first that fails ends it; the error says which have been done.
func (c *Client) Set(ctx context.Context, pool, group, name, value string) error {
	servers, err := c.Servers(pool, group)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, totalLimit)
	defer cancel()
	for i, s := range servers {
		if err := s.set(ctx, name, value); err != nil {
			return fmt.Errorf("%w%s", err, progress(servers, i))
		}
	}
	return nil
}

// progress says what came of the other groups when the one with this index failed.
func progress(servers []Server, failed int) string {
	if len(servers) == 1 {
		return ""
	}
	return fmt.Sprintf("; set before in %s; not tried in %s", names(servers[:failed]), names(servers[failed+1:]))
}

// named is how many groups an error names.
const named = 32

func names(servers []Server) string {
	if len(servers) == 0 {
		return "no group"
	}
	var list []string
	for _, s := range servers[:min(len(servers), named)] {
		list = append(list, "'"+s.Group+"'")
	}
	if more := len(servers) - named; more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}

func (s *Server) get(ctx context.Context, pattern string) ([]status.ServerSetting, error) {
	v, err := s.ask(ctx, "CONFIG", "GET", pattern)
	if err != nil {
		return nil, s.failed(err)
	}
	if v.Kind != respconn.Array || v.Null || len(v.Elems)%2 != 0 {
		return nil, s.failed(fmt.Errorf("CONFIG GET was answered with a %s that is no list of names and values", v.Kind))
	}
	rows := make([]status.ServerSetting, 0, len(v.Elems)/2)
	for i := 0; i < len(v.Elems); i += 2 {
		name, ok := v.Elems[i].Text()
		value, ok2 := v.Elems[i+1].Text()
		if !ok || !ok2 {
			return nil, s.failed(errors.New("CONFIG GET was answered with names and values that are no text"))
		}
		if value != "" && Secret(name) {
			value = masked
		}
		rows = append(rows, status.ServerSetting{Group: s.Group, Server: s.Name, Name: name, Value: value})
	}
	return rows, nil
}

func (s *Server) set(ctx context.Context, name, value string) error {
	v, err := s.ask(ctx, "CONFIG", "SET", name, value)
	switch {
	case err != nil && Secret(name):
		return s.failed(mask(err, value))
	case err != nil:
		return s.failed(err)
	case v.Kind != respconn.SimpleString || v.Str != "OK":
		return s.failed(fmt.Errorf("CONFIG SET was answered with a %s that is not OK: it may or may not have been set", v.Kind))
	}
	return nil
}

func (s *Server) failed(err error) error {
	if s.Name == "" {
		return fmt.Errorf("group '%s' has no master: %w", s.Group, err)
	}
	return fmt.Errorf("group '%s', server %s: %w", s.Group, s.Name, err)
}

// ask connects, authenticates, sends one request and takes its reply. An error reply of the server is an error.
func (s *Server) ask(ctx context.Context, args ...string) (respconn.Value, error) {
	if s.Name == "" {
		return respconn.Value{}, errors.New(s.Cause)
	}
	if ctx.Err() != nil {
		return respconn.Value{}, fmt.Errorf("not asked: the time for all groups together, %s, is over", totalLimit)
	}
	ctx, cancel := context.WithTimeout(ctx, serverLimit)
	defer cancel()
	conn, err := s.connect(ctx)
	if err != nil {
		return respconn.Value{}, err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return respconn.Value{}, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // the console closes
	if err := s.authenticate(conn); err != nil {
		return respconn.Value{}, err
	}
	v, err := conn.Do(args...)
	switch {
	case err != nil:
		return v, fmt.Errorf("%s %s was sent and not answered, it may or may not have been executed: %w", args[0], args[1], err)
	case v.IsError():
		return v, errors.New(v.Str)
	}
	return v, nil
}

// connect tries one address after the other.
func (s *Server) connect(ctx context.Context) (conn *respconn.Conn, err error) {
	err = errors.New("it has no address")
	for _, address := range s.Addresses {
		dialing, cancel := context.WithTimeout(ctx, connectLimit)
		conn, err = respconn.Dial(dialing, s.Network, address, replyLimits)
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (s *Server) authenticate(conn *respconn.Conn) error {
	password := s.Password.Reveal()
	if password == "" {
		return nil
	}
	args := []string{"AUTH", password}
	if s.User != "" {
		args = []string{"AUTH", s.User, password}
	}
	v, err := conn.Do(args...)
	switch {
	case err != nil:
		return fmt.Errorf("AUTH: %w", err)
	case v.IsError():
		return mask(fmt.Errorf("AUTH: %s; see redis_user and redis_auth of the pool", strings.TrimSuffix(v.Str, ".")), password)
	}
	return nil
}
