// Package page keeps the sections of docs/COMPATIBILITY.md that are measured: a test that has compared something checks
// that its section says what was found, and writes it with -write-docs.
package page

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/tests/harness"
)

var write = flag.Bool("write-docs", false, "write the section of docs/COMPATIBILITY.md that this test has measured anew")

// elsewhere is a page that was measured on programs of other versions.
type elsewhere struct{ section, version string }

func (e elsewhere) Error() string {
	return fmt.Sprintf("section %s of docs/COMPATIBILITY.md knows no %q, and is not compared", e.section, e.version)
}

// Section checks that the text between <!-- name:begin --> and <!-- name:end --> is this one, or writes it. The versions
// are parts of the text: those of programs that belong to the machine. A page without one of them tells of others.
func Section(t testing.TB, name, text string, versions ...string) {
	t.Helper()
	file := filepath.Join(harness.ModuleRoot(t), "docs", "COMPATIBILITY.md")
	err := section(file, name, text, *write, versions...)
	if other, ok := errors.AsType[elsewhere](err); ok {
		t.Log(other)
	} else if err != nil {
		t.Error(err)
	}
}

func section(file, name, text string, write bool, versions ...string) error {
	// Packages are tested at the same time, and each writes the whole page.
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", file, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := []byte("<!-- "+name+":begin -->\n"), []byte("<!-- "+name+":end -->")
	head, rest, ok := bytes.Cut(data, begin)
	body, tail, ok2 := bytes.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no %q ... %q", file, strings.TrimSpace(string(begin)), end)
	}
	text = "\n" + strings.TrimSpace(text) + "\n\n"
	switch {
	case string(body) == text:
		return nil
	case !write:
		for _, version := range versions {
			if !bytes.Contains(body, []byte(version)) {
				return elsewhere{name, version}
			}
		}
		return fmt.Errorf("%s: section %s is not what was measured (-write-docs writes it): (-measured +page)\n%s", file, name, cmp.Diff(text, string(body)))
	}
	page := bytes.Join([][]byte{head, begin, []byte(text), end, tail}, nil)
	if _, err := f.WriteAt(page, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(page)))
}
