//go:build linux

package nutcracker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait: for a process to answer, and for a reply.
const patience = 30 * time.Second

// binary finds an installed program, also where a user's PATH does not look.
func binary(t *testing.T, name, debianPackage string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: apt-get install %s", name, debianPackage)
	return ""
}

// process is a program that runs until the test ends or it is killed.
type process struct {
	cmd    *exec.Cmd
	output bytes.Buffer  // to be read when exited is closed
	exited chan struct{} // closed when the process is gone and has been waited for
}

func start(path string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // not even a killed test leaves it behind
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how a killed process ended says nothing; start-up failures are seen in awaitReady
		close(p.exited)
	}()
	return p, nil
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only if it is gone already
	<-p.exited
}

// awaitReady polls until ready returns nil. It fails as soon as the process is gone.
func (p *process) awaitReady(ready func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("exited: %s", bytes.TrimSpace(p.output.Bytes()))
		case <-ctx.Done():
			return fmt.Errorf("not ready after %v: %w", patience, err)
		case <-tick.C:
		}
	}
}

// startOn starts a program on a port that was free a moment ago, and on another one if somebody was faster.
func startOn(t *testing.T, attempt func() (*process, error)) *process {
	t.Helper()
	var failures error
	for range 5 {
		p, err := attempt()
		if err == nil {
			t.Cleanup(p.kill)
			return p
		}
		failures = errors.Join(failures, err)
	}
	t.Fatal(failures)
	return nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// socketDir is a directory whose paths are short enough for a unix socket (107 bytes) whatever the test's name.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ncr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
