package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"respgate/internal/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return noon.Add(-d) }

// fake is a Source with two pools, or with whatever a test puts in.
type fake struct {
	pools     []status.Pool
	masters   []status.Master
	sentinels []status.Sentinel
	commands  []status.Command
	latencies []status.Latency
}

func newFake() *fake {
	return &fake{
		pools: []status.Pool{
			{Name: "cache", State: "up", Groups: 2, GroupsUp: 2, Clients: 12, Inflight: 3, Requests: 3000, Errors: 7, Adopted: 3, Lacking: 1},
			{Name: "sessions", State: "degraded", Cause: "group s1\nhas no master", Groups: 1, Clients: 2, Held: 5, Requests: 99, Errors: 1},
		},
		masters: []status.Master{
			{Pool: "cache", Group: "g1", Master: "127.0.0.1:6379", State: "up", VerifiedAt: before(time.Second), Epoch: 42, Switches: 2, SwitchesBy: map[string]uint64{"sentinel": 1, "planned": 1}, FalseAlarms: 3, SwitchTook: 1500 * time.Millisecond,
				Authority: "sentinels", LeaseUntil: noon.Add(4 * time.Second), Inflight: 3, Links: 2, Requests: 1000, Failed: 1, SessionLinks: 11, SessionIdle: 4, SessionLimit: 1000, SessionsRefused: 6},
			{Pool: "cache", Group: "g2", Master: "127.0.0.1:6380", State: "suspect", Authority: "none", Links: 2, Requests: 2000, Retried: 4},
			{Pool: "sessions", Group: "s1", State: "resolving", Authority: "lost", LeaseUntil: before(time.Second), Held: 5, HeldBytes: 640, OldestHeld: 800 * time.Millisecond},
		},
		sentinels: []status.Sentinel{
			{Pool: "cache", Address: "127.0.0.1:26379", State: "watching", Active: true, RTT: 250 * time.Microsecond, Rotations: 1, Events: 17},
			{Pool: "cache", Address: "127.0.0.1:26380", State: "backoff", Tilt: true},
		},
		commands:  []status.Command{{Pool: "cache", Command: "get", Calls: 90, Errors: 1}},
		latencies: []status.Latency{{Pool: "cache", Bounds: []time.Duration{time.Millisecond, 10 * time.Millisecond}, Buckets: []uint64{90, 9, 1}, Sum: time.Second, Count: 100}, {Pool: "sessions"}},
	}
}

func (f *fake) Pools(string) []status.Pool             { return f.pools }
func (f *fake) Masters(string, string) []status.Master { return f.masters }
func (f *fake) Sentinels(string) []status.Sentinel     { return f.sentinels }
func (f *fake) Commands() []status.Command             { return f.commands }
func (f *fake) Latencies() []status.Latency            { return f.latencies }
func (f *fake) Sessions(string) []status.Session {
	return []status.Session{{Pool: "cache", Transactions: 1, Blocked: 2, Subscribers: 3, Monitors: 4, Tracking: 5, Links: 11}, {Pool: "sessions"}}
}

func (f *fake) Managers(string) []status.Manager {
	return []status.Manager{{Pool: "sessions", Address: "127.0.0.1:7078", Active: true, Version: 9, Applied: 8, LastHeartbeat: before(time.Second), Rejected: 1}}
}

func (f *fake) Totals() []status.Totals {
	return []status.Totals{
		{Pool: "cache", Accepted: 20, Rejected: map[string]uint64{"max-clients": 3}, ReceivedBytes: 1000, SentBytes: 2000, ServerReceivedBytes: 1900, ServerSentBytes: 900,
			Errors: map[string]uint64{"timeout": 4, "protocol": 2}, LateReplies: 1, Dials: 6, DialErrors: 2},
		{Pool: "sessions", Accepted: 2},
	}
}

