package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"respgate/admin"
	"respgate/internal/control"
	"respgate/internal/serverconf"
	"respgate/internal/status"
	"respgate/sentinelclient"
)

// console lets the admin port see and do what control offers: the two know each other only through admin's interfaces.
type console struct {
	*control.Controller
	level *slog.LevelVar
}

// serverConf lets the console ask the masters that control knows.
func (c *console) serverConf() *serverconf.Client {
	return &serverconf.Client{Servers: func(pool, group string) ([]serverconf.Server, error) {
		rows, err := c.Servers(pool, group)
		if err != nil {
			return nil, coded(err)
		}
		servers := make([]serverconf.Server, len(rows))
		for i, r := range rows {
			servers[i] = serverconf.Server(r)
		}
		return servers, nil
	}}
}

func (c *console) ConfigGet(ctx context.Context, pool, group, pattern string) ([]status.ServerSetting, error) {
	return c.serverConf().Get(ctx, pool, group, pattern)
}

func (c *console) ConfigSet(ctx context.Context, pool, group, name, value string) error {
	return c.serverConf().Set(ctx, pool, group, name, value)
}

func (c *console) Switch(ctx context.Context, pool, group string) (admin.SwitchResult, error) {
	res, err := c.Controller.Switch(ctx, pool, group)
	return admin.SwitchResult(res), coded(err)
}

func (c *console) SwitchTo(ctx context.Context, pool, group, host string, port int) (admin.SwitchResult, error) {
	res, err := c.Controller.SwitchTo(ctx, pool, group, host, port)
	return admin.SwitchResult(res), coded(err)
}

func (c *console) SwitchAll(ctx context.Context, pool string) ([]admin.GroupSwitch, error) {
	done, err := c.Controller.SwitchAll(ctx, pool)
	list := make([]admin.GroupSwitch, len(done))
	for i, d := range done {
		list[i] = admin.GroupSwitch{Group: d.Group, SwitchResult: admin.SwitchResult(d.SwitchResult)}
	}
	return list, coded(err)
}

func (c *console) Route(pool string, keys []string) ([]status.Route, error) {
	rows, err := c.Controller.Route(pool, keys)
	return rows, coded(err)
}

func (c *console) Rotate(pool, host string, port int) error {
	return coded(c.Controller.Rotate(pool, host, port))
}

func (c *console) SetLogLevel(level string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		return err
	}
	c.level.Set(l)
	return nil
}

// coded gives control's errors the form in which the console sends their codes.
func coded(err error) error {
	var e *control.Error
	if errors.As(err, &e) {
		return admin.Error{Code: e.Code, Text: e.Text}
	}
	return err
}

// sentinels lets control see a planned switch through its own interface.
type sentinels struct{ *sentinelclient.Monitor }

func (s sentinels) Switchover(ctx context.Context, group string) (control.Switchover, error) {
	over, err := s.Monitor.Switchover(ctx, group)
	if err != nil {
		return nil, err // not a nil *Switchover in an interface
	}
	return over, nil
}
