package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// scenario is a load of redis-benchmark.
type scenario struct {
	name     string
	requests int
	args     []string
}

const (
	smallKeys, smallValue = 100000, 64
	bigKeys, bigValue     = 1000, 16384
)

// scenarios in the order of the tables. Every key that they read exists on every server, whatever a peer's ring is.
var scenarios = []scenario{
	{"get_c1", 30000, words("-c 1 -r 100000 -t get")},
	{"get_c50", 200000, words("-c 50 -r 100000 -t get")},
	{"set_c50", 200000, words("-c 50 -r 100000 -d 64 -t set")},
	{"get_c500", 200000, words("-c 500 -r 100000 -t get")},
	{"get_P16", 800000, words("-c 50 -P 16 -r 100000 -t get")},
	{"set_P16", 800000, words("-c 50 -P 16 -r 100000 -d 64 -t set")},
	{"get_P100", 1500000, words("-c 50 -P 100 -r 100000 -t get")},
	{"mget10", 60000, words("-c 50 -r 100000 MGET" + strings.Repeat(" key:__rand_int__", 10))},
	{"mset10", 60000, words("-c 50 -r 100000 MSET" + strings.Repeat(" key:__rand_int__ "+strings.Repeat("x", smallValue), 10))},
	{"get16k", 60000, words("-c 50 -r 1000 GET big:__rand_int__")},
	{"get16k_P16", 100000, words("-c 50 -P 16 -r 1000 GET big:__rand_int__")},
}

// The scenarios that are not a load of redis-benchmark, and those that memoryScenario runs.
const (
	idleScenario   = "idle10000"
	idleConns      = 10000
	memoryScenario = "memory"
)

var memoryLoads = []string{"get_P100", "get16k_P16", "get_c500"}

func words(s string) []string { return strings.Fields(s) }

func findScenario(name string) (scenario, bool) {
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
	if i < 0 {
		return scenario{}, false
	}
	return scenarios[i], true
}

// allScenarios are the names that -scenarios takes.
func allScenarios() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return append(names, idleScenario, memoryScenario)
}

// parseScenarios reads a list with commas; "" is all of them.
func parseScenarios(list string) ([]string, error) {
	if list == "" {
		return allScenarios(), nil
	}
	names := strings.Split(list, ",")
	for _, n := range names {
		if !slices.Contains(allScenarios(), n) {
			return nil, fmt.Errorf("no scenario %q; there are %s", n, strings.Join(allScenarios(), ","))
		}
	}
	return names, nil
}

// figures of a run by name; see columns and singles in table.go.
type figures map[string]float64

// bench is a proxy under measurement with its surroundings.
type bench struct {
	*fleet
	place   placement
	servers []*process
	scale   float64       // of the numbers of requests
	settle  time.Duration // of memoryScenario
}

// load runs redis-benchmark against the port and measures the proxy meanwhile.
func (b *bench) load(ctx context.Context, proxy *process, port int, s scenario) (figures, error) {
	requests := max(1, int(float64(s.requests)*b.scale))
	argv := append(words("redis-benchmark -h 127.0.0.1 --csv"), "-p", strconv.Itoa(port), "-n", strconv.Itoa(requests))
	before, err := cpuTimes([]*process{proxy})
	if err != nil {
		return nil, err
	}
	serversBefore, err := cpuTimes(b.servers)
	if err != nil {
		return nil, err
	}
	out, err := b.output(ctx, command{name: "redis-benchmark", cpus: b.place.rest, argv: append(argv, s.args...)})
	if err != nil {
		return nil, err
	}
	after, err := cpuTimes([]*process{proxy})
	if err != nil {
		return nil, proxy.failed("has gone under " + s.name)
	}
	serversAfter, err := cpuTimes(b.servers)
	if err != nil {
		return nil, err
	}
	row, err := parseBenchmark(out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	row["cpu_us"] = float64(after-before) / 1e3 / float64(requests)
	row["server_us"] = float64(serversAfter-serversBefore) / 1e3 / float64(requests)
	row["rss_mib"], err = rss(proxy.pid)
	return row, err
}

// parseBenchmark reads what redis-benchmark --csv prints of its last test.
func parseBenchmark(text string) (figures, error) {
	start := strings.Index(text, `"test"`)
	if start < 0 {
		return nil, fmt.Errorf("redis-benchmark printed no table: %.200q", text)
	}
	rows, err := csv.NewReader(strings.NewReader(text[start:])).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("redis-benchmark: %w", err)
	}
	if len(rows) < 2 {
		return nil, fmt.Errorf("redis-benchmark printed no result: %.200q", text)
	}
	head, last := rows[0], rows[len(rows)-1]
	row := figures{}
	for column, name := range map[string]string{"rps": "rps", "p50_latency_ms": "p50_ms", "p99_latency_ms": "p99_ms"} {
		i := slices.Index(head, column)
		if i < 0 {
			return nil, fmt.Errorf("redis-benchmark has no column %s: redis-tools 6.2 or newer is needed", column)
		}
		if row[name], err = strconv.ParseFloat(last[i], 64); err != nil {
			return nil, fmt.Errorf("redis-benchmark: %w", err)
		}
	}
	return row, nil
}

// idle opens many connections, uses each once, and sees what they cost.
func (b *bench) idle(ctx context.Context, proxy *process, port int) (figures, error) {
	before, err := rss(proxy.pid)
	if err != nil {
		return nil, err
	}
	spec := loadSpec{Address: loopback(port), Conns: idleConns, Pipeline: 1, Prefix: "key:", Keys: smallKeys, Duration: time.Second}
	c, err := b.startLoad(ctx, b.place.rest, spec)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := pause(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	after, err := rss(proxy.pid)
	return figures{"kib_per_conn": (after - before) * 1024 / idleConns}, err
}

// memory says what a fresh proxy takes, under heavy loads, and some time after them.
func (b *bench) memory(ctx context.Context, proxy *process, port int) (figures, error) {
	fresh, err := rss(proxy.pid)
	if err != nil {
		return nil, err
	}
	row := figures{"fresh_mib": fresh}
	peak := watchRSS(proxy.pid)
	for _, name := range memoryLoads {
		s, _ := findScenario(name)
		if _, err := b.load(ctx, proxy, port, s); err != nil {
			peak()
			return nil, err
		}
	}
	row["peak_mib"] = peak()
	if err := pause(ctx, b.settle); err != nil {
		return nil, err
	}
	row["after_mib"], err = rss(proxy.pid)
	return row, err
}

// watchRSS looks at a process' memory until the function it returns is called, which gives the most that it saw, in MiB.
func watchRSS(pid int) func() float64 {
	var most float64
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if now, err := rss(pid); err == nil {
				most = max(most, now)
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	return func() float64 {
		close(stop)
		done.Wait()
		return most
	}
}

// merge copies the figures with what they belong to, for a line of JSON.
func (r figures) merge(peer, scenario string, round int) map[string]any {
	line := map[string]any{"peer": peer, "scenario": scenario, "round": round}
	for name, value := range maps.All(r) {
		line[name] = value
	}
	return line
}
