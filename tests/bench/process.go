package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// fleet owns the processes of a run and the directory that holds their files and logs.
type fleet struct {
	dir     string
	running []*process
}

// process is a child. Its log is a file in the fleet's directory.
type process struct {
	name string
	pid  int
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has been waited for
}

func newFleet() (*fleet, error) {
	dir, err := os.MkdirTemp("", "respgate-bench-")
	if err != nil {
		return nil, err
	}
	return &fleet{dir: dir}, nil
}

// command says how to start a process.
type command struct {
	name   string
	cpus   string // that it may run on, as taskset takes them; "" is any
	argv   []string
	stdin  *os.File
	stdout *os.File // its log file if nil
}

// start runs a program. The caller is the main goroutine.
func (f *fleet) start(c command) (*process, error) {
	argv := c.argv
	if c.cpus != "" {
		argv = append([]string{"taskset", "-c", c.cpus}, argv...)
	}
	p := &process{name: c.name, log: filepath.Join(f.dir, c.name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if c.stdin != nil {
		p.cmd.Stdin = c.stdin
	}
	if c.stdout != nil {
		p.cmd.Stdout = c.stdout
	}
	p.cmd.SysProcAttr = processAttributes()
	if err := p.cmd.Start(); err != nil {
		if c.cpus != "" && errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf(`%w (of util-linux; without it, -proxy-cpus "" -load-cpus "")`, err)
		}
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is in its log
	}()
	f.running = append(f.running, p)
	return p, nil
}

// stop ends a process: politely, then by force. A frozen one is thawed first.
func (f *fleet) stop(p *process) {
	f.running = slices.DeleteFunc(f.running, func(q *process) bool { return q == p })
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return
	case <-time.After(5 * time.Second):
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

// close ends all processes, the last one first, and removes the directory.
func (f *fleet) close() {
	for len(f.running) > 0 {
		f.stop(f.running[len(f.running)-1])
	}
	_ = os.RemoveAll(f.dir)
}

// signal sends a signal; one that comes too late is no failure.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// failed is an error about the process, with the end of its log.
func (p *process) failed(what string) error {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Errorf("%s %s", p.name, what)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	lines = lines[max(0, len(lines)-5):]
	return fmt.Errorf("%s %s; the end of its log:\n%s", p.name, what, strings.Join(lines, "\n"))
}

// accepts waits until the process listens on the port.
func (p *process) accepts(ctx context.Context, port int) error {
	late := time.After(15 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.DialTimeout("tcp", loopback(port), time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return p.failed("has exited")
		case <-late:
			return p.failed(fmt.Sprintf("does not listen on port %d", port))
		case <-tick.C:
		}
	}
}

// output runs a program to its end and returns what it wrote to stdout. Cancelling kills it.
func (f *fleet) output(ctx context.Context, c command) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	c.stdout = w
	p, err := f.start(c)
	w.Close()
	if err != nil {
		return "", err
	}
	defer context.AfterFunc(ctx, func() { p.signal(syscall.SIGKILL) })()
	text, err := io.ReadAll(r)
	<-p.done
	f.running = slices.DeleteFunc(f.running, func(q *process) bool { return q == p })
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", err
	case !p.cmd.ProcessState.Success():
		return "", p.failed("failed: " + p.cmd.ProcessState.String() + " " + string(text))
	}
	return string(text), nil
}

// pause waits, or returns why the run ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// handedOut are the ports that freePort has given away.
var handedOut = map[int]bool{}

// freePort finds a port that nobody listens on, far below those that the kernel gives to outgoing connections.
func freePort() (int, error) {
	for range 4096 {
		port := 10240 + rand.IntN(10000)
		if handedOut[port] {
			continue
		}
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		handedOut[port] = true
		return port, l.Close()
	}
	return 0, errors.New("no free loopback port found")
}
