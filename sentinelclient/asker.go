package sentinelclient

import (
	"context"
	"errors"
	"fmt"
	"os"

	"respgate/internal/respconn"
)

// asker asks one server, a sentinel or a node, on a connection that is kept. It
// belongs to one goroutine.
type asker struct {
	node
	with question
}

func askNode(a Address, cfg *Config) *asker {
	return &asker{node: node{addr: a}, with: question{credentials: cfg.Master, forbidden: cfg.Forbidden, timeout: cfg.MasterTimeout}}
}

func askSentinel(s Sentinel, cfg *Config) *asker {
	return &asker{node: node{addr: s.Address}, with: question{credentials: s.credentials(), timeout: cfg.Timeout}}
}

// do sends one command that may be sent twice: Sentinel closes the connections
// to nodes that it reconfigures. An error reply is no error of do.
func (a *asker) do(ctx context.Context, args ...string) (respconn.Value, error) {
	reused := a.conn != nil
	v, err := a.once(ctx, args...)
	if err != nil && reused && !errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		v, err = a.once(ctx, args...)
	}
	return v, err
}

// once is do for what must not be sent twice. A connection that failed is closed.
func (a *asker) once(ctx context.Context, args ...string) (v respconn.Value, err error) {
	err = a.talk(ctx, func() error {
		v, err = a.conn.Do(args...)
		return err
	}, &v)
	return v, err
}

// must is do for what has to be answered without an error.
func (a *asker) must(ctx context.Context, args ...string) (respconn.Value, error) {
	v, err := a.do(ctx, args...)
	if err == nil && v.IsError() {
		err = errors.New(clip(printable(v.Str)))
	}
	if err != nil {
		return v, fmt.Errorf("%v: %s: %w", a.addr, args[0], tidy(err))
	}
	return v, nil
}

// errUnsent: it failed before the question was asked.
var errUnsent = errors.New("not connected")

// talk runs f on a connection that is logged in, within the time of one
// question. What AUTH refuses becomes the reply.
func (a *asker) talk(ctx context.Context, f func() error, refused *respconn.Value) error {
	ctx, cancel := within(ctx, a.with.timeout)
	defer cancel()
	fresh, err := a.connect(ctx, a.with)
	if err == nil {
		defer context.AfterFunc(ctx, closer(a.conn))()
		var v respconn.Value
		if auth := a.with.credentials.auth(); fresh && auth != nil {
			if v, err = a.conn.Do(auth...); err == nil && v.IsError() && !noPassword(v) {
				a.close()
				*refused = v
				return nil
			}
		}
	}
	if err != nil {
		a.close()
		return fmt.Errorf("%w: %w", errUnsent, err)
	}
	if err = f(); err != nil {
		a.close()
	}
	return err
}
