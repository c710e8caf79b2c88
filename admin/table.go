package admin

import (
	"slices"
	"strings"

	"respgate/internal/respconn"
)

// command is a row of the table. Everything that is told of a command comes from here.
type command struct {
	name        string // one word, lower case
	full        string // with the container's name: "proxy|switch"; set by newTable
	group       string // of COMMAND DOCS: proxy, connection, server; a subcommand has its container's
	permission  permission
	subscribed  bool   // a RESP2 connection that is subscribed may run it
	summary     string // a sentence without its full stop
	arguments   []argument
	reply       string   // for docs/CONSOLE.md
	errors      []string // likewise: the codes and what they mean
	example     string   // likewise: what to write behind "redis-cli -p 7079"
	handler     func(s *session, args []string) respconn.Value
	subcommands []*command // ascending by name; a container without a handler needs one of them
}

// argument is an argument in the terms of COMMAND DOCS.
type argument struct {
	name     string
	kind     kind
	token    string // the word before the argument, or the word itself with pureToken
	optional bool
	multiple bool
	parts    []argument // of a block, or one of which is taken
}

type kind string

const (
	text      kind = "string"
	integer   kind = "integer"
	pureToken kind = "pure-token"
	block     kind = "block"
	oneOf     kind = "oneof"
)

// table finds commands by their names in any case.
type table struct {
	commands []*command // top level, ascending by name
	byName   map[string]*command
}

func newTable() *table {
	t := &table{commands: slices.Concat(proxyCommands(), connectionCommands(), serverCommands(), pubsubCommands()), byName: map[string]*command{}}
	byName := func(a, b *command) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(t.commands, byName)
	for _, c := range t.commands {
		c.full = c.name
		t.byName[c.full] = c
		if len(c.subcommands) > 0 {
			c.subcommands = append(c.subcommands, helpFor(c))
		}
		slices.SortFunc(c.subcommands, byName)
		for _, sub := range c.subcommands {
			sub.full, sub.group = c.name+"|"+sub.name, c.group
			t.byName[sub.full] = sub
		}
	}
	return t
}

// find takes the command's name, of one word or two, from a request that has at least one. With ok false it gives the error reply.
func (t *table) find(request []string) (cmd *command, args []string, refusal respconn.Value, ok bool) {
	cmd, args = t.lookup(request[0]), request[1:]
	switch {
	case cmd == nil:
		return nil, nil, unknownCommand(request), false
	case len(cmd.subcommands) == 0:
		return cmd, args, refusal, true
	case len(args) == 0 && cmd.handler != nil:
		return cmd, args, refusal, true
	case len(args) == 0:
		return nil, nil, wrongArity(cmd.full), false
	}
	if sub := t.lookup(cmd.name + "|" + args[0]); sub != nil {
		return sub, args[1:], refusal, true
	}
	return nil, nil, respconn.Errorf("ERR unknown subcommand '%.128s'. Try %s HELP.", args[0], strings.ToUpper(cmd.name)), false
}

// longestName is more than any name in the table has, in bytes: a longer word need not be lowered to be unknown.
const longestName = 64

// lookup finds a command by its full name, nil if there is none.
func (t *table) lookup(full string) *command {
	if len(full) > longestName {
		return nil
	}
	return t.byName[strings.ToLower(full)]
}

// all are the commands and their subcommands, each container before its own.
func (t *table) all() []*command {
	var list []*command
	for _, c := range t.commands {
		list = append(append(list, c), c.subcommands...)
	}
	return list
}

// unknownCommand is Redis' text: clients match it.
func unknownCommand(request []string) respconn.Value {
	const shown = 128 // bytes of the arguments together, as in Redis
	var args strings.Builder
	for _, a := range request[1:] {
		if args.Len() >= shown {
			break
		}
		args.WriteByte('\'')
		args.WriteString(a[:min(len(a), shown-args.Len())])
		args.WriteString("' ")
	}
	return respconn.Errorf("ERR unknown command '%.128s', with args beginning with: %s", request[0], args.String())
}

// accepts says that n words can be these arguments.
func accepts(args []argument, n int) bool { return widths(args, n)[n] }

// widths says for each number of words up to most whether the arguments, one behind the other, can be that many.
func widths(args []argument, most int) []bool {
	reach := make([]bool, most+1)
	reach[0] = true
	for _, a := range args {
		reach = a.extend(reach)
	}
	return reach
}

// extend gives the numbers of words that are reached with the argument behind those of from.
func (a argument) extend(from []bool) []bool {
	own := a.once(len(from) - 1)
	to := make([]bool, len(from))
	if a.optional {
		copy(to, from)
	}
	advance(to, from, own)
	if a.multiple {
		advance(to, to, own) // ascending, so that each repetition finds the one before it
	}
	return to
}

// advance marks in to what is reached from a number in from by one of the widths, none of which is 0.
func advance(to, from, widths []bool) {
	for w, ok := range widths {
		for n := 0; ok && n+w < len(to); n++ {
			to[n+w] = to[n+w] || from[n]
		}
	}
}

// once gives the numbers of words of the argument itself.
func (a argument) once(most int) []bool {
	var own []bool
	switch {
	case a.kind == block:
		own = widths(a.parts, most)
	case a.kind == oneOf:
		own = make([]bool, most+1)
		for _, p := range a.parts {
			for n, ok := range p.once(most) {
				own[n] = own[n] || ok
			}
		}
	default:
		own = make([]bool, most+1)
		if most >= 1 {
			own[1] = true
		}
	}
	if a.token == "" || a.kind == pureToken {
		return own
	}
	return append([]bool{false}, own[:most]...)
}

// arity is the number COMMAND INFO tells: words with the name, negative if it is a minimum.
func (c *command) arity() int {
	if len(c.subcommands) > 0 {
		if c.handler != nil {
			return -1
		}
		return -2
	}
	const enough = 16 // words no command needs
	name := strings.Count(c.full, "|") + 1
	reach := widths(c.arguments, enough)
	least := slices.Index(reach, true)
	if slices.Contains(reach[least+1:], true) {
		return -(name + least)
	}
	return name + least
}

// syntax shows the arguments, as in "pool group [host port]".
func syntax(args []argument) string {
	var words []string
	for _, a := range args {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

func (a argument) String() string {
	s := a.name
	switch a.kind {
	case pureToken:
		s = a.token
	case block:
		s = syntax(a.parts)
	case oneOf:
		var choices []string
		for _, p := range a.parts {
			choices = append(choices, p.String())
		}
		s = strings.Join(choices, "|") // as redis-cli shows it
	}
	if a.token != "" && a.kind != pureToken {
		s = a.token + " " + s
	}
	if a.multiple {
		s += " [" + s + " ...]"
	}
	if a.optional {
		s = "[" + s + "]"
	}
	return s
}

// usage is the command as it is typed, as in "PROXY SWITCH pool group [host port]".
func (c *command) usage() string {
	name := strings.ToUpper(strings.ReplaceAll(c.full, "|", " "))
	if len(c.arguments) == 0 {
		return name
	}
	return name + " " + syntax(c.arguments)
}
