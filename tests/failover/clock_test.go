package failover

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// wallClock are the ways to take the monotonic reading away from a time, or to compare with one that has none.
var wallClock = map[string]bool{
	"Unix": true, "UnixMilli": true, "UnixMicro": true, "UnixNano": true, "Round": true, "Truncate": true, "UTC": true, "Local": true, "In": true, "Date": true,
}

// spared are calls that decide nothing: who asks TIME is told the wall clock, and a deadline in the past is one by any clock.
var spared = []string{"engine/local.go", "sentinelclient/node.go"}

// TestFault63WallClock: a wall clock that jumps has no effect, for nothing that decides looks at it. No test can turn the
// clock of the machine, so this one reads the source: between two readings of time.Now counts the monotonic clock, unless
// somebody takes that reading away.
func TestFault63WallClock(t *testing.T) {
	t.Parallel()
	root := harness.ModuleRoot(t)
	files := 0
	for _, dir := range []string{"engine", "engine/timer", "sentinelclient", "managerclient", "internal/control", "internal/respconn"} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if slices.Contains(spared, dir+"/"+e.Name()) || !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			files++
			for _, where := range takesWallClock(t, filepath.Join(root, dir, e.Name())) {
				t.Errorf("%s: what decides must go by the monotonic clock", where)
			}
		}
	}
	if files < 50 {
		t.Errorf("%d files were read, which cannot be all", files)
	}
}

// takesWallClock finds calls of such methods on what is not a duration.
func takesWallClock(t *testing.T, file string) (where []string) {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	usesTime := false
	for _, i := range parsed.Imports {
		usesTime = usesTime || i.Path.Value == `"time"`
	}
	if !usesTime {
		return nil
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if f, ok := call.Fun.(*ast.SelectorExpr); ok && wallClock[f.Sel.Name] {
			where = append(where, set.Position(call.Pos()).String()+" "+f.Sel.Name)
		}
		return true
	})
	return where
}
