package control

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// GroupSwitch is what a switch did to one group of a roll.
type GroupSwitch struct {
	Group string
	SwitchResult
}

const (
	restLimit = time.Minute // for a group to be as good as before its switch: its replicas have to copy from the new master
	restPoll  = 100 * time.Millisecond
)

// SwitchAll switches every group of a pool, one after the other, in the pool's order. Before the next one it waits until the
// one before could be switched again: its replicas follow the new master, no failover is under way. The first failure ends
// it; what was done until then is returned with the error.
func (c *Controller) SwitchAll(ctx context.Context, pool string) (done []GroupSwitch, err error) {
	var groups []string
	stopped := c.ask(func() {
		p := c.pools[pool]
		switch {
		case p == nil:
			err = noPool(pool)
		case p.sentinels == nil:
			err = noSentinels(pool)
		case p.rolling:
			err = &Error{"INPROG", fmt.Sprintf("a switch of all groups of pool '%s' is already under way", pool)}
		case len(p.order) == 0:
			err = &Error{"NOTREADY", fmt.Sprintf("pool '%s' has no groups yet", pool)}
		default:
			p.rolling = true
			for _, g := range p.order {
				groups = append(groups, g.name)
			}
		}
	})
	if err = errors.Join(stopped, err); err != nil {
		return nil, err
	}
	defer c.rolled(pool)
	c.log.Info("planned switch-over of all groups begins", "pool", pool, "groups", len(groups))
	for i, name := range groups {
		res, err := c.Switch(ctx, pool, name)
		if err == nil {
			done = append(done, GroupSwitch{name, res})
			if i < len(groups)-1 { // there is no next one to wait for
				err = c.rested(ctx, pool, name)
			}
		}
		if err != nil {
			left := len(groups) - i - 1
			c.log.Warn("planned switch-over of all groups ends early", "pool", pool, "group", name, "done", len(done), "left", left, "cause", err)
			return done, stoppedAt(name, left, err)
		}
	}
	c.log.Info("planned switch-over of all groups done", "pool", pool, "groups", len(groups))
	return done, nil
}

// stoppedAt names the group where a roll ended.
func stoppedAt(group string, left int, err error) error {
	code, text := "ERR", err.Error()
	if e := (*Error)(nil); errors.As(err, &e) {
		code, text = e.Code, e.Text
	}
	return &Error{code, fmt.Sprintf("group '%s': %s (%d groups after it were not switched)", group, text, left)}
}

// rolled ends a roll, wherever the pool is now.
func (c *Controller) rolled(pool string) {
	_ = c.insist(func() {
		if p := c.pools[pool]; p != nil {
			p.rolling = false
		}
	})
}

// rested waits until a group could be switched again.
func (c *Controller) rested(ctx context.Context, pool, name string) error {
	var t *target
	var err error
	if stopped := c.insist(func() { t, _, err = c.find(pool, name) }); stopped != nil {
		return stopped
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	var last error
	err = pollEvery(ctx, restPoll, func() (bool, error) {
		stopped := c.insist(func() { _, err = c.at(t) })
		if err = errors.Join(stopped, err); err != nil {
			return false, err
		}
		now := t.sentinels.Switchable(ctx, name)
		if ctx.Err() != nil { // cut short, it says nothing
			return false, ctx.Err()
		}
		last = now
		return now == nil, nil
	})
	if errors.Is(err, context.DeadlineExceeded) && last != nil {
		return &Error{"TIMEOUT", fmt.Sprintf("it was switched, and is not as it was before: %v", refusal(last))}
	}
	return err
}
