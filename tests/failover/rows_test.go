package failover

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// faults is how many rows the matrix has.
const faults = 68

// TestEveryFaultIsTested holds the matrix together: a test for each row, by its number.
func TestEveryFaultIsTested(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				tests[f.Name.Name] = true
			}
		}
	}
	for n := 1; n <= faults; n++ {
		found := false
		for name := range tests {
			found = found || strings.HasPrefix(name, fmt.Sprintf("TestFault%02d", n))
		}
		if !found {
			t.Errorf("fault %d has no test", n)
		}
	}
	for _, name := range long {
		found := false
		for test := range tests {
			found = found || strings.HasPrefix(test, name)
		}
		if !found {
			t.Errorf("%s is to run in the soak only, and there is none", name)
		}
	}
}
