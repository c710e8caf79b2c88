package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"respgate/tests/harness"
)

// TestLab does what a newcomer does: starts the lab, pastes the commands that it shows, kills a master, and presses
// Ctrl-C. Nothing may be left. It runs alone: its sentinels call a server down that is silent for a second.
func TestLab(t *testing.T) {
	proxy := harness.Program(t, "respgate")
	dir := filepath.Join(t.TempDir(), "lab")
	lab := harness.Start(t, "respgate lab", proxy, "lab", "-dir", dir)
	harness.Eventually(t, 2*harness.Patience, "the lab is up", func() error {
		if lab.Exited() {
			return errors.New("it has exited: " + lab.Log())
		}
		if !strings.Contains(lab.Log(), "lab is up") {
			return errors.New("not yet")
		}
		return nil
	})
	t.Cleanup(func() { showLogs(t, dir) })
	screen := lab.Log()
	run := func(command, part string) error {
		t.Helper()
		line := regexp.MustCompile(`(?m)^  (.*` + regexp.QuoteMeta(command) + `.*)$`).FindStringSubmatch(screen)
		if line == nil {
			t.Fatalf("the screen shows no command with %q:\n%s", command, screen)
		}
		r := harness.Run(t, "/bin/sh", "-c", line[1])
		if r.Code != 0 || !strings.Contains(r.Stdout, part) {
			return fmt.Errorf("%s: exit code %d, no %q in\n%s%s", line[1], r.Code, part, r.Stdout, r.Stderr)
		}
		return nil
	}
	paste := func(command, part string) {
		t.Helper()
		if err := run(command, part); err != nil {
			t.Error(err)
		}
	}
	// A busy machine may be silent for a second, and the lab fails over then.
	shows := func(command, part string) {
		t.Helper()
		harness.Eventually(t, 2*harness.Patience, command, func() error { return run(command, part) })
	}
	paste("MSET apple 1 banana 2 cherry 3", "OK")
	paste("MGET cherry banana apple", "3\n2\n1\n")
	paste("PROXY ROUTE lab apple", "group")
	paste("PROXY HELP", "SWITCH")
	paste("PROXY INFO pools", "lab")
	shows("PROXY POOLS", "up")

	// The failover, with a client that goes on meanwhile.
	addrs := regexp.MustCompile(`(?m)^ +(?:master of g1 +(\S+:\d+)|proxy, console +(\S+)|pool lab +(\S+))`).FindAllStringSubmatch(screen, -1)
	if len(addrs) != 3 {
		t.Fatalf("the screen does not show the addresses:\n%s", screen)
	}
	master, console, pool := addrs[0][1], addrs[1][2], addrs[2][3]
	conn := dial(t, pool)
	paste("kill -9", "")
	harness.Eventually(t, 2*harness.Patience, "g1 has another master", func() error {
		r, err := harness.Ask(console, "PROXY", "MASTERS", "lab", "g1")
		if err != nil || r.Err() != nil {
			return errors.Join(err, r.Err())
		}
		if row := r.Rows()[0]; row["state"] != "up" || row["master"] == master {
			return fmt.Errorf("%v", row)
		}
		return nil
	})
	want(t, conn, "OK", "MSET", "apple", "1", "banana", "2", "cherry", "3")
	paste("kill -STOP", "")
	shows("PROXY INFO sentinels", "watching")
	paste("kill -CONT", "")
	paste("MANAGER SET lab GROUPS g1", "OK")
	paste("MANAGER PROXIES lab", "applied-version")

	family := children(t, lab.PID())
	if len(family) < 8 {
		t.Errorf("the lab has %d processes, want servers, sentinels, a manager and a proxy", len(family))
	}
	lab.Signal(syscall.SIGINT)
	if code, err := lab.Wait(2 * harness.Patience); err != nil || code != 0 {
		t.Errorf("after Ctrl-C: exit code %d, %v", code, err)
	}
	harness.Eventually(t, harness.Patience, "no process is left", func() error {
		for _, pid := range family {
			if syscall.Kill(pid, 0) == nil {
				return fmt.Errorf("process %d is", pid)
			}
		}
		return nil
	})
	if _, err := harness.Dial(pool); err == nil {
		t.Error("somebody still listens on the pool's port")
	}
}

// showLogs prints what the lab's sentinels say, if the test has failed.
func showLogs(t *testing.T, dir string) {
	if !t.Failed() {
		return
	}
	names, err := filepath.Glob(filepath.Join(dir, "log", "sentinel-*"))
	if err != nil {
		t.Error(err)
	}
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil {
			harness.ShowLog(t, "redis-"+filepath.Base(name), string(data))
		}
	}
}

// children are the processes whose parent is pid.
func children(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, name := range stats {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it has gone meanwhile
		}
		// pid (name) state parent ...; the name may have blanks and brackets in it.
		_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			if child, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
				found = append(found, child)
			}
		}
	}
	return found
}
