package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/admin"
	"respgate/internal/control"
)

// The command line, exit codes and what is printed where.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := path("good.yml", "pools: {cache: {listen: 127.0.0.1:6401, servers: [\"127.0.0.1:6379:1\"], auto_eject_hosts: true}}\n")
	warned := path("warned.yml", "pools: {cache: {listen: 127.0.0.1:6401, servers: [\"127.0.0.1:6379:1\"], follow: early}}\n")
	bad := path("bad.yml", "pools:\n  cache: {listen: 127.0.0.1:6401, severs: []}\nloops: x\n")
	nutcracker := path("nutcracker.yml", "alpha:\n  listen: 127.0.0.1:22121\n  redis: true\n  hash: fnv1a_64\n  distribution: ketama\n  servers:\n    - 127.0.0.1:6379:1\n")
	none := filepath.Join(dir, "none.yml")
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr []string // in it, in this order; nil = nothing is
	}{
		{[]string{"-version"}, exitOK, []string{"respgate "}, nil},
		{[]string{"-t", "-c", good}, exitOK, []string{good + ": ok, 1 pools\n"}, nil},
		{[]string{"-c", warned, "-t"}, exitOK, []string{": ok"}, []string{"warning: " + warned + ":1:", "follow"}},
		{[]string{"-t", "-c", bad}, exitFailed, nil, []string{bad + ":2:", "severs", "servers", bad + ":3:", "loops"}},
		{[]string{"-c", bad}, exitFailed, nil, []string{"respgate: the configuration is not valid:\n", "severs"}},
		{[]string{"-t", "-c", none}, exitFailed, nil, []string{none, "no such file"}},
		{[]string{"-c", none}, exitFailed, nil, []string{"no such file"}},
		{[]string{"-t", "more"}, exitUsage, nil, []string{`unexpected argument "more"`, "usage:"}},
		{[]string{"-nope"}, exitUsage, nil, []string{"-nope", "usage:"}},
		{[]string{"-h"}, exitOK, nil, []string{"usage:", "respgate import", "-version"}},
		{[]string{"import"}, exitUsage, nil, []string{"usage: respgate import"}},
		{[]string{"import", none}, exitFailed, nil, []string{"respgate: ", "no such file"}},
		{[]string{"import", bad}, exitFailed, nil, []string{"bad.yml"}},
		{[]string{"import", nutcracker}, exitOK, []string{"pools:", "alpha:", "127.0.0.1:22121", "127.0.0.1:6379:1"}, nil},
	} {
		var stdout, stderr bytes.Buffer
		code := run(tt.args, &stdout, &stderr)
		if code != tt.code {
			t.Errorf("%v: exit code %d, want %d\n%s", tt.args, code, tt.code, stderr.String())
		}
		for _, out := range []struct {
			name string
			text string
			want []string
		}{{"stdout", stdout.String(), tt.stdout}, {"stderr", stderr.String(), tt.stderr}} {
			rest, found := out.text, true
			for _, w := range out.want {
				if _, rest, found = strings.Cut(rest, w); !found {
					t.Errorf("%v: no %q in its place on %s:\n%s", tt.args, w, out.name, out.text)
				}
			}
			if out.want == nil && out.text != "" && tt.args[0] != "import" {
				t.Errorf("%v: on %s:\n%s", tt.args, out.name, out.text)
			}
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestImportIntoNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nutcracker.yml")
	if err := os.WriteFile(file, []byte("alpha:\n  listen: 127.0.0.1:22121\n  redis: true\n  servers:\n    - 127.0.0.1:6379:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	if code := run([]string{"import", file}, broken{}, &stderr); code != exitFailed || !strings.Contains(stderr.String(), io.ErrClosedPipe.Error()) {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	level := &slog.LevelVar{}
	for format, isJSON := range map[string]bool{"auto": true, "json": true, "text": false} {
		var b bytes.Buffer
		log := newLogger(&b, format, level)
		log.Debug("hidden")
		log.Info("shown", "pool", "cache")
		if json.Valid(b.Bytes()) != isJSON || !strings.Contains(b.String(), "cache") || strings.Contains(b.String(), "hidden") || strings.Contains(b.String(), "\x1b") {
			t.Errorf("%s: %q", format, b.String())
		}
	}
}

// Control's errors keep their codes on the admin port.
func TestCoded(t *testing.T) {
	t.Parallel()
	if got, want := coded(&control.Error{Code: "NOPOOL", Text: "no such pool 'x'"}), (admin.Error{Code: "NOPOOL", Text: "no such pool 'x'"}); got != error(want) {
		t.Errorf("%#v", got)
	}
	if got := coded(io.EOF); got != io.EOF {
		t.Errorf("%#v", got)
	}
}

// harbour is a set of ports whose services say their names.
type harbour struct {
	t *testing.T
	ports
}

func newHarbour(t *testing.T) *harbour {
	h := &harbour{t, ports{log: slog.New(slog.DiscardHandler), open: map[string]*port{}}}
	t.Cleanup(h.close)
	return h
}

func (h *harbour) service(name, address string) service {
	return service{name, address, func(l net.Listener) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return nil
			}
			_, _ = io.WriteString(c, name)
			c.Close()
		}
	}}
}

func (h *harbour) want(addresses ...string) (commit, rollback func(), err error) {
	var list []service
	for i, a := range addresses {
		list = append(list, h.service([]string{"admin", "metrics", "stats"}[i], a))
	}
	return h.change(list)
}

// who answers at the addresses; "" = nobody.
func (h *harbour) who(addresses ...string) (names []string) {
	for _, a := range addresses {
		name := ""
		if c, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", a); err == nil {
			b, _ := io.ReadAll(c)
			c.Close()
			name = string(b)
		}
		names = append(names, name)
	}
	return names
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (h *harbour) is(what string, addresses []string, want ...string) {
	h.t.Helper()
	if d := cmp.Diff(want, h.who(addresses...)); d != "" {
		h.t.Errorf("%s: %s", what, d)
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	a, b, c := free(t), free(t), free(t)
	all := []string{a, b, c}
	must := func(addresses ...string) (commit, rollback func()) {
		t.Helper()
		commit, rollback, err := h.want(addresses...)
		if err != nil {
			t.Fatal(err)
		}
		return commit, rollback
	}
	commit, _ := must(a, b)
	commit()
	h.is("first", all, "admin", "metrics", "")

	_, rollback := must(c, b)
	rollback()
	h.is("rolled back", all, "admin", "metrics", "")

	kept := h.open["metrics"].l
	commit, _ = must(c, b)
	commit()
	h.is("moved", all, "", "metrics", "admin")
	if h.open["metrics"].l != kept {
		t.Error("an address that stays was bound anew")
	}

	_, rollback = must(b, c)
	rollback()
	h.is("a swap rolled back", all, "", "metrics", "admin")
	commit, _ = must(b, c)
	commit()
	h.is("swapped", all, "", "admin", "metrics")

	commit, _ = must("", b)
	commit()
	h.is("handed over", all, "", "metrics", "")

	l, err := net.Listen("tcp", a)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.want(c, b, a); err == nil || !strings.Contains(err.Error(), "stats port: listen tcp "+a) {
		t.Errorf("a port that is taken: %v", err)
	}
	l.Close()
	h.is("refused", all, "", "metrics", "")

	h.close()
	h.is("closed", all, "", "", "")
}
