package compat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// render is the section of docs/COMPATIBILITY.md. The column on names the server: another version has other commands, so that
// other tests pass.
func render(all []suite, reports []report, on string) string {
	kinds := []string{oneGroup, threeGroups}
	var b strings.Builder
	b.WriteString("A server of its own for each run, and for the proxy a pool over one server or three (`servers`, `hash_tag: \"{}\"`). A test is compared if it passes on the plain server.\n\n")
	b.WriteString("| suite | version " + on + " through one group | through three groups |\n|---|---|---|---|---|\n")
	for i, s := range all {
		r := reports[i]
		fmt.Fprintf(&b, "| %s | %s | %d |", s.name, r.version, r.plain)
		for _, kind := range kinds {
			if slices.Contains(s.groups, kind) {
				fmt.Fprintf(&b, " %d |", r.plain-len(r.differ[kind]))
			} else {
				b.WriteString(" - |")
			}
		}
		b.WriteByte('\n')
	}
	b.WriteString("\nWhat passes on Redis and not through respgate:\n\n")
	for _, d := range differences {
		fmt.Fprintf(&b, "- %s", d.reason)
		if len(d.kinds) > 0 {
			fmt.Fprintf(&b, " (%s)", strings.Join(d.kinds, ", "))
		}
		b.WriteString("\n")
		for _, s := range all {
			if tests := d.tests[s.name]; len(tests) > 0 {
				fmt.Fprintf(&b, "  - %s: %s\n", s.name, strings.Join(tests, "; "))
			}
		}
	}
	b.WriteString("\nLeft out, most of them because they do not run on a single plain server either:\n\n")
	for _, s := range all {
		for _, l := range s.left {
			fmt.Fprintf(&b, "- %s, %s: %s.\n", s.name, l.tests, l.reason)
		}
	}
	return b.String()
}

// TestSectionSays checks that every argued difference has a reason, a suite that exists and a place in the section.
func TestSectionSays(t *testing.T) {
	t.Parallel()
	all := suites("redis-server")
	names := map[string]bool{}
	for _, s := range all {
		names[s.name] = true
	}
	text := render(all, make([]report, len(all)), "| plain |")
	for _, d := range differences {
		if d.reason == "" || !strings.Contains(text, d.reason) {
			t.Errorf("a difference without a reason: %v", d.tests)
		}
		for suite, tests := range d.tests {
			if !names[suite] {
				t.Errorf("%s: no such suite", suite)
			}
			for _, test := range tests {
				if !strings.Contains(text, test) {
					t.Errorf("%s: %s is not in the section", suite, test)
				}
			}
		}
	}
}
