package failover

import (
	"fmt"
	"strings"
	"testing"
	"time"

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
	l = harness.StartLedger(t, harness.LedgerOptions{Addr: c.Addr("cache"), Groups: []string{"g1"}, Route: p.Route("cache"), Pipeline: pipelines})
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

// TestFault22HalfOpenLink loses the way to a master without a word, for the links that are there and for new ones, while the
// sentinels say that all is well: each request ends at its time, the other group notices nothing, and when the way is back the
// group is served on new links.
func TestFault22HalfOpenLink(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	s := newStage(t, []string{"g1", "g2"})
	front := harness.StartFault(t, s.servers["g1"].Addr())
	for _, fake := range s.fakes {
		fake.Name("g1", "127.0.0.1", front.Port(), 1)
	}
	s.open(s.sentinels(), fmt.Sprintf("timeout: %v", timeout), fmt.Sprintf("hold: { timeout: %v }", timeout))
	s.proxy.WaitUp("cache")
	s.proxy.WaitWatching("cache")
	g1 := s.load(func(o *harness.LedgerOptions) { o.Groups, o.Keys, o.Pipeline = []string{"g1"}, "v", pipelines })
	g2 := proxyLoad(s, "g2")
	g1.Progress(100)
	g2.Progress(100)
	before := front.Accepted()
	front.Vanish(t)
	waitFailed(t, g1, "g1", "timed out after", 1)
	waitFailed(t, g1, "g1", "respgate: ", 12) // and those that waited for it to come back
	front.Return(t)
	g1.Progress(100)
	g2.Progress(100)
	if front.Accepted() == before {
		t.Error("the half-open link was not replaced")
	}
	for text := range g1.Failures("g1") {
		if !strings.HasPrefix(text, "ERR respgate: group 'gN'") {
			t.Errorf("an error that does not say of which group it is: %s", text)
		}
	}
	got := g1.Finish(s.servers)[0]
	sound(t, got, got.Failed())
	if got.Longest > timeout+grace {
		t.Errorf("a request took %v, with a time-out of %v", got.Longest, timeout)
	}
	untouched(t, g2.Finish(s.servers))
}

// proxyLoad is a load of one group of a stage.
func proxyLoad(s *stage, group string) *harness.Ledger {
	return s.load(func(o *harness.LedgerOptions) { o.Groups = []string{group} })
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
