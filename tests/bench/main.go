// Bench measures the built proxy: against other proxies, and over the quantities that its cost may grow with.
//
//	bench compare    proxies side by side on the same load; a table of ratios
//	bench report     the same in half a minute, for CI: prints, and judges nothing
//	bench scaling    cost over connections, pipeline depth, value size, groups, loops, keys of an MGET; docs/SCALING.md
//	bench failover   what clients notice of each fault; the figures of docs/FAILOVER.md
//	bench load       the load generator that scaling runs as a process of its own
//
// It starts what it needs (redis-server, redis-benchmark, the proxies) on loopback, in a directory for the time being,
// and stops and removes all of it, also when it is interrupted. The proxy has one processor and everything else
// another, so that the proxy's CPU time is its own:
//
//	cpu 1: load ──> cpu 0: proxy ──> cpu 1: redis-server, redis-server, ...
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
)

const usage = `usage: bench compare | report | scaling | failover | load [flags]

  compare   proxies side by side on the same load: a row per run, then a table of ratios
  report    the same in half a minute: exits 0 once the programs have started
  scaling   the proxy's cost over connections, pipeline, value size, groups, loops, MGET width
  failover  faults on real servers and sentinels: when clients are served again, and what it cost them
  load      the load generator of scaling

bench COMMAND -h shows the flags.
`

// A child dies with the thread that started it (processAttributes), so all are started by the main goroutine and that
// one stays on the main thread.
func init() { runtime.LockOSThread() }

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	commands := map[string]func(context.Context, []string) error{
		"compare": compareMain, "report": reportMain, "scaling": scalingMain, "failover": failoverMain, "load": loadMain,
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprint(os.Stderr, usage)
		if args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help" {
			return 0
		}
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	switch err := command(ctx, args[1:]); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		return 130
	case errors.Is(err, errUsage):
		return 2
	default:
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", args[0], err)
		return 1
	}
}

// errUsage says that the flags were wrong, which the flag package has printed.
var errUsage = errors.New("wrong usage")

// newFlags makes the flags of a command; about is printed above them by -h.
func newFlags(command, about string) *flag.FlagSet {
	f := flag.NewFlagSet("bench "+command, flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: bench %s [flags]\n\n%s\n\n", command, about)
		f.PrintDefaults()
	}
	return f
}

func parse(f *flag.FlagSet, args []string) error {
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return errUsage
	case f.NArg() > 0:
		fmt.Fprintf(f.Output(), "unexpected argument %q\n", f.Arg(0))
		f.Usage()
		return errUsage
	}
	return nil
}

// commandLine is what a shell takes to run the command again.
func commandLine(command string, args []string) string {
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[](){}<>|&;#~!") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		command += " " + a
	}
	return command
}
