package conf

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/CONFIGURATION.md")

const reference = "../docs/CONFIGURATION.md"

// TestReference holds that the reference is what the key tables say.
func TestReference(t *testing.T) {
	example, err := os.ReadFile("testdata/good/contract.yml")
	must(t, err)
	page, err := template.New("reference.tmpl").Funcs(template.FuncMap{"table": referenceTable}).ParseFiles("testdata/reference.tmpl")
	must(t, err)
	var out bytes.Buffer
	must(t, page.Execute(&out, map[string]any{
		"Example": string(example), "MaxDuration": showDuration(maxDuration), "MaxName": maxName, "MaxPools": maxPools,
		"MaxGroups": maxGroups, "MaxSentinels": maxSentinels, "MaxFileMB": MaxFileSize >> 20, "MaxValues": maxValues, "Poll": DefaultPoll,
	}))
	if *update {
		must(t, os.WriteFile(reference, out.Bytes(), 0o644))
	}
	have, err := os.ReadFile(reference)
	must(t, err)
	if diff := cmp.Diff(out.String(), string(have)); diff != "" {
		t.Errorf("%s is stale: run go generate ./conf (-want +have)\n%s", reference, diff)
	}
}

// referenceTable renders one of the key tables.
func referenceTable(which string) (string, error) {
	var keys []key
	switch which {
	case "global":
		keys = globalKeys
	case "pool":
		rest := len(shardingTable()) + len(sentinelTable()) + len(managerTable())
		keys = poolKeys[:len(poolKeys)-rest]
	case "sharding":
		keys = shardingTable()
	case "sentinel":
		keys = sentinelTable()
	case "manager":
		keys = managerTable()
	default:
		return "", fmt.Errorf("no table %q", which)
	}
	var b strings.Builder
	b.WriteString("| key | value | default | reload | |\n|---|---|---|---|---|\n")
	for _, k := range keys {
		fallback := "none"
		switch {
		case k.Required:
			fallback = "required"
		case k.Default != "":
			fallback = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Name, strings.ReplaceAll(k.typ.name, "|", `\|`), fallback, k.Effect, k.Doc)
	}
	return b.String(), nil
}

// TestKeyTables holds what the reference and the reports rely on.
func TestKeyTables(t *testing.T) {
	for _, table := range [][]key{globalKeys, poolKeys} {
		seen := map[string]bool{}
		for _, k := range table {
			if seen[k.Name] || k.typ.read == nil || k.typ.name == "" {
				t.Errorf("%s: seen before: %v, type %q", k.Name, seen[k.Name], k.typ.name)
			}
			seen[k.Name] = true
			if len(k.Doc) < 10 || !strings.HasSuffix(k.Doc, ".") || strings.Contains(k.Doc, "\n") {
				t.Errorf("%s: sentence %q", k.Name, k.Doc)
			}
			if k.Required && k.Default != "" {
				t.Errorf("%s is required and has a default", k.Name)
			}
		}
	}
	for _, name := range append(append([]string{}, sentinelOnly...), serversOnly...) {
		if poolSection.keys[name] == nil {
			t.Errorf("no key %s", name)
		}
	}
}
