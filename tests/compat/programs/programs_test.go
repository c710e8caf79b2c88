package programs

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"respgate/tests/compat/page"
	"respgate/tests/harness"
)

// program is one program with one protocol or parser.
type program struct {
	name string // its keys begin with it
	argv []string
	node int // the oldest Node.js that runs it
}

// Debian's packages belong to Debian's interpreters, whatever else is on the PATH.
var all = []program{
	{"ioredis5", []string{"node", "node/ioredis.mjs", "ioredis5", "2"}, 14},
	{"ioredis6", []string{"node", "node/ioredis.mjs", "ioredis", "3"}, 20},
	{"ioredis6-resp2", []string{"node", "node/ioredis.mjs", "ioredis", "2"}, 20},
	{"node-redis4", []string{"node", "node/node-redis.mjs", "redis4", "2"}, 14},
	{"node-redis5", []string{"node", "node/node-redis.mjs", "redis5", "2"}, 18},
	{"node-redis5-resp3", []string{"node", "node/node-redis.mjs", "redis5", "3"}, 18},
	{"node-redis6", []string{"node", "node/node-redis.mjs", "redis", "3"}, 20},
	{"node-redis6-resp2", []string{"node", "node/node-redis.mjs", "redis", "2"}, 20},
	{"bullmq", []string{"node", "node/bullmq.mjs"}, 20},
	{"redis-py", []string{"/usr/bin/python3", "python/redis_py.py", "python"}, 0},
	{"redis-py-hiredis", []string{"/usr/bin/python3", "python/redis_py.py", "hiredis"}, 0},
	{"redis-rb", []string{"/usr/bin/ruby", "ruby/redis_rb.rb"}, 0},
	{"phpredis", []string{"/usr/bin/php", "php/phpredis.php"}, 0},
	{"redis-cli", []string{"bash", "shell/redis-cli.sh", "2"}, 0},
	{"redis-cli-resp3", []string{"bash", "shell/redis-cli.sh", "3"}, 0},
	{"redis-benchmark", []string{"bash", "shell/redis-benchmark.sh"}, 0},
}

// differences are argued on the page.
var differences = []difference{}

func TestPrograms(t *testing.T) {
	t.Parallel()
	dir, programs := install(t), runnable(t)
	targets := startTargets(t)
	var mu sync.Mutex
	said := map[string]map[string]outcome{} // program, target
	for _, p := range programs {
		said[p.name] = map[string]outcome{}
	}
	t.Run("on", func(t *testing.T) {
		for _, to := range targets {
			t.Run(to.name, func(t *testing.T) {
				t.Parallel()
				for _, p := range programs { // one at a time: a MONITOR sees what others send
					o := p.run(t, dir, to)
					mu.Lock()
					said[p.name][to.name] = o
					mu.Unlock()
				}
			})
		}
	})
	if t.Failed() {
		return // there is nothing whole to compare
	}
	for _, p := range programs {
		for _, to := range targets {
			if to.judge {
				for _, wrong := range judge(p.name, to.name, said[p.name][plainRedis], said[p.name][to.name], differences) {
					t.Error(wrong)
				}
			}
		}
	}
	if !t.Failed() && len(programs) == len(all) {
		page.Section(t, "programs", table(programs, targets, said), versions(programs, said)...)
	}
}

// versions are the clients that the machine brings along, as the page names them; npm's are pinned.
func versions(programs []program, said map[string]map[string]outcome) []string {
	var list []string
	for _, p := range programs {
		if p.node == 0 {
			list = append(list, "| "+said[p.name][plainRedis].client+" |")
		}
	}
	return list
}

// runnable are the programs that this machine's Node.js is new enough for: Debian 12 has version 18.
func runnable(t *testing.T) []program {
	t.Helper()
	r := harness.Run(t, "node", "--version")
	var major int
	if _, err := fmt.Sscanf(r.Stdout, "v%d.", &major); err != nil {
		t.Fatalf("node --version says %q, %q", r.Stdout, r.Stderr)
	}
	return slices.DeleteFunc(slices.Clone(all), func(p program) bool {
		if p.node > major {
			t.Logf("%s needs Node.js %d and this is %d: it is left out, and docs/COMPATIBILITY.md is not compared", p.name, p.node, major)
		}
		return p.node > major
	})
}

