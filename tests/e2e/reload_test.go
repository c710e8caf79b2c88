package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"respgate/tests/harness"
)

// TestReload changes everything but one pool, again and again, while that pool is under load: its clients must not
// notice. What is broken is refused whole.
func TestReload(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{})
	c := p.Config
	l := p.Load("cache", f)
	l.Progress(100)
	kept := dial(t, c.Addr("cache"))
	want(t, kept, "OK", "SET", "kept", "1")

	// A pool is added.
	one := harness.StartRedis(t, harness.RedisOptions{})
	two := harness.StartRedis(t, harness.RedisOptions{})
	legacy := c.ServersPool("legacy", []string{one.Addr() + ":1 alpha"})
	p.Write(c.String())
	p.WaitUp("legacy")
	conn := dial(t, legacy)
	want(t, conn, "OK", "SET", "a", "one")

	// It is re-pointed.
	two.Must("SET", "a", "two")
	c.ServersPool("legacy", []string{two.Addr() + ":1 alpha"})
	p.Write(c.String())
	p.WaitMaster("legacy", "alpha", two.Addr())
	want(t, dial(t, legacy), "two", "GET", "a")

	// It moves to another port.
	c.Listen("legacy", harness.Address(t))
	p.Write(c.String())
	harness.Eventually(t, harness.Patience, "the pool listens on its new port", func() error {
		r, err := harness.Ask(c.Addr("legacy"), "GET", "a")
		if err == nil && r.Text() != "two" {
			err = fmt.Errorf("%s", r.Text())
		}
		return err
	})
	waitRefused(t, legacy)

	// A port that is taken: nothing of that file is applied, and the log says why.
	taken, err := net.Listen("tcp", harness.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	good := c.String()
	c.ServersPool("another", []string{one.Addr() + ":1 alpha"})
	c.Listen("another", taken.Addr().String())
	c.ServersPool("legacy", []string{one.Addr() + ":1 alpha"})
	p.Write(c.String())
	waitRefusal(t, p, taken.Addr().String())
	if r := p.Admin("PROXY", "POOLS", "another"); r.Kind != '-' {
		t.Errorf("a pool whose port is taken is on the console: %s", r.Text())
	}
	p.WaitMaster("legacy", "alpha", two.Addr())

	// A broken file, a deleted one, half of one: the old configuration stays.
	p.Write(good + "  broken:\n    listen: 127.0.0.1:1\n    no_such_key: 1\n")
	waitRefusal(t, p, "no_such_key")
	p.Write(good[:len(good)/2] + "\n  : : :")
	waitRefusal(t, p, "respgate.yml")
	if err := os.Remove(p.File); err != nil {
		t.Fatal(err)
	}
	want(t, kept, "1", "GET", "kept")
	p.WaitMaster("legacy", "alpha", two.Addr())

	// A good one is applied again, here at a SIGHUP, and a pool goes.
	c.Remove("another")
	c.Remove("legacy")
	moved := c.ServersPool("last", []string{one.Addr() + ":1 alpha"})
	p.Write(c.String())
	p.Signal(syscall.SIGHUP)
	p.WaitUp("last")
	want(t, dial(t, moved), "one", "GET", "a")
	if r := p.Admin("PROXY", "POOLS", "legacy"); !strings.HasPrefix(r.Text(), "-NOPOOL ") {
		t.Errorf("a removed pool is still there: %s", r.Text())
	}

	l.Progress(100)
	want(t, kept, "1", "GET", "kept") // on the connection it has had from the start
	clean(t, l.Finish(f.Masters()))
}

func waitRefused(t *testing.T, addr string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "nobody listens on "+addr, func() error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil
		}
		_ = c.Close()
		return fmt.Errorf("somebody does")
	})
}

// waitRefusal waits until the console names the cause of a refused reload.
func waitRefusal(t *testing.T, p *harness.Proxy, cause string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "the console says why the file was refused: "+cause, func() error {
		r := p.Admin("PROXY", "INFO", "config")
		if !strings.Contains(r.Str, cause) {
			return fmt.Errorf("%s", r.Text())
		}
		return nil
	})
}

// TestReloadCommand reloads from the console, dry and for real.
func TestReloadCommand(t *testing.T) {
	t.Parallel()
	r := harness.StartRedis(t, harness.RedisOptions{})
	c := harness.NewConfig(t)
	c.ServersPool("one", []string{r.Addr() + ":1 alpha"})
	p := harness.StartProxy(t, c)
	p.WaitUp("one")
	reply := p.Admin("PROXY", "RELOAD", "DRYRUN")
	if reply.Kind == '-' {
		t.Fatalf("PROXY RELOAD DRYRUN: %s", reply.Text())
	}
	// Deleted first, so that the watcher has no good file to load before the console does.
	if err := os.WriteFile(p.File, []byte("pools: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if reply := p.Admin("PROXY", "RELOAD"); reply.Kind != '-' || !strings.Contains(reply.Str, "respgate.yml:") {
		t.Errorf("PROXY RELOAD of a broken file: %s, want an error with file and line", reply.Text())
	}
	c.ServersPool("two", []string{r.Addr() + ":1 alpha"})
	p.Write(c.String())
	if reply := p.Admin("PROXY", "RELOAD"); reply.Kind == '-' {
		t.Errorf("PROXY RELOAD: %s", reply.Text())
	}
	p.WaitUp("two")
}

// TestCheckFile runs the programs with -t.
func TestCheckFile(t *testing.T) {
	t.Parallel()
	root := harness.ModuleRoot(t)
	proxy, manager := harness.Program(t, "respgate"), harness.Program(t, "respgate-manager")
	for _, good := range [][]string{{proxy, "-c", root + "/deploy/respgate.yml", "-t"}, {manager, "-c", root + "/deploy/manager.yml", "-t"}} {
		if r := harness.Run(t, good[0], good[1:]...); r.Code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", strings.Join(good, " "), r.Code, r.Stdout, r.Stderr)
		}
	}
	file := t.TempDir() + "/respgate.yml"
	text := "pools:\n  cache:\n    listen: 127.0.0.1:70000\n    timeot: 3s\n    groups: [g1]\n    sentinels: [127.0.0.1:26379]\n    redis_auth: s3cr3t\n    hash: md55\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := harness.Run(t, proxy, "-c", file, "-t")
	if r.Code != 1 {
		t.Errorf("a file with three mistakes: exit code %d, want 1", r.Code)
	}
	out := r.Stdout + r.Stderr
	for _, line := range []string{file + ":3:", file + ":4:", file + ":8:"} {
		if !strings.Contains(out, line) {
			t.Errorf("no error at %s in\n%s", line, out)
		}
	}
	if strings.Contains(out, "s3cr3t") {
		t.Errorf("a password is printed:\n%s", out)
	}
	if r := harness.Run(t, proxy, "-version"); r.Code != 0 || !strings.Contains(r.Stdout, "respgate") {
		t.Errorf("-version: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}
