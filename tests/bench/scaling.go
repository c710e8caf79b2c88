package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// scaling is what bench scaling was asked for.
type scaling struct {
	place    placement
	duration time.Duration
	repeat   int
	idle     time.Duration
	rounds   int // of the slow group
	respgate string
	axes     []axis
	parts    []string
	command  string

	*fleet
	servers []*server
	version string
}

// The parts of the run beside the axes.
const (
	idlePart = "idle"
	slowPart = "slow"
)

const scalingAbout = `Measures the proxy over one axis after the other, an idle proxy with 512 groups, and the others' latency while a group
is stopped; writes scaling.svg and SCALING.md into the directory of -out. Takes some six minutes.

axes: connections,pipeline,value,groups,loops,mget; further parts: idle,slow`

func scalingMain(ctx context.Context, args []string) error {
	s := scaling{command: commandLine("bench scaling", args)}
	f := newFlags("scaling", scalingAbout)
	s.place.flags(f)
	f.DurationVar(&s.duration, "duration", 2*time.Second, "of the load at each point")
	f.IntVar(&s.repeat, "repeat", 3, "how often each point is measured; the figures are medians")
	f.DurationVar(&s.idle, "idle", 20*time.Second, "how long the idle proxy is watched")
	f.IntVar(&s.rounds, "slow-rounds", 7, "how often a group is stopped")
	f.StringVar(&s.respgate, "respgate", "bin/respgate", "the proxy's program")
	out := f.String("out", "docs", "directory of SCALING.md and scaling.svg")
	list := f.String("axes", "", "which axes and parts, with commas; all by default")
	if err := parse(f, args); err != nil {
		return err
	}
	if s.duration <= 0 || s.repeat < 1 || s.rounds < 1 || s.idle <= 0 {
		return errors.New("-duration, -repeat, -idle and -slow-rounds must be positive")
	}
	if err := s.choose(*list); err != nil {
		return err
	}
	if info, err := os.Stat(*out); err != nil || !info.IsDir() {
		return fmt.Errorf("-out: %s is not a directory", *out)
	}
	if err := raiseDescriptors(11000); err != nil {
		return err
	}
	r, err := s.run(ctx)
	if err != nil {
		return err
	}
	fmt.Println(r.verdict())
	picture := filepath.Join(*out, "scaling.svg")
	if err := os.WriteFile(picture, []byte(chart(r.axes)), 0o644); err != nil {
		return err
	}
	page := filepath.Join(*out, "SCALING.md")
	if err := os.WriteFile(page, []byte(r.page()), 0o644); err != nil {
		return err
	}
	fmt.Printf("written: %s, %s\n", page, picture)
	return nil
}

// choose picks axes and parts by name.
func (s *scaling) choose(list string) error {
	all := axes()
	if list == "" {
		s.axes, s.parts = all, []string{idlePart, slowPart}
		return nil
	}
	for _, name := range strings.Split(list, ",") {
		i := slices.IndexFunc(all, func(a axis) bool { return a.name == name })
		switch {
		case i >= 0:
			s.axes = append(s.axes, all[i])
		case name == idlePart || name == slowPart:
			s.parts = append(s.parts, name)
		default:
			return fmt.Errorf("-axes: there is no %q", name)
		}
	}
	return nil
}

// axisRun is an axis with what was measured.
type axisRun struct {
	axis
	rows []point
}

// scalingRun is all that a run has measured.
type scalingRun struct {
	scaling
	axes []axisRun
	idle *idleRun // nil if it was not measured
	slow *slowRun
}

const serverCount = 4

