package engine

import (
	"bytes"
	"strings"

	"respgate/engine/command"
	"respgate/engine/resp"
	"respgate/engine/topology"
)

// arg is one argument of a request.
func arg(frame []byte, s resp.Span) []byte { return frame[s.Off : s.Off+s.Len] }

// handleRequest decides what becomes of one request: answered here, sent to a group, split over several, or refused.
// Errors and their order are Redis' where Redis has them: unknown, arity, authentication, then everything else.
func (c *client) handleRequest(frame []byte, f *resp.Frame) {
	p := c.pool
	cmd := command.Lookup(arg(frame, f.Args[0]))
	c.last = 0
	if cmd == nil {
		if cmd = p.adopted(frame, f); cmd == nil {
			c.unknownCommand(frame, f)
			return
		}
	} else if cmd.Container() && len(f.Args) > 1 {
		sub := cmd.Sub(arg(frame, f.Args[1]))
		if sub == nil {
			sub = p.topo.Catalog.FindSub(cmd, arg(frame, f.Args[1]))
		}
		if sub == nil {
			c.unknownSubcommand(cmd, arg(frame, f.Args[1]))
			return
		}
		cmd = sub
	}
	c.last = uint16(cmd.ID)
	if !cmd.ArityOK(len(f.Args)) {
		c.wrongArity(cmd)
		return
	}
	if !c.authed && cmd.Flags&command.FlagNoAuth == 0 {
		p.count(errNoAuth)
		if cmd == cmdExec {
			c.respond(execNoAuthReply)
			return
		}
		c.respond(noAuthReply)
		return
	}
	if p.halt != nil && c.halted(cmd) {
		return
	}
	p.commands[cmd.ID]++
	if p.topo.Access == topology.Reject && cmd.NeedsServer() {
		p.count(errNoAuthority)
		c.abortMulti()
		c.replyError("ERR respgate: " + p.topo.Reason + " (pool '" + p.name + "')")
		return
	}
	if told := p.topo.Catalog; told != nil {
		if why := told.Lacking(cmd); why != "" {
			c.unsupported(cmd, why)
			return
		}
	}
	if c.session != nil {
		c.session.handle(cmd, frame, f)
		return
	}
	c.serve(cmd, frame, f)
}

// serve sends a request the way of its command.
func (c *client) serve(cmd *command.Command, frame []byte, f *resp.Frame) {
	p := c.pool
	switch cmd.Route {
	case command.RouteKeyed:
		if cmd.First == 1 && cmd.Last == 1 {
			g := p.route(arg(frame, f.Args[1]))
			if g < 0 {
				c.allEjected()
				return
			}
			c.forward(cmd, p.groups[g], frame)
			return
		}
		c.forwardKeyed(cmd, frame, f)
	case command.RouteMGet, command.RouteMSet, command.RouteSum:
		if len(p.groups) == 1 {
			c.forward(cmd, p.groups[0], frame)
			return
		}
		c.sendSplit(cmd, frame, f)
	case command.RouteBlocking:
		c.forwardKeyed(cmd, frame, f)
	case command.RouteLocal:
		c.local(cmd, frame, f)
	case command.RouteSession:
		c.sessionCommand(cmd, frame, f)
	case command.RouteFanout:
		c.fanout(cmd, frame, f)
	default:
		c.unsupported(cmd, cmd.Reason)
	}
}

// forward sends a request whole to one group.
func (c *client) forward(cmd *command.Command, g *group, frame []byte) {
	g.send(c.request(cmd, len(frame)), frame, c)
}

// request makes a request of so many bytes that the client waits for.
func (c *client) request(cmd *command.Command, size int) *request {
	r := c.loop.newRequest()
	r.client, r.cmd = c, cmd
	r.start, r.size = c.loop.now, int32(size)
	r.queued = inClient
	c.await(r)
	c.inflight += int64(size)
	return r
}

