package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

func fields(s string) []string { return strings.Fields(s) }

// sentinelAt finds the running sentinel with the address.
func sentinelAt(t *testing.T, f *harness.Fleet, addr string) *harness.Sentinel {
	t.Helper()
	for _, s := range f.Sentinels {
		if s.Addr() == addr {
			return s
		}
	}
	t.Fatalf("the active sentinel %q is none of %v", addr, f.SentinelAddrs())
	return nil
}

// TestFrozenSentinel stops the active sentinel: the proxy takes another one, and no client notices. A switch that
// happens meanwhile is followed.
func TestFrozenSentinel(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{}, "sentinel_heartbeat: 300ms")
	l := p.Load("cache", f)
	l.Progress(100)
	active := p.ActiveSentinel("cache")
	frozen := sentinelAt(t, f, active)
	frozen.Freeze()
	harness.Eventually(t, harness.Patience, "another sentinel becomes active", func() error {
		if now := p.ActiveSentinel("cache"); now == active || now == "" {
			return fmt.Errorf("it is %q", now)
		}
		return nil
	})
	if state := p.Pool("cache")["state"]; state != "up" {
		t.Errorf("pool is %s during the rotation, want up", state)
	}
	l.Progress(100)
	frozen.Thaw()
	harness.Eventually(t, harness.Patience, "the frozen sentinel is watched again", func() error {
		for _, row := range p.Rows("PROXY", "SENTINELS", "cache") {
			if row["address"] == active && row["state"] != "watching" {
				return fmt.Errorf("it is %s", row["state"])
			}
		}
		return nil
	})
	l.Progress(100)
	clean(t, l.Finish(f.Masters()))
}

// TestRotateByOperator makes another sentinel the active one by hand.
func TestRotateByOperator(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}})
	active := p.ActiveSentinel("cache")
	if r := p.Admin("PROXY", "ROTATE", "cache"); r.Kind != '+' {
		t.Fatalf("PROXY ROTATE: %s", r.Text())
	}
	harness.Eventually(t, harness.Patience, "another sentinel is active", func() error {
		if now := p.ActiveSentinel("cache"); now == active || now == "" {
			return fmt.Errorf("it is %q", now)
		}
		return nil
	})
	to := sentinelAt(t, f, active)
	if r := p.Admin("PROXY", "ROTATE", "cache", "127.0.0.1", fmt.Sprint(to.Port)); r.Kind != '+' {
		t.Fatalf("PROXY ROTATE back: %s", r.Text())
	}
	harness.Eventually(t, harness.Patience, "the sentinel named is active", func() error {
		if now := p.ActiveSentinel("cache"); now != active {
			return fmt.Errorf("it is %q", now)
		}
		return nil
	})
	if r := p.Admin("PROXY", "ROTATE", "cache", "127.0.0.1", "1"); r.Kind != '-' {
		t.Errorf("PROXY ROTATE to nobody: %s", r.Text())
	}
}

// TestAllSentinelsKilled takes every sentinel away: the replicas vouch for their masters, so everything is served on.
// Then the sentinels return, and a failover is followed again.
func TestAllSentinelsKilled(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{DownAfter: 3 * time.Second})
	l := p.Load("cache", f)
	l.Progress(100)
	for _, s := range f.Sentinels {
		s.Kill()
	}
	harness.Eventually(t, harness.Patience, "the proxy knows that no sentinel is left", func() error {
		if now := p.ActiveSentinel("cache"); now != "" {
			return fmt.Errorf("%s is active", now)
		}
		return nil
	})
	// A connection sends 200 a second at most, a group has four: this takes longer than a lease from sentinels lasts.
	l.Progress(4000)
	for _, s := range f.Sentinels {
		s.Restart()
	}
	f.WaitSettled()
	p.WaitWatching("cache")
	if p.ActiveSentinel("cache") == "" {
		t.Error("all sentinels are watched and none is active")
	}
	p.WaitUp("cache")
	old := f.Group("g1").Master
	f.Failover("g1")
	p.WaitMaster("cache", "g1", f.WaitMaster("g1", old).Addr())
	l.Progress(100)
	clean(t, l.Finish(f.Masters()))
}

// TestStartWithoutSentinels starts a proxy before there is any sentinel: the port is open and says what is wrong, and
// serves as soon as they are there.
func TestStartWithoutSentinels(t *testing.T) {
	t.Parallel()
	f := harness.StartFleet(t, harness.FleetOptions{Groups: []string{"g1"}})
	for _, s := range f.Sentinels {
		s.Kill()
	}
	c := harness.NewConfig(t)
	addr := c.SentinelPool("cache", f, "hold: { timeout: 300ms }")
	p := harness.StartProxy(t, c)
	wantPrefix(t, dial(t, addr), "-ERR respgate: ", "SET", "a", "1")
	if state := p.Pool("cache")["state"]; state == "up" {
		t.Error("the pool says it is up without any sentinel")
	}
	for _, s := range f.Sentinels {
		s.Restart()
	}
	p.WaitUp("cache")
	want(t, dial(t, addr), "OK", "SET", "a", "1")
}

