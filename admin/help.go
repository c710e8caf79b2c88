package admin

import (
	"fmt"
	"path"
	"strings"
	"time"

	"respgate/internal/respconn"
)

// since is the version of the proxy that every command of the table is in.
const since = "1.0.0"

// helpFor is the HELP of a container. Its lines are made when it is asked, from all rows of the container.
func helpFor(c *command) *command {
	return &command{
		name: "help", permission: reader,
		summary: "Prints this help",
		reply:   "An array of lines.",
		example: strings.ToUpper(c.name) + " HELP",
		handler: func(*session, []string) respconn.Value { return respconn.List(helpLines(c)...) },
	}
}

// helpLines are in Redis' layout.
func helpLines(c *command) []respconn.Value {
	name := strings.ToUpper(c.name)
	lines := []respconn.Value{respconn.Simple(name + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")}
	add := func(usage, summary string) {
		lines = append(lines, respconn.Simple(usage), respconn.Simple("    "+summary+"."))
	}
	if c.handler != nil {
		add("(no subcommand)", c.summary)
	}
	for _, sub := range c.subcommands {
		add(strings.TrimPrefix(sub.usage(), name+" "), sub.summary)
	}
	return lines
}

func commandAll(s *session, _ []string) respconn.Value {
	return infoOf(s.server.table.commands)
}

func commandCount(s *session, _ []string) respconn.Value {
	return respconn.Int(int64(len(s.server.table.commands)))
}

func commandList(s *session, args []string) respconn.Value {
	pattern := "*"
	if len(args) > 0 {
		if !strings.EqualFold(args[0], "filterby") || !strings.EqualFold(args[1], "pattern") {
			return errSyntax
		}
		pattern = strings.ToLower(args[2])
	}
	var names []string
	for _, c := range s.server.table.all() {
		if match(pattern, c.full) {
			names = append(names, c.full)
		}
	}
	return respconn.Strings(names...)
}

// match says that a name fits a pattern with * ? and [...]; a pattern that is none fits nothing.
func match(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

func commandInfo(s *session, names []string) respconn.Value {
	if len(names) == 0 {
		return infoOf(s.server.table.commands)
	}
	found := make([]*command, len(names))
	for i, n := range names {
		found[i] = s.server.table.lookup(n)
	}
	return infoOf(found)
}

// infoOf is the reply of COMMAND INFO; a nil command is a null.
func infoOf(list []*command) respconn.Value {
	out := make([]respconn.Value, len(list))
	for i, c := range list {
		if c == nil {
			out[i] = respconn.Nil()
			continue
		}
		out[i] = respconn.List(
			respconn.Bulk(c.full), respconn.Int(int64(c.arity())), c.flags(),
			respconn.Int(0), respconn.Int(0), respconn.Int(0), // no command has keys
			c.categories(), respconn.SetOf(), respconn.SetOf(), infoOf(c.subcommands),
		)
	}
	return respconn.List(out...)
}

func (c *command) flags() respconn.Value {
	flags := []respconn.Value{respconn.Simple("noscript"), respconn.Simple("loading"), respconn.Simple("stale")}
	switch c.permission {
	case anyone:
		flags = append(flags, respconn.Simple("no_auth"))
	case operator:
		flags = append(flags, respconn.Simple("admin"))
	}
	return respconn.SetOf(flags...)
}

func (c *command) categories() respconn.Value {
	categories := []respconn.Value{respconn.Simple("@" + c.group)}
	if c.permission == operator {
		categories = append(categories, respconn.Simple("@admin"), respconn.Simple("@dangerous"))
	}
	return respconn.SetOf(categories...)
}

func commandDocs(s *session, names []string) respconn.Value {
	list := s.server.table.commands
	if len(names) > 0 {
		list = nil
		for _, n := range names {
			if c := s.server.table.lookup(n); c != nil {
				list = append(list, c)
			}
		}
	}
	return docsOf(list)
}

// docsOf is the reply of COMMAND DOCS. The arguments are always there, if only as an empty list: redis-cli 8 prints "(null)" without.
func docsOf(list []*command) respconn.Value {
	var pairs []any
	for _, c := range list {
		doc := []any{"summary", c.summary, "since", since, "group", c.group, "arguments", argumentDocs(c.arguments)}
		if len(c.subcommands) > 0 {
			doc = append(doc, "subcommands", docsOf(c.subcommands))
		}
		pairs = append(pairs, c.full, respconn.Fields(doc...))
	}
	return respconn.Fields(pairs...)
}

func argumentDocs(args []argument) respconn.Value {
	list := make([]respconn.Value, len(args))
	for i, a := range args {
		doc := []any{"name", a.name, "type", string(a.kind)}
		if a.token != "" {
			doc = append(doc, "token", a.token)
		}
		var flags []respconn.Value
		if a.optional {
			flags = append(flags, respconn.Simple("optional"))
		}
		if a.multiple {
			flags = append(flags, respconn.Simple("multiple"))
		}
		if len(flags) > 0 {
			doc = append(doc, "flags", respconn.SetOf(flags...))
		}
		if len(a.parts) > 0 {
			doc = append(doc, "arguments", argumentDocs(a.parts))
		}
		list[i] = respconn.Fields(doc...)
	}
	return respconn.List(list...)
}

// keysOf names the keys of a row for the documentation.
func keysOf[T any](r func(T, time.Time) row) string {
	var zero T
	var names []string
	for _, f := range r(zero, time.Time{}) {
		names = append(names, fmt.Sprintf("`%s`", f.name))
	}
	return strings.Join(names, ", ")
}
