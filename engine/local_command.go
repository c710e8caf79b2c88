package engine

import (
	"strings"

	"respgate/engine/command"
	"respgate/engine/resp"
)

// commandTable is COMMAND and its subcommands while no server is up that could answer, from the same table that requests are
// routed by: what the proxy refuses is not in it.
func (c *client) commandTable(cmd *command.Command, frame []byte, args []resp.Span) {
	b := c.loop.scratch()
	switch cmd.Name {
	case "command|count":
		b = resp.AppendInt(b, int64(len(served())))
	case "command|list":
		c.commandList(frame, args)
		return
	case "command|getkeys":
		c.getKeys(frame, args[2:])
		return
	case "command|getkeysandflags":
		c.unsupported(cmd, "the servers answer it, and none is up")
		return
	case "command|docs":
		rows := c.chosen(frame, args, 2)
		n := 0
		for _, row := range rows {
			if row != nil {
				n++
			}
		}
		b = resp.AppendMap(b, n, c.proto3)
		for _, row := range rows {
			if row != nil {
				b = c.appendDoc(b, row)
			}
		}
	default: // COMMAND and COMMAND INFO
		rows := c.chosen(frame, args, 2)
		b = resp.AppendArray(b, len(rows))
		for _, row := range rows {
			if row == nil {
				b = resp.AppendNullArray(b, c.proto3)
				continue
			}
			b = c.appendRow(b, row)
		}
	}
	c.loop.batch = b[:0]
	c.respond(b)
}

// commandList is COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern].
func (c *client) commandList(frame []byte, args []resp.Span) {
	keep := func(*command.Command) bool { return true }
	if len(args) > 2 {
		if len(args) != 5 || !equalFold(arg(frame, args[2]), "filterby") {
			c.replyError("ERR syntax error")
			return
		}
		by, what := arg(frame, args[3]), strings.ToLower(string(arg(frame, args[4])))
		switch {
		case equalFold(by, "pattern"):
			keep = func(row *command.Command) bool { return glob(what, row.Name) }
		case equalFold(by, "module"): // which module a command is from, nobody has told the proxy
			keep = func(*command.Command) bool { return false }
		case equalFold(by, "aclcat"):
			c.unsupported(command.Lookup([]byte("command")).Sub([]byte("list")), "the categories of commands are the servers': ask one of them")
			return
		default:
			c.replyError("ERR syntax error")
			return
		}
	}
	var names []string
	for _, row := range command.All() {
		if (row.Route != command.RouteRefused || row.Container()) && keep(row) {
			names = append(names, row.Name)
		}
	}
	b := resp.AppendArray(c.loop.scratch(), len(names))
	for _, name := range names {
		b = resp.AppendBulkString(b, name)
	}
	c.loop.batch = b[:0]
	c.respond(b)
}

// served are the commands that a pool's port takes, without subcommands.
func served() []*command.Command {
	var rows []*command.Command
	for _, cmd := range command.All() {
		if !strings.Contains(cmd.Name, "|") && (cmd.Route != command.RouteRefused || cmd.Container()) {
			rows = append(rows, cmd)
		}
	}
	return rows
}

// chosen are the rows that are named from args[from] on, nil for what there is not; all without names.
func (c *client) chosen(frame []byte, args []resp.Span, from int) []*command.Command {
	if len(args) <= from {
		return served()
	}
	rows := make([]*command.Command, 0, len(args)-from)
	for _, a := range args[from:] {
		name, sub, isSub := strings.Cut(string(arg(frame, a)), "|")
		row := command.Lookup([]byte(name))
		if row != nil && isSub {
			if !row.Container() {
				row = nil
			} else {
				row = row.Sub([]byte(sub))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// appendRow is one element of COMMAND: name, arity, flags, first, last, step, ACL categories, tips, key specs, subcommands.
// The last four are empty: nobody was found to read them from a proxy.
func (c *client) appendRow(b []byte, row *command.Command) []byte {
	b = resp.AppendArray(b, 10)
	b = resp.AppendBulkString(b, row.Name)
	b = resp.AppendInt(b, int64(row.Arity))
	flags := row.Flags.AppendNames(nil)
	b = resp.AppendSet(b, len(flags), c.proto3)
	for _, f := range flags {
		b = resp.AppendSimple(b, f)
	}
	b = resp.AppendInt(b, int64(row.First))
	b = resp.AppendInt(b, int64(row.Last))
	b = resp.AppendInt(b, int64(row.Step))
	b = resp.AppendSet(b, 0, c.proto3)
	b = resp.AppendArray(b, 0)
	b = resp.AppendArray(b, 0)
	return resp.AppendArray(b, 0)
}

func (c *client) appendDoc(b []byte, row *command.Command) []byte {
	b = resp.AppendBulkString(b, row.Name)
	b = resp.AppendMap(b, 4, c.proto3)
	for _, pair := range [][2]string{{"summary", row.Summary}, {"since", row.Since}, {"group", row.Group}} {
		b = resp.AppendBulkString(b, pair[0])
		b = resp.AppendBulkString(b, pair[1])
	}
	b = resp.AppendBulkString(b, "arguments")
	return resp.AppendArray(b, 0)
}

// getKeys is COMMAND GETKEYS: the rest of the request is a command.
func (c *client) getKeys(frame []byte, args []resp.Span) {
	cmd := command.Lookup(arg(frame, args[0]))
	if cmd != nil && cmd.Container() && len(args) > 1 {
		cmd = cmd.Sub(arg(frame, args[1]))
	}
	switch {
	case cmd == nil:
		c.replyError("ERR Invalid command specified")
		return
	case !cmd.ArityOK(len(args)):
		c.replyError("ERR Invalid number of arguments specified for command")
		return
	}
	keys, ok := cmd.Keys(nil, frame, args)
	if !ok {
		c.replyError("ERR Invalid arguments specified for command")
		return
	}
	if len(keys) == 0 {
		c.replyError("ERR The command has no key arguments")
		return
	}
	b := resp.AppendArray(c.loop.scratch(), len(keys))
	for _, k := range keys {
		b = resp.AppendBulk(b, arg(frame, args[k]))
	}
	c.respond(b)
}
