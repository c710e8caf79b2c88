package e2e

import (
	"testing"

	"respgate/tests/harness"
)

// TestHostileManagers gives a pool to each kind of false manager, which is asked first, beside a real one.
func TestHostileManagers(t *testing.T) {
	t.Parallel()
	f := fleet(t, harness.FleetOptions{Groups: []string{"g1"}})
	m := harness.StartManager(t, map[string]harness.Cluster{"c": {Version: 1, Groups: f.GroupNames(), Sentinels: f.SentinelAddrs()}})
	c := harness.NewConfig(t)
	var pools []string
	for kind, impostor := range harness.Impostors() {
		c.ManagerPool(kind, "c", []string{harness.Serve(t, impostor), m.Addr})
		pools = append(pools, kind)
	}
	p := harness.StartProxy(t, c)
	p.WaitUp(pools...)
	for _, kind := range pools {
		want(t, dial(t, c.Addr(kind)), "OK", "SET", kind, "1")
	}
	if rss, err := p.RSS(); err != nil || rss > harness.Mebibytes(256) {
		t.Errorf("%d MiB resident with %d false managers, %v", rss>>20, len(pools), err)
	}
}
