package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// comparison is what bench compare was asked for.
type comparison struct {
	place       placement
	rounds      int
	scale       float64
	settle      time.Duration
	scenarios   []string
	respgate    string
	builtIn     []string // nutcracker, respgate
	extra       []peer
	serverPorts []int
	jsonl       string
	command     string // to repeat it
}

// measured are the rows of a comparison: scenario, then peer, then round.
type measured map[string]map[string][]figures

const compareAbout = `Starts two redis-servers with the same keys, and in turn, round by round, each proxy in front of them; runs the scenarios
with redis-benchmark; prints a row per run, then medians and their ratios to the first proxy, as Markdown. The proxies
are nutcracker, if it is installed, then respgate, then those of -peer. Only the ratios within one run mean something.

scenarios: `

func compareMain(ctx context.Context, args []string) error {
	c := comparison{serverPorts: []int{0, 0}, command: commandLine("bench compare", args)}
	f := newFlags("compare", compareAbout+strings.Join(allScenarios(), ","))
	c.place.flags(f)
	f.IntVar(&c.rounds, "rounds", 3, "rounds; the figures are their medians")
	f.Float64Var(&c.scale, "scale", 1, "of the numbers of requests")
	f.DurationVar(&c.settle, "settle", time.Minute, "how long after the load the scenario memory looks again")
	f.StringVar(&c.respgate, "respgate", "bin/respgate", "the proxy's program")
	f.StringVar(&c.jsonl, "jsonl", "", "file to append each row to, as a line of JSON")
	list := f.String("scenarios", "", "which scenarios, with commas; all by default")
	builtIn := f.String("peers", "nutcracker,respgate", "which of these two, in this order")
	f.Func("peer", "one more proxy, `name=port=command`, any number of times: it listens on the port of loopback and forwards to -server-ports",
		func(s string) error {
			p, err := parsePeer(s)
			c.extra = append(c.extra, p)
			return err
		})
	f.Func("server-ports", "the two ports of the redis-servers, with a comma; free ones by default", func(s string) error {
		c.serverPorts = nil
		for _, word := range strings.Split(s, ",") {
			port, err := strconv.ParseUint(word, 10, 16)
			if err != nil {
				return err
			}
			c.serverPorts = append(c.serverPorts, int(port))
		}
		if len(c.serverPorts) != 2 {
			return errors.New("two ports are needed")
		}
		return nil
	})
	if err := parse(f, args); err != nil {
		return err
	}
	var err error
	if c.scenarios, err = parseScenarios(*list); err != nil {
		return err
	}
	if *builtIn != "" {
		c.builtIn = strings.Split(*builtIn, ",")
	}
	for _, name := range c.builtIn {
		if name != "nutcracker" && name != "respgate" {
			return fmt.Errorf("-peers knows nutcracker and respgate, not %q", name)
		}
	}
	if c.rounds < 1 || c.scale <= 0 {
		return errors.New("-rounds and -scale must be positive")
	}
	_, err = c.run(ctx)
	return err
}

// run measures and prints. started is false if the programs could not be started, which no report hides.
func (c comparison) run(ctx context.Context) (started bool, err error) {
	if slices.Contains(c.scenarios, idleScenario) {
		if err := raiseDescriptors(idleConns + 100); err != nil {
			return false, err
		}
	} else if err := raiseDescriptors(1024); err != nil {
		return false, err
	}
	f, err := newFleet()
	if err != nil {
		return false, err
	}
	defer f.close()
	servers, err := f.startServers(ctx, c.place.rest, c.serverPorts...)
	if err != nil {
		return false, err
	}
	for _, s := range servers {
		if err := errors.Join(seed(ctx, s.address(), "key:", smallKeys, smallValue), seed(ctx, s.address(), "big:", bigKeys, bigValue)); err != nil {
			return false, err
		}
	}
	peers, err := c.peers(f, servers)
	if err != nil {
		return false, err
	}
	for _, p := range peers { // all of them start, or nothing is measured
		proxy, err := f.startPeer(ctx, p, c.place.proxy)
		if err != nil {
			return false, err
		}
		f.stop(proxy)
	}
	c.describe(peers)
	b := &bench{fleet: f, place: c.place, servers: processesOf(servers), scale: c.scale, settle: c.settle}
	rows, err := c.measure(ctx, b, peers)
	if err != nil {
		return true, err
	}
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = p.name
	}
	fmt.Print("\n", markdown(rows, names, c.scenarios))
	return true, nil
}

