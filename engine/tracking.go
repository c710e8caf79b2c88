package engine

import (
	"respgate/engine/command"
	"respgate/engine/resp"
)

// tracking is CLIENT TRACKING: a server remembers what a connection has read, so all requests of the client take lanes, one
// to each group, on which tracking is on. Invalidations come there as pushes. When a link is lost the server's memory goes
// with it: the client is told to forget everything.
type tracking struct {
	args          []string // the request
	optIn, optOut bool
	caching       string // YES or NO of CLIENT CACHING, until the next request
}

// pin is CLIENT TRACKING and CLIENT NO-TOUCH: what is true of a connection, of each that the client's requests take.
func (c *client) pin(cmd *command.Command, frame []byte, f *resp.Frame) {
	mode := arg(frame, f.Args[2])
	on := equalFold(mode, "on")
	if !on && (!equalFold(mode, "off") || c.session == nil) {
		c.forward(cmd, c.pool.groups[0], frame) // an error, or nothing to do: the server says which
		return
	}
	if c.queue.count > 0 {
		c.postpone(cmd)
		return
	}
	s := c.own()
	request := make([]string, 0, len(f.Args))
	for _, a := range f.Args {
		if cmd == cmdTracking && equalFold(arg(frame, a), "redirect") {
			c.unsupported(cmd, "REDIRECT names a connection to one server, and the client has none: HELLO 3 brings the invalidations on this one")
			s.settle()
			return
		}
		request = append(request, string(arg(frame, a)))
	}
	for _, g := range c.pool.groups {
		if !s.open(g) {
			s.settle()
			return
		}
	}
	s.wanted = nil
	if on {
		s.wanted = request
	}
	c.pause(pauseSwitch)
	if len(c.pool.groups) > 1 {
		c.fanout(cmd, frame, f)
		return
	}
	c.forward(cmd, c.pool.groups[0], frame)
}

// setUp notes what the servers have agreed to: each new link of the session is told, too.
func (s *session) setUp(cmd *command.Command, failed bool) {
	if failed {
		for _, sv := range s.lanes {
			sv.lane.dirty |= dirtyState // some may have done it
		}
		return
	}
	if cmd == cmdNoTouch {
		s.noTouch = s.wanted
	} else {
		s.tracking = newTracking(s.wanted)
	}
	s.setup = nil
	if s.tracking != nil {
		s.setup = append(s.setup, s.tracking.args)
	}
	if s.noTouch != nil {
		s.setup = append(s.setup, s.noTouch)
	}
}

func newTracking(args []string) *tracking {
	if args == nil {
		return nil
	}
	t := &tracking{args: args}
	for _, a := range args {
		t.optIn = t.optIn || equalFold([]byte(a), "optin")
		t.optOut = t.optOut || equalFold([]byte(a), "optout")
	}
	return t
}

// caching is CLIENT CACHING, which is about the next request: it is sent on the link that takes that one, before it.
func (c *client) caching(frame []byte, f *resp.Frame) {
	var t tracking
	if c.session != nil && c.session.tracking != nil {
		t = *c.session.tracking
	}
	mode := arg(frame, f.Args[2])
	switch yes, no := equalFold(mode, "yes"), equalFold(mode, "no"); {
	case t.args == nil:
		c.replyError("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
	case yes && !t.optIn:
		c.replyError("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
	case no && !t.optOut:
		c.replyError("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
	case !yes && !no:
		c.replyError("ERR syntax error")
	default:
		c.session.tracking.caching = string(mode)
		c.respond(okReply)
	}
}

// beforeRequest sends what belongs right before the client's next request on this lane.
func (s *session) beforeRequest(sv *server) {
	if s.tracking != nil && s.tracking.caching != "" && !s.tx.begun {
		s.ask(sv, cmdClient, "CLIENT", "CACHING", s.tracking.caching)
	}
}

// flushCache tells a client with tracking to forget all it has cached.
func (c *client) flushCache() {
	if c.proto3 {
		c.push(flushPush)
	}
}

var flushPush = []byte(">2\r\n$10\r\ninvalidate\r\n_\r\n")
