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
	Old, New string        // host:port
	Took     time.Duration // how long requests could have waited
	Warning  string        // what is left to do, empty if nothing is
}

func noPool(pool string) error { return &Error{"NOPOOL", fmt.Sprintf("no such pool '%s'", pool)} }
func noGroup(pool, group string) error {
	return &Error{"NOGROUP", fmt.Sprintf("no such group '%s' in pool '%s'", group, pool)}
}

func noSentinels(pool string) error {
	return &Error{"ERR", fmt.Sprintf("pool '%s' has no sentinels: its servers are those of the file, edit it and PROXY RELOAD", pool)}
}

// target is what a switch works with outside the control goroutine.
type target struct {
	pool, group string
	sentinels   Sentinels
	old         string // master
	generation  uint64 // of that
	mark        *pause // nil if the switch claims nothing
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
		return nil, nil, noSentinels(pool)
	case g.switching != nil:
		return nil, nil, &Error{"INPROG", fmt.Sprintf("a switch of group '%s' in pool '%s' is already under way", group, pool)}
	}
	return &target{pool: pool, group: group, sentinels: p.sentinels, old: g.master.Name, generation: g.master.Generation}, g, nil
}

// at gives the target's group as it is now: a reload or a manager may have replaced it.
func (c *Controller) at(t *target) (*group, error) {
	if p := c.pools[t.pool]; p != nil && p.sentinels == t.sentinels && p.groups[t.group] != nil {
		return p.groups[t.group], nil
	}
	return nil, gone(t)
}

func gone(t *target) error {
	return &Error{"ERR", fmt.Sprintf("group '%s' of pool '%s' was removed or comes from elsewhere now", t.group, t.pool)}
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
	if err := c.switched(ctx, t, addr.String()); err != nil {
		return SwitchResult{}, err
	}
	return SwitchResult{Old: t.old, New: addr.String(), Took: time.Since(start)}, nil
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
	return pollEvery(ctx, switchPoll, cond)
}

func pollEvery(ctx context.Context, every time.Duration, cond func() (bool, error)) error {
	tick := time.NewTicker(every)
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
