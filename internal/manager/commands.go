package manager

import (
	"strconv"
	"strings"
	"time"

	"respgate/internal/respconn"
)

// command is a row of the command table; the documentation redis-cli asks for is made from it.
type command struct {
	name    string
	arity   int  // with the name; negative: at least
	open    bool // answered before AUTH
	summary string
	args    []argument
	run     func(s *Server, c *client, args []string) respconn.Value
	subs    []command // the subcommands of a container
}

// argument is one of COMMAND DOCS.
type argument struct {
	name, kind, token  string
	optional, multiple bool
}

// commandTable makes the table; a server keeps one.
func commandTable() []command {
	return []command{
		{name: "auth", arity: -2, open: true, summary: "Authenticates the connection.", run: cmdAuth,
			args: []argument{{name: "username", kind: "string", optional: true}, {name: "password", kind: "string"}}},
		{name: "client", arity: -2, summary: "A container for client connection commands.", subs: []command{
			{name: "id", arity: 2, summary: "Returns the id of the connection.", run: cmdClientID},
			{name: "setname", arity: 3, summary: "Names the connection.", run: cmdClientSetname, args: []argument{{name: "connection-name", kind: "string"}}},
			{name: "getname", arity: 2, summary: "Returns the name of the connection.", run: cmdClientGetname},
			{name: "setinfo", arity: 4, summary: "Takes the name and the version of a client library.", run: cmdOK,
				args: []argument{{name: "attribute", kind: "string"}, {name: "value", kind: "string"}}},
		}},
		{name: "command", arity: -1, summary: "Returns the commands of this server.", run: cmdCommand, subs: []command{
			{name: "count", arity: 2, summary: "Returns the number of commands.", run: cmdCommandCount},
			{name: "docs", arity: -2, summary: "Returns the documentation of commands.", run: cmdCommandDocs,
				args: []argument{{name: "command-name", kind: "string", optional: true, multiple: true}}},
			{name: "info", arity: -2, summary: "Returns what is known of commands.", run: cmdCommandInfo,
				args: []argument{{name: "command-name", kind: "string", optional: true, multiple: true}}},
		}},
		{name: "echo", arity: 2, summary: "Returns the message.", run: func(_ *Server, _ *client, args []string) respconn.Value { return respconn.Bulk(args[1]) },
			args: []argument{{name: "message", kind: "string"}}},
		{name: "hello", arity: -1, open: true, summary: "Handshakes with the manager.", run: cmdHello,
			args: []argument{{name: "protover", kind: "integer", optional: true}}},
		{name: "manager", arity: -2, summary: "A container for the commands of the manager.", subs: managerCommands()},
		{name: "ping", arity: -1, summary: "Returns PONG or the message.", run: cmdPing, args: []argument{{name: "message", kind: "string", optional: true}}},
		{name: "quit", arity: -1, open: true, summary: "Closes the connection.", run: cmdQuit},
	}
}

// dispatch answers one request.
func (s *Server) dispatch(c *client, args []string) respconn.Value {
	cmd, ok := find(s.commands, args[0])
	switch {
	case !ok && !c.authed, ok && !c.authed && !cmd.open:
		return respconn.Errorf("NOAUTH Authentication required.")
	case !ok:
		return respconn.Errorf("ERR unknown command '%s'", quoted(args[0]))
	case !cmd.fits(args):
		return respconn.Errorf("ERR wrong number of arguments for '%s' command", cmd.name)
	case len(cmd.subs) == 0, cmd.run != nil && len(args) == 1:
		return cmd.run(s, c, args)
	}
	sub, ok := find(cmd.subs, args[1])
	switch {
	case !ok:
		return respconn.Errorf("ERR unknown subcommand '%s'. Try HELP %s.", quoted(args[1]), strings.ToUpper(cmd.name))
	case !sub.fits(args):
		return respconn.Errorf("ERR wrong number of arguments for '%s|%s' command", cmd.name, sub.name)
	}
	return sub.run(s, c, args)
}

func find(table []command, name string) (command, bool) {
	for _, cmd := range table {
		if strings.EqualFold(cmd.name, name) {
			return cmd, true
		}
	}
	return command{}, false
}

func (cmd command) fits(args []string) bool {
	return len(args) == cmd.arity || cmd.arity < 0 && len(args) >= -cmd.arity
}

// quoted makes a word of a client fit for an error: short and printable.
func quoted(s string) string {
	if len(s) > maxName {
		s = s[:maxName]
	}
	return strings.Map(func(r rune) rune {
		if unprintable(r) {
			return '?'
		}
		return r
	}, s)
}

func ok() respconn.Value { return respconn.Simple("OK") }

func cmdOK(*Server, *client, []string) respconn.Value { return ok() }

func cmdPing(_ *Server, _ *client, args []string) respconn.Value {
	switch len(args) {
	case 1:
		return respconn.Simple("PONG")
	case 2:
		return respconn.Bulk(args[1])
	}
	return respconn.Errorf("ERR wrong number of arguments for 'ping' command")
}

func cmdQuit(_ *Server, c *client, _ []string) respconn.Value {
	c.quit = true
	return ok()
}

