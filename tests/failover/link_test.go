package failover

import (
	"strings"
	"testing"

	"respgate/tests/harness"
)

// tapped is a proxy whose way to its only server can be broken.
func tapped(t *testing.T, lines ...string) (r *harness.Redis, front *harness.FaultProxy, p *harness.Proxy, l *harness.Ledger) {
	t.Helper()
	r = harness.StartRedis(t, harness.RedisOptions{})
	front = harness.StartFault(t, r.Addr())
	c := harness.NewConfig(t)
	c.ServersPool("cache", []string{front.Addr() + ":1 g1"}, append(patient(lines), "hash_tag: \"{}\"")...)
	p = harness.StartProxy(t, c)
	p.WaitUp("cache")
	l = harness.StartLedger(t, harness.LedgerOptions{Addr: c.Addr("cache"), Groups: []string{"g1"}, Route: p.Route("cache")})
	l.Progress(100)
	return r, front, p, l
}

// balanced closes the books of a server that never went away: errors are all that a broken way to it may cost.
func balanced(t *testing.T, l *harness.Ledger, r *harness.Redis) {
	t.Helper()
	got := l.Finish(map[string]*harness.Redis{"g1": r})[0]
	sound(t, got, got.Failed())
}

// TestFault21LinksAreCut cuts links in every way, and then every tenth chunk: what was not sent is sent again, what may
// have been executed fails, and no reply reaches another request.
func TestFault21LinksAreCut(t *testing.T) {
	t.Parallel()
	r, front, _, l := tapped(t)
	for _, s := range []struct {
		name string
		do   func()
	}{
		{"bytes one by one", func() {
			front.Set(harness.ToServer, harness.Fault{Split: 1})
			front.Set(harness.ToClient, harness.Fault{Split: 1})
		}},
		{"reset", func() { front.Cut(true) }},
		{"closed", func() { front.Cut(false) }},
		{"half-closed", func() { front.HalfClose(harness.ToClient) }},
		{"reset again and again", func() {
			n := 0
			front.Set(harness.ToClient, harness.Fault{After: func(int64) bool { n++; return n < 200 && n%10 == 0 }})
		}},
	} {
		s.do()
		l.Progress(150)
		front.Heal()
		l.Progress(50)
		t.Logf("%s: %v", s.name, l.Failures("g1"))
	}
	for text := range l.Failures("g1") {
		if !strings.Contains(text, "it may or may not have been executed") && !strings.Contains(text, "no connection to its master") {
			t.Errorf("an error that does not say that the outcome is unknown, or that it was not sent: %s", text)
		}
	}
	balanced(t, l, r)
}

// TestFault22HalfOpenLink loses the way to the master without a word: requests end at their time, and the link is given
// up for a new one.
func TestFault22HalfOpenLink(t *testing.T) {
	t.Parallel()
	r, front, _, l := tapped(t, "timeout: 500ms")
	before := front.Accepted()
	front.BreakOpen()
	waitFailed(t, l, "g1", "timed out after", 1)
	l.Progress(100)
	if front.Accepted() == before {
		t.Error("the half-open link was not replaced")
	}
	balanced(t, l, r)
}

// TestFault23OneWay stops the bytes in one direction, then in the other. When the way is free again, late replies reach
// nobody.
func TestFault23OneWay(t *testing.T) {
	t.Parallel()
	r, front, _, l := tapped(t, "timeout: 500ms")
	for _, d := range []harness.Direction{harness.ToClient, harness.ToServer} {
		front.Set(d, harness.Fault{Stall: true})
		waitFailed(t, l, "g1", "timed out after", 2) // after two time-outs in silence the link is given up
		front.Heal()
		l.Progress(50)
	}
	balanced(t, l, r)
}
