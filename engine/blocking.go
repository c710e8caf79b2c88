package engine

import (
	"respgate/engine/command"
	"respgate/engine/resp"
)

// Blocking commands take a lane for as long as they wait. The client is not handled further meanwhile, but it is read, so
// that its end is noticed: the server must not hand an element to nobody.

// forwardBlocking sends a command that may wait at the server.
func (c *client) forwardBlocking(cmd *command.Command, g *group, frame []byte) {
	if c.queue.count > 0 {
		c.postpone(cmd)
		return
	}
	s := c.own()
	if !s.open(g) {
		s.settle()
		return
	}
	c.block()
	r := c.request(cmd, len(frame))
	r.blocking = true
	g.send(r, frame, c)
}

// block stops handling the client's requests until what it waits for is answered.
func (c *client) block() {
	c.session.blocked = true
	c.pause(pauseSwitch)
}

// readsAhead reports that the client is read although nothing of it is handled.
func (c *client) readsAhead() bool {
	return c.session != nil && c.session.blocked && c.state == clientOpen && c.paused == pauseSwitch
}

// readAhead keeps what comes until the client is handled again. Its end takes everything along.
func (c *client) readAhead() {
	if c.in == nil || c.in.Cap() == int(c.inLen) {
		if int64(c.inLen) >= c.pool.topo.Settings.ClientBuffer {
			c.miss() // its end could not be noticed any more
			return
		}
		next := c.loop.bufs.Get(2*int(c.inLen) + minInput)
		if c.in != nil {
			copy(next.Bytes(), c.in.Bytes()[:c.inLen])
			c.in.Release()
		}
		c.in = next
	}
	n, err := readFD(int(c.fd), c.in.Bytes()[c.inLen:])
	switch {
	case err != nil && wouldBlock(err):
		if c.inLen == 0 {
			c.dropInput()
		}
		return
	case err != nil || n == 0:
		c.close()
		return
	}
	c.pool.received += uint64(n)
	c.inLen += uint32(n)
}

// unblock ends the wait of a blocked client, as CLIENT UNBLOCK asks: mode is TIMEOUT or ERROR. It reports whether the client
// was blocked.
func (c *client) unblock(mode string) bool {
	r := c.queue.head
	if c.session == nil || !c.session.blocked || r == nil || !r.blocking {
		return false
	}
	if r.split == nil {
		return c.unblockAt(r, mode)
	}
	var waiting []*request
	for i := range r.split.parts {
		if f := r.split.parts[i].fragment; f.state != requestAnswered {
			waiting = append(waiting, f)
		}
	}
	done := false
	for _, f := range waiting {
		done = c.unblockAt(f, mode) || done
	}
	return done
}

// unblockAt ends the wait of a blocking request at one server.
func (c *client) unblockAt(r *request, mode string) bool {
	l, ln := c.loop, r.server.lane
	if r.state == requestPending {
		server := r.server
		l.fail(r, errHeld, "UNBLOCKED client unblocked via CLIENT UNBLOCK")
		server.sweep()
		return true
	}
	if ln == nil || ln.clientID == "" {
		return false
	}
	sv := ln.server.group.server(c.proto3, poolDB)
	q := l.newRequest()
	q.internal, q.cmd, q.server, q.start = true, cmdClient, sv, l.now
	b := resp.AppendRequest(nil, "CLIENT", "UNBLOCK", ln.clientID, mode)
	q.piece = sv.store.Put(&l.bufs, b)
	sv.send(q, c)
	return true
}

// waitReplicas is WAIT and WAITAOF. They are about the writes of one connection; those of the client went over others, and
// are answered: a lane that is sent any command first counts all that came before.
func (c *client) waitReplicas(cmd *command.Command, frame []byte, f *resp.Frame) {
	if c.queue.count > 0 {
		c.postpone(cmd)
		return
	}
	s := c.own()
	for _, g := range c.pool.groups {
		if !s.open(g) {
			s.settle()
			return
		}
		s.ask(s.lanes[g], cmdPing, "PING")
	}
	c.block()
	if len(c.pool.groups) > 1 {
		c.fanout(cmd, frame, f)
		return
	}
	r := c.request(cmd, len(frame))
	r.blocking = true
	c.pool.groups[0].send(r, frame, c)
}
