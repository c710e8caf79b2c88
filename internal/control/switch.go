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
	drainLimit = 2 * time.Second // for the requests in flight before a planned switch
	switchPoll = 5 * time.Millisecond
)

func noPool(pool string) error { return &Error{"NOPOOL", fmt.Sprintf("no such pool '%s'", pool)} }
func noGroup(pool, group string) error {
	return &Error{"NOGROUP", fmt.Sprintf("no such group '%s' in pool '%s'", group, pool)}
}

// find gives a group of a pool that has sentinels.
func (c *Controller) find(pool, group string) (*target, error) {
	p := c.pools[pool]
	if p == nil {
		return nil, noPool(pool)
	}
	g := p.groups[group]
	if g == nil {
		return nil, noGroup(pool, group)
	}
	if p.sentinels == nil {
		return nil, &Error{"ERR", fmt.Sprintf("pool '%s' has no sentinels: its servers are those of the file, edit it and PROXY RELOAD", pool)}
	}
	return &target{p.sentinels, g, g.master.Name, g.master.Generation}, nil
}

// target is what a switch works with outside the control goroutine.
type target struct {
	sentinels  Sentinels
	group      *group // only within ask
	old        string
	generation uint64
}

// Switch is the planned switch-over through Sentinel: the group's requests wait, those in flight finish, Sentinel promotes
// a replica, and the requests go on to it. Any failure before Sentinel has agreed leaves everything as it was.
func (c *Controller) Switch(ctx context.Context, pool, group string) (SwitchResult, error) {
	start := time.Now()
	s, err := c.pause(pool, group)
	if err != nil {
		return SwitchResult{}, err
	}
	defer c.ask(func() { s.group.paused = "" })
	if err := c.drained(ctx, pool, group); err != nil {
		return SwitchResult{}, err
	}
	if err := s.sentinels.Failover(ctx, group); err != nil {
		return SwitchResult{}, refusal(err)
	}
	name, err := c.switched(ctx, s, func(name string) bool { return name != s.old })
	if err != nil {
		return SwitchResult{}, err
	}
	c.log.Info("planned switch-over done", "pool", pool, "group", group, "old", s.old, "new", name, "took-ms", time.Since(start).Milliseconds())
	return SwitchResult{Old: s.old, New: name, Took: time.Since(start)}, nil
}

// pause holds the group for an operator; one at a time.
func (c *Controller) pause(pool, group string) (s *target, err error) {
	if !c.ask(func() {
		if s, err = c.find(pool, group); err != nil {
			return
		}
		if s.group.paused != "" {
			err = &Error{"INPROG", fmt.Sprintf("a switch of group '%s' in pool '%s' is already under way", group, pool)}
			return
		}
		s.group.paused = "planned switch-over"
		c.log.Info("planned switch-over begins", "pool", pool, "group", group, "master", s.old)
	}) {
		return nil, errStopped
	}
	return s, err
}

// drained waits until nothing is in flight to the group's master.
func (c *Controller) drained(ctx context.Context, pool, group string) error {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	left := 0
	err := poll(ctx, func() bool {
		left = 0
		if p := c.opts.Plane.Stats().Pools[pool]; p != nil && p.Groups[group] != nil {
			left = p.Groups[group].Inflight
		}
		return left == 0
	})
	if err != nil {
		return &Error{"TIMEOUT", fmt.Sprintf("%d requests of group '%s' in pool '%s' are still in flight after %s: nothing was changed", left, group, pool, drainLimit)}
	}
	return nil
}

// switched waits until every loop serves the wanted master.
func (c *Controller) switched(ctx context.Context, s *target, wanted func(name string) bool) (name string, err error) {
	state, cause := "", ""
	err = poll(ctx, func() (done bool) {
		if !c.ask(func() {
			g := s.group
			name, state, cause = g.master.Name, g.state, g.cause
			done = wanted(name) && g.applied && g.state == "up"
		}) {
			return true
		}
		return done
	})
	if err != nil {
		return "", &Error{"TIMEOUT", fmt.Sprintf("group '%s' is %s, its master is %s: %s", s.group.name, state, name, cause)}
	}
	return name, nil
}

// SwitchTo points a group at a node that says it is a master, until Sentinel has something newer.
func (c *Controller) SwitchTo(ctx context.Context, pool, group, host string, port int) (SwitchResult, error) {
	start := time.Now()
	var s *target
	var err error
	if !c.ask(func() { s, err = c.find(pool, group) }) {
		return SwitchResult{}, errStopped
	}
	if err != nil {
		return SwitchResult{}, err
	}
	addr := sentinelclient.Address{Host: host, Port: port}
	if err := s.sentinels.Verify(ctx, addr); err != nil {
		return SwitchResult{}, &Error{"NOTMASTER", fmt.Sprintf("%s: %v", addr, err)}
	}
	if err := s.sentinels.Pin(group, addr); err != nil {
		return SwitchResult{}, refusal(err)
	}
	name, err := c.switched(ctx, s, func(name string) bool { return name == addr.String() })
	if err != nil {
		return SwitchResult{}, err
	}
	return SwitchResult{Old: s.old, New: name, Took: time.Since(start)}, nil
}

// Rotate makes another sentinel of the pool the active one; host "" means the next.
func (c *Controller) Rotate(pool, host string, port int) error {
	var s Sentinels
	var err error
	if !c.ask(func() {
		p := c.pools[pool]
		switch {
		case p == nil:
			err = noPool(pool)
		case p.sentinels == nil:
			err = &Error{"ERR", fmt.Sprintf("pool '%s' has no sentinels", pool)}
		default:
			s = p.sentinels
		}
	}) {
		return errStopped
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
	if errors.As(err, &cmd) {
		return &Error{cmd.Code, cmd.Text}
	}
	return err
}

// poll asks again and again until cond holds or ctx is done.
func poll(ctx context.Context, cond func() bool) error {
	tick := time.NewTicker(switchPoll)
	defer tick.Stop()
	for {
		if cond() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