// install copies the programs to a directory of the test, and what those in JavaScript need beside them.
func install(t *testing.T) string {
	t.Helper()
	dir, source := t.TempDir(), filepath.Join(harness.ModuleRoot(t), "tests", "compat", "programs")
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	// Not `ci`: it insists that the lock file names the optional packages of all platforms, which a registry may not have.
	r := harness.Run(t, "npm", "install", "--prefix", filepath.Join(dir, "node"), "--omit=optional", "--ignore-scripts", "--prefer-offline",
		"--no-audit", "--no-fund", "--loglevel=error")
	if r.Code != 0 {
		t.Fatalf("npm install of tests/compat/programs/node: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if lock := read(t, dir, "package-lock.json"); lock != read(t, source, "package-lock.json") {
		t.Fatal("tests/compat/programs/node: package-lock.json is not that of package.json: npm install --package-lock-only writes it anew")
	}
	return dir
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "node", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// run runs the program on the target. It bounds each feature itself; the bound here is for one that is stuck as a whole.
func (p program) run(t *testing.T, dir string, to target) outcome {
	t.Helper()
	host, port, err := net.SplitHostPort(to.addr)
	if err != nil {
		t.Fatal(err)
	}
	argv := append([]string{
		"-s", "KILL", "300", "env", "-C", dir, "REDIS_HOST=" + host, "REDIS_PORT=" + port, "REDIS_PASSWORD=" + password,
		"KEYS=" + p.name, fmt.Sprintf("LIMIT_MS=%d", limit), "TMPDIR=" + t.TempDir(),
	}, p.argv...)
	r := harness.Run(t, "timeout", argv...)
	o, err := parse(r.Stdout)
	if err != nil || r.Code != 0 {
		t.Errorf("%s on %s: exit code %d, %v\n%s%s", strings.Join(p.argv, " "), to.name, r.Code, err, r.Stdout, r.Stderr)
	}
	for _, f := range o.features {
		if reason, failed := o.failed[f]; failed {
			t.Logf("%s: %s: %s", p.name, f, reason)
		}
	}
	return o
}

// table is the section of the page.
func table(programs []program, targets []target, said map[string]map[string]outcome) string {
	var b strings.Builder
	b.WriteString("The programs are in `tests/compat/programs`. Features that are as a program expects them, of those it tries (`-`: none;\n" +
		"twemproxy closes the connection at what it does not know, which most clients send first):\n\n| program |")
	header(&b, targets)
	var features []string
	for _, p := range programs {
		plain := said[p.name][plainRedis]
		fmt.Fprintf(&b, "| %s |", plain.client)
		for _, to := range targets {
			fmt.Fprintf(&b, " %s |", share(said[p.name][to.name].passed(), len(plain.features)))
		}
		b.WriteString("\n")
		for _, f := range plain.features {
			if !slices.Contains(features, f) {
				features = append(features, f)
			}
		}
	}
	b.WriteString("\nThe same by feature: programs in which it is as expected, of those that try it:\n\n| feature |")
	header(&b, targets)
	for _, f := range features {
		fmt.Fprintf(&b, "| %s |", f)
		for _, to := range targets {
			ok, tried := 0, 0
			for _, p := range programs {
				if slices.Contains(said[p.name][plainRedis].features, f) {
					tried++
				}
				if said[p.name][to.name].ok(f) {
					ok++
				}
			}
			fmt.Fprintf(&b, " %s |", share(ok, tried))
		}
		b.WriteString("\n")
	}
	b.WriteString("\nDifferences that stay:\n\n")
	for _, d := range differences {
		fmt.Fprintf(&b, "- %s, %s (%s): %s\n", d.program, d.feature, strings.Join(d.targets, "; "), d.reason)
	}
	if len(differences) == 0 {
		b.WriteString("none.\n")
	}
	return b.String()
}

func header(w io.Writer, targets []target) {
	for _, to := range targets {
		fmt.Fprintf(w, " %s |", to.name)
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---|", len(targets)))
}

func share(part, whole int) string {
	switch part {
	case 0:
		return "-"
	case whole:
		return fmt.Sprintf("all %d", whole)
	}
	return fmt.Sprintf("%d of %d", part, whole)
}
