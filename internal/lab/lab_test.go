package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the process that TestChildrenDieWithTheLab kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(victim); dir != "" {
		beVictim(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// victim is the variable that makes the test program a lab which is going to be killed: a directory for its log.
const victim = "RESPGATE_LAB_VICTIM"

func beVictim(dir string) {
	runtime.LockOSThread()
	p := &process{role: "child", argv: []string{"sleep", "600"}, log: filepath.Join(dir, "log")}
	if err := p.start(make(chan exit, 1)); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.pid)
	<-p.gone
}

func TestArguments(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, exitOK, "-dir directory"},
		{[]string{"-what"}, exitUsage, "flag provided but not defined: -what"},
		{[]string{"more"}, exitUsage, `unexpected argument "more"`},
	} {
		var out, errs bytes.Buffer
		if code := Main(c.args, &out, &errs); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.args, code, c.code)
		}
		if !strings.Contains(errs.String(), c.want) || out.Len() > 0 {
			t.Errorf("%v: stdout %q, stderr %q, want %q on stderr", c.args, out.String(), errs.String(), c.want)
		}
	}
	if _, _, err := makeDir(full); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a directory with files: %v", err)
	}
}

// TestMissingRedis changes PATH and cannot be parallel.
func TestMissingRedis(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out, errs bytes.Buffer
	if code := Main(nil, &out, &errs); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	const want = "respgate lab: not installed: redis-server redis-sentinel; on Debian: apt-get install redis-server redis-sentinel\n"
	if errs.String() != want || out.Len() > 0 {
		t.Errorf("stdout %q, stderr %q, want %q", out.String(), errs.String(), want)
	}
}

func TestMakeDir(t *testing.T) {
	t.Parallel()
	fresh := filepath.Join(t.TempDir(), "a", "b")
	path, temporary, err := makeDir(fresh)
	if err != nil || path != fresh || temporary {
		t.Errorf("%s, %v, %v", path, temporary, err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Error(err)
	}
	if path, _, err = makeDir(fresh); err != nil || path != fresh {
		t.Errorf("an empty directory: %s, %v", path, err)
	}
	path, temporary, err = makeDir("")
	if err != nil || !temporary {
		t.Fatalf("%s, %v, %v", path, temporary, err)
	}
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}
