package control

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	drainLimit  = 2 * time.Second        // for the requests in flight before a planned switch
	finishLimit = 300 * time.Millisecond // of that, for the transactions that were begun: all others wait for them
	switchLimit = 10 * time.Second       // from Sentinel's consent to the new master; requests are not held longer than that either
	switchPoll  = 5 * time.Millisecond
	leastHold   = 2 * time.Second // that requests must be allowed to wait: they do for 1.2 s or so, 2 on a busy machine
)

// Switch is the planned switch-over. Whatever fails before Sentinel has agreed to it is undone, and the error names the step:
//
//	1  check      requests may wait, a quorum, replicas that are connected, no failover, no other operator
//	2  hold       new requests of the group wait, those in flight finish
//	3  pause      its master takes no write from anybody
//	4  catch-up   its replicas have what it has
//	5  failover   all is still as it was checked; a sentinel promotes one of them
//	6  verify     that one says master and takes commands; the old one becomes its replica, and what it paused is sent on
//	7  release    what waits goes to the new master, in order
func (c *Controller) Switch(ctx context.Context, pool, group string) (SwitchResult, error) {
	t, err := c.claim(pool, group)
	if err != nil {
		return SwitchResult{}, err
	}
	defer c.lift(t) // after the old master's writers may go on
	over, err := t.sentinels.Switchover(ctx, group)
	if err != nil {
		return SwitchResult{}, c.failed(t, "check", err)
	}
	defer over.Close()
	if now := over.Master().String(); now != t.old { // its sentinels were quicker
		return SwitchResult{}, c.failed(t, "check", anotherMaster(t, now))
	}
	held := time.Now()
	if err := c.hold(t); err != nil {
		return SwitchResult{}, c.failed(t, "hold", err)
	}
	if err := c.drained(ctx, t); err != nil {
		return SwitchResult{}, c.failed(t, "hold", err)
	}
	if err := over.Fence(ctx); err != nil {
		return SwitchResult{}, c.failed(t, "", err)
	}
	name, err := c.promoted(ctx, t, over)
	if err != nil {
		return SwitchResult{}, c.failed(t, "", err)
	}
	res := SwitchResult{Old: t.old, New: name, Took: time.Since(held)}
	if why := over.Standing(); why != nil {
		res.Warning = fmt.Sprintf("%s could not be made a replica: Sentinel will, what is written to it until then is lost: %v", t.old, why)
	} else if why := over.Following(); why != nil {
		res.Warning = fmt.Sprintf("%s is a replica now and does not get what %s has: %v", t.old, name, why)
	}
	c.log.Info("planned switch-over done", "pool", pool, "group", group, "old", t.old, "new", name, "took-ms", res.Took.Milliseconds())
	return res, nil
}

func anotherMaster(t *target, now string) error {
	return &Error{"NOTREADY", fmt.Sprintf("group '%s' in pool '%s' has another master since: %s", t.group, t.pool, now)}
}

// promoted does the steps from which there is no way back. They outlive ctx, which ends with the proxy: it waits for them, as
// the old master would be left paused and neither a master nor a replica.
func (c *Controller) promoted(ctx context.Context, t *target, over Switchover) (string, error) {
	steps, cancel := context.WithTimeout(context.WithoutCancel(ctx), switchLimit)
	defer cancel()
	next, err := over.Promote(steps, func() error { return c.sure(ctx, t) })
	if err != nil {
		return "", err
	}
	name := next.String()
	t.mark.promoted.Store(&name)
	return name, c.switched(steps, t, name)
}

// sure is nil if the group is still to be switched: seconds have gone by since it was held.
func (c *Controller) sure(ctx context.Context, t *target) (err error) {
	stopped := c.insist(func() {
		var g *group
		switch g, err = c.at(t); {
		case err != nil:
		case g.paused != t.mark: // it was taken out and put in again
			err = gone(t)
		case g.master.Name != t.old:
			err = anotherMaster(t, g.master.Name)
		}
	})
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &Error{"ERR", "failover: the proxy is shutting down: nothing was changed"}
	case ctx.Err() != nil:
		return &Error{"TIMEOUT", "failover: the time of the switch is over: nothing was changed"}
	}
	return errors.Join(stopped, err)
}

// failed logs what came of a switch, and gives Sentinel's own codes to the operator.
func (c *Controller) failed(t *target, step string, err error) error {
	err = refusal(err)
	if e := (*Error)(nil); step != "" && errors.As(err, &e) {
		err = &Error{e.Code, step + ": " + e.Text}
	}
	text := err.Error()
	t.mark.failed.Store(&text)
	if !errors.Is(err, errStopped) {
		c.log.Warn("planned switch-over failed", "pool", t.pool, "group", t.group, "master", t.old, "cause", err)
	}
	return err
}

