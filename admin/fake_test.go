package admin

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"respgate/internal/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is the time of every fake row.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 123456000, time.UTC)

func before(d time.Duration) time.Time { return noon.Add(-d) }

// fakeProxy is a StatusReader, a Switcher and Servers with two pools.
type fakeProxy struct {
	mu    sync.Mutex
	level string
	calls []string

	entered chan struct{} // if not nil: Switch tells that it runs, and then waits for its context or for release
	release chan struct{}
	panics  bool
}

func newFake() *fakeProxy { return &fakeProxy{level: "info"} }

func (f *fakeProxy) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fakeProxy) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fakeProxy) HasPool(name string) bool { return name == "cache" || name == "sessions" }

func (f *fakeProxy) HasGroup(pool, group string) bool {
	return pool == "cache" && (group == "g1" || group == "g2") || pool == "sessions" && group == "s1"
}

// only keeps the rows of a pool, all for "".
func only[T any](rows []T, pool string, poolOf func(T) string) []T {
	return slices.DeleteFunc(rows, func(r T) bool { return pool != "" && poolOf(r) != pool })
}

func (f *fakeProxy) Pools(name string) []status.Pool {
	if f.panics {
		panic("a password that must not be logged")
	}
	return only([]status.Pool{
		{Name: "cache", Listen: "127.0.0.1:6401", State: "up", Since: before(time.Hour), Source: "file", Groups: 2, GroupsUp: 2,
			Clients: 12, Inflight: 3, Requests: 123456, Errors: 7, Epoch: 42, Adopted: 3, Lacking: 1},
		{Name: "sessions", Listen: "127.0.0.1:6402", State: "degraded", Cause: "group s1\r\nhas no master", Since: before(1500 * time.Millisecond),
			Source: "manager", Version: 9, Groups: 1, Clients: 2, Held: 5, Requests: 99, Errors: 1 << 63, Epoch: 3},
	}, name, func(p status.Pool) string { return p.Name })
}

func (f *fakeProxy) Masters(pool, group string) []status.Master {
	rows := only([]status.Master{
		{Pool: "cache", Group: "g1", Master: "127.0.0.1:6379", State: "up", Since: before(time.Hour), VerifiedAt: before(250 * time.Millisecond),
			Epoch: 42, Generation: 7, Source: "sentinel", Switches: 2, LastSwitch: before(time.Minute), SwitchTook: 1377 * time.Millisecond,
			Authority: "sentinels", LeaseUntil: noon.Add(4 * time.Second), Inflight: 3, Links: 2, Requests: 1000,
			SessionLinks: 11, SessionIdle: 4, SessionLimit: 1000, SessionsRefused: 6},
		{Pool: "cache", Group: "g2", Master: "127.0.0.1:6380", State: "up", Since: before(time.Hour), VerifiedAt: before(time.Second),
			Epoch: 41, Generation: 1, Source: "sentinel", Authority: "sentinels", LeaseUntil: noon.Add(4 * time.Second), Links: 2, Requests: 2000, Retried: 1, Failed: 2},
		{Pool: "sessions", Group: "s1", State: "resolving", Cause: "no sentinel knows s1", Since: before(1500 * time.Millisecond),
			Source: "sentinel", Authority: "lost", LeaseUntil: before(time.Second), Held: 5, HeldBytes: 640, OldestHeld: 800 * time.Millisecond},
	}, pool, func(m status.Master) string { return m.Pool })
	return only(rows, group, func(m status.Master) string { return m.Group })
}

func (f *fakeProxy) Sentinels(pool string) []status.Sentinel {
	return only([]status.Sentinel{
		{Pool: "cache", Address: "127.0.0.1:26379", State: "watching", Since: before(time.Hour), Active: true, LastPong: before(300 * time.Millisecond),
			RTT: 180 * time.Microsecond, Rotations: 1},
		{Pool: "cache", Address: "127.0.0.1:26380", State: "backoff", Cause: "connection refused", Since: before(2 * time.Second), Missed: 3, Tilt: true},
	}, pool, func(s status.Sentinel) string { return s.Pool })
}

func (f *fakeProxy) Sessions(pool string) []status.Session {
	return only([]status.Session{
		{Pool: "cache", Transactions: 1, Blocked: 2, Subscribers: 3, Monitors: 4, Tracking: 5, Links: 11, Idle: 4, Limit: 1000, Busiest: "g1", BusiestLinks: 11, Refused: 6},
		{Pool: "sessions", Limit: 2},
	}, pool, func(s status.Session) string { return s.Pool })
}

