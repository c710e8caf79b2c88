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
}

// Debian's packages belong to Debian's interpreters, whatever else is on the PATH.
var programs = []program{
	{"ioredis5", []string{"node", "node/ioredis.mjs", "ioredis5", "2"}},
	{"ioredis6", []string{"node", "node/ioredis.mjs", "ioredis", "3"}},
	{"ioredis6-resp2", []string{"node", "node/ioredis.mjs", "ioredis", "2"}},
	{"node-redis4", []string{"node", "node/node-redis.mjs", "redis4", "2"}},
	{"node-redis5", []string{"node", "node/node-redis.mjs", "redis5", "2"}},
	{"node-redis5-resp3", []string{"node", "node/node-redis.mjs", "redis5", "3"}},
	{"node-redis6", []string{"node", "node/node-redis.mjs", "redis", "3"}},
	{"node-redis6-resp2", []string{"node", "node/node-redis.mjs", "redis", "2"}},
	{"bullmq", []string{"node", "node/bullmq.mjs"}},
	{"redis-py", []string{"/usr/bin/python3", "python/redis_py.py", "python"}},
	{"redis-py-hiredis", []string{"/usr/bin/python3", "python/redis_py.py", "hiredis"}},
	{"redis-rb", []string{"/usr/bin/ruby", "ruby/redis_rb.rb"}},
	{"phpredis", []string{"/usr/bin/php", "php/phpredis.php"}},
	{"redis-cli", []string{"bash", "shell/redis-cli.sh", "2"}},
	{"redis-cli-resp3", []string{"bash", "shell/redis-cli.sh", "3"}},
	{"redis-benchmark", []string{"bash", "shell/redis-benchmark.sh"}},
}

// differences are argued on the page.
var differences = []difference{}

func TestPrograms(t *testing.T) {
	t.Parallel()
	dir := install(t)
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
	if !t.Failed() {
		page.Section(t, "programs", table(targets, said))
	}
}

// install copies the programs to a directory of the test, and what those in JavaScript need beside them.
func install(t *testing.T) string {
	t.Helper()
	dir, source := t.TempDir(), filepath.Join(harness.ModuleRoot(t), "tests", "compat", "programs")
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	var major int
	if r := harness.Run(t, "node", "--version"); r.Code != 0 {
		t.Fatalf("node --version: exit code %d\n%s", r.Code, r.Stderr)
	} else if _, err := fmt.Sscanf(r.Stdout, "v%d.", &major); err != nil || major < 20 {
		t.Fatalf("node is %q: ioredis 6 and node-redis 6 need Node.js 20 or newer", strings.TrimSpace(r.Stdout))
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
func table(targets []target, said map[string]map[string]outcome) string {
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
