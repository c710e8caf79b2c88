package differential

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"respgate/engine/command"
	"respgate/tests/harness"
)

// shape is a command with the arguments that Redis says it takes.
type shape struct {
	*command.Command
	words  []string // as it is called: CLIENT SETNAME
	args   []argument
	known  bool // to the plain server
	timed  bool // an argument is a time: no other number may stand there, or a reply would depend on the speed of the test
	blocks bool // it may wait for others
}

// argument is one element of a command's syntax.
type argument struct {
	name, kind, token       string
	optional, multiple, per bool // per: the token stands before each value
	args                    []argument
}

// grammar is all that can be sent.
type grammar struct {
	shapes []*shape
	byName map[string]*shape
}

// readGrammar asks a server for the syntax of its commands. What it does not know gets arguments by its arity and keys.
func readGrammar(addr string) (*grammar, error) {
	docs, err := harness.Ask(addr, "COMMAND", "DOCS")
	if err != nil {
		return nil, err
	}
	known := map[string]harness.Reply{}
	collect(docs, known)
	if len(known) < 300 {
		return nil, fmt.Errorf("COMMAND DOCS tells of %d commands only", len(known))
	}
	g := &grammar{byName: map[string]*shape{}}
	for _, cmd := range command.All() {
		s := &shape{Command: cmd, words: strings.Split(strings.ToUpper(cmd.Name), "|")}
		if doc, ok := known[cmd.Name]; ok {
			s.known = true
			s.args = arguments(fields(doc)["arguments"])
		} else {
			s.args = guess(cmd, len(s.words))
		}
		s.timed = hasTime(s.args)
		s.blocks = cmd.Flags.Has(command.FlagBlocking) || cmd.Flags.Has(command.FlagMaybeBlocking)
		g.shapes = append(g.shapes, s)
		g.byName[cmd.Name] = s
		delete(known, cmd.Name)
	}
	if len(known) > 0 {
		return nil, fmt.Errorf("commands of the server that the proxy's table does not have: %v", slices.Sorted(maps.Keys(known)))
	}
	slices.SortFunc(g.shapes, func(a, b *shape) int { return cmp.Compare(a.Name, b.Name) })
	return g, nil
}

// collect finds the commands and subcommands in what COMMAND DOCS answers.
func collect(docs harness.Reply, into map[string]harness.Reply) {
	for i := 0; i+1 < len(docs.Elems); i += 2 {
		doc := docs.Elems[i+1]
		into[docs.Elems[i].Str] = doc
		collect(fields(doc)["subcommands"], into)
	}
}

func fields(r harness.Reply) map[string]harness.Reply {
	m := map[string]harness.Reply{}
	for i := 0; i+1 < len(r.Elems); i += 2 {
		m[r.Elems[i].Str] = r.Elems[i+1]
	}
	return m
}

func arguments(list harness.Reply) []argument {
	var args []argument
	for _, e := range list.Elems {
		f := fields(e)
		a := argument{name: strings.ToLower(f["name"].Str), kind: f["type"].Str, token: f["token"].Str, args: arguments(f["arguments"])}
		for _, flag := range f["flags"].Elems {
			switch flag.Str {
			case "optional":
				a.optional = true
			case "multiple":
				a.multiple = true
			case "multiple_token":
				a.per = true
			}
		}
		args = append(args, a)
	}
	return args
}

// guess makes arguments of a command that only the table knows: a key where its first one is, and strings.
func guess(cmd *command.Command, words int) []argument {
	n := cmd.Arity
	if n < 0 {
		n = -n
	}
	var args []argument
	for at := words; at < n; at++ {
		a := argument{name: "value", kind: "string"}
		if cmd.First > 0 && at >= cmd.First && (at <= cmd.Last || cmd.Last < 0) && (at-cmd.First)%max(cmd.Step, 1) == 0 {
			a = argument{name: "key", kind: "key"}
		}
		args = append(args, a)
	}
	if cmd.Arity < 0 {
		args = append(args, argument{name: "value", kind: "string", optional: true, multiple: true})
	}
	return args
}

func hasTime(args []argument) bool {
	for _, a := range args {
		switch {
		case a.kind == "unix-time", a.name == "seconds", a.name == "milliseconds", a.name == "timeout", a.name == "ttl", a.name == "ms",
			a.name == "min-idle-time":
			return true
		case hasTime(a.args):
			return true
		}
	}
	return false
}

// keys counts the keys that one call of the command has at least; two for "any number".
func (s *shape) keys() int { return countKeys(s.args) }

func countKeys(args []argument) (n int) {
	for _, a := range args {
		switch {
		case a.kind == "key" && a.multiple:
			n += 2
		case a.kind == "key":
			n++
		case a.multiple:
			n += 2 * countKeys(a.args)
		default:
			n += countKeys(a.args)
		}
	}
	return n
}
