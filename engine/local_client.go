package engine

import (
	"respgate/engine/command"
	"respgate/engine/resp"
)

const badClientName = "ERR Client names cannot contain spaces, newlines or special characters."

// clientCommand is CLIENT <sub>.
func (c *client) clientCommand(cmd *command.Command, sub string, frame []byte, args []resp.Span) {
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
		if err := badName(name); err != "" {
			c.replyError(err)
			return
		}
		c.describe().name = name
		c.respond(okReply)
	case "setinfo":
		c.setInfo(string(arg(frame, args[2])), string(arg(frame, args[3])))
	case "info":
		c.respond(resp.AppendVerbatim(c.loop.scratch(), "txt", c.describeLine(), c.proto3))
	case "list":
		c.list(cmd, frame, args)
	case "kill":
		c.kill(cmd, frame, args)
	case "pause":
		c.pauseCommand(cmd, frame, args)
	case "unpause":
		c.unpauseCommand(cmd)
	case "unblock":
		c.unblockCommand(cmd, frame, args)
	case "reply":
		c.setReplies(arg(frame, args[2]))
	case "getredir":
		c.respond(resp.AppendInt(c.loop.scratch(), c.sessionState().redir))
	case "maint_notifications":
		c.maintNotifications(frame, args)
	case "no-evict":
		c.onOff(arg(frame, args[2]))
	case "capa":
		c.respond(okReply) // capabilities are hints; none of them changes what the proxy does
	case "help":
		c.help()
	default:
		c.unsupported(cmd, "it concerns a server's own clients: connect to the server itself")
	}
}

// badSubcommand is what Redis says of a subcommand with too many arguments.
func (c *client) badSubcommand(sub []byte) {
	c.pool.count(errArity)
	c.replyError("ERR unknown subcommand or wrong number of arguments for '" + string(sub) + "'. Try CLIENT HELP.")
}

// onOff checks the argument of a switch that has no effect here: the servers' eviction and LRU are not per client.
func (c *client) onOff(b []byte) {
	if !equalFold(b, "on") && !equalFold(b, "off") {
		c.replyError(syntaxError)
		return
	}
	c.respond(okReply)
}

func (c *client) setInfo(field, value string) {
	var to *string
	switch {
	case equalFold([]byte(field), "lib-name"):
		to = &c.describe().libName
	case equalFold([]byte(field), "lib-ver"):
		to = &c.describe().libVersion
	default:
		c.replyError("ERR Unrecognized option '" + clip(field, 128) + "'")
		return
	}
	switch {
	case len(value) > maxName:
		c.replyError(longName)
		return
	case !printable(value):
		c.replyError("ERR " + field + " cannot contain spaces, newlines or special characters.")
		return
	}
	*to = value
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
const (
	maxName  = 256
	longName = "ERR respgate: a client's name, and that of its library, may have 256 bytes"
)

// badName is the error for a name that a client may not have; empty if it may.
func badName(s string) string {
	switch {
	case len(s) > maxName:
		return longName
	case !printable(s):
		return badClientName
	}
	return ""
}

// printable is Redis' rule for names.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return true
}
