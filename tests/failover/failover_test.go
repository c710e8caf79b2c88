package failover

import (
	"fmt"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestFault09MasterDemoted makes a replica of a master behind the back of sentinels that say nothing of it: writes wait,
// then fail with a reason, and the sentinels in use stay in use.
func TestFault09MasterDemoted(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1", "g2"}, "hold: { timeout: 1s }")
	m, other := s.servers["g1"], harness.StartRedis(t, harness.RedisOptions{})
	l := s.load()
	l.Progress(50)
	rotations := s.proxy.Rows("PROXY", "SENTINELS", "cache")
	active := s.proxy.ActiveSentinel("cache")
	conn, key := dial(t, s.addr()), keyIn(t, s.proxy, "g1")
	want(t, conn, "OK", "SET", key, "1")
	m.Must("REPLICAOF", "127.0.0.1", fmt.Sprint(other.Port))
	waitError(t, conn, "is 'slave', not master", "SET", key, "2")
	wantError(t, conn, []string{"respgate: group 'g1'", m.Addr()}, "SET", key, "2")
	l.Progress(100, "g2")
	if now := s.proxy.ActiveSentinel("cache"); now != active {
		t.Errorf("the active sentinel was %s and is %s", active, now)
	}
	for i, row := range s.proxy.Rows("PROXY", "SENTINELS", "cache") {
		if row["rotations"] != rotations[i]["rotations"] || row["state"] != "watching" {
			t.Errorf("a link to a sentinel was replaced: %v, before %v", row, rotations[i])
		}
	}
	m.Must("REPLICAOF", "NO", "ONE")
	waitReply(t, conn, "OK", "SET", key, "3")
	l.Progress(50)
	untouched(t, l.Finish(s.servers)[1:]) // g1's data went with the demotion
}

// TestFault10FailoverTo has an operator use FAILOVER TO under Sentinel: for half a minute the sentinels name a master
// that says it is none, and then promote somebody. Only their word is followed, and nothing is lost.
func TestFault10FailoverTo(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1", "g2"}, DownAfter: 3 * time.Second}, "hold: { timeout: 500ms }")
	l := p.Load("cache", f)
	l.Progress(100)
	g := f.Group("g1")
	conn, key := dial(t, p.Config.Addr("cache")), keyIn(t, p, "g1")
	g.Master.Must("FAILOVER", "TO", "127.0.0.1", fmt.Sprint(g.Replicas[0].Port))
	waitError(t, conn, "is 'slave', not master", "SET", key, "1")
	waitLogged(t, p, "WARN", "g1", "slave")
	harness.Eventually(t, 4*harness.Patience, "the sentinels and the servers agree again", func() error {
		_, err := f.Master("g1")
		return err
	})
	l.Progress(100)
	reports := l.Finish(f.Masters())
	untouched(t, reports, "g2")
	if g1 := reports[0]; g1.Lost > 0 || g1.Wrong > 0 || g1.Duplicates > 0 || g1.Stale > 0 {
		t.Errorf("errors are all that may come of it: %v", g1)
	}
}

// TestFault11FailoverByHand fails a group over while its master lives: it would take writes for ten seconds more. Not one
// may be lost, and no request may fail.
func TestFault11FailoverByHand(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{})
	l := p.Load("cache", f, pipelined)
	l.Progress(200)
	old, began := f.Group("g1").Master, time.Now()
	f.Failover("g1")
	fresh := f.WaitMaster("g1", old)
	announced := time.Since(began)
	p.WaitMaster("cache", "g1", fresh.Addr())
	l.Progress(200)
	reports := l.Finish(f.Masters())
	untouched(t, reports)
	if slowest := reports[0].Slowest; slowest > announced+grace {
		t.Errorf("the slowest request took %v, and the new master was announced after %v", slowest, announced)
	}
}

// TestFault15TwoFailovers follows a second failover right behind the first, while the first old master still says that it
// is one.
func TestFault15TwoFailovers(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}, Replicas: 2})
	l := p.Load("cache", f, pipelined)
	l.Progress(100)
	first := f.Group("g1").Master
	began := time.Now()
	f.Failover("g1")
	second := f.WaitMaster("g1", first)
	f.Failover("g1")
	third := f.WaitMaster("g1", second)
	t.Logf("two failovers in %v", time.Since(began).Round(time.Millisecond))
	p.WaitMaster("cache", "g1", third.Addr())
	l.Progress(200)
	p.WaitMaster("cache", "g1", third.Addr())
	untouched(t, l.Finish(f.Masters()))
	epoch := 0
	if _, err := fmt.Sscan(p.Master("cache", "g1")["config-epoch"], &epoch); err != nil || epoch < 2 {
		t.Errorf("config-epoch %d, %v; want that of the second failover", epoch, err)
	}
}

// TestFault16AllMastersKilled kills the masters of all groups at once. Sentinel takes them one after the other; each is
// followed by itself.
func TestFault16AllMastersKilled(t *testing.T) {
	t.Parallel()
	f, p := stack(t, quickly("g1", "g2", "g3"), untilServed)
	l := p.Load("cache", f)
	l.Progress(100)
	before, began := dials(t, p), time.Now()
	for _, g := range f.Groups {
		g.Master.Kill()
	}
	announced := map[string]time.Time{}
	served := map[string]bool{}
	harness.Eventually(t, 4*harness.Patience, "each group has another master and is served by it", func() error {
		for _, g := range f.Groups {
			fresh, err := f.Master(g.Name)
			if served[g.Name] || err != nil || fresh == g.Master {
				continue
			}
			if announced[g.Name].IsZero() {
				announced[g.Name] = time.Now()
			}
			if row := p.Master("cache", g.Name); row["master"] != fresh.Addr() || row["state"] != "up" {
				continue
			}
			served[g.Name] = true
			if late := time.Since(announced[g.Name]); late > grace {
				t.Errorf("%s was served %v after its new master was announced", g.Name, late)
			}
		}
		if len(served) < len(f.Groups) {
			return fmt.Errorf("served are %v, announced %v", served, announced)
		}
		return nil
	})
	dialled(t, p, before, began)
	l.Progress(100)
	for _, r := range l.Finish(f.Masters()) {
		crashed(t, r, 0)
	}
	for _, g := range f.Groups {
		if m := p.Master("cache", g.Name); m["switches"] != "1" {
			t.Errorf("%s: %s switches, want one", g.Name, m["switches"])
		}
	}
}