// TestHalfOpenSentinels makes the links to all sentinels half-open. Heartbeats find out; the links are replaced once the
// network is back, and a failover that happened in between is seen.
func TestHalfOpenSentinels(t *testing.T) {
	t.Parallel()
	f := harness.StartFleet(t, harness.FleetOptions{})
	var fronts []*harness.FaultProxy
	var addrs []string
	for _, s := range f.Sentinels {
		front := harness.StartFault(t, s.Addr())
		fronts, addrs = append(fronts, front), append(addrs, front.Addr())
	}
	c := harness.NewConfig(t)
	c.Pool("cache", append(harness.SentinelLines(f.GroupNames(), addrs, f.Options), "sentinel_heartbeat: 300ms", "sentinel_timeout: 1s")...)
	p := harness.StartProxy(t, c)
	p.WaitUp("cache")
	p.WaitWatching("cache")
	l := p.Load("cache", f)
	l.Progress(100)

	// One half-open link: another sentinel is taken, and a switch that the others run is followed.
	active := p.ActiveSentinel("cache")
	old := f.Group("g1").Master
	for i, a := range addrs {
		if a == active {
			fronts[i].Blackhole()
			f.Sentinels[(i+1)%len(addrs)].Must("SENTINEL", "FAILOVER", "g1")
		}
	}
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	harness.Eventually(t, harness.Patience, "the half-open sentinel is no longer active", func() error {
		if now := p.ActiveSentinel("cache"); now == active || now == "" {
			return fmt.Errorf("active: %q", now)
		}
		return nil
	})
	// All of them: the replicas vouch, the load goes on.
	before := fronts[0].Accepted()
	for _, front := range fronts {
		front.Blackhole()
	}
	harness.Eventually(t, harness.Patience, "the proxy knows that no sentinel answers", func() error {
		if now := p.ActiveSentinel("cache"); now != "" {
			return fmt.Errorf("%s is active", now)
		}
		return nil
	})
	l.Progress(100)
	for _, front := range fronts {
		front.Heal()
	}
	harness.Eventually(t, harness.Patience, "links are new and a sentinel is active", func() error {
		if p.ActiveSentinel("cache") == "" {
			return fmt.Errorf("none active: %v", p.Rows("PROXY", "SENTINELS", "cache"))
		}
		return nil
	})
	l.Progress(100)
	if fronts[0].Accepted() <= before {
		t.Error("the half-open link was not replaced")
	}
	clean(t, l.Finish(f.Masters()))
}

