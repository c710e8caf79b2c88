package failover

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"respgate/tests/harness"
)

var switchesFlag = flag.Int("switches", 2, "of TestSwitchesInARow; 20 in a soak")

// order gives the order for a switch, and waits for as long as one may take.
func order(t *testing.T, p *harness.Proxy, group string) harness.Reply {
	t.Helper()
	c := dial(t, p.Config.Admin)
	c.Timeout = 3 * time.Minute
	r, err := c.Do("PROXY", "SWITCH", "cache", group)
	if err != nil {
		t.Errorf("PROXY SWITCH cache %s: %v", group, err)
	}
	return r
}

// switched asks a proxy for a switch and waits until both proxies serve the new master.
func switched(t *testing.T, f *harness.Fleet, group string, by *harness.Proxy, all ...*harness.Proxy) (took time.Duration) {
	t.Helper()
	old := f.WaitMaster(group, nil)
	r := order(t, by, group)
	fresh := f.WaitMaster(group, old)
	var ms int
	if n, err := fmt.Sscanf(r.Str, "OK "+old.Addr()+" "+fresh.Addr()+" %d", &ms); r.Kind != '+' || n != 1 || err != nil {
		t.Fatalf("PROXY SWITCH: %s, want OK %s %s <ms>", r.Text(), old.Addr(), fresh.Addr())
	}
	for _, p := range all {
		p.WaitMaster("cache", group, fresh.Addr())
	}
	return time.Duration(ms) * time.Millisecond
}

// TestSwitchesInARow switches a group again and again, by one proxy and the other, under 64 connections and some 2,000
// writes a second through both: not an error, and nothing lost.
func TestSwitchesInARow(t *testing.T) {
	t.Parallel()
	f, first := stack(t, harness.FleetOptions{Groups: []string{"g1"}})
	second := proxyOf(t, f)
	proxies := []*harness.Proxy{first, second}
	load := func(keys string) func(o *harness.LedgerOptions) {
		return func(o *harness.LedgerOptions) {
			o.Keys, o.Workers, o.Interval = keys, 32, 24*time.Millisecond // three of four requests write
		}
	}
	l, other := first.Load("cache", f, load("w")), second.Load("cache", f, load("v"))
	l.Progress(500)
	other.Progress(500)
	var took []string
	began := time.Now()
	switches := *switchesFlag
	if *soakFlag > 0 {
		switches = max(switches, 20)
	}
	limit := 5 * time.Second // for one that runs beside others
	if switches >= 10 {
		limit = 2 * time.Second
	}
	for i := range switches {
		d := switched(t, f, "g1", proxies[i%2], proxies...)
		took = append(took, fmt.Sprint(d.Milliseconds()))
		l.Progress(500)
		other.Progress(500)
		if i+1 < switches {
			f.WaitSettled()
		}
	}
	t.Logf("%d switches in %v, ms each: %s", switches, time.Since(began).Round(time.Millisecond), strings.Join(took, " "))
	masters := f.Masters()
	for _, reports := range [][]harness.GroupReport{l.Finish(masters), other.Finish(masters)} {
		untouched(t, reports)
		if slowest := reports[0].Slowest; slowest > limit {
			t.Errorf("the slowest request took %v, more than %v", slowest, limit)
		}
	}
}

