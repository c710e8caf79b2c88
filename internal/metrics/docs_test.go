package metrics

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var writeDocs = flag.Bool("write-docs", false, "write the metrics of docs/CONSOLE.md anew")

const (
	consoleDoc   = "../../docs/CONSOLE.md"
	metricsBegin = "<!-- metrics: made of the collector by go test ./internal/metrics -write-docs -->\n"
	metricsEnd   = "<!-- end of the metrics -->\n"
)

// TestMetricsDoc holds the list in docs/CONSOLE.md to what is collected.
func TestMetricsDoc(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(consoleDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), metricsBegin)
	old, tail, ok2 := strings.Cut(rest, metricsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks of the metrics", consoleDoc)
	}
	want := metricsTable(t)
	if *writeDocs {
		if err := os.WriteFile(consoleDoc, []byte(head+metricsBegin+want+metricsEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, old); diff != "" {
		t.Errorf("%s is not what is collected (go test ./internal/metrics -write-docs): (-collected +file)\n%s", consoleDoc, diff)
	}
}

func metricsTable(t *testing.T) string {
	t.Helper()
	families, err := registry(newFake()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	return b.String()
}
