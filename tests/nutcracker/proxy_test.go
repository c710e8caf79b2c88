//go:build linux

package nutcracker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"respgate/engine/shard"
)

// server is one line of a `servers` list, and what it stands for.
type server struct {
	backend *backend
	raw     string // as it stands in the file
	node    shard.Node
}

func newServer(b *backend, weight int, alias string) server {
	raw := fmt.Sprintf("%s:%d:%d", b.host, b.port, weight)
	return server{b, withAlias(raw, alias), shard.Node{Name: shard.NodeName(b.host, b.port, alias), Weight: weight}}
}

func newSocketServer(b *backend, weight int, alias string) server {
	raw := fmt.Sprintf("%s:%d", b.socket, weight)
	return server{b, withAlias(raw, alias), shard.Node{Name: shard.SocketName(b.socket, alias), Weight: weight}}
}

func withAlias(raw, alias string) string {
	if alias != "" {
		return raw + " " + alias
	}
	return raw
}

// pool is a pool of nutcracker's and its counterpart.
type pool struct {
	name    string
	hash    string // hash, dist and tag may be ""
	dist    string
	tag     string
	raw     string // further directives, as they stand in the file
	servers []server
}

func (p pool) String() string { return fmt.Sprintf("%s/%s/tag%s%s", p.hash, p.dist, p.tag, p.raw) }

func (p pool) conf(socket string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n  listen: %s\n  redis: true\n", p.name, socket)
	for _, directive := range []struct{ key, value string }{{"hash", p.hash}, {"distribution", p.dist}, {"hash_tag", p.tag}} {
		if directive.value != "" {
			fmt.Fprintf(&b, "  %s: %q\n", directive.key, directive.value)
		}
	}
	if p.raw != "" {
		fmt.Fprintf(&b, "  %s\n", p.raw)
	}
	b.WriteString("  servers:\n")
	for _, s := range p.servers {
		fmt.Fprintf(&b, "   - %s\n", s.raw)
	}
	return b.String()
}

// ring is built with the names that nutcracker has in its file.
func (p pool) ring(t *testing.T, ejected ...int) *shard.Ring {
	t.Helper()
	hash, err := shard.ParseHash(p.hash)
	if err != nil {
		t.Fatal(err)
	}
	dist, err := shard.ParseDistribution(p.dist)
	if err != nil {
		t.Fatal(err)
	}
	c := shard.Config{Hash: hash, Distribution: dist, Tag: p.tag}
	for _, s := range p.servers {
		c.Nodes = append(c.Nodes, s.node)
	}
	for _, i := range ejected {
		c.Nodes[i].Ejected = true
	}
	r, err := shard.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// proxy is a nutcracker that listens on one unix socket for each pool.
type proxy struct {
	*process
	dir string
}

func (p *proxy) socket(pool string) string { return filepath.Join(p.dir, pool+".sock") }

func startProxy(t *testing.T, pools []pool) *proxy {
	t.Helper()
	nutcracker := binary(t, "nutcracker", "nutcracker")
	p := &proxy{dir: socketDir(t)}
	var conf strings.Builder
	for _, pool := range pools {
		conf.WriteString(pool.conf(p.socket(pool.name)))
	}
	path, log := filepath.Join(p.dir, "nutcracker.yml"), filepath.Join(p.dir, "log")
	writeFile(t, path, conf.String())
	p.process = startOn(t, func() (*process, error) {
		run, err := start(nutcracker, "-c", path, "-o", log, "-p", filepath.Join(p.dir, "pid"),
			"-a", "127.0.0.1", "-s", strconv.Itoa(freePort(t)))
		if err != nil {
			return nil, err
		}
		for _, pool := range pools {
			err := run.awaitReady(func() error {
				l, err := dial("unix", p.socket(pool.name))
				if err != nil {
					return err
				}
				return l.conn.Close()
			})
			if err != nil {
				run.kill()
				said, _ := os.ReadFile(log) // there may be none
				return nil, fmt.Errorf("nutcracker, pool %s: %w\n%s", pool, err, said)
			}
		}
		return run, nil
	})
	return p
}
