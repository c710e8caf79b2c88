package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"respgate/sentinelclient"
)

// Error is a refusal with a code of its own, as the console shows it.
type Error struct{ Code, Text string }

func (e *Error) Error() string { return e.Code + " " + e.Text }

// SwitchResult is what a switch did.
type SwitchResult struct {
	Old, New string // host:port
	Took     time.Duration
}

const (
	drainLimit  = 2 * time.Second  // for the requests in flight before a planned switch
	switchLimit = 10 * time.Second // from Sentinel's consent to the new master; requests are not held longer than that either
	switchPoll  = 5 * time.Millisecond
)

func noPool(pool string) error { return &Error{"NOPOOL", fmt.Sprintf("no such pool '%s'", pool)} }
func noGroup(pool, group string) error {
	return &Error{"NOGROUP", fmt.Sprintf("no such group '%s' in pool '%s'", group, pool)}
}

// target is what a switch works with outside the control goroutine.
type target struct {
	pool, group string
	sentinels   Sentinels
	old         string // master
	mark        *pause // nil if the switch pauses nothing
}

// find gives a group of a pool that has sentinels, unless it is being switched already.
func (c *Controller) find(pool, group string) (*target, *group, error) {
	p := c.pools[pool]
	if p == nil {
		return nil, nil, noPool(pool)
	}
	g := p.groups[group]
	switch {
	case g == nil:
		return nil, nil, noGroup(pool, group)
	case p.sentinels == nil:
		return nil, nil, &Error{"ERR", fmt.Sprintf("pool '%s' has no sentinels: its servers are those of the file, edit it and PROXY RELOAD", pool)}
	case g.paused != nil:
		return nil, nil, &Error{"INPROG", fmt.Sprintf("a switch of group '%s' in pool '%s' is already under way", group, pool)}
	}
	return &target{pool: pool, group: group, sentinels: p.sentinels, old: g.master.Name}, g, nil
}

// at gives the target's group as it is now: a reload or a manager may have replaced it.
func (c *Controller) at(t *target) (*group, error) {
	if p := c.pools[t.pool]; p != nil && p.sentinels == t.sentinels && p.groups[t.group] != nil {
		return p.groups[t.group], nil
	}
	return nil, &Error{"ERR", fmt.Sprintf("group '%s' of pool '%s' was removed or comes from elsewhere now", t.group, t.pool)}
}

// Switch is the planned switch-over through Sentinel: the group's requests wait, those in flight finish, Sentinel promotes
// a replica, and the requests go on to it. Any failure before Sentinel has agreed leaves everything as it was.
func (c *Controller) Switch(ctx context.Context, pool, group string) (SwitchResult, error) {
	start := time.Now()
	t, err := c.pause(pool, group)
	if err != nil {
		return SwitchResult{}, err
	}
	defer c.lift(t)
	if err := c.drained(ctx, t); err != nil {
		return SwitchResult{}, err
	}
	if err := t.sentinels.Failover(ctx, group); err != nil {
		return SwitchResult{}, refusal(err)
	}
	name, err := c.switched(ctx, t, func(name string) bool { return name != t.old })
	if err != nil {
		return SwitchResult{}, err
	}
	c.log.Info("planned switch-over done", "pool", pool, "group", group, "old", t.old, "new", name, "took-ms", time.Since(start).Milliseconds())
	return SwitchResult{Old: t.old, New: name, Took: time.Since(start)}, nil
}

// pause holds the group for an operator; one at a time.
func (c *Controller) pause(pool, name string) (t *target, err error) {
	stopped := c.ask(func() {
		var g *group
		if t, g, err = c.find(pool, name); err != nil {
			return
		}
		if t.old == "" {
			err = &Error{"NOTREADY", fmt.Sprintf("group '%s' in pool '%s' has no master to switch from: %s", name, pool, g.cause)}
			return
		}
		t.mark = &pause{why: "planned switch-over"}
		g.paused = t.mark
		c.log.Info("planned switch-over begins", "pool", pool, "group", name, "master", t.old)
	})
	if stopped != nil {
		return nil, stopped
	}
	return t, err
}

// lift ends the pause, wherever the group is now. When control ends it lifts every pause by itself.
func (c *Controller) lift(t *target) {
	_ = c.insist(func() {
		if p := c.pools[t.pool]; p != nil {
			if g := p.groups[t.group]; g != nil && g.paused == t.mark {
				g.paused = nil
			}
		}
	})
}

