package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// placement says which processors the proxy, and everything else, may use, as taskset takes them; "" is any.
type placement struct{ proxy, rest string }

// flags adds -proxy-cpus and -load-cpus.
func (p *placement) flags(f *flag.FlagSet) {
	proxy, rest := "", ""
	if data, err := os.ReadFile("/proc/self/status"); err == nil {
		if cpus := parseAllowed(string(data)); len(cpus) > 1 {
			proxy, rest = strconv.Itoa(cpus[0]), strconv.Itoa(cpus[1])
		}
	}
	f.StringVar(&p.proxy, "proxy-cpus", proxy, `processors of the proxy, as taskset takes them; "" is any`)
	f.StringVar(&p.rest, "load-cpus", rest, `processors of the load and of the servers; "" is any`)
}

// parseAllowed are the processors that a process may use, of its /proc/<pid>/status: 0-2,5 is 0 1 2 5.
func parseAllowed(status string) []int {
	var cpus []int
	for line := range strings.Lines(status) {
		list, ok := strings.CutPrefix(line, "Cpus_allowed_list:")
		if !ok {
			continue
		}
		for _, part := range strings.Split(strings.TrimSpace(list), ",") {
			low, high, isRange := strings.Cut(part, "-")
			if !isRange {
				high = low
			}
			from, err1 := strconv.Atoi(low)
			to, err2 := strconv.Atoi(high)
			if err1 != nil || err2 != nil {
				return nil
			}
			for cpu := from; cpu <= to; cpu++ {
				cpus = append(cpus, cpu)
			}
		}
	}
	return cpus
}

// all is every processor that the placement names.
func (p placement) all() string {
	if p.proxy == "" || p.rest == "" {
		return ""
	}
	return p.proxy + "," + p.rest
}

// cpuTime is the CPU time that all threads of a process have used. The main thread of a process keeps its entry, and
// so do the threads of the programs measured here: none of them ends threads.
func cpuTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	read := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended meanwhile
		}
		t, err := parseSchedstat(string(data))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		sum += t
		read++
	}
	if read == 0 {
		return 0, fmt.Errorf("no /proc/%d/task/*/schedstat: CPU times need Linux, and the process alive", pid)
	}
	return sum, nil
}

// cpuTimes is the sum over processes.
func cpuTimes(processes []*process) (time.Duration, error) {
	var sum time.Duration
	for _, p := range processes {
		t, err := cpuTime(p.pid)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", p.name, err)
		}
		sum += t
	}
	return sum, nil
}

// parseSchedstat reads the first of a schedstat's three numbers: nanoseconds spent running.
func parseSchedstat(text string) (time.Duration, error) {
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return 0, fmt.Errorf("%q is not a schedstat", text)
	}
	ns, err := strconv.ParseInt(fields[0], 10, 64)
	return time.Duration(ns), err
}

// rss is the resident memory of a process in MiB.
func rss(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseRSS(string(data))
}

func parseRSS(status string) (float64, error) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmRSS in /proc/<pid>/status")
}

// raiseDescriptors lets this program and its children open as many files as the system allows, and says whether that
// is enough.
func raiseDescriptors(need uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	if limit.Max < need {
		return fmt.Errorf("%d open files are needed for as many connections, and the limit is %d: raise it (ulimit -Hn)", need, limit.Max)
	}
	return nil
}

// machine is one line about where a run took place.
func machine() string {
	model := runtime.GOARCH
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := runtime.GOOS
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel += " " + strings.TrimSpace(string(data))
	}
	return fmt.Sprintf("%d processors (%s), %s, %s", runtime.NumCPU(), model, kernel, runtime.Version())
}

// firstLine is the first line that a program says, to either stream, when asked for its version.
func firstLine(argv ...string) string {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil && line == "" {
		return argv[0] + ": " + err.Error()
	}
	return strings.TrimSpace(line)
}
