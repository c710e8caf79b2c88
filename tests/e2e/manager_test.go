package e2e

import (
	"fmt"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestFromManagerToRequest is the whole chain: a manager names groups and sentinels, the sentinels name the masters, ROLE
// confirms them, a request is served. Then the manager announces one more group and a new set of sentinels, and the old
// sentinels go away for good.
func TestFromManagerToRequest(t *testing.T) {
	t.Parallel()
	f := fleet(t, harness.FleetOptions{})
	m := harness.StartManager(t, map[string]harness.Cluster{
		"sessions": {Version: 1, Groups: f.GroupNames(), Sentinels: f.SentinelAddrs()},
	})
	c := harness.NewConfig(t)
	addr := c.ManagerPool("sessions", "sessions", []string{m.Addr})
	began := time.Now()
	p := harness.StartProxy(t, c)
	p.WaitUp("sessions")
	conn := dial(t, addr)
	want(t, conn, "OK", "SET", "a", "1")
	want(t, conn, "1", "GET", "a")
	t.Logf("from the start of the proxy to a served request: %v", time.Since(began).Round(time.Millisecond))
	row := p.Pool("sessions")
	if row["source"] != "manager" || row["version"] != "1" || row["groups"] != "2" || row["groups-up"] != "2" {
		t.Errorf("console: %v", row)
	}
	for _, g := range f.Groups {
		p.WaitMaster("sessions", g.Name, g.Master.Addr())
	}

	l := p.Load("sessions", f)
	l.Progress(100)
	before := f.GroupNames()
	f.AddGroup("g3")
	f.WaitSettled()
	old, fresh := f.ReplaceSentinels()
	f.WaitSettled()
	m.Write(map[string]harness.Cluster{
		"sessions": {Version: 2, Groups: f.GroupNames(), Sentinels: f.SentinelAddrs()},
	})
	waitVersion(t, p, "sessions", "2")
	p.WaitMaster("sessions", "g3", f.Group("g3").Master.Addr())
	for _, s := range old {
		s.Kill()
	}
	harness.Eventually(t, harness.Patience, "a sentinel of the new set is active", func() error {
		active := p.ActiveSentinel("sessions")
		for _, s := range fresh {
			if s.Addr() == active {
				return nil
			}
		}
		return fmt.Errorf("active: %q", active)
	})
	if rows := p.Rows("PROXY", "SENTINELS", "sessions"); len(rows) != len(fresh) {
		t.Errorf("%d sentinels on the console, want the %d new ones: %v", len(rows), len(fresh), rows)
	}
	// With a third group in the ring some keys moved, so only answers count here, not what the keys hold.
	l.Progress(100, before...)
	for _, g := range before {
		if n := l.Failures(g); len(n) > 0 {
			t.Errorf("group %s: errors during the change: %v", g, n)
		}
	}
	if _, ok := keysIn(t, p, "sessions", "k", 1)["g3"]; !ok {
		t.Error("no key goes to the new group")
	}
	// The manager knows who has what.
	harness.Eventually(t, harness.Patience, "the manager shows the version as applied", func() error {
		r, err := harness.Ask(m.Addr, "MANAGER", "PROXIES", "sessions")
		if err != nil || r.Err() != nil {
			return fmt.Errorf("%v %v", err, r.Err())
		}
		if rows := r.Rows(); len(rows) != 1 || rows[0]["applied-version"] != "2" {
			return fmt.Errorf("%v", rows)
		}
		return nil
	})
}

func waitVersion(t *testing.T, p *harness.Proxy, pool, version string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "pool "+pool+" has version "+version, func() error {
		row := p.Pool(pool)
		if row["version"] != version || row["state"] != "up" {
			return fmt.Errorf("version %s, %s: %s", row["version"], row["state"], row["cause"])
		}
		return nil
	})
}

// TestSecondManager kills the manager in use: the other one is heard.
func TestSecondManager(t *testing.T) {
	t.Parallel()
	f := fleet(t, harness.FleetOptions{Groups: []string{"g1"}})
	clusters := func(v uint64, groups ...string) map[string]harness.Cluster {
		return map[string]harness.Cluster{"sessions": {Version: v, Groups: groups, Sentinels: f.SentinelAddrs()}}
	}
	first, second := harness.StartManager(t, clusters(1, "g1")), harness.StartManager(t, clusters(1, "g1"))
	c := harness.NewConfig(t)
	addr := c.ManagerPool("sessions", "sessions", []string{first.Addr, second.Addr})
	p := harness.StartProxy(t, c)
	p.WaitUp("sessions")
	first.Freeze()
	f.AddGroup("g2")
	f.WaitSettled()
	second.Write(clusters(2, "g1", "g2"))
	waitVersion(t, p, "sessions", "2")
	want(t, dial(t, addr), "OK", "SET", "a", "1")
	first.Thaw() // it still says version 1: too old to be heard
	harness.Eventually(t, harness.Patience, "heartbeats go on", func() error {
		r, err := harness.Ask(second.Addr, "MANAGER", "PROXIES", "sessions")
		if err != nil {
			return err
		}
		if rows := r.Rows(); len(rows) != 1 || rows[0]["applied-version"] != "2" {
			return fmt.Errorf("%v", rows)
		}
		return nil
	})
	waitVersion(t, p, "sessions", "2")
}
