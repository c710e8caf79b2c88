package lab

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// layout says where everything is: ports on loopback, files under one directory.
//
//	respgate.yml   manager.yml   state/   log/<name>.log   redis-<port>/redis.conf   sentinel-<port>/sentinel.conf
type layout struct {
	dir       string // absolute
	groups    []group
	sentinels []int
	ids       []string // run ids of the sentinels
	manager   int
	admin     int
	metrics   int
	lab       int // pool lab
	cache     int // pool cache
}

// group is a group as it begins; a failover does not change it.
type group struct {
	name            string
	master, replica int // ports
}

const (
	downAfter       = 1000  // ms until a sentinel finds a master down: short, so that trying it is not waiting
	failoverTimeout = 10000 // ms
	quorum          = 2
)

func newLayout(dir string, p *ports) (l layout, err error) {
	l.dir = dir
	next := func(from int) (port int) {
		if err == nil {
			port, err = p.next(from)
		}
		return port
	}
	for _, name := range []string{"g1", "g2"} {
		master := next(firstServer)
		l.groups = append(l.groups, group{name: name, master: master, replica: next(firstServer)})
	}
	for range 3 {
		l.sentinels = append(l.sentinels, next(firstSentinel))
		l.ids = append(l.ids, runID())
	}
	l.manager, l.admin, l.metrics = next(managerPort), next(adminPort), next(metricsPort)
	l.lab, l.cache = next(labPort), next(cachePort)
	return l, err
}

// runID is chosen here so that the sentinels can be told of each other at once, instead of finding out.
func runID() string {
	var id [20]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// makeDir gives the absolute path of a directory that is there and empty; "" makes a temporary one.
func makeDir(dir string) (path string, temporary bool, err error) {
	if dir == "" {
		path, err = os.MkdirTemp("", "respgate-lab-")
		return path, true, err
	}
	if path, err = filepath.Abs(dir); err != nil {
		return "", false, err
	}
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, false, os.MkdirAll(path, 0o700)
	case err != nil:
		return "", false, err
	case len(entries) > 0:
		return "", false, fmt.Errorf("%s is not empty: name another directory", path)
	}
	return path, false, nil
}

func (l *layout) proxyFile() string      { return filepath.Join(l.dir, "respgate.yml") }
func (l *layout) managerFile() string    { return filepath.Join(l.dir, "manager.yml") }
func (l *layout) state() string          { return filepath.Join(l.dir, "state") }
func (l *layout) logs() string           { return filepath.Join(l.dir, "log") }
func (l *layout) log(name string) string { return filepath.Join(l.logs(), name+".log") }
func (l *layout) redisDir(port int) string {
	return filepath.Join(l.dir, fmt.Sprintf("redis-%d", port))
}
func (l *layout) redisFile(port int) string { return filepath.Join(l.redisDir(port), "redis.conf") }
func (l *layout) sentinelDir(p int) string {
	return filepath.Join(l.dir, fmt.Sprintf("sentinel-%d", p))
}
func (l *layout) sentinelFile(p int) string { return filepath.Join(l.sentinelDir(p), "sentinel.conf") }
func (l *layout) sentinelAddrs() (a []string) {
	for _, port := range l.sentinels {
		a = append(a, loopback(port))
	}
	return a
}

// write makes every file that a process is started with.
func (l *layout) write() error {
	files := map[string]string{l.proxyFile(): l.proxyConf(), l.managerFile(): l.managerConf()}
	for _, g := range l.groups {
		files[l.redisFile(g.master)] = l.redisConf(g.master, 0)
		files[l.redisFile(g.replica)] = l.redisConf(g.replica, g.master)
	}
	for i, port := range l.sentinels {
		files[l.sentinelFile(port)] = l.sentinelConf(i)
	}
	for _, dir := range []string{l.state(), l.logs()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// redisConf is a server that keeps its data over a crash: one that came back empty, as a master, would take the data of
// its replica along. of is the port of its master, 0 for a master.
func (l *layout) redisConf(port, of int) string {
	lines := []string{
		"bind 127.0.0.1", fmt.Sprintf("port %d", port), "daemonize no", "dir " + quote(l.redisDir(port)),
		`save ""`, "appendonly yes", "repl-diskless-sync yes", "repl-diskless-sync-delay 0",
	}
	if of != 0 {
		lines = append(lines, fmt.Sprintf("replicaof 127.0.0.1 %d", of))
	}
	return strings.Join(lines, "\n") + "\n"
}

func (l *layout) sentinelConf(i int) string {
	port := l.sentinels[i]
	lines := []string{
		"bind 127.0.0.1", fmt.Sprintf("port %d", port), "daemonize no", "dir " + quote(l.sentinelDir(port)),
		"sentinel myid " + l.ids[i], "sentinel deny-scripts-reconfig yes",
	}
	for _, g := range l.groups {
		lines = append(lines,
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", g.name, g.master, quorum),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", g.name, downAfter),
			fmt.Sprintf("sentinel failover-timeout %s %d", g.name, failoverTimeout),
			fmt.Sprintf("sentinel known-replica %s 127.0.0.1 %d", g.name, g.replica))
		for j, other := range l.sentinels {
			if j != i {
				lines = append(lines, fmt.Sprintf("sentinel known-sentinel %s 127.0.0.1 %d %s", g.name, other, l.ids[j]))
			}
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// quote is a value in redis.conf that may have a blank in it.
func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

func (l *layout) managerConf() string {
	return fmt.Sprintf(`# The manager of the lab. The file is watched, and MANAGER SET rewrites it.
listen: %s
clusters:
  lab:
    groups: [%s]
    sentinels: [%s]
`, loopback(l.manager), strings.Join(l.groupNames(), ", "), strings.Join(l.sentinelAddrs(), ", "))
}

func (l *layout) proxyConf() string {
	return fmt.Sprintf(`# The proxy of the lab. Save it with a change: it is watched, and what is valid is taken over.
admin:   { listen: %q }
metrics: { listen: %q }
log:     { level: info, format: text }
state_dir: %q                 # the last good answer of the manager

pools:
  lab:                                          # groups and sentinels from the manager
    listen: %q
    hash_tag: "{}"
    timeout: 3s
    manager: { addresses: [%q], cluster: lab, heartbeat: 1s }
  cache:                                        # the same ones, from this file
    listen: %q
    hash_tag: "{}"
    timeout: 3s
    groups: [%s]
    sentinels: [%s]
`, loopback(l.admin), loopback(l.metrics), l.state(), loopback(l.lab), loopback(l.manager), loopback(l.cache),
		strings.Join(l.groupNames(), ", "), quoted(l.sentinelAddrs()))
}

func (l *layout) groupNames() (names []string) {
	for _, g := range l.groups {
		names = append(names, g.name)
	}
	return names
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(out, ", ")
}