func (s scaling) run(ctx context.Context) (*scalingRun, error) {
	var err error
	if s.fleet, err = newFleet(); err != nil {
		return nil, err
	}
	defer s.close()
	if s.servers, err = s.startServers(ctx, s.place.rest, make([]int, serverCount)...); err != nil {
		return nil, err
	}
	probe, err := respgatePeer(s.fleet, s.respgate, proxyConfig{servers: serverLines(s.servers, 1)})
	if err != nil {
		return nil, err
	}
	s.version = probe.version
	r := &scalingRun{}
	samples := make([][][]point, len(s.axes)) // axis, point, repetition
	for i, a := range s.axes {
		samples[i] = make([][]point, len(a.points))
	}
	for round := range s.repeat {
		for i, a := range s.axes {
			for j, x := range a.points {
				p, err := s.measure(ctx, a, x)
				if err != nil {
					return nil, fmt.Errorf("%s %s: %w", a.title, a.label(x), err)
				}
				fmt.Printf("%-16s %8s  %d  %s req/s  p50 %s us  p99 %s us  CPU %s us  servers %s us  RSS %s MiB\n", a.title, a.label(x), round+1,
					number(p.Rate), number(p.P50), number(p.P99), number(p.CPU), number(p.Servers), number(p.RSS))
				samples[i][j] = append(samples[i][j], p)
			}
		}
	}
	for i, a := range s.axes {
		run := axisRun{axis: a}
		for j, x := range a.points {
			run.rows = append(run.rows, middle(x, samples[i][j]))
		}
		r.axes = append(r.axes, run)
	}
	if slices.Contains(s.parts, idlePart) {
		if r.idle, err = s.idleGroups(ctx); err != nil {
			return nil, fmt.Errorf("idle proxy: %w", err)
		}
	}
	if slices.Contains(s.parts, slowPart) {
		if r.slow, err = s.slowGroup(ctx); err != nil {
			return nil, fmt.Errorf("slow group: %w", err)
		}
	}
	r.scaling = s
	return r, nil
}

// middle is the median of each figure.
func middle(x int, samples []point) point {
	of := func(figure func(point) float64) float64 {
		values := make([]float64, len(samples))
		for i, p := range samples {
			values[i] = figure(p)
		}
		return median(values)
	}
	return point{
		X: x, Rate: of(func(p point) float64 { return p.Rate }), P50: of(func(p point) float64 { return p.P50 }),
		P99: of(func(p point) float64 { return p.P99 }), CPU: of(func(p point) float64 { return p.CPU }),
		Servers: of(func(p point) float64 { return p.Servers }), RSS: of(func(p point) float64 { return p.RSS }),
	}
}

// proxy starts respgate over the servers.
func (s scaling) proxy(ctx context.Context, cpus string, c proxyConfig) (*process, string, error) {
	p, err := respgatePeer(s.fleet, s.respgate, c)
	if err != nil {
		return nil, "", err
	}
	process, err := s.startPeer(ctx, p, cpus)
	return process, loopback(p.port), err
}

// measure runs one point with a proxy of its own.
func (s scaling) measure(ctx context.Context, a axis, x int) (point, error) {
	at := a.at(x)
	cpus := s.place.proxy
	if at.anyCPUs {
		cpus = s.place.all()
	}
	proxy, address, err := s.proxy(ctx, cpus, proxyConfig{servers: serverLines(s.servers, at.groups), loops: at.loops})
	if err != nil {
		return point{}, err
	}
	defer s.stop(proxy)
	spec := at.load
	spec.Address, spec.Duration, spec.Prefix = address, s.duration, fmt.Sprintf("v%d:", at.value)
	// Through the proxy, so that each key is where its ring puts it.
	if err := seed(ctx, address, spec.Prefix, spec.Keys, at.value); err != nil {
		return point{}, err
	}
	load, err := s.startLoad(ctx, s.place.rest, spec)
	if err != nil {
		return point{}, err
	}
	defer load.close()
	before, err := cpuTimes([]*process{proxy})
	if err != nil {
		return point{}, err
	}
	serversBefore, err := cpuTimes(processesOf(s.servers))
	if err != nil {
		return point{}, err
	}
	if err := load.begin(); err != nil {
		return point{}, err
	}
	result, err := load.result(ctx)
	if err != nil {
		return point{}, err
	}
	after, err := cpuTimes([]*process{proxy})
	if err != nil {
		return point{}, proxy.failed("has gone")
	}
	serversAfter, err := cpuTimes(processesOf(s.servers))
	if err != nil {
		return point{}, err
	}
	if err := result.whole(); err != nil {
		return point{}, err
	}
	n := float64(result.Requests)
	p := point{
		X: x, Rate: n / result.Seconds, P50: result.P50, P99: result.P99,
		CPU: float64(after-before) / 1e3 / n, Servers: float64(serversAfter-serversBefore) / 1e3 / n,
	}
	p.RSS, err = rss(proxy.pid)
	return p, err
}

// whole is an error unless every request had the answer that it should have.
func (r loadResult) whole() error {
	if r.Requests == 0 || r.Errors > 0 || r.Missing > 0 || r.Unanswered > 0 {
		return fmt.Errorf("of %d answers %d were errors and %d without a value; %d requests were not answered", r.Requests, r.Errors, r.Missing, r.Unanswered)
	}
	return nil
}
