package harness

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// programs are this module's programs, built once per test process into a directory that Main removes.
// RESPGATE_RACE=1 builds them with the race detector.
var programs = &builds{}

type builds struct {
	once sync.Once
	dir  string
	root string
	err  error
}

func (b *builds) build() {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		b.err = fmt.Errorf("go env GOMOD: %w", err)
		return
	}
	b.root = filepath.Dir(strings.TrimSpace(string(out)))
	if b.dir, b.err = os.MkdirTemp("", "respgate-test-"); b.err != nil {
		return
	}
	args := []string{"build", "-buildvcs=false"}
	if RaceBuilt() {
		args = append(args, "-race")
	}
	args = append(args, "-o", b.dir+string(filepath.Separator), "./cmd/respgate", "./cmd/respgate-manager")
	cmd := exec.Command("go", args...)
	cmd.Dir = b.root
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		b.err = fmt.Errorf("build the programs: %w\n%s", err, output.String())
	}
}

func (b *builds) remove() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// RaceBuilt reports whether the programs have the race detector, which makes them larger and slower.
func RaceBuilt() bool { return os.Getenv("RESPGATE_RACE") == "1" }

// Program is the path of a built program: respgate or respgate-manager.
func Program(t testing.TB, name string) string {
	t.Helper()
	programs.once.Do(programs.build)
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return filepath.Join(programs.dir, name)
}

// ModuleRoot is the directory of go.mod.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	programs.once.Do(programs.build)
	if programs.root == "" {
		t.Fatal(programs.err)
	}
	return programs.root
}

// Result is what a program that ran to its end has printed and returned.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs a program to its end.
func Run(t testing.TB, name string, args ...string) Result {
	t.Helper()
	return RunIn(t, "", nil, name, args...)
}

// RunIn does the same in a directory, with further variables in its environment.
func RunIn(t testing.TB, dir string, env []string, name string, args ...string) Result {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.SysProcAttr = childAttributes()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := spawner.start(cmd); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	_ = cmd.Wait() // its outcome is the exit code
	return Result{Stdout: out.String(), Stderr: errs.String(), Code: cmd.ProcessState.ExitCode()}
}