// forwardKeyed sends a request with any number of keys, if they all lie in one group.
func (c *client) forwardKeyed(cmd *command.Command, frame []byte, f *resp.Frame) {
	l, p := c.loop, c.pool
	keys, ok := cmd.Keys(l.keys[:0], frame, f.Args)
	l.keys = keys[:0]
	blocks := cmd.Flags&(command.FlagMaybeBlocking|command.FlagBlocking) != 0 && cmd.Blocks(frame, f.Args)
	switch {
	case !ok && len(p.groups) > 1:
		c.badKeys(cmd)
		return
	case !ok, len(keys) == 0 && len(p.groups) == 1:
		c.forwardTo(cmd, p.groups[0], frame, blocks && ok) // Redis itself says what is wrong
		return
	case len(keys) == 0:
		c.unsupported(cmd, "without a key it belongs to none of the pool's groups")
		return
	}
	g := p.route(arg(frame, f.Args[keys[0]]))
	for _, k := range keys[1:] {
		if p.route(arg(frame, f.Args[k])) != g {
			p.count(errCrossSlot)
			c.respond(crossSlotReply)
			return
		}
	}
	if g < 0 {
		c.allEjected()
		return
	}
	c.forwardTo(cmd, p.groups[g], frame, blocks)
}

func (c *client) forwardTo(cmd *command.Command, g *group, frame []byte, blocks bool) {
	if blocks {
		c.forwardBlocking(cmd, g, frame)
		return
	}
	c.forward(cmd, g, frame)
}

// equalFold compares with a lower-case word, without allocating.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, x := range b {
		if 'A' <= x && x <= 'Z' {
			x += 'a' - 'A'
		}
		if x != lower[i] {
			return false
		}
	}
	return true
}

// unknownCommand answers as Redis does, with the beginning of the arguments.
func (c *client) unknownCommand(frame []byte, f *resp.Frame) {
	c.abortMulti()
	c.pool.count(errUnknownCommand)
	var b strings.Builder
	b.WriteString("ERR unknown command '")
	b.WriteString(printed(arg(frame, f.Args[0]), 128))
	b.WriteString("', with args beginning with: ")
	room := 128
	for _, a := range f.Args[1:] {
		if room <= 0 {
			break
		}
		text := printed(arg(frame, a), room)
		room -= len(text) + 3
		b.WriteString("'" + text + "' ")
	}
	c.replyError(b.String())
}

// printed is what Redis' errors show of an argument: at most n bytes, up to a NUL.
func printed(b []byte, n int) string {
	b = b[:min(len(b), n)]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func (c *client) unknownSubcommand(cmd *command.Command, sub []byte) {
	c.abortMulti()
	c.pool.count(errUnknownCommand)
	c.replyError("ERR unknown subcommand '" + printed(sub, 128) + "'. Try " + strings.ToUpper(cmd.Name) + " HELP.")
}

func (c *client) wrongArity(cmd *command.Command) {
	c.abortMulti()
	c.pool.count(errArity)
	text := "wrong number of arguments for '" + cmd.Name + "' command"
	if cmd == cmdExec {
		c.failExec(text)
		return
	}
	c.replyError("ERR " + text)
}

// unsupported refuses a command with its name and the reason; the connection stays.
func (c *client) unsupported(cmd *command.Command, reason string) {
	c.abortMulti()
	c.pool.count(errUnsupported)
	c.replyError("ERR respgate: command '" + cmd.Name + "' is not supported: " + reason)
}

func (c *client) allEjected() {
	c.pool.count(errNoMaster)
	c.replyError("ERR respgate: every server of pool '" + c.pool.name + "' is ejected")
}

// badKeys answers a request whose keys cannot be told.
func (c *client) badKeys(cmd *command.Command) {
	c.pool.count(errUnsupported)
	if isScript(cmd) {
		c.replyError("ERR Number of keys can't be greater than number of args")
		return
	}
	c.replyError("ERR syntax error")
}

// abortMulti notes that a command within MULTI is not queued.
func (c *client) abortMulti() {
	if c.session != nil {
		c.session.abort()
	}
}

// isScript reports whether a command runs code of a user, which may raise any error after having written.
func isScript(cmd *command.Command) bool { return cmd.Group == "scripting" }
