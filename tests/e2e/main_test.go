// Package e2e runs the built programs against real redis-server and redis-sentinel processes and breaks what can break:
// see tests/harness. Every test is parallel and owns its processes, but those that only ask share one stack.
package e2e

import (
	"testing"

	"respgate/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// What most tests say.
var (
	stack      = harness.StartStack
	dial       = harness.Open
	want       = harness.Want
	wantPrefix = harness.WantPrefix
	clean      = harness.Untouched
	mebibytes  = harness.Mebibytes
)

// keysIn finds n keys for each group of a pool, without a hash tag, all with the prefix.
func keysIn(t *testing.T, p *harness.Proxy, pool, prefix string, n int) map[string][]string {
	t.Helper()
	var keys []string
	for i := range 200 {
		keys = append(keys, harness.Scatter(prefix+":", i))
	}
	byGroup := map[string][]string{}
	for i, g := range p.Route(pool)(keys) {
		if len(byGroup[g]) < n {
			byGroup[g] = append(byGroup[g], keys[i])
		}
	}
	for _, m := range p.Rows("PROXY", "MASTERS", pool) {
		if g := m["group"]; len(byGroup[g]) < n {
			t.Fatalf("group %s has %d of 200 keys", g, len(byGroup[g]))
		}
	}
	return byGroup
}
