package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"respgate/engine/command"
)

// TestRefused keeps the list of what a pool's port does not do: the command table's own reasons.
func TestRefused(t *testing.T) {
	t.Parallel()
	always, several := map[string][]*command.Command{}, map[string][]*command.Command{}
	for _, c := range command.All() {
		switch {
		case c.Container() && c.Route == command.RouteRefused: // by itself it is nothing
		case c.Route == command.RouteRefused:
			always[c.Reason] = append(always[c.Reason], c)
		case c.Route == command.RouteFanout && c.Merge == command.MergeNone:
			several[c.Reason] = append(several[c.Reason], c)
		}
	}
	if len(always) == 0 || len(several) == 0 {
		t.Fatal("nothing is refused")
	}
	var b strings.Builder
	b.WriteString("In every pool:\n\n| why | commands |\n|---|---|\n")
	for _, reason := range slices.Sorted(maps.Keys(always)) {
		fmt.Fprintf(&b, "| %s | %s |\n", reason, names(always[reason]))
	}
	b.WriteString("\nIn a pool with more than one group, besides:\n\n| why | commands |\n|---|---|\n")
	for _, reason := range slices.Sorted(maps.Keys(several)) {
		fmt.Fprintf(&b, "| %s | %s |\n", reason, names(several[reason]))
	}
	Section(t, "refused", b.String())
}

// merged says in the words of the document what becomes of the replies of several groups.
var merged = map[command.Merge]string{
	command.MergeOK:      "`OK` when all groups have done it",
	command.MergeSame:    "all groups do it; the reply of the first",
	command.MergeSum:     "the sum",
	command.MergeMin:     "the lowest; in a list element by element",
	command.MergeMax:     "the highest, likewise: subscribers are subscribed to every group",
	command.MergeConcat:  "one list after the other",
	command.MergeUnion:   "one list after the other, nothing twice",
	command.MergeLog:     "the newest entries of all, as many as asked for",
	command.MergeRandom:  "that of a group with keys, taken at random",
	command.MergeFirstOK: "`OK` if a group says so",
	command.MergeScan:    "one group after the other; the cursor says which",
	command.MergeInfo:    "one text, of the groups that are up: counters added, the lowest `redis_version`",
	command.MergeAny:     "that of one group that is up",
	command.MergeTable:   "that of one group that is up; the proxy's own table if none is",
}

// TestMerged keeps the list of how the replies of several groups become one.
func TestMerged(t *testing.T) {
	t.Parallel()
	by := map[command.Merge][]*command.Command{}
	var split []*command.Command
	for _, c := range command.All() {
		switch c.Route {
		case command.RouteMGet, command.RouteMSet, command.RouteSum:
			split = append(split, c)
		}
		if c.Merge != command.MergeNone {
			by[c.Merge] = append(by[c.Merge], c)
		}
	}
	var b strings.Builder
	b.WriteString("| commands | the reply, of several groups |\n|---|---|\n")
	fmt.Fprintf(&b, "| %s | split by group and put together again, in the order of the keys |\n", names(split))
	for _, m := range slices.Sorted(maps.Keys(by)) {
		words, ok := merged[m]
		if !ok {
			t.Errorf("%s: no words for it", m)
		}
		fmt.Fprintf(&b, "| %s | %s |\n", names(by[m]), words)
	}
	Section(t, "merged", b.String())
}

// names lists commands, the subcommands of a container together.
func names(list []*command.Command) string {
	var out []string
	last := ""
	for _, c := range list {
		if c.Container() && slices.ContainsFunc(list, func(o *command.Command) bool { return strings.HasPrefix(o.Name, c.Name+"|") }) {
			continue // COMMAND, besides its subcommands
		}
		container, sub, ok := strings.Cut(strings.ToUpper(c.Name), "|")
		switch {
		case ok && container == last:
			out[len(out)-1] += "\\|" + sub
		case ok:
			out = append(out, container+" "+sub)
		default:
			out = append(out, container)
		}
		last = ""
		if ok {
			last = container
		}
	}
	return "`" + strings.Join(out, "`, `") + "`"
}
