package e2e

import (
	"fmt"
	"net"
	"testing"

	"respgate/tests/harness"
)

// TestHostNames lets sentinels call the servers by name: the proxy resolves it and follows a failover.
func TestHostNames(t *testing.T) {
	t.Parallel()
	called(t, harness.FleetOptions{Host: "localhost", SentinelConfig: []string{"sentinel announce-hostnames yes"}})
}

// TestIPv6 does the same with addresses of IPv6.
func TestIPv6(t *testing.T) {
	t.Parallel()
	first := []string{"bind ::1 127.0.0.1"} // where servers before 7.0 connect from
	called(t, harness.FleetOptions{Host: "::1", RedisConfig: first, SentinelConfig: first})
}

func called(t *testing.T, o harness.FleetOptions) {
	t.Helper()
	o.Groups = []string{"g1"}
	f := fleet(t, o)
	c := harness.NewConfig(t)
	// Sentinels too are found by that name.
	var sentinels []string
	for _, s := range f.Sentinels {
		sentinels = append(sentinels, net.JoinHostPort(o.Host, fmt.Sprint(s.Port)))
	}
	addr := c.Pool("cache", harness.SentinelLines(f.GroupNames(), sentinels, f.Options)...)
	p := harness.StartProxy(t, c)
	old := f.Group("g1").Master
	p.WaitMaster("cache", "g1", f.Called(old))
	p.WaitWatching("cache")
	conn := dial(t, addr)
	want(t, conn, "OK", "SET", "a", "1")
	want(t, conn, "1", "WAIT", "1", "0")
	f.Failover("g1")
	p.WaitMaster("cache", "g1", f.Called(f.WaitMaster("g1", old)))
	want(t, conn, "1", "GET", "a")
}

// TestUsers gives the proxy ACL users of its own on servers and sentinels; the default user may not write, nor subscribe.
func TestUsers(t *testing.T) {
	t.Parallel()
	f := fleet(t, harness.FleetOptions{
		Groups:         []string{"g1"},
		RedisConfig:    []string{"user default on nopass ~* &* +@all -set", "user proxy on >m4ster ~* &* +@all"},
		SentinelConfig: []string{"user default on nopass &* +@all -psubscribe", "user watcher on >w4tcher resetchannels allchannels +psubscribe +ping +role +hello +info +client +sentinel"},
	})
	c := harness.NewConfig(t)
	addr := c.SentinelPool("cache", f, "redis_user: proxy", "redis_auth: m4ster", "sentinel_user: watcher", "sentinel_auth: w4tcher")
	p := harness.StartProxy(t, c)
	p.WaitUp("cache")
	p.WaitWatching("cache")
	conn := dial(t, addr)
	want(t, conn, "OK", "SET", "a", "1")
	old := f.Group("g1").Master
	f.Failover("g1")
	p.WaitMaster("cache", "g1", f.WaitMaster("g1", old).Addr())
	want(t, conn, "OK", "SET", "a", "2")
}
