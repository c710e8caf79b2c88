package harness

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Config is a respgate.yml in the making. A test changes it and applies it again to see a reload.
type Config struct {
	Admin   string   // host:port of the admin port
	Metrics string   // host:port of /metrics
	Lines   []string // further top-level lines
	pools   []*poolConfig
	t       testing.TB
}

// Unhurried gives each pool whose lines say nothing of it time for everything: with a fixed list a request waits for a second until its
// connection is up, which is less than a busy machine may need. A suite that is not about time sets it before its first test.
var Unhurried bool

// unhurried adds the lines for that.
func unhurried(lines []string) []string {
	for _, line := range []string{"timeout: 30s", "hold: { timeout: 30s }"} {
		key, _, _ := strings.Cut(line, " ")
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, key) }) {
			lines = append(slices.Clip(lines), line)
		}
	}
	return lines
}

type poolConfig struct {
	name, listen string
	lines        []string
}

// NewConfig reserves the ports that every proxy needs.
func NewConfig(t testing.TB) *Config {
	t.Helper()
	return &Config{
		Admin: Address(t), Metrics: Address(t), t: t,
		Lines: []string{"state_dir: " + t.TempDir(), "log: { level: debug, format: auto }"},
	}
}

// Pool adds a pool, or replaces the lines of the one with that name, and returns the address its clients connect to.
// The lines are YAML, without the indentation of the pool and without listen.
func (c *Config) Pool(name string, lines ...string) string {
	c.t.Helper()
	if p := c.find(name); p != nil {
		p.lines = lines
		return p.listen
	}
	p := &poolConfig{name: name, listen: Address(c.t), lines: lines}
	c.pools = append(c.pools, p)
	return p.listen
}

// SentinelPool adds a pool over the fleet's groups, from the file.
func (c *Config) SentinelPool(name string, f *Fleet, lines ...string) string {
	c.t.Helper()
	return c.Pool(name, append(SentinelLines(f.GroupNames(), f.SentinelAddrs(), f.Options), lines...)...)
}

// SentinelLines are the lines of a pool with these groups and sentinels, and the fleet's passwords.
func SentinelLines(groups, sentinels []string, o FleetOptions) []string {
	lines := []string{"groups: " + list(groups), "sentinels: " + list(sentinels), "hash_tag: \"{}\""}
	if o.Password != "" {
		lines = append(lines, fmt.Sprintf("redis_auth: %q", o.Password))
	}
	if o.SentinelPassword != "" {
		lines = append(lines, fmt.Sprintf("sentinel_auth: %q", o.SentinelPassword))
	}
	return lines
}

// ManagerPool adds a pool whose groups and sentinels come from a manager.
func (c *Config) ManagerPool(name, cluster string, managers []string, lines ...string) string {
	c.t.Helper()
	m := fmt.Sprintf("manager: { addresses: %s, cluster: %s, heartbeat: 200ms }", list(managers), cluster)
	return c.Pool(name, append([]string{m, "hash_tag: \"{}\""}, lines...)...)
}

// ServersPool adds a pool with a fixed list, each "host:port:weight [alias]".
func (c *Config) ServersPool(name string, servers []string, lines ...string) string {
	c.t.Helper()
	return c.Pool(name, append([]string{"servers: " + list(servers)}, lines...)...)
}

// Remove takes a pool out.
func (c *Config) Remove(name string) {
	c.pools = slices.DeleteFunc(c.pools, func(p *poolConfig) bool { return p.name == name })
}

// Listen moves a pool to another address.
func (c *Config) Listen(name, addr string) {
	c.t.Helper()
	p := c.find(name)
	if p == nil {
		c.t.Fatalf("no pool %s in the configuration", name)
	}
	p.listen = addr
}

// Addr is where a pool listens.
func (c *Config) Addr(name string) string {
	c.t.Helper()
	p := c.find(name)
	if p == nil {
		c.t.Fatalf("no pool %s in the configuration", name)
	}
	return p.listen
}

func (c *Config) find(name string) *poolConfig {
	for _, p := range c.pools {
		if p.name == name {
			return p
		}
	}
	return nil
}

func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// String is the file.
func (c *Config) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "admin: { listen: %q }\nmetrics: { listen: %q }\n", c.Admin, c.Metrics)
	for _, l := range c.Lines {
		fmt.Fprintf(&b, "%s\n", l)
	}
	b.WriteString("pools:\n")
	for _, p := range c.pools {
		fmt.Fprintf(&b, "  %s:\n    listen: %q\n", p.name, p.listen)
		lines := p.lines
		if Unhurried {
			lines = unhurried(lines)
		}
		for _, l := range lines {
			fmt.Fprintf(&b, "    %s\n", l)
		}
	}
	return b.String()
}
