package engine

import "bytes"

// MONITOR is every group's, merged; each line says of which pool and group it is:
//
//	+1339518083.107412 [0 cache/g1 127.0.0.1:60866] "get" "k"

// monitor is MONITOR. As in Redis, a client that has it already gets no other reply.
func (c *client) monitor() {
	s := c.own()
	if s.monitor {
		return
	}
	if c.queue.count > 0 {
		c.postpone(cmdMonitor)
		return
	}
	if !s.openFeeds() {
		s.settle()
		return
	}
	s.monitor = true
	call := &feedCall{left: len(s.feeds)}
	call.done = func() []byte { return okReply }
	call.undo = func() { s.monitor = false }
	for _, ln := range s.feeds {
		ln.dirty |= dirtyMonitor
		ln.watched = false
		if ln.link() != nil {
			ln.startMonitor()
		}
	}
	s.wait(call, c.request(cmdMonitor, 0))
}

func (ln *lane) startMonitor() {
	ln.expected = append(ln.expected, feedOp{monitor: true})
	ln.link().write("MONITOR")
}

// monitoring reports that the client waits for the answer to MONITOR.
func (s *session) monitoring() bool { return s.call != nil && s.call.request.cmd == cmdMonitor }

// monitorConfirmed notes that a feed's server has begun.
func (s *session) monitorConfirmed(ln *lane) {
	if ln.watched || !s.monitoring() {
		return
	}
	ln.watched = true
	if s.call.left--; s.call.left == 0 {
		s.call.finish()
	}
}

// monitorLine puts the names of pool and group into a line of MONITOR, before the address.
func monitorLine(g *group, line []byte) []byte {
	at := bytes.IndexByte(line, '[')
	if at < 0 {
		return line
	}
	blank := bytes.IndexByte(line[at:], ' ')
	if blank < 0 {
		return line
	}
	at += blank + 1
	b := make([]byte, 0, len(line)+len(g.pool.name)+len(g.name)+2)
	b = append(b, line[:at]...)
	b = append(b, g.pool.name...)
	b = append(b, '/')
	b = append(b, g.name...)
	b = append(b, ' ')
	return append(b, line[at:]...)
}
