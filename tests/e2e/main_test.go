// Package e2e runs the built programs against real redis-server and redis-sentinel processes and breaks what can break:
// see tests/harness. Every test is parallel and owns its processes, but those that only ask share one stack.
package e2e

import (
	"strings"
	"testing"

	"respgate/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// stack starts a fleet and a proxy with one pool, "cache", over it, and waits until it serves.
func stack(t *testing.T, o harness.FleetOptions, lines ...string) (*harness.Fleet, *harness.Proxy) {
	t.Helper()
	f := harness.StartFleet(t, o)
	c := harness.NewConfig(t)
	c.SentinelPool("cache", f, lines...)
	p := harness.StartProxy(t, c)
	p.WaitUp("cache")
	p.WaitWatching("cache")
	return f, p
}

// mebibytes is a bound on memory; the race detector's own comes on top.
func mebibytes(n int64) int64 {
	if harness.RaceBuilt() {
		n *= 6
	}
	return n << 20
}

// dial opens a connection that is closed when the test ends.
func dial(t *testing.T, addr string) *harness.Conn {
	t.Helper()
	c, err := harness.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// want sends a request and compares the reply's text.
func want(t *testing.T, c *harness.Conn, text string, args ...string) {
	t.Helper()
	got, err := c.Do(args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	if got.Text() != text {
		t.Errorf("%s: %q, want %q", strings.Join(args, " "), got.Text(), text)
	}
}

// wantPrefix sends a request and compares how the reply's text begins.
func wantPrefix(t *testing.T, c *harness.Conn, prefix string, args ...string) {
	t.Helper()
	got, err := c.Do(args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	if !strings.HasPrefix(got.Text(), prefix) {
		t.Errorf("%s: %q, want %q...", strings.Join(args, " "), got.Text(), prefix)
	}
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

// clean fails the test for each group whose load saw an error, a loss or a wrong reply.
func clean(t *testing.T, reports []harness.GroupReport, groups ...string) {
	t.Helper()
	for _, r := range reports {
		if len(groups) > 0 && !contains(groups, r.Group) {
			continue
		}
		if r.Failed() > 0 || r.Lost > 0 || r.Duplicates > 0 || r.Stale > 0 || r.Wrong > 0 {
			t.Errorf("group %s was not to be touched: %v", r.Group, r)
		}
		if r.Requests == 0 {
			t.Errorf("group %s: no request succeeded", r.Group)
		}
	}
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}
