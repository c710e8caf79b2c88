package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// idleRun is what a proxy costs that nobody uses.
type idleRun struct {
	groups int
	rss    float64       // MiB
	share  float64       // of one CPU, in percent
	over   time.Duration // how long it was watched
}

const (
	idleGroups   = 512
	idleRSS      = 64.0 // MiB, what it may take
	idleCPU      = 1.0  // % of a CPU
	slowLimit    = 1.2  // what p99 of the healthy groups may be multiplied by
	slowTimeout  = time.Second
	healthyRate  = 2000 // requests/s
	healthyConns = 20
	slowRate     = 200
	slowConns    = 200 // each waits as long as it is until its next request is due
	slowPhase    = 3 * time.Second
)

// idleGroups watches a proxy whose links to all groups are open.
func (s scaling) idleGroups(ctx context.Context) (*idleRun, error) {
	config := proxyConfig{servers: serverLines(s.servers, idleGroups)}
	proxy, address, err := s.proxy(ctx, s.place.all(), config)
	if err != nil {
		return nil, err
	}
	defer s.stop(proxy)
	// Every link has been used once.
	if err := seed(ctx, address, "idle:", usualKeys, usualValue); err != nil {
		return nil, err
	}
	if err := pause(ctx, 5*time.Second); err != nil {
		return nil, err
	}
	before, err := cpuTime(proxy.pid)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := pause(ctx, s.idle); err != nil {
		return nil, err
	}
	after, err := cpuTime(proxy.pid)
	if err != nil {
		return nil, proxy.failed("has gone")
	}
	r := &idleRun{groups: idleGroups, over: s.idle, share: 100 * float64(after-before) / float64(time.Since(start))}
	if r.rss, err = rss(proxy.pid); err != nil {
		return nil, err
	}
	fmt.Printf("idle, %d groups: RSS %s MiB, %s %% of a CPU\n", r.groups, number(r.rss), number(r.share))
	return r, nil
}

// slowRun are the p99 of the healthy groups, in us, a phase each: with all servers, and with one of them stopped.
type slowRun struct {
	before, during []float64
	timeouts       int // requests for the stopped group that got an error
}

func (r *slowRun) ratio() float64 { return median(r.during) / median(r.before) }

// slowGroup stops one server again and again, while clients ask for the keys of all groups: those of the healthy ones at
// a steady rate that leaves the processors air, and others, on connections of their own, those of the slow one.
func (s scaling) slowGroup(ctx context.Context) (*slowRun, error) {
	config := proxyConfig{servers: serverLines(s.servers, serverCount), loops: 1, lines: []string{"timeout: " + slowTimeout.String()}}
	proxy, address, err := s.proxy(ctx, s.place.proxy, config)
	if err != nil {
		return nil, err
	}
	defer s.stop(proxy)
	if err := seed(ctx, address, "slow:", usualKeys, usualValue); err != nil {
		return nil, err
	}
	var healthy []string
	for _, server := range s.servers[1:] {
		keys, err := keysOf(ctx, server, "slow:")
		if err != nil {
			return nil, err
		}
		healthy = append(healthy, keys...)
	}
	slow, err := keysOf(ctx, s.servers[0], "slow:")
	if err != nil {
		return nil, err
	}
	loads := [2]loadSpec{
		{Address: address, Conns: healthyConns, Pipeline: 1, Keys: 1, Rate: healthyRate, Duration: slowPhase, KeyFile: filepath.Join(s.dir, "healthy.keys")},
		{Address: address, Conns: slowConns, Pipeline: 1, Keys: 1, Rate: slowRate, Duration: slowPhase, KeyFile: filepath.Join(s.dir, "slow.keys")},
	}
	for i, keys := range [][]string{healthy, slow} {
		if err := os.WriteFile(loads[i].KeyFile, []byte(strings.Join(keys, "\n")), 0o600); err != nil {
			return nil, err
		}
	}
	r := &slowRun{}
	for round := range s.rounds {
		for _, stopped := range []bool{false, true} {
			p99, err := s.phase(ctx, loads, stopped, r)
			if err != nil {
				return nil, err
			}
			if stopped {
				r.during = append(r.during, p99)
			} else {
				r.before = append(r.before, p99)
			}
			if err := s.recovered(ctx, address, slow[0]); err != nil {
				return nil, err
			}
		}
		fmt.Printf("slow group %d: p99 of the others %s us before, %s us while it is stopped\n", round+1, number(r.before[round]), number(r.during[round]))
	}
	return r, nil
}

// phase runs both loads, with the first server stopped or not, and returns the p99 of the healthy groups.
func (s scaling) phase(ctx context.Context, specs [2]loadSpec, stopped bool, r *slowRun) (float64, error) {
	var loads [2]*loadChild
	for i, spec := range specs {
		load, err := s.startLoad(ctx, s.place.rest, spec)
		if err != nil {
			return 0, err
		}
		defer load.close()
		loads[i] = load
	}
	if stopped {
		s.servers[0].signal(syscall.SIGSTOP)
		defer s.servers[0].signal(syscall.SIGCONT)
	}
	for _, load := range loads {
		if err := load.begin(); err != nil {
			return 0, err
		}
	}
	var results [2]loadResult
	for i, load := range loads {
		var err error
		if results[i], err = load.result(ctx); err != nil {
			return 0, err
		}
	}
	if err := results[0].whole(); err != nil {
		return 0, fmt.Errorf("healthy groups: %w", err)
	}
	if stopped {
		r.timeouts += results[1].Errors
	}
	return results[0].P99, nil
}

// recovered waits until the first server's keys are served again.
func (s scaling) recovered(ctx context.Context, address, key string) error {
	var err error
	for range 100 {
		if _, err = ask(ctx, address, 2*slowTimeout, "GET", key); err == nil {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the group does not come back: %w", err)
}
