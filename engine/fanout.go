package engine

import (
	"respgate/engine/command"
	"respgate/engine/resp"
	"respgate/engine/topology"
)

// A fan-out is a split whose fragments are the whole request, one for each group:
//
//	DBSIZE ──> part 0 (g1): DBSIZE ──> :3 ──┐
//	      └──> part 1 (g2): DBSIZE ──> :4 ──┴─> sum ──> :7
//
// The replies stay in the fragments until all are there. What may be large is then joined by reference when it is the request's
// turn (join); all else is merged at once (merge.go).

// fanout handles a request that belongs to no key.
func (c *client) fanout(cmd *command.Command, frame []byte, f *resp.Frame) {
	p := c.pool
	switch {
	case cmd.Merge == command.MergeInfo:
		c.askInfo(cmd, frame, f)
	case cmd.Merge == command.MergeTable:
		if g := c.anyUp(); g != nil {
			c.forward(cmd, g, frame)
		} else {
			c.commandTable(cmd, frame, f.Args)
		}
	case len(p.groups) == 0:
		c.allEjected()
	case (cmd.Merge == command.MergeFirstOK || cmd == cmdFunctionStats) && !c.passBy(cmd): // not now, or not at all; that is taken care of
	case len(p.groups) == 1:
		c.forward(cmd, p.groups[0], frame)
	case cmd.Merge == command.MergeNone:
		c.unsupported(cmd, cmd.Reason)
	case cmd.Merge == command.MergeAny:
		g := c.anyUp()
		if g == nil {
			g = p.groups[0] // where it waits
		}
		c.forward(cmd, g, frame)
	case cmd.Merge == command.MergeScan:
		c.scanGroups(cmd, frame, f)
	default:
		s := c.loop.newSplit()
		for i := range p.groups {
			s.parts = append(s.parts, part{group: int32(i)})
		}
		if cmd.Merge == command.MergeLog {
			s.limit = logLimit(frame, f.Args)
		}
		r := c.awaitSplit(cmd, s, len(frame))
		if cmd.Flags&command.FlagBlocking != 0 { // WAIT
			r.blocking = true
			for i := range s.parts {
				s.parts[i].fragment.blocking = true
			}
		}
		c.sendParts(s, frame)
	}
}

// passBy gives SCRIPT KILL, FUNCTION KILL and FUNCTION STATS lanes: on a shared link they would wait for the script that they
// are to end, or to tell of.
func (c *client) passBy(cmd *command.Command) bool {
	if c.queue.count > 0 {
		c.postpone(cmd)
		return false
	}
	s := c.own()
	s.killing = true
	for _, g := range c.pool.groups {
		if !s.open(g) {
			s.settle()
			return false
		}
	}
	c.pause(pauseSwitch)
	return true
}

// sendParts sends the same bytes to the groups of all parts.
func (c *client) sendParts(s *split, body []byte) {
	for i, n := 0, len(s.parts); i < n; i++ {
		pt := &s.parts[i]
		c.pool.groups[pt.group].send(pt.fragment, body, c) // may fail at once; the last answer recycles s
	}
}

// up reports that the group has a master that answers, as far as is known: one that was never tried may turn out not to.
func (g *group) up() bool {
	if g.topo.Hold || g.topo.Access != topology.Serve || !g.topo.Master.Known() {
		return false
	}
	for _, s := range g.servers {
		if s != nil && (s.restUntil > s.loop.now || s.failures > 0 && !s.connected()) {
			return false
		}
	}
	return true
}

// connected reports whether a link to the group's master is up.
func (g *group) connected() bool {
	for _, s := range g.servers {
		if s != nil && s.connected() {
			return true
		}
	}
	return false
}

// anyGroup is a group that is up, or the first, where requests wait.
func (c *client) anyGroup() *group {
	if g := c.anyUp(); g != nil {
		return g
	}
	return c.pool.groups[0]
}

// anyUp is the group that answers for all: the first that is connected, or else up; nil if there is none.
func (c *client) anyUp() *group {
	if c.pool.topo.Access == topology.Reject {
		return nil
	}
	var found *group
	for _, g := range c.pool.groups {
		switch {
		case !g.up():
		case g.connected():
			return g
		case found == nil:
			found = g
		}
	}
	return found
}
