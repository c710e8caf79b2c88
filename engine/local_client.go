package engine

import (
	"fmt"
	"time"

	"respgate/engine/resp"
)

const badClientName = "ERR Client names cannot contain spaces, newlines or special characters."

// clientCommand is CLIENT <sub>.
func (c *client) clientCommand(sub string, frame []byte, args []resp.Span) {
	switch sub {
	case "id":
		c.respond(resp.AppendInt(c.loop.scratch(), c.id))
	case "getname":
		if c.meta == nil || c.meta.name == "" {
			c.respond(resp.AppendNull(c.loop.scratch(), c.proto3))
			return
		}
		c.respond(resp.AppendBulkString(c.loop.scratch(), c.meta.name))
	case "setname":
		name := string(arg(frame, args[2]))
		if !validName(name) {
			c.replyError(badClientName)
			return
		}
		c.describe().name = name
		c.respond(okReply)
	case "setinfo":
		c.setInfo(string(arg(frame, args[2])), string(arg(frame, args[3])))
	case "info":
		c.respond(resp.AppendVerbatim(c.loop.scratch(), "txt", c.describeLine()+"\n", c.proto3))
	case "getredir":
		redirected := int64(-1)
		if c.session != nil && c.session.tracking != nil {
			redirected = 0 // tracking brings its messages on this connection
		}
		c.respond(resp.AppendInt(c.loop.scratch(), redirected))
	case "no-evict", "no-touch":
		c.onOff(arg(frame, args[2]))
	case "capa":
		c.respond(okReply) // capabilities are hints; none of them changes what the proxy does
	case "help":
		c.help("client")
	default:
		c.pool.count(errUnsupported)
		c.replyError("ERR respgate: command 'client|" + sub + "' is not supported on a pool's port: see the admin port")
	}
}

// onOff checks the argument of a switch that has no effect here: the servers' eviction and LRU are not per client.
func (c *client) onOff(b []byte) {
	if !equalFold(b, "on") && !equalFold(b, "off") {
		c.replyError("ERR syntax error")
		return
	}
	c.respond(okReply)
}

func (c *client) setInfo(field, value string) {
	switch {
	case equalFold([]byte(field), "lib-name"):
		if !validName(value) {
			c.replyError("ERR lib-name cannot contain spaces, newlines or special characters.")
			return
		}
		c.describe().libName = value
	case equalFold([]byte(field), "lib-ver"):
		if !validName(value) {
			c.replyError("ERR lib-ver cannot contain spaces, newlines or special characters.")
			return
		}
		c.describe().libVersion = value
	default:
		c.replyError("ERR Unrecognized option '" + clip(field, 128) + "'")
		return
	}
	c.respond(okReply)
}

// describe is where a client's description is kept.
func (c *client) describe() *clientMeta {
	if c.meta == nil {
		c.meta = &clientMeta{}
	}
	return c.meta
}

// maxName bounds what a client may make the proxy remember of it.
const maxName = 256

// validName is Redis' rule for names, with a bound on the length.
func validName(s string) bool {
	if len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return true
}

// describeLine is a client in the format of CLIENT LIST.
func (c *client) describeLine() string {
	meta := clientMeta{}
	if c.meta != nil {
		meta = *c.meta
	}
	proto := 2
	if c.proto3 {
		proto = 3
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=0 flags=N db=%d sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=%d qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=%d omem=%d tot-mem=%d events=r cmd=client|info user=default redir=-1 resp=%d lib-name=%s lib-ver=%s",
		c.id, peerName(int(c.fd)), localName(int(c.fd)), c.fd, meta.name, (c.loop.now-c.since)/int64(time.Second), c.pool.topo.Settings.DB, c.inLen, c.queue.count, c.out.Size(), c.owed(), proto, meta.libName, meta.libVersion)
}
