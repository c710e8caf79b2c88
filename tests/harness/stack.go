package harness

import "testing"

// StartStack starts a fleet and a proxy with one pool, "cache", over it, and waits until it serves and watches.
func StartStack(t testing.TB, o FleetOptions, lines ...string) (*Fleet, *Proxy) {
	t.Helper()
	f := StartFleet(t, o)
	return f, StartProxyOver(t, f, lines...)
}

// StartProxyOver starts such a proxy over a fleet that there is.
func StartProxyOver(t testing.TB, f *Fleet, lines ...string) *Proxy {
	t.Helper()
	c := NewConfig(t)
	c.SentinelPool("cache", f, lines...)
	p := StartProxy(t, c)
	p.WaitUp("cache")
	p.WaitWatching("cache")
	return p
}