func (f *fakeProxy) Managers(pool string) []status.Manager {
	return only([]status.Manager{
		{Pool: "sessions", Address: "127.0.0.1:7078", Cluster: "sessions", State: "heartbeating", Since: before(time.Hour), Active: true,
			Version: 9, Applied: 9, LastHeartbeat: before(400 * time.Millisecond), Rejected: 1},
	}, pool, func(m status.Manager) string { return m.Pool })
}

func (f *fakeProxy) Route(pool string, keys []string) ([]status.Route, error) {
	if pool == "sessions" {
		return nil, Error{"NOTREADY", "pool 'sessions' has no topology yet"}
	}
	var routes []status.Route
	for _, k := range keys {
		routes = append(routes, status.Route{Key: k, Tag: k, Hash: crc32.ChecksumIEEE([]byte(k)), Group: "g1", Master: "127.0.0.1:6379"})
	}
	return routes, nil
}

func (f *fakeProxy) Process() status.Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return status.Process{
		Version: "1.2.3", ProxyID: "proxy-1", PID: 4711, Started: before(25 * time.Hour), ConfigFile: "/etc/respgate.yml", ConfigDigest: "c0ffee",
		ConfigLoaded: before(time.Hour), ConfigError: "respgate.yml:3: pools.cache.listen: port in use\nrespgate.yml:9: unknown key", ConfigRefused: before(time.Minute),
		LogLevel: f.level, Serial: 12,
		Loops: []status.Loop{{ID: 0, Clients: 8, Links: 2, Iterations: 5000, Rests: 1200, Requests: 100, BufferBytes: 4096, BufferIdle: 65536}, {ID: 1, Clients: 6, Links: 2}},
		Limits: []status.Limit{
			{Name: "client_connections", Unit: "connections", Used: 14, Max: 10000, Scope: "process"},
			{Name: "memory", Unit: "bytes", Used: 69632, Max: 512 << 20, Hits: 2, Scope: "process"},
		},
	}
}

func (f *fakeProxy) Commands() []status.Command {
	return []status.Command{{Pool: "cache", Command: "get", Calls: 90, Errors: 1}, {Pool: "cache", Command: "mget", Calls: 100}, {Pool: "sessions", Command: "set", Calls: 5}}
}

func (f *fakeProxy) Latencies() []status.Latency {
	return []status.Latency{
		{Pool: "cache", Bounds: []time.Duration{100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond}, Buckets: []uint64{900, 90, 9, 1}, Sum: 200 * time.Millisecond, Count: 1000},
		{Pool: "sessions"},
	}
}

func (f *fakeProxy) Totals() []status.Totals {
	return []status.Totals{
		{Pool: "cache", Accepted: 20, Rejected: map[string]uint64{"max-clients": 3}, ReceivedBytes: 1000, SentBytes: 2000,
			Errors: map[string]uint64{"timeout": 4, "held-timeout": 3}, LateReplies: 1, Retried: 1, Dials: 6, DialErrors: 2},
		{Pool: "sessions", Accepted: 2, ReceivedBytes: 10, SentBytes: 20},
	}
}

func (f *fakeProxy) Events(pool, group string, count int) []status.Event {
	rows := only(events(), pool, func(e status.Event) string { return e.Pool })
	rows = only(rows, group, func(e status.Event) string { return e.Group })
	return rows[:min(count, len(rows))]
}

// events are a failover that is going on, one that is over, and a loss of authority.
func events() []status.Event {
	return []status.Event{
		{
			ID: 9, Event: status.Holding, Pool: "sessions", Group: "s1", At: before(100 * time.Millisecond), Source: "sentinel", Cause: "link to 127.0.0.1:6390: EOF\r\n<&>", Old: "127.0.0.1:6390",
			Sign: status.Unseen, Decided: status.Unseen, Verified: status.Unseen, Applied: status.Unseen, Released: status.Unseen,
		},
		{
			ID: 8, Event: status.Switched, Pool: "cache", Group: "g1", At: before(time.Minute), Source: "sentinel", Cause: "link to 127.0.0.1:6381: EOF", Old: "127.0.0.1:6381", New: "127.0.0.1:6379",
			Epoch: 42, Generation: 7, FailoverSign: "+elected-leader", Sign: 1214 * time.Millisecond, Decided: 2277 * time.Millisecond, Verified: 2280 * time.Millisecond,
			Applied: 2281 * time.Millisecond, Released: 2281 * time.Millisecond, Held: 300, HeldMost: 40, Retried: 5, Unknown: 2, HoldFull: 3, HoldTimeouts: 4, Timeouts: 1, Late: 6,
			Votes: []status.Vote{
				{Sentinel: "127.0.0.1:26379", Master: "127.0.0.1:6379", Epoch: 42, State: "voted"}, {Sentinel: "127.0.0.1:26380", Master: "127.0.0.1:6381", Epoch: 41, State: "tilt"},
				{Sentinel: "127.0.0.1:26381", State: "silent"},
			},
		},
		{
			ID: 7, Event: status.AuthorityRegained, Pool: "cache", Group: "g2", At: before(time.Hour), Source: "sentinel", Cause: "vouched for by: replicas", Old: "127.0.0.1:6380",
			Sign: status.Unseen, Decided: status.Unseen, Verified: status.Unseen, Applied: status.Unseen, Released: 3 * time.Second,
		},
	}
}

