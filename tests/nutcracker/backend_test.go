//go:build linux

package nutcracker_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
)

// backend is a redis-server on a port and a unix socket. Tests talk to it on the socket.
type backend struct {
	*process
	host   string
	port   int
	socket string
	direct *link
}

func startBackend(t *testing.T, address func() (host string, port int)) *backend {
	t.Helper()
	server := binary(t, "redis-server", "redis-server")
	dir := socketDir(t)
	b := &backend{socket: filepath.Join(dir, "redis.sock")}
	b.process = startOn(t, func() (*process, error) {
		b.host, b.port = address()
		p, err := start(server, "--bind", b.host, "--port", strconv.Itoa(b.port), "--unixsocket", b.socket,
			"--save", "", "--appendonly", "no", "--dir", dir, "--daemonize", "no")
		if err != nil {
			return nil, err
		}
		err = p.awaitReady(func() error {
			l, err := dial("unix", b.socket)
			if err != nil {
				return err
			}
			defer l.conn.Close()
			_, err = l.do("PING")
			return err
		})
		if err != nil {
			p.kill()
			return nil, fmt.Errorf("redis-server on %s: %w", hostPort(b.host, b.port), err)
		}
		return p, nil
	})
	b.direct = mustDial(t, "unix", b.socket)
	return b
}

func startBackends(t *testing.T, n int) []*backend {
	t.Helper()
	all := make([]*backend, n)
	for i := range all {
		all[i] = startBackend(t, func() (string, int) { return "127.0.0.1", freePort(t) })
	}
	return all
}

// startMemcachedPort starts a backend on port 11211, of an address of its own so that the port is free.
func startMemcachedPort(t *testing.T) *backend {
	t.Helper()
	return startBackend(t, func() (string, int) {
		return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)), 11211
	})
}

// keys returns what the backend holds.
func (b *backend) keys(t *testing.T) []string {
	t.Helper()
	keys, err := b.direct.do("KEYS", "*")
	if err != nil {
		t.Fatalf("redis-server %s: KEYS: %v", hostPort(b.host, b.port), err)
	}
	return keys
}

func (b *backend) flush(t *testing.T) {
	t.Helper()
	if _, err := b.direct.do("FLUSHALL"); err != nil {
		t.Fatalf("redis-server %s: FLUSHALL: %v", hostPort(b.host, b.port), err)
	}
}