// TestSwitchTakesLeave: a client that talks to the old master itself is closed some time after the switch, so that it asks
// where the new one is; what it was paused with is refused, not executed.
func TestSwitchTakesLeave(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}})
	old := f.Group("g1").Master
	idle, listener := dial(t, old.Addr()), dial(t, old.Addr())
	want(t, idle, "PONG", "PING")
	if r, err := listener.Do("SUBSCRIBE", "news"); err != nil || r.Kind != '*' {
		t.Fatal(r.Text(), err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var (
		refused string
		acked   int64
	)
	wg.Go(func() { // a writer that knows nothing of proxies
		c, err := harness.Dial(old.Addr())
		if err != nil {
			refused = err.Error()
			return
		}
		defer c.Close()
		for {
			select {
			case <-stop:
				return
			default:
			}
			r, err := c.Do("INCR", "direct")
			if err != nil || r.Kind != ':' {
				refused = fmt.Sprint(r.Text(), err)
				return
			}
			if acked++; r.Int != acked {
				refused = fmt.Sprintf("%s for INCR %d", r.Text(), acked)
				return
			}
		}
	})
	switched(t, f, "g1", p, p)
	harness.Eventually(t, harness.Patience, "the old master is a replica that takes no writes", func() error {
		role, err := old.Role()
		if err == nil && role != "slave" {
			err = errors.New(role)
		}
		return err
	})
	if _, err := idle.EOF(); err != nil {
		t.Errorf("an idle client of the old master: %v", err)
	}
	if _, err := listener.EOF(); err != nil {
		t.Errorf("a subscriber of the old master: %v", err)
	}
	close(stop)
	wg.Wait()
	if !strings.Contains(refused, "READONLY") {
		t.Errorf("the writer was told %q, want -READONLY", refused)
	}
	if written := f.WaitMaster("g1", old).Must("GET", "direct").Text(); written != fmt.Sprint(acked) {
		t.Errorf("%d writes were acknowledged by the old master itself, and the new one has %s of them", acked, written)
	}
}

// TestSwitchOfAll goes through all groups, then stops at the one that cannot be switched.
func TestSwitchOfAll(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{})
	l := p.Load("cache", f)
	l.Progress(100)
	first := f.Masters()
	r := order(t, p, "ALL")
	if len(r.Elems) != 2 || !strings.HasPrefix(r.Elems[0].Str, "g1 OK "+first["g1"].Addr()) || !strings.HasPrefix(r.Elems[1].Str, "g2 OK "+first["g2"].Addr()) {
		t.Fatalf("PROXY SWITCH cache ALL: %s", r.Text())
	}
	l.Progress(100)
	masters := f.Masters()
	for g, m := range masters {
		if m == first[g] {
			t.Errorf("%s still has its master", g)
		}
	}
	untouched(t, l.Finish(masters))

	first["g2"].Kill() // the only replica by now
	r = order(t, p, "ALL")
	if len(r.Elems) != 2 || !strings.HasPrefix(r.Elems[0].Str, "g1 OK ") || r.Elems[1].Kind != '-' || !strings.HasPrefix(r.Elems[1].Str, "NOREPLICA group 'g2'") {
		t.Errorf("PROXY SWITCH cache ALL without a replica of g2: %s", r.Text())
	}
	want(t, dial(t, p.Config.Addr("cache")), "OK", "SET", keyIn(t, p, "g2"), "1")
}

// lag stalls what the master of a group sends to its only replica, which goes on saying that it is connected.
func lag(t *testing.T, f *harness.Fleet, g *harness.Group) *harness.FaultProxy {
	t.Helper()
	way := harness.StartFault(t, g.Master.Addr())
	host, port, _ := strings.Cut(way.Addr(), ":")
	g.Replicas[0].Must("REPLICAOF", host, port)
	harness.Eventually(t, harness.Patience, "the replica follows its master on another way", func() error {
		role := g.Replicas[0].Must("ROLE")
		if len(role.Elems) != 5 || role.Elems[3].Str != "connected" {
			return errors.New(role.Text())
		}
		return nil
	})
	f.WaitSettled()
	way.Set(harness.ToClient, harness.Fault{Stall: true})
	behind(t, g)
	return way
}

// behind waits until the replica lacks something.
func behind(t *testing.T, g *harness.Group) {
	t.Helper()
	g.Master.Must("SET", "a-write", harness.Scatter("lacks", g.Master.Port))
	harness.Eventually(t, harness.Patience, "the replica is behind", func() error {
		master, replica := g.Master.Must("ROLE"), g.Replicas[0].Must("ROLE")
		if replica.Elems[4].Int >= master.Elems[1].Int {
			return fmt.Errorf("%s, %s", master.Text(), replica.Text())
		}
		return nil
	})
}