func (f *fakeProxy) Switch(ctx context.Context, pool, group string) (SwitchResult, error) {
	f.note("switch %s %s", pool, group)
	if f.entered != nil {
		f.entered <- struct{}{}
		select {
		case <-f.release:
		case <-ctx.Done():
			return SwitchResult{}, fmt.Errorf("switch of group '%s': sentinel 127.0.0.1:26379: %w", group, ctx.Err())
		}
	}
	switch {
	case group == "g2":
		return SwitchResult{}, fmt.Errorf("switch: %w", Error{"NOREPLICA", "group 'g2' in pool 'cache' has no replica that is connected"})
	case pool == "sessions":
		return SwitchResult{}, &Error{"NOQUORUM", "only 1 of 3 sentinels answers"}
	}
	return SwitchResult{Old: "127.0.0.1:6379", New: "127.0.0.1:6381", Took: 412 * time.Millisecond}, nil
}

func (f *fakeProxy) SwitchAll(ctx context.Context, pool string) ([]GroupSwitch, error) {
	f.note("switch %s ALL", pool)
	first, err := f.Switch(ctx, pool, "g1")
	if err != nil {
		return nil, err
	}
	_, err = f.Switch(ctx, pool, "g2")
	return []GroupSwitch{{"g1", first}}, err
}

func (f *fakeProxy) SwitchTo(_ context.Context, pool, group, host string, port int) (SwitchResult, error) {
	f.note("switch %s %s to %s %d", pool, group, host, port)
	if port == 1 {
		return SwitchResult{}, errors.New("127.0.0.1:1: dial:\nconnection refused")
	}
	res := SwitchResult{New: fmt.Sprintf("%s:%d", host, port), Took: time.Millisecond}
	if port == 6391 {
		res.Warning = "127.0.0.1:6379 could not be made a replica:\nno permissions"
	}
	return res, nil
}

func (f *fakeProxy) Rotate(pool, host string, port int) error {
	f.note("rotate %s %s %d", pool, host, port)
	if pool == "sessions" {
		return Error{"NOTREADY", "pool 'sessions' has no sentinel that answers"}
	}
	return nil
}

func (f *fakeProxy) Reload(dry bool) ([]string, error) {
	f.note("reload dry=%v", dry)
	if dry {
		return []string{"pool 'cache': group g3 added", "pool 'cache': 3312 of 10000 sample keys would move"}, nil
	}
	return nil, nil
}

func (f *fakeProxy) ConfigGet(_ context.Context, pool, group, pattern string) ([]status.ServerSetting, error) {
	f.note("config get %s %s %s", pool, group, pattern)
	if pool == "sessions" && group != "" {
		return nil, Error{"NOTREADY", "group 's1' in pool 'sessions' has no master: no sentinel knows s1"}
	}
	if pool == "sessions" {
		return []status.ServerSetting{{Group: "s1", Cause: "group 's1' has no master: no sentinel\r\nknows s1"}}, nil
	}
	rows := []status.ServerSetting{
		{Group: "g1", Server: "127.0.0.1:6379", Name: pattern, Value: "100"},
		{Group: "g2", Server: "127.0.0.1:6380", Name: pattern, Value: ""},
	}
	return slices.DeleteFunc(rows, func(r status.ServerSetting) bool { return group != "" && r.Group != group }), nil
}

func (f *fakeProxy) ConfigSet(_ context.Context, pool, group, name, value string) error {
	f.note("config set %s %s %s %s", pool, group, name, value)
	if name == "nosuch" {
		return errors.New("group 'g1', server 127.0.0.1:6379: ERR Unknown option; set before in no group; not tried in 'g2'")
	}
	return nil
}

func (f *fakeProxy) SetLogLevel(level string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.level = level
	return nil
}

// start runs a server on an ephemeral port until the end of the test.
func start(t testing.TB, cfg Config, f *fakeProxy, log io.Writer) (s *Server, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = New(cfg, f, f, f, slog.New(slog.NewTextHandler(log, nil)))
	s.now = func() time.Time { return noon }
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, l.Addr().String()
}

// journal is a log that tests may read while it is written.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// eventually polls until done says true.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
