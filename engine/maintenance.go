package engine

import (
	"context"
	"time"

	"respgate/engine/resp"
	"respgate/engine/topology"
)

// notices is what a client asked for with CLIENT MAINT_NOTIFICATIONS, in the protocol of Redis Software that client
// libraries speak by themselves. Those who are told of a failover wait longer for their replies; those who are told to move
// connect anew before the connection they have is closed.
type notices uint8

const (
	noticesOff      notices = iota
	noticesAddress          // MOVING names an address
	noticesNoTarget         // MOVING-ENDPOINT-TYPE none: the client knows better where to go
)

// leaveTime is how long a client that was told to move may take; then it is closed like the others.
const leaveTime = int64(3 * time.Second)

// graceWithin is leaveTime, or less if there is not so much: the replies that are due then need their time as well.
func graceWithin(ctx context.Context) int64 {
	if deadline, ok := ctx.Deadline(); ok {
		return min(leaveTime, int64(time.Until(deadline))/2)
	}
	return leaveTime
}

// maintNotifications is CLIENT MAINT_NOTIFICATIONS ON|OFF [MOVING-ENDPOINT-TYPE type].
func (c *client) maintNotifications(frame []byte, args []resp.Span) {
	on := equalFold(arg(frame, args[2]), "on")
	if !on && !equalFold(arg(frame, args[2]), "off") {
		c.replyError(syntaxError)
		return
	}
	target := noticesAddress
	switch {
	case len(args) == 3:
	case len(args) == 5 && equalFold(arg(frame, args[3]), "moving-endpoint-type"):
		switch kind := arg(frame, args[4]); {
		case equalFold(kind, "none"):
			target = noticesNoTarget
		case equalFold(kind, "internal-ip"), equalFold(kind, "internal-fqdn"), equalFold(kind, "external-ip"), equalFold(kind, "external-fqdn"):
		default:
			c.replyError("ERR Unknown MOVING-ENDPOINT-TYPE '" + clip(string(kind), 128) + "'")
			return
		}
	default:
		c.replyError(syntaxError)
		return
	}
	switch {
	case !on:
		c.setNotices(noticesOff)
	case !c.proto3:
		c.replyError("ERR CLIENT MAINT_NOTIFICATIONS needs RESP3: send HELLO 3 first")
		return
	default:
		c.setNotices(target)
	}
	c.respond(okReply)
}

// setNotices keeps count of those who are to be told.
func (c *client) setNotices(n notices) {
	if c.notices != noticesOff {
		c.pool.told--
	}
	if n != noticesOff {
		c.pool.told++
	}
	c.notices = n
}

// notice begins a push of n elements. One event has the same number on every loop: clients with many connections tell by
// it that they have heard of it before.
func (p *pool) notice(name string, n, index int) []byte {
	b := resp.AppendPush(p.loop.scratch(), n, true)
	b = resp.AppendBulkString(b, name)
	return resp.AppendInt(b, int64(p.loop.snap.Serial)<<16|int64(index))
}

// wholeSeconds is a duration in notices, which know no shorter one.
func wholeSeconds(d int64) int64 { return max((d+int64(time.Second)-1)/int64(time.Second), 1) }

// announceHolds tells of groups whose requests wait from now on, and of those whose do not any more.
func (p *pool) announceHolds(old, now *topology.Pool) {
	if p.told == 0 || old == now {
		return
	}
	held := make(map[string]bool)
	for _, g := range old.Groups {
		if g.Hold {
			held[g.Name] = true
		}
	}
	var text []byte
	index := 0
	tell := func(b []byte, group string) {
		index++
		b = resp.AppendArray(b, 1)
		b = resp.AppendBulkString(b, group)
		text = append(text, b...)
	}
	for _, g := range now.Groups {
		if g.Hold && !held[g.Name] {
			b := p.notice("FAILING_OVER", 4, index)
			tell(resp.AppendInt(b, wholeSeconds(int64(now.Settings.HoldTimeout))), g.Name)
		}
		if g.Hold {
			delete(held, g.Name)
		}
	}
	for _, g := range old.Groups { // those that are left, in an order that is the same everywhere
		if held[g.Name] {
			tell(p.notice("FAILED_OVER", 3, index), g.Name)
		}
	}
	if text == nil {
		return
	}
	for c := p.clients; c != nil; {
		next := c.next // a client that does not read is closed
		if c.notices != noticesOff {
			c.push(text)
		}
		c = next
	}
}

// dismiss closes the clients as soon as they have what is due. Those who asked to be told are told, and closed when the time
// is over, if they have not left before.
func (p *pool) dismiss(grace int64) {
	if p.told > 0 && grace > 0 {
		p.leave.Func = func(int64) { p.dismiss(0) }
		p.loop.wheel.Set(&p.leave, p.loop.now+grace)
	}
	for c := p.clients; c != nil; {
		next := c.next // finishing an idle client takes it out of the list
		if c.notices != noticesOff && grace > 0 {
			c.push(p.moving(c, grace))
		} else {
			c.finish()
		}
		c = next
	}
}

// moving is the push that sends a client elsewhere.
func (p *pool) moving(c *client, grace int64) []byte {
	b := p.notice("MOVING", 4, 1<<15)
	b = resp.AppendInt(b, wholeSeconds(grace))
	target := p.topo.Settings.MovingEndpoint
	if target == "" && p.topo.Listen.Network == "tcp" {
		target = localName(int(c.fd))
	}
	if target == "" || c.notices == noticesNoTarget {
		return resp.AppendNull(b, true)
	}
	return resp.AppendBulkString(b, target)
}