// drained waits until every loop holds the group's requests and none is in flight to its master.
func (c *Controller) drained(ctx context.Context, t *target) error {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	held, left := false, 0
	err := poll(ctx, func() (done bool, err error) {
		stopped := c.insist(func() {
			if _, err = c.at(t); err == nil {
				g, _ := c.snap.Pool(t.pool).Group(t.group) // what is in pools is in the snapshot, once a round is over
				held = g != nil && g.Hold
			}
		})
		if err = errors.Join(stopped, err); err != nil || !held {
			return false, err
		}
		left = 0
		if p := c.opts.Plane.Stats().Pools[t.pool]; p != nil && p.Groups[t.group] != nil {
			left = p.Groups[t.group].Inflight
		}
		return left == 0, nil
	})
	switch {
	case !errors.Is(err, context.DeadlineExceeded):
		return err
	case !held:
		return &Error{"TIMEOUT", fmt.Sprintf("the requests of group '%s' in pool '%s' could not be held within %s: nothing was changed", t.group, t.pool, drainLimit)}
	default:
		return &Error{"TIMEOUT", fmt.Sprintf("%d requests of group '%s' in pool '%s' are still in flight after %s: nothing was changed", left, t.group, t.pool, drainLimit)}
	}
}

// switched waits until every loop serves the wanted master.
func (c *Controller) switched(ctx context.Context, t *target, wanted func(name string) bool) (name string, err error) {
	ctx, cancel := context.WithTimeout(ctx, switchLimit)
	defer cancel()
	state, cause := "", ""
	err = poll(ctx, func() (done bool, err error) {
		stopped := c.insist(func() {
			var g *group
			if g, err = c.at(t); err == nil {
				name, state, cause = g.master.Name, g.state, g.cause
				done = wanted(name) && g.applied() && g.state == "up"
			}
		})
		return done, errors.Join(stopped, err)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return "", &Error{"TIMEOUT", fmt.Sprintf("no switch within %s: the master of group '%s' in pool '%s' is %s, %s %s", switchLimit, t.group, t.pool, name, state, cause)}
	}
	return name, err
}

// SwitchTo points a group at a node that says it is a master, until Sentinel has something newer.
func (c *Controller) SwitchTo(ctx context.Context, pool, group, host string, port int) (SwitchResult, error) {
	start := time.Now()
	var t *target
	var err error
	if stopped := c.ask(func() { t, _, err = c.find(pool, group) }); stopped != nil {
		return SwitchResult{}, stopped
	}
	if err != nil {
		return SwitchResult{}, err
	}
	addr := sentinelclient.Address{Host: host, Port: port}
	if err := t.sentinels.Verify(ctx, addr); err != nil {
		return SwitchResult{}, &Error{"NOTMASTER", fmt.Sprintf("%s: %v", addr, err)}
	}
	if err := t.sentinels.Pin(group, addr); errors.Is(err, sentinelclient.ErrNotMaster) {
		return SwitchResult{}, &Error{"NOTMASTER", err.Error()}
	} else if err != nil {
		return SwitchResult{}, refusal(err)
	}
	name, err := c.switched(ctx, t, func(name string) bool { return name == addr.String() })
	if err != nil {
		return SwitchResult{}, err
	}
	return SwitchResult{Old: t.old, New: name, Took: time.Since(start)}, nil
}

// Rotate makes another sentinel of the pool the active one; host "" means the next.
func (c *Controller) Rotate(pool, host string, port int) error {
	var s Sentinels
	var err error
	if stopped := c.ask(func() {
		p := c.pools[pool]
		switch {
		case p == nil:
			err = noPool(pool)
		case p.sentinels == nil:
			err = &Error{"ERR", fmt.Sprintf("pool '%s' has no sentinels", pool)}
		default:
			s = p.sentinels
		}
	}); stopped != nil {
		return stopped
	}
	if err != nil {
		return err
	}
	if host == "" {
		return refusal(s.Rotate(nil))
	}
	return refusal(s.Rotate(&sentinelclient.Address{Host: host, Port: port}))
}

// refusal gives Sentinel's own codes to the operator.
func refusal(err error) error {
	var cmd *sentinelclient.CommandError
	if !errors.As(err, &cmd) {
		return err
	}
	if cmd.Code == "NOSENTINEL" { // nobody to ask is the smallest minority
		return &Error{"NOQUORUM", cmd.Text}
	}
	return &Error{cmd.Code, cmd.Text}
}

// poll asks again and again until cond holds or fails, or ctx is done.
func poll(ctx context.Context, cond func() (bool, error)) error {
	tick := time.NewTicker(switchPoll)
	defer tick.Stop()
	for {
		if done, err := cond(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
