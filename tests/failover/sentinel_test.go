package failover

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// active is the sentinel that the pool's console calls the active one.
func active(t *testing.T, f *harness.Fleet, p *harness.Proxy) *harness.Sentinel {
	t.Helper()
	addr := p.ActiveSentinel("cache")
	for _, s := range f.Sentinels {
		if s.Addr() == addr {
			return s
		}
	}
	t.Fatalf("the active sentinel %q is none of %v", addr, f.SentinelAddrs())
	return nil
}

// waitActive waits until another sentinel than this one is active.
func waitActive(t *testing.T, p *harness.Proxy, not string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "another sentinel is active", func() error {
		if now := p.ActiveSentinel("cache"); now == not || now == "" {
			return fmt.Errorf("it is %q", now)
		}
		return nil
	})
}

// waitNoneActive waits until the proxy knows that no sentinel answers.
func waitNoneActive(t *testing.T, p *harness.Proxy) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "the proxy knows that no sentinel is left", func() error {
		if now := p.ActiveSentinel("cache"); now != "" {
			return fmt.Errorf("%s is active", now)
		}
		return nil
	})
}

// TestFault24HalfOpenSentinels makes the link to one sentinel half-open, and then those to all. Heartbeats find out, a
// switch in that time is seen, and the links are new once the network is back.
func TestFault24HalfOpenSentinels(t *testing.T) {
	t.Parallel()
	f := harness.StartFleet(t, harness.FleetOptions{})
	fronts, addrs := f.FrontSentinels()
	c := harness.NewConfig(t)
	c.Pool("cache", append(harness.SentinelLines(f.GroupNames(), addrs, f.Options), "sentinel_heartbeat: 300ms", "sentinel_timeout: 1s")...)
	p := harness.StartProxy(t, c)
	p.WaitUp("cache")
	p.WaitWatching("cache")
	l := p.Load("cache", f)
	l.Progress(100)

	first := p.ActiveSentinel("cache")
	old := f.Group("g1").Master
	for i, a := range addrs {
		if a == first {
			fronts[i].Blackhole()
			f.Sentinels[(i+1)%len(addrs)].Must("SENTINEL", "FAILOVER", "g1")
		}
	}
	p.WaitMaster("cache", "g1", f.WaitMaster("g1", old).Addr())
	waitActive(t, p, first)
	before := fronts[0].Accepted()
	for _, front := range fronts {
		front.Blackhole()
	}
	waitNoneActive(t, p)
	l.Progress(100) // the replicas vouch
	for _, front := range fronts {
		front.Heal()
	}
	waitActive(t, p, "")
	l.Progress(100)
	if fronts[0].Accepted() <= before {
		t.Error("the half-open link was not replaced")
	}
	untouched(t, l.Finish(f.Masters()))
}

// TestFault25SentinelKilled kills the sentinel in use: another one is, and nobody notices.
func TestFault25SentinelKilled(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}})
	l := p.Load("cache", f)
	l.Progress(100)
	killed := active(t, f, p)
	killed.Kill()
	waitActive(t, p, killed.Addr())
	if state := p.Pool("cache")["state"]; state != "up" {
		t.Errorf("the pool is %s, want up", state)
	}
	l.Progress(100)
	killed.Restart()
	p.WaitWatching("cache")
	untouched(t, l.Finish(f.Masters()))
}

// TestFault26SentinelStops stops the sentinel in use for longer than it takes to find out. When it goes on it is tilted,
// which the console shows, and a failover is followed without its vote.
func TestFault26SentinelStops(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}})
	l := p.Load("cache", f)
	l.Progress(100)
	frozen := active(t, f, p)
	frozen.Freeze()
	waitActive(t, p, frozen.Addr())
	if state := p.Pool("cache")["state"]; state != "up" {
		t.Errorf("the pool is %s during the rotation, want up", state)
	}
	frozen.Thaw()
	harness.Eventually(t, harness.Patience, "the sentinel is watched again, and known to be tilted", func() error {
		for _, row := range p.Rows("PROXY", "SENTINELS", "cache") {
			if row["address"] == frozen.Addr() && (row["state"] != "watching" || row["tilt"] != "1") {
				return fmt.Errorf("%v", row)
			}
		}
		return nil
	})
	takeover(t, f, p, "g1", func(*harness.Redis) {
		for _, s := range f.Sentinels {
			if s != frozen { // which would say OK, and do nothing while it is in tilt
				s.Must("SENTINEL", "FAILOVER", "g1")
				return
			}
		}
	})
	l.Progress(100)
	untouched(t, l.Finish(f.Masters()))
}

// TestFault27AllSentinelsKilled takes every sentinel away: the replicas vouch for their masters, so everything is served
// on. Then the sentinels return, and a failover is followed again.
func TestFault27AllSentinelsKilled(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{DownAfter: 3 * time.Second})
	l := p.Load("cache", f)
	l.Progress(100)
	for _, s := range f.Sentinels {
		s.Kill()
	}
	waitNoneActive(t, p)
	// A connection sends 200 a second at most, a group has four: this takes longer than a lease from sentinels lasts.
	l.Progress(4000)
	for _, s := range f.Sentinels {
		s.Restart()
	}
	f.WaitSettled()
	p.WaitWatching("cache")
	p.WaitUp("cache")
	byHand(t, f, p, "g1")
	l.Progress(100)
	untouched(t, l.Finish(f.Masters()))
}

