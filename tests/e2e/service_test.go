package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"respgate/tests/harness"
)

// notices collects what a service tells systemd.
type notices struct {
	mu  sync.Mutex
	all []string
}

func (n *notices) listen(t *testing.T) (socket string) {
	t.Helper()
	// Short: the address of a unix socket has room for a hundred bytes.
	dir, err := os.MkdirTemp("", "rg")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			size, err := c.Read(buf)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.all = append(n.all, strings.Fields(string(buf[:size]))...)
			n.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = c.Close()
		wg.Wait()
		_ = os.RemoveAll(dir)
	})
	return socket
}

func (n *notices) wait(t *testing.T, want ...string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, fmt.Sprintf("systemd is told %v", want), func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		var states []string
		for _, s := range n.all {
			if !strings.HasPrefix(s, "MONOTONIC_USEC=") && !strings.HasPrefix(s, "STATUS=") {
				states = append(states, s)
			}
		}
		if !slices.Equal(states, want) {
			return fmt.Errorf("%v", n.all)
		}
		return nil
	})
}

// inFlight is nil while the pool waits for one reply.
func inFlight(c *harness.Config, pool string) error {
	reply, err := harness.Ask(c.Admin, "PROXY", "POOLS", pool)
	if err != nil {
		return err
	}
	for _, row := range reply.Rows() {
		if row["inflight"] == "1" {
			return nil
		}
	}
	return fmt.Errorf("%s", reply.Text())
}

// TestService runs the proxy as systemd does: it says when it is ready, when it reloads and when it stops; at SIGTERM
// nobody new is let in, and who waits for a reply gets it.
func TestService(t *testing.T) {
	t.Parallel()
	r := harness.StartRedis(t, harness.RedisOptions{})
	c := harness.NewConfig(t)
	addr := c.ServersPool("one", []string{r.Addr() + ":1 alpha"}, "timeout: 1m")
	file := filepath.Join(t.TempDir(), "respgate.yml")
	if err := os.WriteFile(file, []byte(c.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var told notices
	p := harness.Start(t, "respgate", "/usr/bin/env", "NOTIFY_SOCKET="+told.listen(t), harness.Program(t, "respgate"), "-c", file)
	told.wait(t, "READY=1")
	want(t, dial(t, addr), "OK", "SET", "a", "1") // ready is ready

	p.Signal(syscall.SIGHUP)
	told.wait(t, "READY=1", "RELOADING=1", "READY=1")

	waiting, idle := dial(t, addr), dial(t, addr)
	want(t, idle, "PONG", "PING")
	r.Must("CLIENT", "PAUSE", "600000", "WRITE")
	if err := waiting.Write(harness.Encode("SET", "a", "2")); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, harness.Patience, "the server has the request", func() error { return inFlight(c, "one") })
	p.Signal(syscall.SIGTERM)
	told.wait(t, "READY=1", "RELOADING=1", "READY=1", "STOPPING=1")
	r.Must("CLIENT", "UNPAUSE")
	if got, err := waiting.Receive(); err != nil || got.Text() != "OK" {
		t.Errorf("the request in flight at SIGTERM: %q, %v; want its reply", got.Text(), err)
	}
	if rest, err := idle.EOF(); err != nil {
		t.Errorf("an idle client at SIGTERM: %q, %v; want its connection closed", rest, err)
	}
	if code, err := p.Wait(harness.Patience); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
}

// TestUnixSocket lets clients in by a path, with the mode that the file says.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	r := harness.StartRedis(t, harness.RedisOptions{})
	dir, err := os.MkdirTemp("", "rg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	c := harness.NewConfig(t)
	c.ServersPool("one", []string{r.Addr() + ":1 alpha"})
	c.Listen("one", path+" 0600")
	p := harness.StartProxy(t, c)
	p.WaitUp("one")
	if got := harness.Run(t, "redis-cli", "-s", path, "SET", "a", "1"); got.Stdout != "OK\n" {
		t.Errorf("SET through the socket: %q %q", got.Stdout, got.Stderr)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, want 0600", info.Mode().Perm())
	}
	if code, err := p.Terminate(harness.Patience); err != nil || code != 0 {
		t.Errorf("SIGTERM: exit code %d, %v", code, err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}
