package failover

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// unpaused waits until each pause of a server's writers was ended by whoever began it, and gives how many there were. That a write
// is taken says nothing: a pause ends by itself in the end. Servers before 7.0 do not count.
func unpaused(t *testing.T, r *harness.Redis) (pauses int) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "the writers of "+r.Name+" are not paused any more", func() error {
		ended := calls(t, r, "client|unpause")
		if pauses = calls(t, r, "client|pause"); ended < pauses {
			return fmt.Errorf("%d pauses, %d of them ended", pauses, ended)
		}
		return nil
	})
	written(t, r)
	return pauses
}

// written waits until the server takes a write, which it does not while its clients are paused.
func written(t *testing.T, r *harness.Redis) {
	t.Helper()
	want(t, dial(t, r.Addr()), "OK", "SET", harness.Scatter("unpaused", r.Port), "1")
}

// TestFault12PlannedSwitch switches a group by hand, under the load of two proxies: nobody gets an error.
func TestFault12PlannedSwitch(t *testing.T) {
	t.Parallel()
	f, first := stack(t, harness.FleetOptions{})
	second := proxyOf(t, f)
	l, other := first.Load("cache", f), second.Load("cache", f, func(o *harness.LedgerOptions) { o.Keys, o.Pipeline = "v", pipelines })
	l.Progress(100)
	other.Progress(100)
	told := []*harness.Conn{notified(t, first), notified(t, second)}
	took := switched(t, f, "g1", first, first, second)
	for _, c := range told {
		noticed(t, c, "g1")
	}
	l.Progress(100)
	other.Progress(100)
	masters := f.Masters()
	for _, reports := range [][]harness.GroupReport{l.Finish(masters), other.Finish(masters)} {
		untouched(t, reports)
		if slowest := reports[0].Slowest; slowest > took+grace {
			t.Errorf("the slowest request took %v, and the switch %v", slowest, took)
		}
	}
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
	if n := unpaused(t, g.Master); n != 1 && harness.ServerHas7(t) {
		t.Errorf("the master's writers were paused %d times, want once", n)
	}
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
	written(t, g.Master) // by itself: nobody is left to end the pause
	l.Progress(100)
	untouched(t, l.Finish(map[string]*harness.Redis{"g1": g.Master}))
	if row := second.Master("cache", "g1"); row["switches"] != "0" {
		t.Errorf("console: %v, want no switch", row)
	}
}