func (c comparison) peers(f *fleet, servers []*server) ([]peer, error) {
	var peers []peer
	for _, name := range c.builtIn {
		if name == "respgate" {
			config := proxyConfig{lines: []string{"timeout: 5s"}}
			for _, s := range servers {
				config.servers = append(config.servers, s.address()+":1")
			}
			p, err := respgatePeer(f, c.respgate, config)
			if err != nil {
				return nil, err
			}
			peers = append(peers, p)
			continue
		}
		switch p, err := nutcrackerPeer(f, servers); {
		case errors.Is(err, errNoNutcracker):
			fmt.Printf("%v: it is left out\n\n", err)
		case err != nil:
			return nil, err
		default:
			peers = append(peers, p)
		}
	}
	peers = append(peers, c.extra...)
	if len(peers) == 0 {
		return nil, errors.New("no proxy to measure")
	}
	seen := map[string]bool{}
	for _, p := range peers {
		if seen[p.name] {
			return nil, fmt.Errorf("two proxies have the name %s", p.name)
		}
		seen[p.name] = true
	}
	return peers, nil
}

// describe prints where and how, so that somebody else can repeat it.
func (c comparison) describe(peers []peer) {
	fmt.Printf("Machine: %s.\nProxy on cpu %s, load and servers on cpu %s.\n", machine(), orAny(c.place.proxy), orAny(c.place.rest))
	fmt.Printf("Command: `%s`\n", c.command)
	fmt.Printf("Versions: %s; %s", firstLine("redis-server", "--version"), firstLine("redis-benchmark", "--version"))
	for _, p := range peers {
		fmt.Printf("; %s: %s", p.name, p.version)
	}
	fmt.Print(".\n\n")
	for _, p := range peers {
		if p.config != "" {
			fmt.Printf("Configuration of %s:\n\n```yaml\n%s```\n\n", p.name, p.config)
		}
	}
}

func orAny(cpus string) string {
	if cpus == "" {
		return "(any)"
	}
	return cpus
}

// measure runs the loads in every round with each proxy in turn, and the scenarios about memory with fresh processes.
func (c comparison) measure(ctx context.Context, b *bench, peers []peer) (measured, error) {
	rows := measured{}
	out, err := openRows(c.jsonl)
	if err != nil {
		return nil, err
	}
	defer out.close()
	keep := func(p peer, scenario string, round int, row figures) error {
		rows.add(scenario, p.name, row)
		return out.write(row, p.name, scenario, round)
	}
	for round := range c.rounds {
		for _, p := range peers {
			if err := c.loads(ctx, b, p, func(name string, row figures) error { return keep(p, name, round, row) }); err != nil {
				return nil, err
			}
			if slices.Contains(c.scenarios, idleScenario) {
				row, err := c.fresh(ctx, b, p, idleScenario, b.idle)
				if err != nil {
					return nil, err
				}
				if err := keep(p, idleScenario, round, row); err != nil {
					return nil, err
				}
			}
		}
	}
	if !slices.Contains(c.scenarios, memoryScenario) {
		return rows, nil
	}
	for _, p := range peers { // once: it takes minutes, and it differs little
		row, err := c.fresh(ctx, b, p, memoryScenario, b.memory)
		if err != nil {
			return nil, err
		}
		if err := keep(p, memoryScenario, 0, row); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// loads runs those scenarios that are a load with one process of the proxy.
func (c comparison) loads(ctx context.Context, b *bench, p peer, keep func(string, figures) error) error {
	proxy, err := b.startPeer(ctx, p, c.place.proxy)
	if err != nil {
		return err
	}
	defer b.stop(proxy)
	for _, name := range c.scenarios {
		s, ok := findScenario(name)
		if !ok {
			continue
		}
		row, err := b.load(ctx, proxy, p.port, s)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", p.name, name, err)
		}
		if err := keep(name, row); err != nil {
			return err
		}
	}
	return nil
}

// fresh runs a scenario with a process of its own.
func (c comparison) fresh(ctx context.Context, b *bench, p peer, name string, run func(context.Context, *process, int) (figures, error)) (figures, error) {
	proxy, err := b.startPeer(ctx, p, c.place.proxy)
	if err != nil {
		return nil, err
	}
	defer b.stop(proxy)
	row, err := run(ctx, proxy, p.port)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", p.name, name, err)
	}
	return row, nil
}

func (m measured) add(scenario, peer string, row figures) {
	if m[scenario] == nil {
		m[scenario] = map[string][]figures{}
	}
	m[scenario][peer] = append(m[scenario][peer], row)
}

// rowWriter prints each row, and appends it to a file if there is one.
type rowWriter struct{ file *os.File }

func openRows(name string) (rowWriter, error) {
	if name == "" {
		return rowWriter{}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	return rowWriter{file: f}, err
}

func (w rowWriter) write(row figures, peer, scenario string, round int) error {
	line, err := json.Marshal(row.merge(peer, scenario, round))
	if err != nil {
		return err
	}
	fmt.Printf("%-10s  %-10s  %d  %s\n", scenario, peer, round+1, row)
	if w.file == nil {
		return nil
	}
	_, err = w.file.Write(append(line, '\n'))
	return err
}

func (w rowWriter) close() {
	if w.file != nil {
		w.file.Close()
	}
}