// TestFault27NobodyVouches takes the replica away as well. Each pool then does what its file says, and all of them recover
// by themselves.
func TestFault27NobodyVouches(t *testing.T) {
	t.Parallel()
	f := harness.StartFleet(t, harness.FleetOptions{Groups: []string{"g1"}, DownAfter: 2 * time.Second})
	c := harness.NewConfig(t)
	policies := []string{"reject", "fence", "serve"}
	for _, policy := range policies {
		c.SentinelPool(policy, f, "on_authority_lost: "+policy, "sentinel_heartbeat: 300ms")
	}
	p := harness.StartProxy(t, c)
	p.WaitUp(policies...)
	conns := map[string]*harness.Conn{}
	for _, policy := range policies {
		conns[policy] = dial(t, c.Addr(policy))
		want(t, conns[policy], "OK", "SET", "a", "1")
	}
	for _, s := range f.Sentinels {
		s.Kill()
	}
	f.Group("g1").Replicas[0].Kill()

	waitError(t, conns["fence"], "respgate: ", "SET", "a", "2")
	want(t, conns["serve"], "OK", "SET", "a", "3")
	want(t, conns["fence"], "3", "GET", "a")
	want(t, conns["serve"], "3", "GET", "a")
	p.WaitPool("reject", "rejecting")
	wantError(t, conns["reject"], []string{"respgate: "}, "GET", "a")
	wantError(t, dial(t, c.Addr("reject")), []string{"respgate: "}, "GET", "a")

	for _, s := range f.Sentinels {
		s.Restart()
	}
	p.WaitUp(policies...)
	for _, policy := range policies {
		want(t, conns[policy], "OK", "SET", "a", "4")
	}
}

// TestFault28NoSentinelAtStart starts a proxy before there is any sentinel: the port is open and says what is wrong, and
// serves as soon as they are there.
func TestFault28NoSentinelAtStart(t *testing.T) {
	t.Parallel()
	f := harness.StartFleet(t, harness.FleetOptions{Groups: []string{"g1"}})
	for _, s := range f.Sentinels {
		s.Kill()
	}
	c := harness.NewConfig(t)
	addr := c.SentinelPool("cache", f, "hold: { timeout: 300ms }")
	p := harness.StartProxy(t, c)
	waitError(t, dial(t, addr), "sentinel", "SET", "a", "1")
	if state := p.Pool("cache")["state"]; state == "up" {
		t.Error("the pool says it is up without any sentinel")
	}
	for _, s := range f.Sentinels {
		s.Restart()
	}
	back := time.Now()
	p.WaitUp("cache")
	if took := time.Since(back); took > grace {
		t.Errorf("served %v after the sentinels were back", took)
	}
	want(t, dial(t, addr), "OK", "SET", "a", "1")
}

// TestFault29NoQuorum kills two of three sentinels, and then the master: nobody can be elected, and the proxy does not
// guess which replica it would have been.
func TestFault29NoQuorum(t *testing.T) {
	t.Parallel()
	f, p := stack(t, quickly("g1"), "hold: { timeout: 500ms }", "sentinel_heartbeat: 300ms")
	conn := dial(t, p.Config.Addr("cache"))
	want(t, conn, "OK", "SET", "a", "1")
	g := f.Group("g1")
	f.Sentinels[0].Kill()
	f.Sentinels[1].Kill()
	g.Master.Kill()
	// Sentinel itself says so, and so does the proxy, to writes and reads.
	harness.Eventually(t, harness.Patience, "the last sentinel has no quorum", func() error {
		_, err := f.Sentinels[2].Ask("SENTINEL", "CKQUORUM", "g1")
		if err == nil {
			return errors.New("it says it has")
		}
		if !strings.HasPrefix(err.Error(), "NOQUORUM") {
			return err
		}
		return nil
	})
	waitError(t, conn, "no majority of its sentinels", "SET", "a", "2")
	wantError(t, conn, []string{"respgate: ", "group 'g1'", g.Master.Addr(), "no majority of its sentinels"}, "GET", "a")
	if row := p.Master("cache", "g1"); row["master"] == g.Replicas[0].Addr() || row["switches"] != "0" {
		t.Errorf("somebody was made a master without a quorum: %v", row)
	}
	// With a quorum, there is a master.
	f.Sentinels[0].Restart()
	f.Sentinels[1].Restart()
	p.WaitMaster("cache", "g1", f.WaitMaster("g1", g.Master).Addr())
	waitReply(t, conn, "OK", "SET", "a", "3")
}

// TestFault35SentinelReset makes every sentinel forget what it has found out: the masters are the same, nobody notices.
func TestFault35SentinelReset(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}})
	l := p.Load("cache", f)
	l.Progress(100)
	for _, s := range f.Sentinels {
		s.Must("SENTINEL", "RESET", "*")
		l.Progress(20)
	}
	f.WaitSettled()
	l.Progress(100)
	untouched(t, l.Finish(f.Masters()))
	if row := p.Master("cache", "g1"); row["switches"] != "0" {
		t.Errorf("console: %v, want no switch", row)
	}
}
