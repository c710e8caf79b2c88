package engine

import (
	"math"
	"slices"
	"time"

	"respgate/engine/command"
	"respgate/engine/resp"
	"respgate/engine/timer"
)

// halt is CLIENT PAUSE on one loop. Clients are read until they ask for something that has to wait; from then on they are
// not, and their requests are handled again, in order, when the pause is over.
type halt struct {
	until   int64
	all     bool // not only what writes
	timer   timer.Timer
	waiting []uint64 // handles
}

// longestHalt is some years: what is to last longer than that does.
const longestHalt = int64(math.MaxInt64 / 4)

// pauseCommand is CLIENT PAUSE timeout [WRITE|ALL].
func (c *client) pauseCommand(cmd *command.Command, frame []byte, args []resp.Span) {
	all := true
	if len(args) > 4 {
		c.badSubcommand(arg(frame, args[1]))
		return
	}
	if len(args) == 4 {
		mode := arg(frame, args[3])
		if all = equalFold(mode, "all"); !all && !equalFold(mode, "write") {
			c.replyError("ERR CLIENT PAUSE mode must be WRITE or ALL")
			return
		}
	}
	ms, ok := resp.ParseInt(arg(frame, args[2]))
	switch {
	case !ok:
		c.replyError("ERR timeout is not an integer or out of range")
		return
	case ms < 0:
		c.replyError("ERR timeout is negative")
		return
	}
	until := c.loop.now + min(ms, longestHalt/int64(time.Millisecond))*int64(time.Millisecond)
	c.ask(cmd, question{pool: func(p *pool) { p.pause(until, all) }, reply: allDone})
}

func (c *client) unpauseCommand(cmd *command.Command) {
	c.ask(cmd, question{pool: (*pool).unpause, reply: allDone})
}

func allDone(*client, []answer) ([]byte, bool) { return okReply, false }

// pause makes clients wait. Of two pauses the longer one and the stricter one counts, until both are over, as in Redis.
func (p *pool) pause(until int64, all bool) {
	if p.halt == nil {
		p.halt = &halt{}
		p.halt.timer.Func = func(int64) { p.unpause() }
	}
	h := p.halt
	h.until, h.all = max(h.until, until), h.all || all
	p.loop.wheel.Set(&h.timer, h.until)
}

// unpause ends the pause.
func (p *pool) unpause() {
	h := p.halt
	if h == nil {
		return
	}
	p.halt = nil
	p.loop.wheel.Stop(&h.timer)
	p.loop.release(h.waiting)
}

// release goes on with clients that were paused, some a turn.
func (l *loop) release(handles []uint64) {
	n := min(len(handles), askTurn)
	for _, h := range handles[:n] {
		if c, ok := l.slots.get(h).(*client); ok {
			c.resume(pauseClients)
		}
	}
	if rest := handles[n:]; len(rest) > 0 {
		l.post(func() { l.release(rest) })
	}
}

// halted reports that the request being handled has to wait for the end of the pause. Redis lets CLIENT UNPAUSE wait as
// well, so that nobody can end a pause of all; that serves no one.
func (c *client) halted(cmd *command.Command) bool {
	h := c.pool.halt
	if cmd == cmdUnpause || !h.all && !mayWrite(cmd) {
		return false
	}
	if len(h.waiting) > 2*c.pool.count_ { // most of them are gone
		h.waiting = slices.DeleteFunc(h.waiting, func(handle uint64) bool { return c.loop.slots.get(handle) == nil })
	}
	h.waiting = append(h.waiting, c.handle)
	c.postponed = true
	c.pause(pauseClients)
	return true
}

var cmdUnpause = command.Lookup([]byte("client")).Sub([]byte("unpause"))

// mayWrite reports whether CLIENT PAUSE WRITE holds a command: what writes, and what replicas are sent as well.
func mayWrite(cmd *command.Command) bool {
	switch cmd.Name {
	case "exec", "pfcount", "publish", "spublish":
		return true
	}
	return cmd.Flags&command.FlagWrite != 0 || isScript(cmd) && cmd.Flags&command.FlagReadOnly == 0 && cmd.Route != command.RouteLocal
}
