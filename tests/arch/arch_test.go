// Package arch holds the architecture: which package may import which, and the rules of the house that a program can
// check. It reads source only, so it also covers files that this machine would not build.
package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// longest is the hard limit of a source file, in lines.
const longest = 600

// source is one parsed Go file.
type source struct {
	path string // from the module's root, with slashes
	dir  string
	test bool
	text []byte
	tree *ast.File
	fset *token.FileSet
}

func (s *source) imports() []string {
	var paths []string
	for _, i := range s.tree.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

func (s *source) generated() bool { return strings.HasSuffix(s.path, "_gen.go") }

func (s *source) at(p token.Pos) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(p).Line)
}

// root is the module's directory: the nearest one above with a go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = up
	}
}

// walk calls visit with each regular file of the tree, but for git's own and for what is built.
func walk(t *testing.T, visit func(name string, data []byte)) {
	t.Helper()
	top := root(t)
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel == ".git" || rel == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		visit(rel, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	walk(t, func(name string, data []byte) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, name, data, parser.ParseComments)
		if err != nil {
			t.Errorf("%v", err)
			return
		}
		all = append(all, &source{
			path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), text: data, tree: tree, fset: fset,
		})
	})
	if len(all) < 20 {
		t.Fatalf("only %d Go files found: the test looks in the wrong place", len(all))
	}
	return all
}

// TestImports checks the import rules of layers.go against every file.
func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		l, ok := layerOf(s.dir)
		if !ok {
			t.Errorf("%s: directory %s has no import rules: add it to tests/arch/layers_test.go", s.path, s.dir)
			continue
		}
		for _, p := range s.imports() {
			if cause := l.refuses(s, p); cause != "" {
				t.Errorf("%s: imports %s: %s", s.path, p, cause)
			}
		}
	}
}

// TestPureCores checks that the state machines take time and input as values: no clock, no I/O, no goroutine.
func TestPureCores(t *testing.T) {
	cores := 0
	for _, s := range sources(t) {
		if s.test || !pureCore(s) {
			continue
		}
		cores++
		for _, p := range s.imports() {
			if impure[p] {
				t.Errorf("%s: a state machine's core imports %s", s.path, p)
			}
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a state machine's core starts a goroutine", s.at(n.Pos()))
			case *ast.SelectorExpr:
				id, ok := n.X.(*ast.Ident)
				switch {
				case ok && id.Name == "time" && clocks[n.Sel.Name]:
					t.Errorf("%s: a state machine's core reads the clock: time.%s", s.at(n.Pos()), n.Sel.Name)
				case ok && id.Name == "slog" && loggers[n.Sel.Name]:
					t.Errorf("%s: a state machine's core logs: slog.%s", s.at(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
	if cores < 2 {
		t.Errorf("%d pure cores found, want those of sentinelclient and managerclient at least", cores)
	}
}

// TestFileLength checks that a file can be read in one sitting.
func TestFileLength(t *testing.T) {
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > longest && !s.generated() {
			t.Errorf("%s: %d lines, at most %d: split it by noun", s.path, n, longest)
		}
	}
}

// TestTestsWaitForConditions checks that no test waits for a time and none is skipped.
func TestTestsWaitForConditions(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test && !strings.HasPrefix(s.dir, "tests/") {
			continue
		}
		var around []ast.Node
		ast.Inspect(s.tree, func(n ast.Node) bool {
			if n == nil {
				around = around[:len(around)-1]
				return true
			}
			around = append(around, n)
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			id, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch {
			case id.Name == "time" && sel.Sel.Name == "Sleep":
				t.Errorf("%s: waits for a time instead of a condition", s.at(n.Pos()))
			case declared(around, id.Name) == "*rapid.T": // its Skip discards a draw that does not apply, not the test
			case sel.Sel.Name == "Skip" || sel.Sel.Name == "Skipf" || sel.Sel.Name == "SkipNow":
				t.Errorf("%s: a test that can be skipped shows nothing", s.at(n.Pos()))
			}
			return true
		})
	}
}

// declared is the type, as *package.T, of the parameter that name means within the functions around it, innermost last;
// "" if none of them has it as such a parameter.
func declared(around []ast.Node, name string) string {
	for i := len(around) - 1; i >= 0; i-- {
		var params *ast.FieldList
		switch f := around[i].(type) {
		case *ast.FuncLit:
			params = f.Type.Params
		case *ast.FuncDecl:
			params = f.Type.Params
		default:
			continue
		}
		for _, p := range params.List {
			for _, n := range p.Names {
				if n.Name == name {
					return types.ExprString(p.Type)
				}
			}
		}
	}
	return ""
}

// Written in two halves, or this file would find itself.
var (
	unfinished = regexp.MustCompile(`\b(` + "TO" + `DO|FIX` + `ME|XX` + `X|HA` + `CK|not imple` + `mented)\b`)
	elsewhere  = regexp.MustCompile(`\.\./sha` + `red|/work/ma` + `in|/tmp/br` + `ief`)
)

// TestNothingUnfinished looks for the marks of work that was put off, and for names of places outside the project.
func TestNothingUnfinished(t *testing.T) {
	walk(t, func(name string, data []byte) {
		if bytes.IndexByte(data, 0) >= 0 {
			return
		}
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_gen.go") {
			if m := unfinished.Find(data); m != nil {
				t.Errorf("%s: %q", name, m)
			}
		}
		if m := elsewhere.Find(data); m != nil {
			t.Errorf("%s: %q is a place outside the project", name, m)
		}
	})
}

// TestPackageDocs checks that every package says what it owns.
func TestPackageDocs(t *testing.T) {
	documented, seen := map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if strings.HasSuffix(s.tree.Name.Name, "_test") {
			continue
		}
		seen[s.dir] = true
		if s.tree.Doc != nil {
			documented[s.dir] = true
		}
	}
	for dir := range seen {
		if !documented[dir] {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}

// TestNames refuses packages named after nothing.
func TestNames(t *testing.T) {
	for _, s := range sources(t) {
		switch name := s.tree.Name.Name; name {
		case "util", "utils", "common", "helper", "helpers", "misc", "base":
			t.Errorf("%s: package %s says nothing about what is in it", s.path, name)
		}
	}
}
