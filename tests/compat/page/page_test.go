package page

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestSection(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page.md")
	const before = "# Page\n<!-- a:begin -->\n\nold, and longer than what comes\n\n<!-- a:end -->\nrest\n<!-- b:begin -->\n<!-- b:end -->\n"
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := section(file, "a", "new", false); err == nil {
		t.Error("a section that says something else is not noticed")
	}
	if err := section(file, "a", "new", false, "old, and"); err == nil || errors.As(err, new(elsewhere)) {
		t.Errorf("a section of the same version that says something else: %v", err)
	}
	if err := section(file, "a", "newer", false, "newer"); !errors.As(err, new(elsewhere)) {
		t.Errorf("a section that was measured on another version says %v", err)
	}
	if err := section(file, "c", "new", true); err == nil {
		t.Error("a page without the section is not noticed")
	}
	for _, name := range []string{"a", "b"} {
		if err := section(file, name, "new "+name+"\n", true); err != nil {
			t.Fatal(err)
		}
		if err := section(file, name, "new "+name, false); err != nil {
			t.Errorf("what was written is not what is read: %v", err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const want = "# Page\n<!-- a:begin -->\n\nnew a\n\n<!-- a:end -->\nrest\n<!-- b:begin -->\n\nnew b\n\n<!-- b:end -->\n"
	if string(got) != want {
		t.Errorf("the page is %q, want %q", got, want)
	}
}
