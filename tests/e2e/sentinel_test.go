package e2e

import (
	"fmt"
	"strings"
	"testing"

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

// TestSourceDesign holds the design that the proxy comes from, to the letter: one sentinel link at a time; while it is
// being replaced new connections and new requests get a clear error, requests in flight finish.
func TestSourceDesign(t *testing.T) {
	t.Parallel()
	f := fleet(t, harness.FleetOptions{Groups: []string{"g1"}})
	fronts, addrs := f.FrontSentinels()
	c := harness.NewConfig(t)
	addr := c.Pool("cache", append(harness.SentinelLines(f.GroupNames(), addrs, f.Options),
		"sentinel_links: 1", "authority_lease: 0", "on_authority_lost: reject", "sentinel_heartbeat: 500ms", "sentinel_timeout: 3s", "timeout: 1m")...)
	p := harness.StartProxy(t, c)
	p.WaitUp("cache")
	harness.Eventually(t, harness.Patience, "there is a link to one sentinel", func() error {
		open := 0
		for _, front := range fronts {
			if front.Open() > 0 {
				open++
			}
		}
		if open != 1 {
			return fmt.Errorf("links to %d sentinels", open)
		}
		return nil
	})

	inflight := dial(t, addr)
	want(t, inflight, "OK", "SET", "a", "1")
	fresh := dial(t, addr)
	want(t, fresh, "PONG", "PING")
	// In flight: a write that its master answers when the loss of the sentinel has been seen.
	master := f.Group("g1").Master
	master.Must("CLIENT", "PAUSE", "600000", "WRITE")
	if err := inflight.Write(harness.Encode("SET", "a", "2")); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, harness.Patience, "the master has the request", func() error { return inFlight(c, "cache") })
	for _, front := range fronts {
		front.Blackhole()
	}
	p.WaitPool("cache", "rejecting")
	wantPrefix(t, fresh, "-ERR respgate: ", "GET", "a")
	newcomer := dial(t, addr)
	got, err := newcomer.Do("GET", "a")
	if err != nil || !strings.HasPrefix(got.Text(), "-ERR respgate: ") {
		t.Errorf("a new connection during the rotation: %q, %v; want a clear error", got.Text(), err)
	}
	master.Must("CLIENT", "UNPAUSE")
	if got, err := inflight.Receive(); err != nil || got.Text() != "OK" {
		t.Errorf("the request in flight: %q, %v; want it to finish", got.Text(), err)
	}
	for _, front := range fronts {
		front.Heal()
	}
	p.WaitUp("cache")
	want(t, fresh, "2", "GET", "a")
}
