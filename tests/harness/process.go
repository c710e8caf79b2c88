package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a child of the test. Its methods may be called from any goroutine.
type Process struct {
	Name string // as failures call it
	argv []string
	log  *journal

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has been waited for
}

// Start runs a program until the test ends.
func Start(t testing.TB, name string, argv ...string) *Process {
	t.Helper()
	return start(t, name, argv...)
}

// start runs argv and stops it when the test ends. The log is printed if the test has failed by then.
func start(t testing.TB, name string, argv ...string) *Process {
	t.Helper()
	p := &Process{Name: name, argv: argv, log: &journal{}}
	if err := p.run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.end()
		for _, sign := range alarms {
			if strings.Contains(p.Log(), sign) {
				t.Errorf("the log of %s has %q", p.Name, sign)
			}
		}
		if t.Failed() {
			ShowLog(t, p.Name, p.Log())
		}
	})
	return p
}

func (p *Process) run() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = 2 * time.Second // a grandchild that keeps the pipe open
	if err := spawner.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // the state is read from cmd.ProcessState
	}()
	return nil
}

// end stops the process for good: politely at first, unless it is stopped or deaf.
func (p *Process) end() {
	if p.Exited() {
		return
	}
	p.Signal(syscall.SIGCONT)
	p.Signal(syscall.SIGTERM)
	if !p.waitFor(5 * time.Second) {
		p.Signal(syscall.SIGKILL)
		p.waitFor(Patience)
	}
}

// Signal sends a signal; one that comes too late is no failure.
func (p *Process) Signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.cmd.Process.Signal(s)
}

// Kill is kill -9; it returns when the process is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	p.waitFor(Patience)
}

// Terminate sends SIGTERM and returns the exit code, or an error if the process outlives the time given.
func (p *Process) Terminate(within time.Duration) (int, error) {
	p.Signal(syscall.SIGTERM)
	return p.Wait(within)
}

// Freeze is SIGSTOP, Thaw is SIGCONT.
func (p *Process) Freeze() { p.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { p.Signal(syscall.SIGCONT) }

// Wait waits for the process to exit by itself.
func (p *Process) Wait(within time.Duration) (int, error) {
	if !p.waitFor(within) {
		return 0, fmt.Errorf("%s still runs after %v", p.Name, within)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.ProcessState.ExitCode(), nil
}

// Exited reports whether the process is gone.
func (p *Process) Exited() bool {
	select {
	case <-p.done():
		return true
	default:
		return false
	}
}

func (p *Process) done() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

func (p *Process) waitFor(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done():
		return true
	case <-timer.C:
		return false
	}
}

// restart runs the same command again after the process has gone.
func (p *Process) restart() error {
	if !p.Exited() {
		return fmt.Errorf("restart %s: it still runs", p.Name)
	}
	return p.run()
}

// PID is the process's id.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Log is what the process wrote so far (the last MiB of it).
func (p *Process) Log() string { return p.log.String() }

// FDs counts the process's open descriptors.
func (p *Process) FDs() (int, error) {
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(p.PID()) + "/fd")
	return len(entries), err
}

// RSS is the process's resident memory in bytes.
func (p *Process) RSS() (int64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib int64
			_, err := fmt.Sscan(rest, &kib)
			return kib << 10, err
		}
	}
	return 0, errors.New("no VmRSS in /proc/<pid>/status")
}

// journal keeps the last part of what a process writes.
type journal struct {
	mu  sync.Mutex
	buf []byte
}

const journalSize = 1 << 20

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.buf = append(j.buf, b...)
	if over := len(j.buf) - journalSize; over > 0 {
		j.buf = append(j.buf[:0], j.buf[over:]...)
	}
	return len(b), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.buf)
}

func (j *journal) tail(lines int) string { return tail(j.String(), lines) }

// spawner starts all children from one thread that lives as long as the test process. On Linux a child asks for a
// signal at the death of its parent, and the parent is the thread that forked it: any other thread may end sooner.
var spawner = &forker{}

type forker struct {
	once sync.Once
	jobs chan func()
	done chan struct{}
}

func (f *forker) start(cmd *exec.Cmd) error {
	f.once.Do(func() {
		f.jobs, f.done = make(chan func()), make(chan struct{})
		go func() {
			defer close(f.done)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for job := range f.jobs {
				job()
			}
		}()
	})
	result := make(chan error)
	f.jobs <- func() { result <- cmd.Start() }
	return <-result
}

// stop ends the thread; nothing can be started after it.
func (f *forker) stop() {
	f.once.Do(func() { f.jobs, f.done = make(chan func()), make(chan struct{}); close(f.done) })
	close(f.jobs)
	<-f.done
}
