package engine

import (
	"respgate/engine/command"
	"respgate/engine/resp"
)

// killFilter says which clients CLIENT KILL closes: those that have all that is named.
type killFilter struct {
	asker       int64
	id          int64
	addr, laddr *string // nil = any
	kind        clientKind
	maxAge      int64
	skipMe      bool
}

// kill is CLIENT KILL addr:port, and CLIENT KILL option value ... .
func (c *client) kill(cmd *command.Command, frame []byte, args []resp.Span) {
	old := len(args) == 3
	f := killFilter{asker: c.id}
	if old {
		addr := string(arg(frame, args[2]))
		f.addr = &addr
	} else {
		var err string
		if f, err = parseKill(f, frame, args[2:]); err != "" {
			c.replyError(err)
			return
		}
	}
	c.ask(cmd, question{
		client: func(o *client) (answer, bool) {
			if !f.matches(o) {
				return answer{}, false
			}
			if o.id != f.asker { // who asks has a reply to get
				o.close()
			}
			return answer{id: o.id}, true
		},
		reply: func(c *client, killed []answer) (text []byte, end bool) {
			for _, k := range killed {
				end = end || k.id == c.id
			}
			switch {
			case !old:
				text = resp.AppendInt(nil, int64(len(killed)))
			case len(killed) == 0:
				text = resp.AppendError(nil, "ERR No such client")
			default:
				text = okReply
			}
			return text, end
		},
	})
}

func parseKill(f killFilter, frame []byte, args []resp.Span) (_ killFilter, err string) {
	f.skipMe = true
	for i := 0; i < len(args); i += 2 {
		if i+1 == len(args) {
			return f, syntaxError
		}
		option, value := arg(frame, args[i]), arg(frame, args[i+1])
		var ok bool
		switch {
		case equalFold(option, "id"):
			if f.id, ok = resp.ParseInt(value); !ok || f.id < 1 {
				return f, "ERR client-id should be greater than 0"
			}
		case equalFold(option, "type"):
			if f.kind, ok = kindByName(value); !ok {
				return f, "ERR Unknown client type '" + clip(string(value), 128) + "'"
			}
		case equalFold(option, "addr"):
			addr := string(value)
			f.addr = &addr
		case equalFold(option, "laddr"):
			addr := string(value)
			f.laddr = &addr
		case equalFold(option, "user"):
			if string(value) != defaultUser {
				return f, "ERR No such user '" + clip(string(value), 128) + "'"
			}
		case equalFold(option, "skipme"):
			if f.skipMe = equalFold(value, "yes"); !f.skipMe && !equalFold(value, "no") {
				return f, syntaxError
			}
		case equalFold(option, "maxage"):
			switch f.maxAge, ok = resp.ParseInt(value); {
			case !ok:
				return f, "ERR maxage is not an integer or out of range"
			case f.maxAge < 1:
				return f, "ERR maxage should be greater than 0"
			}
		default:
			return f, syntaxError
		}
	}
	return f, ""
}

// matches reports whether the client is to be closed. What costs a system call comes last.
func (f *killFilter) matches(c *client) bool {
	return (f.id == 0 || c.id == f.id) &&
		(!f.skipMe || c.id != f.asker) &&
		(f.maxAge == 0 || int64(c.loop.seconds()-c.since) >= f.maxAge) &&
		(f.kind == kindAny || c.kind() == f.kind) &&
		(f.addr == nil || c.peer() == *f.addr) &&
		(f.laddr == nil || localName(int(c.fd)) == *f.laddr)
}

// unblockCommand is CLIENT UNBLOCK id [TIMEOUT|ERROR].
func (c *client) unblockCommand(cmd *command.Command, frame []byte, args []resp.Span) {
	mode := "TIMEOUT"
	if len(args) > 4 {
		c.badSubcommand(arg(frame, args[1]))
		return
	}
	if len(args) == 4 {
		switch m := arg(frame, args[3]); {
		case equalFold(m, "timeout"):
		case equalFold(m, "error"):
			mode = "ERROR"
		default:
			c.replyError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
			return
		}
	}
	id, ok := resp.ParseInt(arg(frame, args[2]))
	if !ok {
		c.replyError("ERR value is not an integer or out of range")
		return
	}
	c.ask(cmd, question{
		client: func(o *client) (answer, bool) { return answer{id: o.id}, o.id == id && o.unblock(mode) },
		reply: func(_ *client, unblocked []answer) ([]byte, bool) {
			return resp.AppendInt(nil, int64(len(unblocked))), false
		},
	})
}
