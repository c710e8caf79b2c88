package programs

import (
	"fmt"
	"testing"

	"respgate/tests/harness"
)

// password is what all targets ask for.
const password = "open-sesame"

// target is what the programs are run on.
type target struct {
	name  string // as the page's columns call it
	addr  string
	judge bool // whether it has to do what plain Redis does
}

// The names of the targets.
const (
	plainRedis = "plain Redis"
	oneGroup   = "respgate, one group"
	threeGroup = "respgate, three groups"
	twemproxy  = "twemproxy"
)

// limit of a feature, in milliseconds: a few of them would do, but for a busy machine.
const limit = 60_000

// startTargets starts them, each with servers of its own, since programs use all databases.
func startTargets(t *testing.T) []target {
	t.Helper()
	server := func() string {
		return harness.StartRedis(t, harness.RedisOptions{Password: password}).Addr()
	}
	servers := func(n int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("%s:1 g%d", server(), i+1)
		}
		return list
	}
	c := harness.NewConfig(t)
	secrets := []string{`hash_tag: "{}"`, "password: " + password, "redis_auth: " + password}
	one := c.ServersPool("one", servers(1), secrets...)
	three := c.ServersPool("three", servers(3), secrets...)
	harness.StartProxy(t, c).WaitUp("one", "three")
	other := harness.Address(t)
	harness.StartNutcracker(t, fmt.Sprintf(
		"pool:\n  listen: %s\n  redis: true\n  redis_auth: %s\n  hash_tag: \"{}\"\n  servers:\n   - %s\n", other, password, servers(1)[0]), other)
	return []target{
		{plainRedis, server(), true},
		{oneGroup, one, true},
		{threeGroup, three, true},
		{twemproxy, other, false},
	}
}
