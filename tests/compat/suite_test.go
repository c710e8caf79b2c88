package compat

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// suite is the tests that a client library brings along, made ready to run on any server.
type suite struct {
	name    string
	client  string            // the module that is tested
	modules map[string]string // all that the tests need, and where below the copy each of them goes
	pkg     string            // the directory of the tests, below the copy
	edits   []edit            // they replace the addresses of the authors' machines
	added   string            // a file of set-up that goes beside the tests
	serves  func(port int) run
	ginkgo  bool
	args    []string  // they choose the tests
	groups  []string  // the kinds of pool it runs through
	left    []leftOut // those that args leave out, and why
}

// run is what one process of a suite needs to find its server.
type run struct{ env, args []string }

// edit changes the set-up of a copied suite, or how much it sends. No test is changed otherwise.
type edit struct{ file, find, replace string }

// leftOut are tests that do not run on the plain server either.
type leftOut struct{ tests, reason string }

// build copies the suite, edits its set-up and compiles it; the version of the client comes with it. What several suites
// share is compiled once: -trimpath makes the place of the copy no part of it.
func (s *suite) build(t *testing.T) (program, version string) {
	t.Helper()
	dir := t.TempDir()
	for module, where := range s.modules {
		m := download(t, module)
		if module == s.client {
			version = m.Version
		}
		if err := os.CopyFS(filepath.Join(dir, where), os.DirFS(m.Dir)); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join(dir, s.pkg)
	for _, e := range s.edits {
		e.apply(t, filepath.Join(at, e.file))
	}
	if s.added != "" {
		data, err := os.ReadFile(filepath.Join("suites", s.added))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, strings.TrimSuffix(s.added, ".txt")), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program = filepath.Join(at, "suite.test")
	env := []string{"GOWORK=off", "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0"}
	if r := harness.RunIn(t, at, env, "go", "test", "-c", "-vet=off", "-trimpath", "-ldflags=-s -w", "-o", program, "."); r.Code != 0 {
		t.Fatalf("the tests of %s do not compile:\n%s%s", s.name, r.Stdout, r.Stderr)
	}
	return program, version
}

// module is what `go mod download` says.
type module struct{ Version, Dir, Error string }

func download(t *testing.T, name string) module {
	t.Helper()
	file := filepath.Join("tests", "compat", "suites.mod")
	r := harness.RunIn(t, harness.ModuleRoot(t), nil, "go", "mod", "download", "-modfile="+file, "-json", name)
	var m module
	if err := json.Unmarshal([]byte(r.Stdout), &m); err != nil || r.Code != 0 || m.Error != "" {
		t.Fatalf("go mod download %s: %s %v\n%s", name, m.Error, err, r.Stderr)
	}
	return m
}

// apply fails if there is nothing to change: another version of the suite then needs another edit.
func (e edit) apply(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	find := regexp.MustCompile(e.find)
	if !find.Match(data) {
		t.Fatalf("%s has no %q", file, e.find)
	}
	if err := os.WriteFile(file, find.ReplaceAll(data, []byte(e.replace)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// on runs the suite, or those of its tests that are named, on the server at the port.
func (s *suite) on(t *testing.T, program string, port int, only []string) (results, error) {
	r := s.serves(port)
	args := append([]string{"-test.timeout=6m"}, r.args...)
	if len(only) == 0 || s.ginkgo {
		args = append(args, s.args...)
	}
	if s.ginkgo {
		return s.ginkgoOn(t, program, r.env, args, only)
	}
	if len(only) > 0 {
		args = append(args, "-test.run="+testPattern(only))
	}
	args = append([]string{"tool", "test2json", program, "-test.v=test2json"}, args...)
	out := harness.RunIn(t, filepath.Dir(program), r.env, "go", args...)
	found, err := goResults(out.Stdout)
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("%s has run no test: %v\n%s", s.name, err, tail(out))
	}
	return found, nil
}

func (s *suite) ginkgoOn(t *testing.T, program string, env, args, only []string) (results, error) {
	report := filepath.Join(t.TempDir(), "report.json")
	args = append(args, "-ginkgo.seed=1", "-ginkgo.no-color", "-ginkgo.json-report="+report)
	for _, name := range only {
		args = append(args, "-ginkgo.focus="+regexp.QuoteMeta(specText(name))+"$")
	}
	out := harness.RunIn(t, filepath.Dir(program), env, program, args...)
	data, err := os.ReadFile(report)
	if err != nil {
		return nil, fmt.Errorf("%s has not reported: %w\n%s", s.name, err, tail(out))
	}
	return ginkgoResults(data)
}

func tail(r harness.Result) string {
	text := r.Stdout + r.Stderr
	return text[max(0, len(text)-4000):]
}

func port(addr string) int {
	var p int
	if _, err := fmt.Sscanf(addr[strings.LastIndexByte(addr, ':')+1:], "%d", &p); err != nil {
		panic(err)
	}
	return p
}
