package harness

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Group is a master with its replicas as they were when the group was started; a failover does not change the fields.
type Group struct {
	Name     string
	Master   *Redis
	Replicas []*Redis
}

// Nodes are all servers of the group.
func (g *Group) Nodes() []*Redis { return append([]*Redis{g.Master}, g.Replicas...) }

// Fleet is a set of groups and the sentinels that watch them.
type Fleet struct {
	Options   FleetOptions
	Groups    []*Group
	Sentinels []*Sentinel
	t         testing.TB
}

// StartFleet starts groups and sentinels and returns when every sentinel knows the others and every replica, which is
// when a failover of any group would go well.
func StartFleet(t testing.TB, options FleetOptions) *Fleet {
	t.Helper()
	o := options.filled()
	f := &Fleet{Options: o, t: t}
	for _, name := range o.Groups {
		f.Groups = append(f.Groups, f.startGroup(name))
	}
	f.Sentinels = f.startSentinels(f.Groups)
	f.WaitSettled()
	return f
}

func (f *Fleet) startGroup(name string) *Group {
	f.t.Helper()
	o := RedisOptions{Password: f.Options.Password, Config: f.Options.RedisConfig, Host: f.Options.Host}
	g := &Group{Name: name, Master: StartRedis(f.t, o)}
	o.ReplicaOf = g.Master
	for range max(f.Options.Replicas, 0) {
		g.Replicas = append(g.Replicas, StartRedis(f.t, o))
	}
	return g
}

// startSentinels starts them with all that they would find out within seconds by themselves.
func (f *Fleet) startSentinels(groups []*Group) []*Sentinel {
	f.t.Helper()
	plans := make([]sentinelPlan, f.Options.Sentinels)
	for i := range plans {
		plans[i] = newSentinelPlan(f.t, f.Options.SentinelPassword)
	}
	var started []*Sentinel
	for i := range plans {
		for _, g := range groups {
			plans[i].lines = append(plans[i].lines, f.monitorLines(g)...)
			for j := range plans {
				if j != i {
					plans[i].lines = append(plans[i].lines,
						fmt.Sprintf("sentinel known-sentinel %s 127.0.0.1 %d %s", g.Name, plans[j].port, plans[j].id))
				}
			}
		}
		plans[i].lines = append(plans[i].lines, f.Options.SentinelConfig...)
		if p := f.Options.SentinelPassword; p != "" {
			plans[i].lines = append(plans[i].lines, "sentinel sentinel-pass "+p)
		}
		started = append(started, startSentinel(f.t, plans[i]))
	}
	return started
}

func (f *Fleet) monitorLines(g *Group) []string {
	lines := []string{
		fmt.Sprintf("sentinel monitor %s %s %d %d", g.Name, f.Options.Host, g.Master.Port, f.quorum()),
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", g.Name, f.Options.downAfter(g.Name).Milliseconds()),
		fmt.Sprintf("sentinel failover-timeout %s %d", g.Name, f.Options.FailoverTimeout.Milliseconds()),
	}
	if f.Options.Password != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", g.Name, f.Options.Password))
	}
	for _, r := range g.Replicas {
		lines = append(lines, fmt.Sprintf("sentinel known-replica %s %s %d", g.Name, f.Options.Host, r.Port))
	}
	return lines
}

func (f *Fleet) quorum() int { return f.Options.Sentinels/2 + 1 }

// replicated says which replica has not acknowledged what its master has written; nil if all have. Until then a
// failover loses it.
func (g *Group) replicated() error {
	for _, n := range g.Nodes() {
		role, err := n.Ask("ROLE")
		if err != nil {
			return err
		}
		if len(role.Elems) != 3 || role.Elems[0].Str != "master" {
			continue
		}
		if len(role.Elems[2].Elems) != len(g.Replicas) {
			return fmt.Errorf("%s: %d replicas at %s", g.Name, len(role.Elems[2].Elems), n.Addr())
		}
		for _, r := range role.Elems[2].Elems {
			if len(r.Elems) != 3 || r.Elems[2].Str == "0" {
				return fmt.Errorf("%s: replica %s has acknowledged nothing", g.Name, r.Text())
			}
		}
	}
	return nil
}

// WaitSettled waits until every sentinel knows the others and every replica, a sentinel that is tilted too.
func (f *Fleet) WaitSettled() {
	f.t.Helper()
	Eventually(f.t, 4*Patience, "the sentinels know each other and every replica", f.Settled)
}

