// Package page keeps the sections of docs/COMPATIBILITY.md that are measured: a test that has compared something checks
// that its section says what was found, and writes it with -write-docs.
package page

import (
	"bytes"
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

// Section checks that the text between <!-- name:begin --> and <!-- name:end --> is this one, or writes it.
func Section(t testing.TB, name, text string) {
	t.Helper()
	file := filepath.Join(harness.ModuleRoot(t), "docs", "COMPATIBILITY.md")
	if err := section(file, name, text, *write); err != nil {
		t.Error(err)
	}
}

func section(file, name, text string, write bool) error {
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
		return fmt.Errorf("%s: section %s is not what was measured (-write-docs writes it): (-measured +page)\n%s", file, name, cmp.Diff(text, string(body)))
	}
	page := bytes.Join([][]byte{head, begin, []byte(text), end, tail}, nil)
	if _, err := f.WriteAt(page, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(page)))
}
