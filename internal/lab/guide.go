package lab

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// guide is what is printed when the lab is up: what runs, and what to try with it.
type guide struct {
	layout layout
	pids   map[string]int // by address
	active string         // address of the active sentinel of pool lab; "" if it cannot be told
	cli    bool           // redis-cli is installed
}

func (g guide) print(w io.Writer) {
	fmt.Fprintf(w, "respgate lab in %s\n\n", g.layout.dir)
	g.table(w)
	fmt.Fprintln(w)
	if !g.cli {
		fmt.Fprint(w, "  redis-cli is not installed; on Debian: apt-get install redis-tools\n\n")
	}
	for _, part := range g.parts() {
		fmt.Fprintf(w, "%s\n", part.title)
		for _, line := range part.lines {
			fmt.Fprintf(w, "  %s\n", line)
		}
		fmt.Fprintln(w)
	}
}

// table is what runs, with the addresses and pids.
func (g guide) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	row := func(role, address, pid string) { fmt.Fprintf(t, "  %s\t%s\t%s\n", role, address, pid) }
	process := func(role string, port int) {
		row(role, loopback(port), fmt.Sprint(g.pids[loopback(port)]))
	}
	row("ROLE", "ADDRESS", "PID")
	for _, gr := range g.layout.groups {
		process("master of "+gr.name, gr.master)
		process("replica of "+gr.name, gr.replica)
	}
	for i, port := range g.layout.sentinels {
		process(fmt.Sprintf("sentinel %d", i+1), port)
	}
	process("manager", g.layout.manager)
	process("proxy, console", g.layout.admin)
	row("  pool lab", loopback(g.layout.lab), "groups and sentinels from the manager")
	row("  pool cache", loopback(g.layout.cache), "the same ones, from the file")
	row("  metrics", loopback(g.layout.metrics), "/metrics /livez /readyz")
	_ = t.Flush() // w is the screen
}

// part is a few commands under a title.
type part struct {
	title string
	lines []string
}

func (g guide) parts() []part {
	l, first := g.layout, g.layout.groups[0]
	pool, admin, manager := cli(l.lab), cli(l.admin), cli(l.manager)
	stop := "kill -STOP <pid of the sentinel with active 1>"
	cont := "kill -CONT <the same pid>"
	if pid := g.pids[g.active]; pid != 0 {
		stop, cont = fmt.Sprintf("kill -STOP %d", pid), fmt.Sprintf("kill -CONT %d", pid)
	}
	return []part{
		{"Through the pool: keys are shared out over g1 and g2", []string{
			pool + " MSET apple 1 banana 2 cherry 3",
			pool + " MGET cherry banana apple",
			admin + " PROXY ROUTE lab apple banana cherry",
		}},
		{"The console", []string{
			admin + " PROXY HELP",
			admin + " PROXY INFO pools         # and: masters, sentinels, manager, limits",
			admin + " PROXY POOLS              # the same as maps, for scripts; and: MASTERS SENTINELS MANAGER",
		}},
		{"A planned switch-over (back not before some 15 s, when the old master has become a replica)", []string{
			admin + " PROXY SWITCH lab g1",
		}},
		{"Kill the master of g1 while it is written to, from another terminal (it is started again after " + reviveIn.String() + ")", []string{
			pool + " -r 200 -i 0.05 INCR cherry",
			fmt.Sprintf("kill -9 %-6d                # after a switch, the pid that the last line about g1 on this screen names", g.pids[loopback(first.master)]),
		}},
		{"Freeze the active sentinel: another one takes over, no client notices", []string{
			stop,
			admin + " PROXY INFO sentinels",
			cont,
		}},
		{"Change the cluster at the manager: the pool has it with the next heartbeat", []string{
			manager + " MANAGER SET lab GROUPS g1",
			admin + " PROXY ROUTE lab apple banana cherry",
			manager + " MANAGER PROXIES lab",
			manager + " MANAGER SET lab GROUPS " + strings.Join(l.groupNames(), " "),
		}},
		{"Edit the proxy's file: what is valid is taken over when it is saved, a mistake is refused with its line", []string{
			"$EDITOR " + shell(l.proxyFile()),
			admin + " PROXY INFO config",
		}},
		{"Logs", []string{
			"tail -F " + shell(l.log("respgate")),
			"ls " + shell(l.logs()),
		}},
	}
}

func cli(port int) string { return fmt.Sprintf("redis-cli -p %d", port) }

// shell is a path as a shell takes it.
func shell(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@", r))
	}) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
