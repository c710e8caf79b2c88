package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// peer is a proxy to be measured.
type peer struct {
	name    string
	port    int
	argv    []string
	config  string // its configuration; "" if it is not of our making
	version string
}

var errNoNutcracker = errors.New("nutcracker is not installed")

// nutcrackerPeer writes a configuration of twemproxy over the servers.
func nutcrackerPeer(f *fleet, servers []*server) (peer, error) {
	program, err := exec.LookPath("nutcracker")
	if err != nil {
		program = "/usr/sbin/nutcracker" // not on the PATH of everybody
		if _, err := os.Stat(program); err != nil {
			return peer{}, errNoNutcracker
		}
	}
	port, err := freePort()
	if err != nil {
		return peer{}, err
	}
	stats, err := freePort()
	if err != nil {
		return peer{}, err
	}
	config := fmt.Sprintf("bench:\n  listen: %s\n  hash: fnv1a_64\n  distribution: ketama\n  redis: true\n  preconnect: true\n"+
		"  backlog: 1024\n  timeout: 5000\n  servers:\n", loopback(port))
	for _, s := range servers {
		config += fmt.Sprintf("   - %s:1\n", s.address())
	}
	file := filepath.Join(f.dir, "nutcracker.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return peer{}, err
	}
	return peer{
		name: "nutcracker", port: port, config: config, version: firstLine(program, "-V"),
		argv: []string{program, "-c", file, "-a", "127.0.0.1", "-s", strconv.Itoa(stats), "-p", filepath.Join(f.dir, "nutcracker.pid")},
	}, nil
}

// proxyConfig is a configuration of respgate with one pool, without console and metrics.
type proxyConfig struct {
	servers []string // host:port:weight name
	loops   int      // 0 is one for each processor it may use
	lines   []string // of the pool
}

func (c proxyConfig) text(port int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "admin: { listen: \"\" }\nmetrics: { listen: \"\" }\nlimits: { max_clients: 20000 }\nloops: %d\n", c.loops)
	fmt.Fprintf(&b, "pools:\n  bench:\n    listen: %s\n    backlog: 4096\n    preconnect: true\n", loopback(port))
	for _, l := range c.lines {
		fmt.Fprintf(&b, "    %s\n", l)
	}
	fmt.Fprintf(&b, "    servers:\n")
	for _, s := range c.servers {
		fmt.Fprintf(&b, "      - %q\n", s)
	}
	return b.String()
}

// respgatePeer writes a configuration of respgate.
func respgatePeer(f *fleet, program string, c proxyConfig) (peer, error) {
	port, err := freePort()
	if err != nil {
		return peer{}, err
	}
	if program, err = filepath.Abs(program); err != nil {
		return peer{}, err
	}
	if _, err := os.Stat(program); err != nil {
		return peer{}, fmt.Errorf("%w: run make build, or say -respgate FILE", err)
	}
	config := c.text(port)
	file := filepath.Join(f.dir, "respgate.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return peer{}, err
	}
	version := strings.TrimPrefix(firstLine(program, "-version"), "respgate ")
	return peer{name: "respgate", port: port, config: config, version: "respgate " + version, argv: []string{program, "-c", file}}, nil
}

// parsePeer reads name=port=command.
func parsePeer(text string) (peer, error) {
	parts := strings.SplitN(text, "=", 3)
	if len(parts) != 3 || parts[0] == "" {
		return peer{}, fmt.Errorf("%q is not name=port=command", text)
	}
	port, err := strconv.ParseUint(parts[1], 10, 16)
	if err != nil || port == 0 {
		return peer{}, fmt.Errorf("%q: %q is not a port", text, parts[1])
	}
	argv := strings.Fields(parts[2])
	if len(argv) == 0 {
		return peer{}, fmt.Errorf("%q has no command", text)
	}
	return peer{name: parts[0], port: int(port), argv: argv, version: parts[2]}, nil
}

// startPeer starts a proxy and waits until it serves.
func (f *fleet) startPeer(ctx context.Context, p peer, cpus string) (*process, error) {
	proxy, err := f.start(command{name: p.name, cpus: cpus, argv: p.argv})
	if err != nil {
		return nil, err
	}
	return proxy, proxy.accepts(ctx, p.port)
}
