package control

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"respgate/conf"
	"respgate/engine/shard"
)

// movedSample is how many keys PROXY RELOAD DRYRUN tries on the old and the new ring.
const movedSample = 10000

// errStopped is what callers get from a control plane that has ended.
var errStopped = errors.New("the proxy is shutting down")

// Reload reads the configuration file again and takes it over, whole or not at all; dry only says what would change. Each
// line is one change. It blocks until every event loop serves the new configuration.
func (c *Controller) Reload(dry bool) (lines []string, err error) {
	next, err := c.opts.Load()
	if err != nil {
		if !dry {
			c.ask(func() { c.refuse(err) })
		}
		return nil, err
	}
	if !c.ask(func() { lines, err = c.reload(next, dry) }) {
		return nil, errStopped
	}
	return lines, err
}

func (c *Controller) reload(next *conf.Config, dry bool) ([]string, error) {
	changes := conf.Diff(c.conf, next)
	lines := changes.Lines()
	lines = append(lines, c.movedKeys(next)...)
	if len(lines) == 0 {
		lines = []string{"nothing changes"}
	}
	for _, w := range next.Warnings() {
		lines = append(lines, "warning: "+w)
	}
	if dry {
		return lines, nil
	}
	if changes.Empty() {
		c.conf.Digest, c.loaded, c.refused = next.Digest, time.Now(), nil
		return lines, nil
	}
	err := restartNeeded(changes)
	if err == nil {
		err = c.take(next)
	}
	if err != nil {
		c.refuse(err)
		return nil, err
	}
	for _, line := range changes.Lines() {
		c.log.Info("configuration changed", "change", line)
	}
	return lines, nil
}

// restartNeeded refuses what a running process cannot change, rather than half of a file being in force.
func restartNeeded(changes conf.Changes) error {
	if keys := changes.Restart(); len(keys) > 0 {
		return fmt.Errorf("%s: it can only change with a restart of the proxy", keys[0])
	}
	return nil
}

// refuse notes a configuration that was not taken over.
func (c *Controller) refuse(err error) {
	c.refused, c.refusedAt = err, time.Now()
	c.log.Error("configuration refused, the old one stays in force", "cause", err.Error())
}

// movedKeys says, for each pool whose ring would differ, how many keys would move.
func (c *Controller) movedKeys(next *conf.Config) (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(next.Pools)) {
		old := c.pools[name]
		if old == nil || old.ring == nil {
			continue
		}
		p := c.renew(old, next.Pools[name])
		if err := c.form(p); err != nil || p.ring == nil {
			continue
		}
		if n := shard.Moved(old.ring, p.ring, movedSample); n > 0 {
			lines = append(lines, fmt.Sprintf("pools.%s: %d of %d sample keys move to another group", name, n, movedSample))
		}
	}
	c.reform()
	return lines
}

// renew is a pool with another configuration: what is known of its groups stays, unless they come from elsewhere now.
func (c *Controller) renew(old *pool, cf *conf.Pool) *pool {
	if old == nil || old.conf.Source() != cf.Source() || cf.Manager != nil && cf.Manager.Cluster != old.conf.Manager.Cluster {
		return &pool{name: cf.Name, conf: cf, groups: map[string]*group{}, since: time.Now()}
	}
	p := *old
	p.conf = cf
	return &p
}

// form makes the groups and the ring of a pool from its configuration and, if there is one, its manager's topology.
func (c *Controller) form(p *pool) error {
	switch p.conf.Source() {
	case conf.SourceServers:
		return p.shapeServers(c)
	case conf.SourceFile:
		return p.shape(p.conf.Groups, p.conf.Hash, p.conf.HashTag, p.conf.Distribution, c)
	}
	if p.told.Version == 0 {
		return nil
	}
	hash, tag, dist, err := sharding(p.conf, p.told.Settings)
	if err != nil {
		return err
	}
	return p.shape(groupsOf(p.told), hash, tag, dist, c)
}

// reform ties the groups to the pools in force again, after others had been formed from them for a trial.
func (c *Controller) reform() {
	for _, p := range c.pools {
		if p.conf.Source() == conf.SourceServers {
			for i := range p.order {
				p.order[i].server, p.order[i].host = &p.conf.Servers[i], p.conf.Servers[i].Host
			}
		}
		for _, g := range p.order {
			g.pool = p
		}
	}
}

// take makes a configuration the one in force: ports are bound first, every loop has it when take returns, and on an error
// nothing has changed.
func (c *Controller) take(next *conf.Config) error {
	commit, rollback, err := c.opts.Prepare(c.conf, next)
	if err != nil {
		return err
	}
	now := time.Now()
	oldConf, oldPools := c.conf, c.pools
	c.conf, c.pools = next, map[string]*pool{}
	for name, cf := range next.Pools {
		p := c.renew(oldPools[name], cf)
		if err = c.form(p); err != nil {
			err = fmt.Errorf("pool '%s': %w", name, err)
			break
		}
		c.pools[name] = p
	}
	if err == nil {
		c.reform()
		for _, p := range c.pools {
			c.follow(p, now)
		}
		if snap := c.desired(); snap != nil {
			if err = c.opts.Plane.Apply(snap); err == nil {
				c.snap = snap
			}
		}
	}
	if err != nil {
		c.conf, c.pools = oldConf, oldPools
		c.reform()
		rollback()
		return err
	}
	commit()
	c.loaded, c.refused = now, nil
	c.exchange(oldPools)
	return nil
}

// exchange starts, re-configures and stops the clients of the pools.
func (c *Controller) exchange(old map[string]*pool) {
	for name, p := range c.pools {
		was := old[name]
		kept := was != nil && (p.sentinels != nil || p.manager != nil)
		switch {
		case !kept:
			c.start(p)
		default:
			if p.manager != nil {
				p.manager.Reconfigure(managerConfig(c.conf, p))
			}
			if p.sentinels != nil {
				p.sentinels.Reconfigure(c.sentinelConfig(p))
			}
		}
	}
	for name, was := range old {
		p := c.pools[name]
		if p == nil || p.sentinels != was.sentinels || p.manager != was.manager {
			go was.stop() // waits for goroutines that may be dialing
		}
	}
}