func cmdAuth(_ *Server, c *client, args []string) respconn.Value {
	user, password := "default", args[1]
	switch len(args) {
	case 2:
	case 3:
		user, password = args[1], args[2]
	default:
		return respconn.Errorf("ERR syntax error")
	}
	if fault := c.authenticate(user, password); fault.IsError() {
		return fault
	}
	return ok()
}

// cmdHello is HELLO [protover [AUTH username password] [SETNAME name]].
func cmdHello(s *Server, c *client, args []string) respconn.Value {
	proto := c.conn.Protocol()
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return respconn.Errorf("ERR Protocol version is not an integer or out of range")
		}
		if n != 2 && n != 3 {
			return respconn.Errorf("NOPROTO unsupported protocol version")
		}
		proto = n
	}
	name := c.name
	for i := 2; i < len(args); {
		switch rest := len(args) - i - 1; {
		case strings.EqualFold(args[i], "AUTH") && rest >= 2:
			if fault := c.authenticate(args[i+1], args[i+2]); fault.IsError() {
				return fault
			}
			i += 3
		case strings.EqualFold(args[i], "SETNAME") && rest >= 1 && !strings.ContainsFunc(args[i+1], func(r rune) bool { return r <= ' ' || r > '~' }):
			name = args[i+1]
			i += 2
		default:
			return respconn.Errorf("ERR Syntax error in HELLO option '%s'", quoted(args[i]))
		}
	}
	if !c.authed {
		return respconn.Errorf("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
	}
	c.name = name
	c.conn.SetProtocol(proto)
	return respconn.Fields("server", "respgate-manager", "version", s.version, "proto", proto, "id", c.id, "mode", "standalone", "role", "master",
		"modules", respconn.List())
}

func cmdClientID(_ *Server, c *client, _ []string) respconn.Value { return respconn.Int(c.id) }

func cmdClientGetname(_ *Server, c *client, _ []string) respconn.Value { return respconn.Bulk(c.name) }

func cmdClientSetname(_ *Server, c *client, args []string) respconn.Value {
	if len(args[2]) > maxName || strings.ContainsFunc(args[2], func(r rune) bool { return r <= ' ' || r > '~' }) {
		return respconn.Errorf("ERR Client names cannot contain spaces, newlines or special characters.")
	}
	c.name = args[2]
	return ok()
}

func cmdCommand(s *Server, _ *client, _ []string) respconn.Value {
	var list []respconn.Value
	for _, cmd := range s.commands {
		list = append(list, cmd.info())
	}
	return respconn.List(list...)
}

func cmdCommandCount(s *Server, _ *client, _ []string) respconn.Value {
	return respconn.Int(int64(len(s.commands)))
}

func cmdCommandInfo(s *Server, c *client, args []string) respconn.Value {
	if len(args) == 2 {
		return cmdCommand(s, c, nil)
	}
	var list []respconn.Value
	for _, name := range args[2:] {
		if cmd, known := find(s.commands, name); known {
			list = append(list, cmd.info())
		} else {
			list = append(list, respconn.Nil())
		}
	}
	return respconn.List(list...)
}

func cmdCommandDocs(s *Server, _ *client, args []string) respconn.Value {
	var pairs []any
	for _, cmd := range s.commands {
		if len(args) == 2 || named(args[2:], cmd.name) {
			pairs = append(pairs, cmd.name, cmd.docs(""))
		}
	}
	return respconn.Fields(pairs...)
}

func named(list []string, name string) bool {
	for _, s := range list {
		if strings.EqualFold(s, name) {
			return true
		}
	}
	return false
}

// info is a row of COMMAND: name, arity, flags, first key, last key, step, and the empty lists of Redis 7.
func (cmd command) info() respconn.Value {
	return respconn.List(respconn.Bulk(cmd.name), respconn.Int(int64(cmd.arity)), respconn.SetOf(), respconn.Int(0), respconn.Int(0), respconn.Int(0),
		respconn.SetOf(), respconn.SetOf(), respconn.SetOf(), respconn.List())
}

// docs is an entry of COMMAND DOCS. The arguments are always there: redis-cli 8 prints (null) without them.
func (cmd command) docs(container string) respconn.Value {
	group := "connection"
	if cmd.name == "manager" || container == "manager" {
		group = "manager"
	}
	var args []respconn.Value
	for _, a := range cmd.args {
		args = append(args, a.docs())
	}
	pairs := []any{"summary", cmd.summary, "since", "1.0.0", "group", group, "arguments", respconn.List(args...)}
	var subs []any
	for _, sub := range cmd.subs {
		subs = append(subs, cmd.name+"|"+sub.name, sub.docs(cmd.name))
	}
	if len(subs) > 0 {
		pairs = append(pairs, "subcommands", respconn.Fields(subs...))
	}
	return respconn.Fields(pairs...)
}

func (a argument) docs() respconn.Value {
	pairs := []any{"name", a.name, "type", a.kind, "display_text", a.name}
	if a.token != "" {
		pairs = append(pairs, "token", a.token)
	}
	var flags []respconn.Value
	if a.optional {
		flags = append(flags, respconn.Simple("optional"))
	}
	if a.multiple {
		flags = append(flags, respconn.Simple("multiple"))
	}
	if len(flags) > 0 {
		pairs = append(pairs, "flags", respconn.List(flags...))
	}
	return respconn.Fields(pairs...)
}

func since(t time.Time) int64 { return time.Since(t).Milliseconds() }
