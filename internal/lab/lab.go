// Package lab is `respgate lab`: everything a proxy needs to be tried, on this machine, from one command. It runs what a
// deployment has, on loopback:
//
//	proxy ── pool lab ──> manager ──> which groups, which sentinels
//	  │   └─ pool cache ─> the same groups, from the file
//	  ├──> g1: master, replica ──┐
//	  └──> g2: master, replica ──┴── sentinel, sentinel, sentinel
//
// One goroutine, that of Main, owns all of it: it starts the processes, looks at the console, starts again what has died
// and stops everything. It is locked to its thread, for on Linux a child dies with the thread that started it, and so with
// the lab, however the lab ends. The other goroutines only wait for a process and report its end.
package lab

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const (
	startLimit = 60 * time.Second       // for everything to be up
	pollEvery  = 50 * time.Millisecond  // while something is waited for
	lookEvery  = 100 * time.Millisecond // at the console
	reviveIn   = 10 * time.Second       // a process that died is started again: long after its group has failed over
)

// up is the last line of the start; scripts wait for it.
const up = "lab is up: press Ctrl-C to stop"

// Main runs the lab until SIGINT, SIGTERM or SIGHUP, and returns the exit code. Nothing of it is left when it returns, but
// for the directory if -dir named one.
func Main(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("respgate lab", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "", "empty or new `directory` for configurations, data and logs, kept at the end (a temporary one is removed)")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil {
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "respgate lab: unexpected argument %q\n", flags.Arg(0))
		return exitUsage
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A reader that is gone (SIGPIPE) ends the lab like a terminal that is (SIGHUP): nobody can see it any more.
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer release()
	if err := run(ctx, *dir, stdout); err != nil {
		fmt.Fprintf(stderr, "respgate lab: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// lab is what runs.
type lab struct {
	out      io.Writer
	programs programs
	layout   layout

	servers   []*process // what they are, master or replica, changes with time
	sentinels []*process
	manager   *process
	proxy     *process
	exits     chan exit
}

// run is the life of a lab; it ends with ctx.
func run(ctx context.Context, dir string, out io.Writer) (err error) {
	found, err := findPrograms()
	if err != nil {
		return err
	}
	dir, temporary, err := makeDir(dir)
	if err != nil {
		return err
	}
	defer func() {
		if temporary {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	var reserved ports
	defer reserved.release()
	l := &lab{out: out, programs: found}
	if l.layout, err = newLayout(dir, &reserved); err != nil {
		return err
	}
	if err := l.layout.write(); err != nil {
		return err
	}
	l.plan()
	defer func() {
		l.stop()
		if ctx.Err() != nil {
			err = nil // it was told to stop: what that interrupted is no failure
			l.farewell(temporary)
		}
	}()
	if err := l.start(ctx); err != nil {
		return err
	}
	guide{layout: l.layout, pids: l.pids(), active: l.activeSentinel(ctx), cli: hasCLI()}.print(out)
	fmt.Fprintln(out, up)
	l.watch(ctx)
	return nil
}

func (l *lab) farewell(temporary bool) {
	if temporary {
		fmt.Fprintln(l.out, "\nall processes are stopped, and the directory is removed")
		return
	}
	fmt.Fprintf(l.out, "\nall processes are stopped; configurations and logs are in %s\n", l.layout.dir)
}

// programs are the paths of what the lab runs.
type programs struct{ redis, sentinel, manager, proxy string }

// findPrograms looks for Redis on PATH, and for the project's own programs where this one is.
func findPrograms() (p programs, err error) {
	var missing []string
	find := func(name string) string {
		path, err := exec.LookPath(name)
		if err != nil {
			missing = append(missing, name)
		}
		return path
	}
	p.redis, p.sentinel = find("redis-server"), find("redis-sentinel")
	if len(missing) > 0 {
		list := strings.Join(missing, " ")
		return p, fmt.Errorf("not installed: %s; on Debian: apt-get install %s", list, list)
	}
	if p.proxy, err = os.Executable(); err != nil {
		return p, fmt.Errorf("find the program itself: %w", err)
	}
	p.manager = filepath.Join(filepath.Dir(p.proxy), "respgate-manager")
	if _, err := exec.LookPath(p.manager); err != nil {
		if p.manager, err = exec.LookPath("respgate-manager"); err != nil {
			return p, fmt.Errorf("no respgate-manager in %s, nor on PATH: `make build` makes it", filepath.Dir(p.proxy))
		}
	}
	return p, nil
}

func hasCLI() bool {
	_, err := exec.LookPath("redis-cli")
	return err == nil
}

// plan says what is to run, without starting it.
func (l *lab) plan() {
	at := &l.layout
	program := func(role, name, address string, argv ...string) *process {
		return &process{role: role, name: name, address: address, argv: argv, log: at.log(name)}
	}
	for _, g := range at.groups {
		for _, port := range []int{g.master, g.replica} {
			l.servers = append(l.servers, program("server of "+g.name, fmt.Sprintf("redis-%d", port), loopback(port), l.programs.redis, at.redisFile(port)))
		}
	}
	for i, port := range at.sentinels {
		l.sentinels = append(l.sentinels, program(fmt.Sprintf("sentinel %d", i+1), fmt.Sprintf("sentinel-%d", port), loopback(port), l.programs.sentinel, at.sentinelFile(port)))
	}
	l.manager = program("manager", "manager", loopback(at.manager), l.programs.manager, "-c", at.managerFile())
	l.proxy = program("proxy", "respgate", loopback(at.admin), l.programs.proxy, "-c", at.proxyFile())
	l.exits = make(chan exit, len(l.all())) // one for each: it never fills, for none is started again before its end was read
}

func (l *lab) all() []*process {
	list := append([]*process{l.proxy, l.manager}, l.sentinels...)
	return append(list, l.servers...)
}

// pids are the processes by their address.
func (l *lab) pids() map[string]int {
	m := map[string]int{}
	for _, p := range l.all() {
		m[p.address] = p.pid
	}
	return m
}

// start brings everything up, in the order in which one part needs the other.
func (l *lab) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not up within %s", startLimit))
	defer cancel()
	for _, tier := range [][]*process{l.servers, l.sentinels, {l.manager}, {l.proxy}} {
		for _, p := range tier {
			if err := p.start(l.exits); err != nil {
				return err
			}
		}
		for _, p := range tier {
			if err := l.until(ctx, p.role+" at "+p.address+" answers", func() error { return answers(ctx, p.address) }); err != nil {
				return err
			}
		}
	}
	for _, p := range l.sentinels {
		for _, g := range l.layout.groups {
			what := p.role + " knows the others and the replica of " + g.name
			if err := l.until(ctx, what, func() error { return settled(ctx, p.address, g.name, len(l.sentinels)) }); err != nil {
				return err
			}
		}
	}
	return l.until(ctx, "both pools are up", func() error { return poolsUp(ctx, l.proxy.address) })
}

// until waits for a condition. A process that ends meanwhile ends the wait, with the end of its log.
func (l *lab) until(ctx context.Context, what string, cond func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: waited until %s: %w", context.Cause(ctx), what, err)
		case e := <-l.exits:
			return fmt.Errorf("%s at %s has ended (%s); the end of its log:\n%s", e.process.role, e.process.address, e.how, e.process.logTail())
		case <-tick.C:
		}
	}
}

// watch tells what changes, and starts again what has died, until ctx ends.
func (l *lab) watch(ctx context.Context) {
	w := newWatcher(l.proxy.address)
	defer w.close()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	dead := map[*process]time.Time{} // when each is started again
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-l.exits:
			dead[e.process] = time.Now().Add(reviveIn)
			l.say("%s at %s (pid %d) has ended: %s; it is started again in %s", e.process.role, e.process.address, e.pid, e.how, reviveIn)
		case now := <-tick.C:
			l.revive(dead, now)
			for _, line := range w.look(ctx, l.pids()) {
				l.say("%s", line)
			}
		}
	}
}

func (l *lab) revive(dead map[*process]time.Time, now time.Time) {
	for p, at := range dead {
		if now.Before(at) {
			continue
		}
		if err := p.start(l.exits); err != nil {
			dead[p] = now.Add(reviveIn)
			l.say("%v; the next try is in %s", err, reviveIn)
			continue
		}
		delete(dead, p)
		l.say("%s at %s runs again, pid %d", p.role, p.address, p.pid)
	}
}

// say prints a line with the time.
func (l *lab) say(format string, args ...any) {
	fmt.Fprintf(l.out, "%s %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// stop ends all processes: first the proxy, while it can still answer its clients, the servers last. Another signal
// meanwhile kills what is left.
func (l *lab) stop() {
	hurry := make(chan os.Signal, 1)
	signal.Notify(hurry, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(hurry)
	for _, tier := range [][]*process{{l.proxy}, {l.manager}, l.sentinels, l.servers} {
		end(tier, hurry)
	}
}
