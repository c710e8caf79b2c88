package failover

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestFollowEarly kills a master, and fails another one over by hand, under a pool that follows early: it goes to the
// replica when that says master, which the test asks it itself. How soon is told; on a busy machine the replica may not
// have been seen before its promotion, and then the announcement is what is followed.
func TestFollowEarly(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{DownAfter: 1500 * time.Millisecond}, "follow: early", "hold: { timeout: 15s }")
	l := p.Load("cache", f)
	l.Progress(200)
	follow := func(group string, act func(master *harness.Redis)) {
		g := f.Group(group)
		old, replica := g.Master, g.Replicas[0]
		act(old)
		var promoted time.Time
		harness.Eventually(t, 2*harness.Patience, "the replica of "+group+" is promoted and followed", func() error {
			role, err := replica.Role()
			if err != nil || role != "master" {
				return errors.Join(err, fmt.Errorf("it is a %s", role))
			}
			if promoted.IsZero() {
				promoted = time.Now()
			}
			if at := p.Master("cache", group)["master"]; at != replica.Addr() {
				return fmt.Errorf("the proxy is at %s", at)
			}
			return nil
		})
		took := time.Since(promoted)
		t.Logf("%s followed %v after its promotion", group, took.Round(time.Millisecond))
		l.Progress(100, group)
		p.WaitMaster("cache", group, replica.Addr())
		f.WaitMaster(group, old) // the announcement changes nothing
		if took > 10*time.Second {
			t.Errorf("%s was followed %v after its promotion", group, took)
		}
	}
	follow("g1", func(m *harness.Redis) { m.Kill() })
	follow("g2", func(*harness.Redis) { f.Failover("g2") })
	l.Progress(200)
	for _, g := range f.GroupNames() {
		if m := p.Master("cache", g); m["switches"] != "1" {
			t.Errorf("%s was switched %s times, want once", g, m["switches"])
		}
	}
	reports := l.Finish(f.Masters())
	crashed(t, reports[0])
	untouched(t, reports, "g2")
}
