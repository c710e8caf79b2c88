// Package admin is the operator's port: a RESP2 and RESP3 server that an unmodified redis-cli works with. It shows what the proxy
// serves and asks for planned changes; it decides nothing itself.
//
//	listener ── Server ── session (a goroutine a connection) ── table ── handler ── StatusReader (rows)
//	                                                                             ├─ Switcher (actions)
//	                                                                             └─ Servers (settings of the servers)
//
// The Server owns its listeners and sessions. A session owns its connection; what other sessions may see of it (CLIENT LIST) is behind its
// mutex. Every command is a row of the table (commands.go), from which arity checks, HELP, COMMAND DOCS and docs/CONSOLE.md are made.
//
// Server.Publish tells an event of the timeline to the sessions that have subscribed (pubsub.go).
//
// All is bounded: connections, the events that wait for a subscriber, the bytes and arguments of a request (internal/respconn), the time a reply may take to be read, the time to
// authenticate, failed passwords, and one switch a group at a time.
package admin

import (
	"context"
	"log/slog"
	"time"

	"respgate/internal/status"
)

// StatusReader is what the console shows. Its methods are called by many goroutines at once, must not block, and give rows that the caller may
// keep but not write to.
type StatusReader interface {
	Pools(name string) []status.Pool // "" = all
	Masters(pool, group string) []status.Master
	Sentinels(pool string) []status.Sentinel
	Sessions(pool string) []status.Session
	Managers(pool string) []status.Manager
	Route(pool string, keys []string) ([]status.Route, error)
	Process() status.Process
	Commands() []status.Command
	Latencies() []status.Latency
	Totals() []status.Totals
	Events(pool, group string, count int) []status.Event // the newest first
	HasPool(name string) bool
	HasGroup(pool, group string) bool
}

// Switcher is what the console does. Its methods are called by many goroutines at once, for pools and groups that exist; an Error among
// the errors it returns is told with its own code, any other as -ERR.
type Switcher interface {
	// Switch makes a replica of the group its master, through Sentinel. It returns when the new master serves, or nothing changed.
	Switch(ctx context.Context, pool, group string) (SwitchResult, error)
	// SwitchAll does so with every group of the pool, one by one, until the first failure; what was done is returned with it.
	SwitchAll(ctx context.Context, pool string) ([]GroupSwitch, error)
	// SwitchTo points the group at a node that says it is a master.
	SwitchTo(ctx context.Context, pool, group, host string, port int) (SwitchResult, error)
	// Rotate makes that sentinel of the pool the active one; host "" means the next.
	Rotate(pool string, host string, port int) error
	// Reload reads the configuration file again; dry only says what would change. A line a change.
	Reload(dry bool) (lines []string, err error)
	// SetLogLevel takes debug, info, warn or error.
	SetLogLevel(level string) error
}

// SwitchResult is the outcome of a switch: the masters before and after, as host:port, how long requests could have waited, and what is
// left to do, if anything is.
type SwitchResult struct {
	Old, New string
	Took     time.Duration
	Warning  string
}

// GroupSwitch is the outcome for one group of several.
type GroupSwitch struct {
	Group string
	SwitchResult
}

// Config is what the server can be told at any time; zero fields have the defaults named here.
type Config struct {
	Password      string        // AUTH for every command; "" = no AUTH is needed
	StatsPassword string        // AUTH for the commands that change nothing; "" = there is no such password
	MaxClients    int           // connections at once; default 64
	IdleTimeout   time.Duration // a connection without a request for that long is closed; default none
	AuthTimeout   time.Duration // a connection that needs AUTH and has not is closed; default 60 s
	WriteTimeout  time.Duration // a connection whose client does not read a reply for that long is closed; default 10 s
	SwitchTimeout time.Duration // of PROXY SWITCH, for each group; default 60 s
}

func (c Config) withDefaults() Config {
	if c.MaxClients <= 0 {
		c.MaxClients = 64
	}
	if c.AuthTimeout <= 0 {
		c.AuthTimeout = time.Minute
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 10 * time.Second
	}
	if c.SwitchTimeout <= 0 {
		c.SwitchTimeout = time.Minute
	}
	return c
}

// LogValue keeps the passwords out of logs.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Bool("password", c.Password != ""),
		slog.Bool("stats_password", c.StatsPassword != ""),
		slog.Int("max_clients", c.MaxClients),
		slog.Duration("idle_timeout", c.IdleTimeout),
	)
}

// String keeps the passwords out of %v and %s.
func (c Config) String() string { return "admin" + c.LogValue().String() }

// GoString keeps the passwords out of %#v.
func (c Config) GoString() string { return c.String() }