// claim reserves the group for an operator; one at a time.
func (c *Controller) claim(pool, name string) (t *target, err error) {
	stopped := c.ask(func() {
		var g *group
		if t, g, err = c.find(pool, name); err != nil {
			return
		}
		if t.old == "" {
			err = &Error{"NOTREADY", fmt.Sprintf("group '%s' in pool '%s' has no master to switch from: %s", name, pool, g.cause)}
			return
		}
		if most := g.pool.holdTimeout(); most < leastHold {
			err = &Error{"ERR", fmt.Sprintf("check: hold.timeout of pool '%s' is %d ms: the requests of group '%s' wait while it is switched, and would fail after that time; set %v or more, or auto", pool, most.Milliseconds(), name, leastHold)}
			return
		}
		t.mark = &pause{why: "planned switch-over", finish: true}
		g.switching = t.mark
		c.log.Info("planned switch-over begins", "pool", pool, "group", name, "master", t.old)
	})
	if stopped != nil {
		return nil, stopped
	}
	return t, err
}

// hold makes the group's requests wait.
func (c *Controller) hold(t *target) (err error) {
	stopped := c.insist(func() {
		var g *group
		switch g, err = c.at(t); {
		case err != nil:
		case g.master.Name != t.old:
			err = anotherMaster(t, g.master.Name)
		default:
			g.paused = t.mark
		}
	})
	return errors.Join(stopped, err)
}

// lift ends the pause and the claim, wherever the group is now. When control ends it lifts every pause by itself.
func (c *Controller) lift(t *target) {
	_ = c.insist(func() {
		p := c.pools[t.pool]
		if p == nil || p.groups[t.group] == nil {
			return
		}
		g := p.groups[t.group]
		if g.switching == t.mark {
			g.switching = nil
		}
		if g.paused == t.mark {
			g.paused = nil
		}
	})
}

// drained waits until every loop holds the group's requests and none is in flight to its master. Transactions that the master
// has begun go on meanwhile and are waited for; one that does not end is held like the rest then, and discarded by the switch.
func (c *Controller) drained(ctx context.Context, t *target) error {
	if _, err := c.drain(ctx, t, finishLimit, true); err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
		return err
	}
	left, err := c.drain(ctx, t, drainLimit-finishLimit, false)
	switch {
	case !errors.Is(err, context.DeadlineExceeded):
		return err
	case left < 0:
		return &Error{"TIMEOUT", fmt.Sprintf("the requests of group '%s' in pool '%s' could not be held within %s: nothing was changed", t.group, t.pool, drainLimit)}
	default:
		return &Error{"TIMEOUT", fmt.Sprintf("%d requests of group '%s' in pool '%s' are still in flight after %s: nothing was changed", left, t.group, t.pool, drainLimit)}
	}
}

// drain waits until nothing is in flight, with or without an end of the transactions. left is what is, -1 while not every loop
// holds the group's requests.
func (c *Controller) drain(ctx context.Context, t *target, limit time.Duration, finish bool) (left int, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	left = -1
	if err := c.insist(func() { t.mark.finish = finish }); err != nil {
		return left, err
	}
	err = poll(ctx, func() (done bool, err error) {
		held := false
		stopped := c.insist(func() {
			if _, err = c.at(t); err == nil {
				g, _ := c.snap.Pool(t.pool).Group(t.group) // what is in pools is in the snapshot, once a round is over
				held = g != nil && g.Hold && (finish || !g.Finish)
			}
		})
		if err = errors.Join(stopped, err); err != nil || !held {
			return false, err
		}
		left = 0
		if p := c.opts.Plane.Stats().Pools[t.pool]; p != nil && p.Groups[t.group] != nil {
			g := p.Groups[t.group]
			if left = g.Inflight; finish {
				left += g.Transactions
			}
		}
		return left == 0, nil
	})
	return left, err
}

// switched waits until every loop serves the wanted master; another one, or the old one again, ends it.
func (c *Controller) switched(ctx context.Context, t *target, wanted string) error {
	ctx, cancel := context.WithTimeout(ctx, switchLimit)
	defer cancel()
	name, state, cause := "", "", ""
	err := poll(ctx, func() (done bool, err error) {
		stopped := c.insist(func() {
			var g *group
			if g, err = c.at(t); err != nil {
				return
			}
			name, state, cause = g.master.Name, g.state, g.cause
			done = name == wanted && g.applied() && state == "up"
			if name != wanted && name != "" && g.master.Generation != t.generation && g.applied() && state == "up" {
				err = &Error{"NOTREADY", fmt.Sprintf("group '%s' in pool '%s' has another master than %s by now: %s", t.group, t.pool, wanted, name)}
			}
		})
		return done, errors.Join(stopped, err)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{"TIMEOUT", fmt.Sprintf("no switch to %s within %s: the master of group '%s' in pool '%s' is %s, %s %s", wanted, switchLimit, t.group, t.pool, name, state, cause)}
	}
	return err
}