func (f *fake) Process() status.Process {
	return status.Process{
		Version: "1.2.3", Started: before(25 * time.Hour), ConfigLoaded: before(time.Hour), Serial: 12,
		Loops:  []status.Loop{{ID: 0, Clients: 8, Links: 2, Iterations: 5000, Rests: 1200, Requests: 100, BufferBytes: 4096, BufferIdle: 65536}},
		Limits: []status.Limit{{Name: "memory", Unit: "bytes", Used: 69632, Max: 512 << 20, Hits: 2, Scope: "process"}},
	}
}

func registry(f *fake) *prometheus.Registry {
	c := NewCollector(f)
	c.now = func() time.Time { return noon }
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	return r
}

func TestLint(t *testing.T) {
	t.Parallel()
	problems, err := testutil.GatherAndLint(registry(newFake()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestScrape compares all metrics with testdata/metrics.txt.
func TestScrape(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	// The version of Go is that of the machine.
	if err := testutil.GatherAndCompare(registry(newFake()), bytes.NewReader(want), namesOf(want)...); err != nil {
		t.Error(err)
	}
	n, err := testutil.GatherAndCount(registry(newFake()))
	if samples := strings.Count(string(want), "# TYPE"); err != nil || n < samples {
		t.Errorf("%d samples, %v", n, err)
	}
	families, err := registry(newFake()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "respgate_build_info" && !bytes.Contains(want, []byte("# TYPE "+family.GetName()+" ")) {
			t.Errorf("%s is not in testdata/metrics.txt", family.GetName())
		}
	}
}

// namesOf lists the metrics of a file, which may not name any that is not gathered.
func namesOf(text []byte) []string {
	var names []string
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
		}
	}
	return names
}

// TestOddRows gathers what a Source ought not to give: rows twice, names that are not UTF-8, histograms that do not fit.
func TestOddRows(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.pools = append(f.pools, f.pools[0], status.Pool{Name: "\xff\xfe", State: "\xff"}, status.Pool{})
	f.sentinels = append(f.sentinels, f.sentinels[0])
	f.commands = append(f.commands, f.commands[0], status.Command{Pool: "cache", Command: "a\nb\"\xff"})
	f.latencies = append(f.latencies, f.latencies[0], status.Latency{Pool: "x", Bounds: []time.Duration{1}}, status.Latency{Pool: "y", Buckets: []uint64{1, 2}})
	if _, err := registry(f).Gather(); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry(&fake{})); err != nil || len(problems) > 0 {
		t.Errorf("an empty source: %v %v", problems, err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// server is what both servers of this package are.
type server interface {
	Serve(net.Listener) error
	Close() error
}

// run serves until the end of the test.
func run(t *testing.T, s server) (address string) {
	t.Helper()
	l, served := listen(t), make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

func get(t *testing.T, address, path string) (code int, body string) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

var silent = slog.New(slog.DiscardHandler)

func TestHTTP(t *testing.T) {
	t.Parallel()
	f := newFake()
	address := run(t, NewServer(f, silent))
	code, body := get(t, address, "/metrics")
	for _, want := range []string{"respgate_pool_up{pool=\"cache\"} 1\n", "respgate_build_info{", "go_goroutines ", "process_cpu_seconds_total "} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("/metrics: %d, lacks %s", code, want)
		}
	}
	for path, want := range map[string]string{
		"/livez":  "200 ok\n",
		"/readyz": "503 pool 'sessions' is degraded: group s1 has no master\n",
		"/nosuch": "404 404 page not found\n",
	} {
		if code, body := get(t, address, path); fmt.Sprintf("%d %s", code, body) != want {
			t.Errorf("%s: %d %s, want %s", path, code, body, want)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	if got := notReady(&fake{}); len(got) != 1 {
		t.Errorf("no pools: %v", got)
	}
	f := newFake()
	f.pools = f.pools[:1]
	if got := notReady(f); len(got) != 0 {
		t.Errorf("all up: %v", got)
	}
	code, body := get(t, run(t, NewServer(f, silent)), "/readyz")
	if code != http.StatusOK || body != "ok\n" {
		t.Errorf("%d %s", code, body)
	}
}

// TestHTTPHostile opens more connections than there are places, each with half a request or garbage.
func TestHTTPHostile(t *testing.T) {
	t.Parallel()
	address := run(t, NewServer(newFake(), silent))
	var conns []net.Conn
	for i := range httpConnections - 1 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if _, err := io.WriteString(c, []string{"GET /met", "*1\r\n$4\r\nPING\r\n", "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 10000)}[i%3]); err != nil {
			t.Fatal(err)
		}
	}
	if code, _ := get(t, address, "/livez"); code != http.StatusOK {
		t.Errorf("/livez: %d", code)
	}
	for _, c := range conns {
		_ = c.Close()
	}
}

func stats(t *testing.T, address, typed string) map[string]any {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, typed); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return object
}

func newStats(f *fake) *TwemproxyStats {
	s := NewTwemproxyStats(f, silent)
	s.now, s.host = func() time.Time { return noon }, "host"
	return s
}

func TestTwemproxyStats(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.pools = append(f.pools, status.Pool{Name: "version"})
	address := run(t, newStats(f))
	group := func(changes map[string]any) map[string]any {
		g := map[string]any{"server_eof": 0.0, "server_err": 0.0, "server_timedout": 0.0, "server_connections": 0.0, "server_ejected_at": 0.0, "requests": 0.0, "request_bytes": 0.0,
			"responses": 0.0, "response_bytes": 0.0, "in_queue": 0.0, "in_queue_bytes": 0.0, "out_queue": 0.0, "out_queue_bytes": 0.0}
		for k, v := range changes {
			g[k] = v
		}
		return g
	}
	want := map[string]any{
		"service": "respgate", "source": "host", "version": "1.2.3", "uptime": 90000.0, "timestamp": float64(noon.Unix()), "total_connections": 28.0, "curr_connections": 18.0,
		"cache": map[string]any{
			"client_eof": 0.0, "client_err": 2.0, "client_connections": 12.0, "server_ejects": 0.0, "forward_error": 7.0, "fragments": 0.0,
			"g1": group(map[string]any{"server_err": 1.0, "server_connections": 2.0, "requests": 1000.0, "responses": 996.0, "out_queue": 3.0}),
			"g2": group(map[string]any{"server_connections": 2.0, "requests": 2000.0, "responses": 2000.0}),
		},
		"sessions": map[string]any{
			"client_eof": 0.0, "client_err": 0.0, "client_connections": 2.0, "server_ejects": 0.0, "forward_error": 1.0, "fragments": 0.0,
			"s1": group(map[string]any{"in_queue": 5.0, "in_queue_bytes": 640.0}),
		},
	}
	for _, typed := range []string{"", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		if diff := cmp.Diff(want, stats(t, address, typed)); diff != "" {
			t.Errorf("typed %q: (-want +got)\n%s", typed, diff)
		}
	}
}

func TestTwemproxyStatsManyClients(t *testing.T) {
	t.Parallel()
	address := run(t, newStats(newFake()))
	for range 3 * statsConnections { // they stay open, and do not read
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if got := stats(t, address, ""); got["service"] != "respgate" {
		t.Errorf("got %v", got)
	}
}

func TestServeAfterClose(t *testing.T) {
	t.Parallel()
	for _, s := range []server{NewServer(newFake(), silent), newStats(newFake())} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		l := listen(t)
		_ = s.Serve(l) // with an error or without
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%T: the listener is open: %v", s, err)
		}
	}
}

// TestListenerClosedByOwner moves a port: the old listener is closed while the server goes on with the new one.
func TestListenerClosedByOwner(t *testing.T) {
	t.Parallel()
	for _, s := range []server{NewServer(newFake(), silent), newStats(newFake())} {
		run(t, s)
		l, served := listen(t), make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		_ = l.Close()
		if err := <-served; err != nil {
			t.Errorf("%T: %v", s, err)
		}
	}
}
