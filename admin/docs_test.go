package admin

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var writeDocs = flag.Bool("write-docs", false, "write the reference of docs/CONSOLE.md anew")

const (
	consoleDoc     = "../docs/CONSOLE.md"
	referenceBegin = "<!-- reference: made of the command table by go test ./admin -write-docs -->\n"
	referenceEnd   = "<!-- end of the reference -->\n"
)

// TestConsoleDoc holds docs/CONSOLE.md to the command table.
func TestConsoleDoc(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(consoleDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), referenceBegin)
	old, tail, ok2 := strings.Cut(rest, referenceEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks of the reference", consoleDoc)
	}
	want := reference()
	if *writeDocs {
		if err := os.WriteFile(consoleDoc, []byte(head+referenceBegin+want+referenceEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, old); diff != "" {
		t.Errorf("%s is not what the table says (go test ./admin -write-docs): (-table +file)\n%s", consoleDoc, diff)
	}
}

// reference is the part of the document that is made of the table, PROXY first.
func reference() string {
	var b strings.Builder
	for _, group := range []string{"proxy", "connection", "server"} {
		fmt.Fprintf(&b, "\n### %s\n", strings.ToUpper(group[:1])+group[1:])
		for _, c := range newTable().all() {
			if c.group == group && c.handler != nil {
				describeCommand(&b, c)
			}
		}
	}
	b.WriteString("\n")
	return b.String()
}

func describeCommand(b *strings.Builder, c *command) {
	fmt.Fprintf(b, "\n#### `%s`\n%s. Permission: %s.\n\nReply: %s\n", c.usage(), c.summary, c.permission, c.reply)
	for _, e := range c.errors {
		fmt.Fprintf(b, "- `%s`\n", e)
	}
	fmt.Fprintf(b, "\n    redis-cli -p 7079 %s\n", c.example)
}
