package differential

import (
	"fmt"
	"strings"

	"respgate/engine/command"
)

// page is the table of rules for docs/COMPATIBILITY.md.
func (b *rulebook) page() string {
	var s strings.Builder
	fmt.Fprintf(&s, "Command sequences are generated from what Redis itself says of the arguments of its commands (`COMMAND DOCS`) and from the proxy's table, %d commands and subcommands: right ones, broken ones,\n", command.Count())
	s.WriteString("pipelines, transactions, subscriptions, blocking commands, client-side caching, changes of protocol and database, by one client and by two, whole and in pieces. Both sides get the same\n")
	s.WriteString("bytes, a plain redis-server and a pool of one group (three times in four) or of three; the replies must be the same bytes, too, but for this:\n\n")
	s.WriteString("| command | what differs | why |\n|---|---|---|\n")
	for _, r := range b.rules {
		differs := r.differs
		if r.groups {
			differs += ", with several groups"
		}
		fmt.Fprintf(&s, "| %s | %s | %s |\n", r.label(), differs, r.why)
	}
	s.WriteString("\nMONITOR is tried elsewhere: its lines hold the time. `go test ./tests/differential -args -soak 30m` compares for longer, and fails if a line of the table was not needed in 5,000 sequences;\n")
	s.WriteString("a difference is printed as redis-cli lines, with the seed that repeats it (`-seed`). `-write-docs` writes this table anew.\n")
	return s.String()
}

// label are the rule's commands as one types them.
func (r *rule) label() string {
	if r.commands == "*" {
		return "any"
	}
	var names []string
	for name := range strings.FieldsSeq(r.commands) {
		names = append(names, "`"+strings.ToUpper(strings.ReplaceAll(name, "|", " "))+"`")
	}
	return strings.Join(names, ", ")
}