// Settled says what is missing for that.
func (f *Fleet) Settled() error {
	for _, g := range f.Groups {
		if err := g.replicated(); err != nil {
			return err
		}
		for _, s := range f.Sentinels {
			if err := s.settled(g, len(f.Sentinels)); err != nil {
				return err
			}
		}
	}
	return nil
}

// AddGroup starts one more group and makes every sentinel watch it.
func (f *Fleet) AddGroup(name string) *Group {
	f.t.Helper()
	g := f.startGroup(name)
	for _, s := range f.Sentinels {
		s.Monitor(g, f.quorum(), f.Options)
	}
	f.Groups = append(f.Groups, g)
	return g
}

// ReplaceSentinels starts a new set that watches the groups where they are now. The old set goes on until the test
// kills it; then the new one is alone.
func (f *Fleet) ReplaceSentinels() (old, fresh []*Sentinel) {
	f.t.Helper()
	old = f.Sentinels
	f.Sentinels = f.startSentinels(f.Groups)
	return old, f.Sentinels
}

// SentinelAddrs are the sentinels as host:port.
func (f *Fleet) SentinelAddrs() []string {
	addrs := make([]string, len(f.Sentinels))
	for i, s := range f.Sentinels {
		addrs[i] = s.Addr()
	}
	return addrs
}

// FrontSentinels puts a fault proxy in front of each sentinel, and gives their addresses as well.
func (f *Fleet) FrontSentinels() (fronts []*FaultProxy, addrs []string) {
	f.t.Helper()
	for _, s := range f.Sentinels {
		front := StartFault(f.t, s.Addr())
		fronts, addrs = append(fronts, front), append(addrs, front.Addr())
	}
	return fronts, addrs
}

// GroupNames are the groups in the order of the options.
func (f *Fleet) GroupNames() []string {
	names := make([]string, len(f.Groups))
	for i, g := range f.Groups {
		names[i] = g.Name
	}
	return names
}

// Group finds a group by its name.
func (f *Fleet) Group(name string) *Group {
	f.t.Helper()
	i := slices.IndexFunc(f.Groups, func(g *Group) bool { return g.Name == name })
	if i < 0 {
		f.t.Fatalf("no group %s in the fleet", name)
	}
	return f.Groups[i]
}

// Called is a server's address as sentinels tell it.
func (f *Fleet) Called(n *Redis) string {
	return net.JoinHostPort(f.Options.Host, strconv.Itoa(n.Port))
}

// Master finds the server that a majority of the sentinels call the group's master and that agrees.
func (f *Fleet) Master(group string) (*Redis, error) {
	f.t.Helper()
	votes := map[string]int{}
	for _, s := range f.Sentinels {
		if addr, err := s.Master(group); err == nil {
			votes[addr]++
		}
	}
	for _, n := range f.Group(group).Nodes() {
		if votes[f.Called(n)] < f.quorum() {
			continue
		}
		role, err := n.Role()
		if err != nil {
			return nil, err
		}
		if role != "master" {
			return nil, fmt.Errorf("%s: the sentinels' master %s says it is a %s", group, n.Addr(), role)
		}
		return n, nil
	}
	return nil, fmt.Errorf("%s: no majority of the sentinels agrees: %v", group, votes)
}

// WaitMaster waits until the group has a master other than the one given (nil: any). A sentinel that is tilted does nothing
// for thirty seconds, and after an election that nobody won they wait for twice the failover's time.
func (f *Fleet) WaitMaster(group string, not *Redis) *Redis {
	f.t.Helper()
	var found *Redis
	Eventually(f.t, 4*Patience, "group "+group+" gets a master", func() error {
		m, err := f.Master(group)
		if err != nil {
			return err
		}
		if not != nil && m.Port == not.Port {
			return errors.New("it is still " + m.Addr())
		}
		found = m
		return nil
	})
	return found
}

// Failover asks the first sentinel that can for a failover of the group.
func (f *Fleet) Failover(group string) {
	f.t.Helper()
	Eventually(f.t, Patience, "SENTINEL FAILOVER "+group, func() error {
		var all []string
		for _, s := range f.Sentinels {
			_, err := s.Ask("SENTINEL", "FAILOVER", group)
			if err == nil {
				return nil
			}
			all = append(all, err.Error())
		}
		return errors.New(strings.Join(all, "; "))
	})
}

// Masters are the servers that serve each group now; it waits until each has one.
func (f *Fleet) Masters() map[string]*Redis {
	f.t.Helper()
	m := map[string]*Redis{}
	for _, g := range f.Groups {
		m[g.Name] = f.WaitMaster(g.Name, nil)
	}
	return m
}
