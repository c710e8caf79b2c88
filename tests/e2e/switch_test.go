package e2e

import (
	"fmt"
	"testing"

	"respgate/tests/harness"
)

// TestSwitchFromConsole runs PROXY SWITCH in both forms under load.
func TestSwitchFromConsole(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{})
	l := p.Load("cache", f)
	l.Progress(100)
	// Without a processor for two seconds a sentinel does nothing for thirty: a switch is refused then, or given up.
	var old *harness.Redis
	var r harness.Reply
	harness.Eventually(t, 4*harness.Patience, "PROXY SWITCH", func() error {
		old = f.WaitMaster("g1", nil)
		r = p.Admin("PROXY", "SWITCH", "cache", "g1")
		return r.Err()
	})
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