// TestSwitchGivenUp lets each step of a switch fail: its error says why, nobody gets another one, and the old master serves
// and is not paused.
func TestSwitchGivenUp(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}, FailoverTimeout: 3 * time.Minute}) // which is when Sentinel would mend the replica's way
	g := f.Group("g1")
	l := p.Load("cache", f)
	l.Progress(50)
	refused := func(why string, parts ...string) {
		t.Helper()
		r := order(t, p, "g1")
		for _, part := range parts {
			if r.Kind != '-' || !strings.Contains(r.Str, part) {
				t.Errorf("%s: %s, want an error with %q", why, r.Text(), part)
			}
		}
		unpaused(t, g.Master)
		l.Progress(20)
		if row := p.Master("cache", "g1"); row["switches"] != "0" || row["master"] != g.Master.Addr() || row["state"] != "up" {
			t.Errorf("%s: the console shows %v", why, row)
		}
	}

	locked := dial(t, g.Master.Addr())
	if r, err := locked.Do("SUBSCRIBE", "respgate:switch:g1"); err != nil || r.Kind != '*' {
		t.Fatal(r.Text(), err)
	}
	refused("another proxy is at it", "INPROG check: ", "respgate:switch:g1")
	locked.Close()
	harness.Eventually(t, harness.Patience, "the lock has gone with its owner", func() error {
		if r := g.Master.Must("PUBSUB", "NUMSUB", "respgate:switch:g1"); r.Elems[1].Int != 0 {
			return errors.New(r.Text())
		}
		return nil
	})

	way := lag(t, f, g)
	refused("the replica does not catch up", "NOREPLICA catch-up: ", g.Replicas[0].Addr(), "lacks ")
	if n := unpaused(t, g.Master); n != 1 && harness.ServerHas7(t) {
		t.Errorf("the master's writers were paused %d times, want once", n)
	}
	way.Heal()
	f.WaitSettled()

	g.Replicas[0].Must("CONFIG", "SET", "replica-priority", "0")
	harness.Eventually(t, 2*harness.Patience, "every sentinel knows that the replica is not to be promoted", func() error {
		for _, s := range f.Sentinels {
			r, err := s.Ask("SENTINEL", "REPLICAS", "g1")
			if err == nil && (len(r.Elems) != 1 || r.Elems[0].Map()["slave-priority"] != "0") {
				err = errors.New(r.Text())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	refused("no replica may be promoted", "NOREPLICA check: ", "priority is 0")
	g.Replicas[0].Kill()
	refused("the replica is gone", "NOREPLICA check: ")

	f.Sentinels[0].Kill()
	f.Sentinels[1].Kill()
	refused("there is no quorum", "NOQUORUM check: ", "of the 3 sentinels")
	untouched(t, l.Finish(map[string]*harness.Redis{"g1": g.Master}))
}

// TestTwoOperators ask two proxies for the same switch at once: one does it.
func TestTwoOperators(t *testing.T) {
	t.Parallel()
	f, first := stack(t, harness.FleetOptions{Groups: []string{"g1"}})
	second := proxyOf(t, f)
	old := f.Group("g1").Master
	l := second.Load("cache", f)
	l.Progress(50)
	replies := make([]harness.Reply, 2)
	var wg sync.WaitGroup
	for i, p := range []*harness.Proxy{first, second} {
		wg.Go(func() { replies[i] = order(t, p, "g1") })
	}
	wg.Wait()
	ok, busy := 0, 0
	for _, r := range replies {
		switch {
		case r.Kind == '+':
			ok++
		case strings.HasPrefix(r.Str, "INPROG "):
			busy++
		}
	}
	if ok != 1 || busy != 1 {
		t.Errorf("%s and %s, want one +OK and one -INPROG", replies[0].Text(), replies[1].Text())
	}
	fresh := f.WaitMaster("g1", old)
	second.WaitMaster("cache", "g1", fresh.Addr())
	l.Progress(50)
	untouched(t, l.Finish(f.Masters()))
}
