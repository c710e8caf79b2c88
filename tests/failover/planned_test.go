package failover

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// unpaused waits until the server takes a write, which it does not while its clients are paused.
func unpaused(t *testing.T, r *harness.Redis) {
	t.Helper()
	c := dial(t, r.Addr())
	want(t, c, "OK", "SET", harness.Scatter("unpaused", r.Port), "1")
}

// TestFault12PlannedSwitch switches a group by hand, under the load of two proxies: nobody gets an error.
func TestFault12PlannedSwitch(t *testing.T) {
	t.Parallel()
	f, first := stack(t, harness.FleetOptions{})
	second := proxyOf(t, f)
	l, other := first.Load("cache", f), second.Load("cache", f, func(o *harness.LedgerOptions) { o.Keys = "v" })
	l.Progress(100)
	other.Progress(100)
	old := f.Group("g1").Master
	if r := first.Admin("PROXY", "SWITCH", "cache", "g1"); r.Kind != '+' {
		t.Errorf("PROXY SWITCH: %s", r.Text())
	}
	fresh := f.WaitMaster("g1", old)
	second.WaitMaster("cache", "g1", fresh.Addr())
	l.Progress(100)
	other.Progress(100)
	masters := f.Masters()
	untouched(t, l.Finish(masters))
	untouched(t, other.Finish(masters))
}

// TestFault13ReplicaLags asks for a switch while the only replica does not keep up: it cannot catch up during the pause, so
// nothing is switched, the master is not paused any more, and nobody gets an error.
func TestFault13ReplicaLags(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}, DownAfter: 10 * time.Second, FailoverTimeout: 3 * time.Minute})
	l := p.Load("cache", f)
	l.Progress(100)
	g := f.Group("g1")
	way := lag(t, f, g)
	if r := order(t, p, "g1"); r.Kind != '-' || !strings.HasPrefix(r.Str, "NOREPLICA catch-up: ") {
		t.Errorf("PROXY SWITCH to a replica that is behind: %s, want -NOREPLICA catch-up", r.Text())
	}
	unpaused(t, g.Master)
	l.Progress(50)
	way.Heal()
	f.WaitSettled()
	l.Progress(50)
	untouched(t, l.Finish(map[string]*harness.Redis{"g1": g.Master}))
	if row := p.Master("cache", "g1"); row["switches"] != "0" || row["master"] != g.Master.Addr() {
		t.Errorf("console: %v, want no switch", row)
	}
}

// TestFault14ProxyDiesSwitching kills a proxy in the middle of a switch: the clients of the other one wait for as long as
// the master is paused, and no longer.
func TestFault14ProxyDiesSwitching(t *testing.T) {
	t.Parallel()
	f, first := stack(t, harness.FleetOptions{Groups: []string{"g1"}, FailoverTimeout: 3 * time.Minute}, "timeout: 20s")
	second := proxyOf(t, f, "timeout: 20s")
	g := f.Group("g1")
	l := second.Load("cache", f)
	l.Progress(100)
	lag(t, f, g) // what the switch waits for
	answered := make(chan string, 1)
	go func() {
		r, err := harness.Ask(first.Config.Admin, "PROXY", "SWITCH", "cache", "g1")
		answered <- fmt.Sprint(r.Text(), err)
	}()
	writer := dial(t, g.Master.Addr())
	writer.Timeout = 300 * time.Millisecond
	harness.Eventually(t, harness.Patience, "the master's writers are paused", func() error {
		select {
		case text := <-answered:
			t.Fatalf("the switch is over already: %s", text)
		default:
		}
		if r, err := writer.Do("SET", "probe", "1"); err == nil {
			return fmt.Errorf("a write is answered: %s", r.Text())
		}
		return nil
	})
	first.Kill()
	<-answered
	unpaused(t, g.Master)
	l.Progress(100)
	untouched(t, l.Finish(map[string]*harness.Redis{"g1": g.Master}))
	if row := second.Master("cache", "g1"); row["switches"] != "0" {
		t.Errorf("console: %v, want no switch", row)
	}
}
