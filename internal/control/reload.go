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

// What callers get from a control plane that cannot answer.
var (
	errStopped = errors.New("the proxy is shutting down")
	errBusy    = errors.New("too many requests wait for the control plane, try again")
)

// Reload reads the configuration file again and takes it over, whole or not at all; dry only says what would change. Each
// line is one change. It blocks until every event loop serves the new configuration.
func (c *Controller) Reload(dry bool) (lines []string, err error) {
	c.reloading <- struct{}{}
	defer func() { <-c.reloading }()
	next, err := c.opts.Load()
	if err != nil {
		if !dry {
			_ = c.ask(func() { c.refuse(err) }) // a control plane that has ended serves nothing to keep
		}
		return nil, err
	}
	if stopped := c.ask(func() { lines, err = c.reload(next, dry) }); stopped != nil {
		return nil, stopped
	}
	return lines, err
}

func (c *Controller) reload(next *conf.Config, dry bool) ([]string, error) {
	changes := conf.Diff(c.conf, next)
	pools, err := c.form(next)
	lines := append(changes.Lines(), c.moved(pools)...)
	warnings := next.Warnings()
	if !dry {
		if err == nil {
			err = c.replace(changes, next, pools)
		}
		c.conclude(lines, warnings, err)
	}
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		lines = []string{"nothing changes"}
	}
	for _, w := range warnings {
		lines = append(lines, "warning: "+w)
	}
	return lines, nil
}

// conclude notes and logs what became of a reload.
func (c *Controller) conclude(lines, warnings []string, err error) {
	if err != nil {
		c.refuse(err)
		return
	}
	c.loaded, c.refused = time.Now(), nil
	for _, line := range lines {
		c.log.Info("configuration changed", "change", line)
	}
	for _, w := range warnings {
		c.log.Warn("configuration", "warning", w)
	}
}

// restartNeeded refuses what a running process cannot change, rather than half of a file being in force.
func restartNeeded(changes conf.Changes) error {
	var errs []error
	for _, k := range changes.Restart() {
		errs = append(errs, fmt.Errorf("%s: it can only change with a restart of the proxy", k))
	}
	return errors.Join(errs...)
}

// refuse notes a configuration that was not taken over.
func (c *Controller) refuse(err error) {
	c.refused, c.refusedAt = err, time.Now()
	c.log.Error("configuration refused, the old one stays in force", "cause", err.Error())
}

// moved says, for each pool whose ring would differ, how many keys would move.
func (c *Controller) moved(next map[string]*pool) (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(next)) {
		old, p := c.pools[name], next[name]
		if old == nil || old.ring == nil || p.ring == nil || old.ring == p.ring {
			continue
		}
		if n := shard.Moved(old.ring, p.ring, movedSample); n > 0 {
			lines = append(lines, fmt.Sprintf("pools.%s: %d of %d sample keys move to another group", name, n, movedSample))
		}
	}
	return lines
}

// form makes the pools of a configuration from those in force, which it leaves as they are.
func (c *Controller) form(next *conf.Config) (map[string]*pool, error) {
	pools := make(map[string]*pool, len(next.Pools))
	for _, name := range slices.Sorted(maps.Keys(next.Pools)) {
		p := renew(c.pools[name], next.Pools[name])
		if err := p.form(); err != nil {
			return nil, fmt.Errorf("pool '%s': %w", name, err)
		}
		pools[name] = p
	}
	return pools, nil
}

// renew is a pool with another configuration: a copy in which what is known of its groups stays, unless they come from
// elsewhere now.
func renew(old *pool, cf *conf.Pool) *pool {
	fresh := &pool{name: cf.Name, conf: cf, groups: map[string]*group{}, since: time.Now(), timeline: &timeline{}}
	switch {
	case old == nil:
		return fresh
	case old.conf.Source() != cf.Source(), cf.Manager != nil && cf.Manager.Cluster != old.conf.Manager.Cluster:
		fresh.toldState, fresh.timeline = old.toldState, old.timeline
		return fresh
	}
	p := *old
	p.conf = cf
	p.groups, p.order = make(map[string]*group, len(old.order)), make([]*group, len(old.order))
	for i, g := range old.order {
		own := *g
		own.pool = &p
		p.groups[g.name], p.order[i] = &own, &own
	}
	return &p
}

// replace makes a configuration the one in force, if a running process can.
func (c *Controller) replace(changes conf.Changes, next *conf.Config, pools map[string]*pool) error {
	if err := restartNeeded(changes); err != nil {
		return err
	}
	next.ProxyID = c.conf.ProxyID // managers know this process by it, and its default follows admin.listen
	if changes.Empty() {
		c.conf = next
		return nil
	}
	return c.take(next, pools)
}

// take makes a configuration the one in force: ports are bound first, every loop has it when take returns, and on an error
// nothing has changed.
func (c *Controller) take(next *conf.Config, pools map[string]*pool) error {
	commit, rollback, err := c.opts.Prepare(c.conf, next)
	if err != nil {
		return err
	}
	now := time.Now()
	oldConf, oldPools := c.conf, c.pools
	c.conf, c.pools = next, pools
	c.each("", func(p *pool) { c.follow(p, now) })
	if snap := c.desired(now); snap != nil {
		if err := c.opts.Plane.Apply(snap); err != nil {
			c.conf, c.pools = oldConf, oldPools
			rollback()
			return err
		}
		c.snap = snap
	}
	commit()
	c.exchange(oldPools)
	return nil
}

// exchange starts, re-configures and stops the clients of the pools.
func (c *Controller) exchange(old map[string]*pool) {
	c.each("", func(p *pool) {
		switch {
		case p.manager == nil && p.sentinels == nil:
			c.start(p)
		default:
			if p.manager != nil {
				p.manager.Reconfigure(managerConfig(c.conf, p))
			}
			if p.sentinels != nil {
				p.sentinels.Reconfigure(c.sentinelConfig(p))
			}
		}
	})
	for name, was := range old {
		if p := c.pools[name]; p == nil || p.sentinelsID != was.sentinelsID || p.managerID != was.managerID {
			c.stopping.Go(was.stop) // waits for goroutines that may be dialing
		}
	}
}
