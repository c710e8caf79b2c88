package failover

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestFollowEarly kills a master, and fails another one over by hand, under a pool that follows early: it goes to the
// replica when that says master, before any sentinel names it, and its record of the switch says so. On a busy machine a
// replica may not have been asked before its promotion, and then the announcement is what is followed: that may happen
// now and then, not every time.
func TestFollowEarly(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{DownAfter: 1500 * time.Millisecond}, "follow: early", untilServed)
	l := p.Load("cache", f)
	l.Progress(200)
	e := &earlyBird{t, f, p, l, map[string]int{}}
	e.follows("g1", func(m *harness.Redis) { m.Kill() }, (*harness.Redis).Restart)
	e.follows("g2", func(*harness.Redis) { f.Failover("g2") }, func(*harness.Redis) {})
	l.Progress(200)
	for g, n := range e.failovers {
		if m := p.Master("cache", g); m["switches"] != fmt.Sprint(n) {
			t.Errorf("%s was switched %s times, want %d: the announcement changes nothing", g, m["switches"], n)
		}
	}
	reports := l.Finish(f.Masters())
	crashes(t, reports[0], e.failovers["g1"])
	untouched(t, reports, "g2")
}

// earlyBird is a proxy that follows early.
type earlyBird struct {
	*testing.T
	fleet     *harness.Fleet
	proxy     *harness.Proxy
	ledger    *harness.Ledger
	failovers map[string]int
}

// follows fails the group over until the proxy has been early as it should be, which has to be soon.
func (e *earlyBird) follows(group string, act, mend func(master *harness.Redis)) {
	e.Helper()
	for range 3 {
		early := e.failover(group, act)
		for _, m := range e.fleet.Group(group).Nodes() {
			if m != e.fleet.WaitMaster(group, nil) {
				mend(m)
			}
		}
		if early {
			return
		}
		e.fleet.WaitSettled() // of all groups
	}
	e.Errorf("%d failovers of %s, and not one was followed before it was announced, by asking its replica often", e.failovers[group], group)
}

// scouted is how often a replica is asked for its ROLE at the least until it is promoted, which is some 100 ms after the sign: it is to
// be every 15 ms, and the machine may be busy.
const scouted = 4

// failover does one, and reports whether the proxy says that it was early, and has asked often enough to be.
func (e *earlyBird) failover(group string, act func(master *harness.Redis)) (early bool) {
	e.Helper()
	source, old := "", e.fleet.WaitMaster(group, nil)
	replica := e.fleet.Group(group).Replicas[0]
	if replica == old {
		replica = e.fleet.Group(group).Master
	}
	asked, before := 0, calls(e.T, replica, "role")
	act(old)
	e.failovers[group]++
	var promoted time.Time
	harness.Eventually(e, 2*harness.Patience, "the replica of "+group+" is promoted and followed", func() error {
		info, err := replica.Ask("INFO", "replication") // who says ROLE here is the proxy
		if err != nil || !strings.Contains(info.Str, "role:master") {
			return errors.Join(err, errors.New("it is not a master"))
		}
		if promoted.IsZero() {
			promoted, asked = time.Now(), calls(e.T, replica, "role")-before
		}
		if at := e.proxy.Master("cache", group)["master"]; at != replica.Addr() {
			return fmt.Errorf("the proxy is at %s", at)
		}
		return nil
	})
	took := time.Since(promoted)
	e.ledger.Progress(100, group)
	e.proxy.WaitMaster("cache", group, replica.Addr())
	e.fleet.WaitMaster(group, old)
	harness.Eventually(e, harness.Patience, "the switch of "+group+" is on record", func() error {
		switched := 0
		for _, row := range e.proxy.Rows("PROXY", "EVENTS", "cache", group) {
			if row["event"] == "switched" {
				if switched++; switched == 1 { // the newest is the first
					source = row["source"]
				}
			}
		}
		if switched != e.failovers[group] {
			return fmt.Errorf("%d switches, want %d", switched, e.failovers[group])
		}
		return nil
	})
	e.Logf("%s followed %v after its promotion, by source %s; it was asked %d times for its ROLE before", group, took.Round(time.Millisecond), source, asked)
	return source == "early" && asked >= scouted
}

// crashes is crashed for a group to which that happened so often.
func crashes(t *testing.T, r harness.GroupReport, times int) {
	t.Helper()
	most := 4 * times
	if r.Failed() > most || r.Lost > most || r.Stale > most || r.Duplicates > 0 || r.Wrong > 0 {
		t.Errorf("only what was in flight at %d crashes may fail or be lost: %v", times, r)
	}
}