// TestReplicaAnnouncedAsMaster lets sentinels lie: they announce a replica as the new master. ROLE vetoes it.
func TestReplicaAnnouncedAsMaster(t *testing.T) {
	t.Parallel()
	master := harness.StartRedis(t, harness.RedisOptions{})
	replica := harness.StartRedis(t, harness.RedisOptions{ReplicaOf: master})
	var fakes []*harness.FakeSentinel
	var addrs []string
	for range 3 {
		s := harness.StartFakeSentinel(t, 2)
		s.Name("g1", "127.0.0.1", master.Port, 1, replica.Addr())
		fakes, addrs = append(fakes, s), append(addrs, s.Addr())
	}
	c := harness.NewConfig(t)
	addr := c.Pool("cache", "groups: [g1]", "sentinels: ["+strings.Join(addrs, ", ")+"]", "hold: { timeout: 500ms }")
	p := harness.StartProxy(t, c)
	p.WaitMaster("cache", "g1", master.Addr())
	conn := dial(t, addr)
	want(t, conn, "OK", "SET", "a", "1")

	asked := replicaAsked(replica)
	for _, s := range fakes {
		s.Switch("g1", "127.0.0.1", replica.Port, 2)
	}
	harness.Eventually(t, harness.Patience, "the proxy asks the replica for its role", func() error {
		if replicaAsked(replica) <= asked {
			return fmt.Errorf("not yet: %v", p.Master("cache", "g1"))
		}
		return nil
	})
	for i := range 50 {
		got, err := conn.Do("SET", "a", fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind == '-' && !strings.HasPrefix(got.Str, "ERR respgate: ") {
			t.Fatalf("a write reached the replica: %s", got.Text())
		}
		if got.Kind == '-' {
			break // held until the bound, then refused: one such answer says it all
		}
	}
	if m := p.Master("cache", "g1"); m["master"] == replica.Addr() {
		t.Errorf("the console shows the replica as master: %v", m)
	}
	if errs := replica.Must("INFO", "errorstats").Str; strings.Contains(errs, "READONLY") {
		t.Errorf("a write was sent to the replica:\n%s", errs)
	}
	// The truth comes back with a higher epoch: served again.
	for _, s := range fakes {
		s.Switch("g1", "127.0.0.1", master.Port, 3)
	}
	p.WaitMaster("cache", "g1", master.Addr())
	want(t, conn, "OK", "SET", "a", "2")
}

// replicaAsked counts the ROLE commands a server has seen.
func replicaAsked(r *harness.Redis) int {
	n := 0
	for line := range strings.Lines(r.Must("INFO", "commandstats").Str) {
		if _, err := fmt.Sscanf(line, "cmdstat_role:calls=%d,", &n); err == nil {
			return n
		}
	}
	return 0
}

// TestSourceDesign holds the design that the proxy comes from, to the letter: one sentinel link at a time; while it is
// being replaced new connections and new requests get a clear error, requests in flight finish.
func TestSourceDesign(t *testing.T) {
	t.Parallel()
	f := harness.StartFleet(t, harness.FleetOptions{Groups: []string{"g1"}})
	var fronts []*harness.FaultProxy
	var addrs []string
	for _, s := range f.Sentinels {
		front := harness.StartFault(t, s.Addr())
		fronts, addrs = append(fronts, front), append(addrs, front.Addr())
	}
	c := harness.NewConfig(t)
	addr := c.Pool("cache", append(harness.SentinelLines(f.GroupNames(), addrs, f.Options),
		"sentinel_links: 1", "authority_lease: 0", "on_authority_lost: reject", "sentinel_heartbeat: 300ms", "sentinel_timeout: 1s", "timeout: 20s")...)
	p := harness.StartProxy(t, c)
	p.WaitUp("cache")
	open := 0
	for _, front := range fronts {
		if front.Open() > 0 {
			open++
		}
	}
	if open != 1 {
		t.Errorf("links to %d sentinels, want one", open)
	}

	// In flight: a script that keeps the master busy for longer than the loss of the sentinel takes to be seen.
	inflight := dial(t, addr)
	want(t, inflight, "OK", "SET", "a", "1")
	fresh := dial(t, addr)
	want(t, fresh, "PONG", "PING")
	for _, front := range fronts {
		front.Blackhole()
	}
	if err := inflight.Write(harness.Encode("EVAL", "local t=redis.call('time')[1] while redis.call('time')[1]-t<3 do end return 'done'", "1", "a")); err != nil {
		t.Fatal(err)
	}
	p.WaitPool("cache", "rejecting")
	wantPrefix(t, fresh, "-ERR respgate: ", "GET", "a")
	newcomer := dial(t, addr)
	got, err := newcomer.Do("GET", "a")
	if err != nil || !strings.HasPrefix(got.Text(), "-ERR respgate: ") {
		t.Errorf("a new connection during the rotation: %q, %v; want a clear error", got.Text(), err)
	}
	if got, err := inflight.Receive(); err != nil || got.Text() != "done" {
		t.Errorf("the request in flight: %q, %v; want it to finish", got.Text(), err)
	}
	for _, front := range fronts {
		front.Heal()
	}
	p.WaitUp("cache")
	want(t, fresh, "1", "GET", "a")
}

// TestAuthorityLost takes away everybody who could vouch for the master: the sentinels and the replica. Each pool then does
// what its file says, and all of them recover by themselves.
func TestAuthorityLost(t *testing.T) {
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

	harness.Eventually(t, harness.Patience, "the authority is lost", func() error {
		r, err := conns["fence"].Do("SET", "a", "2")
		if err == nil && !strings.HasPrefix(r.Text(), "-ERR respgate: ") {
			err = fmt.Errorf("SET: %s", r.Text())
		}
		return err
	})
	want(t, conns["serve"], "OK", "SET", "a", "3")
	want(t, conns["fence"], "3", "GET", "a")
	want(t, conns["serve"], "3", "GET", "a")
	p.WaitPool("reject", "rejecting")
	wantPrefix(t, conns["reject"], "-ERR respgate: ", "GET", "a")
	wantPrefix(t, dial(t, c.Addr("reject")), "-ERR respgate: ", "GET", "a")

	for _, s := range f.Sentinels {
		s.Restart()
	}
	p.WaitUp(policies...)
	for _, policy := range policies {
		want(t, conns[policy], "OK", "SET", "a", "4")
	}
}
