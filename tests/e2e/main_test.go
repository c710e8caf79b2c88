// Package e2e runs the built programs against real redis-server and redis-sentinel processes and breaks what can break:
// see tests/harness. Every test is parallel and owns its processes, but those that only ask share one stack.
package e2e

import (
	"testing"
	"time"

	"respgate/tests/harness"
)

func TestMain(m *testing.M) {
	harness.Unhurried = true
	harness.Main(m)
}

// What most tests say.
var (
	dial       = harness.Open
	want       = harness.Want
	wantPrefix = harness.WantPrefix
	clean      = harness.Untouched
	mebibytes  = harness.Mebibytes
)

// fleet starts servers and sentinels that fail nobody over but by hand, unless the options say otherwise: a busy machine is silent for
// longer than a server may be.
func fleet(t *testing.T, o harness.FleetOptions) *harness.Fleet {
	t.Helper()
	if o.DownAfter == 0 {
		o.DownAfter = 10 * time.Minute
	}
	return harness.StartFleet(t, o)
}

// stack is a fleet with a proxy over it: see harness.StartStack.
func stack(t *testing.T, o harness.FleetOptions, lines ...string) (*harness.Fleet, *harness.Proxy) {
	t.Helper()
	f := fleet(t, o)
	return f, harness.StartProxyOver(t, f, lines...)
}

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
