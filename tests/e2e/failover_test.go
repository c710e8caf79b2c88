package e2e

import (
	"fmt"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestKillMaster is the reason the proxy exists: a master dies under load, its group's requests wait, its replica takes
// over, nobody touches anything. The other group must not notice.
func TestKillMaster(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{DownAfter: 1500 * time.Millisecond}, "hold: { timeout: 15s }")
	l := p.Load("cache", f)
	l.Progress(200)

	old := f.Group("g1").Master
	began := time.Now()
	old.Kill()
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	l.Progress(200)
	t.Logf("kill -9 of g1's master %s: %s serves, load resumed after %v (down-after 1.5s)", old.Addr(), fresh.Addr(), time.Since(began).Round(time.Millisecond))

	reports := l.Finish(f.Masters())
	clean(t, reports, "g2")
	g1 := reports[0]
	if g1.Outage > 12*time.Second {
		t.Errorf("the outage of g1 was %v, want less than down-after + 10s", g1.Outage)
	}
	// Only what was in flight may fail: one request per connection, and not those that could be sent again.
	if limit := 4; g1.Failed() > limit {
		t.Errorf("g1: %d errors, want at most %d: what was in flight", g1.Failed(), limit)
	}
	if g1.Duplicates > 0 || g1.Wrong > 0 {
		t.Errorf("g1: %d duplicates, %d wrong replies", g1.Duplicates, g1.Wrong)
	}
	if m := p.Master("cache", "g1"); m["switches"] != "1" || m["source"] != "sentinel" {
		t.Errorf("console: switches %s, source %s; want 1, sentinel", m["switches"], m["source"])
	}
}

// TestFailoverOfLiveMaster fails a group over by hand: the old master lives on and would take writes for ten seconds
// more. Not one may be lost, and no request may fail.
func TestFailoverOfLiveMaster(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{})
	l := p.Load("cache", f)
	l.Progress(200)
	old := f.Group("g1").Master
	f.Failover("g1")
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	l.Progress(200)
	clean(t, l.Finish(f.Masters()))
}

// TestOldMasterReturns lets a killed master come back: for some seconds it says it is a master, and no byte of a client
// may reach it, not even through a proxy that was started just then.
func TestOldMasterReturns(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}, DownAfter: 1500 * time.Millisecond})
	old := f.Group("g1").Master
	old.Kill()
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	l := p.Load("cache", f)
	l.Progress(100)
	old.Restart()

	c := harness.NewConfig(t)
	c.SentinelPool("cache", f)
	second := harness.StartProxy(t, c)
	second.WaitMaster("cache", "g1", fresh.Addr())
	want(t, dial(t, c.Addr("cache")), "OK", "SET", "from-the-second", "1")
	l.Progress(100)
	harness.Eventually(t, 2*harness.Patience, "the old master is made a replica", func() error {
		role, err := old.Role()
		if err == nil && role != "slave" {
			err = fmt.Errorf("it is a %s", role)
		}
		return err
	})
	l.Progress(100)
	clean(t, l.Finish(f.Masters()))
	if got := fresh.Must("GET", "from-the-second"); got.Text() != "1" {
		t.Errorf("the write through the second proxy: %s", got.Text())
	}
}

// TestFrozenMaster stops a master for good without closing anything: connections look alive and answer nothing.
func TestFrozenMaster(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{DownAfter: 1500 * time.Millisecond}, "timeout: 1s", "hold: { timeout: 15s }")
	l := p.Load("cache", f)
	l.Progress(100)
	old := f.Group("g1").Master
	old.Freeze()
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	l.Progress(100)
	old.Thaw() // late replies of the old generation arrive now
	l.Progress(400)
	reports := l.Finish(f.Masters())
	clean(t, reports, "g2")
	if g1 := reports[0]; g1.Wrong > 0 || g1.Duplicates > 0 {
		t.Errorf("g1: %d wrong replies, %d duplicates", g1.Wrong, g1.Duplicates)
	}
}

// TestSwitchFromConsole runs PROXY SWITCH in both forms under load.
func TestSwitchFromConsole(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{})
	l := p.Load("cache", f)
	l.Progress(100)
	old := f.Group("g1").Master
	r := p.Admin("PROXY", "SWITCH", "cache", "g1")
	fresh := f.WaitMaster("g1", old)
	if wantReply := fmt.Sprintf("OK %s %s ", old.Addr(), fresh.Addr()); r.Kind != '+' || len(r.Str) < len(wantReply) || r.Str[:len(wantReply)] != wantReply {
		t.Errorf("PROXY SWITCH cache g1: %s, want +%s<ms>", r.Text(), wantReply)
	}
	l.Progress(100)
	reports := l.Finish(f.Masters())
	clean(t, reports)

	for _, c := range []struct{ args, want string }{
		{"PROXY SWITCH nosuch g1", "-NOPOOL no such pool 'nosuch'"},
		{"PROXY SWITCH cache nosuch", "-NOGROUP no such group 'nosuch' in pool 'cache'"},
		{"PROXY SWITCH cache", "-ERR wrong number of arguments for 'proxy|switch' command"},
	} {
		if got := p.Admin(fields(c.args)...).Text(); got != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	// To a node that is no master: refused, and nothing changes.
	replica := old
	harness.Eventually(t, 2*harness.Patience, "the old master is made a replica", func() error {
		role, err := replica.Role()
		if err == nil && role != "slave" {
			err = fmt.Errorf("it is a %s", role)
		}
		return err
	})
	if got := p.Admin("PROXY", "SWITCH", "cache", "g1", "127.0.0.1", fmt.Sprint(replica.Port)); got.Kind != '-' {
		t.Errorf("PROXY SWITCH to a replica: %s, want an error", got.Text())
	}
	p.WaitMaster("cache", "g1", fresh.Addr())
	// To a node that says master, though Sentinel does not know it: the operator's word counts.
	other := harness.StartRedis(t, harness.RedisOptions{})
	if got := p.Admin("PROXY", "SWITCH", "cache", "g1", "127.0.0.1", fmt.Sprint(other.Port)); got.Kind != '+' {
		t.Errorf("PROXY SWITCH to a master: %s", got.Text())
	}
	p.WaitMaster("cache", "g1", other.Addr())
	if m := p.Master("cache", "g1"); m["source"] != "operator" {
		t.Errorf("source %s, want operator", m["source"])
	}
}
