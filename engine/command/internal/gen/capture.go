package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
)

// described is one element of COMMAND's reply: ten fields, of which a row needs name, arity, flags, tips, key specifications and subcommands.
type described struct {
	name  string
	arity int
	flags []string
	tips  []string
	specs []describedSpec
	subs  []described
}

type describedSpec struct {
	Flags       []string      `json:"flags"`
	BeginSearch describedPart `json:"begin_search"`
	FindKeys    describedPart `json:"find_keys"`
}

type describedPart struct {
	Type string `json:"type"`
	Spec struct {
		Index     int    `json:"index"`
		Keyword   string `json:"keyword"`
		StartFrom int    `json:"startfrom"`
		LastKey   int    `json:"lastkey"`
		KeyStep   int    `json:"keystep"`
		Limit     int    `json:"limit"`
		KeyNumIdx int    `json:"keynumidx"`
		FirstKey  int    `json:"firstkey"`
	} `json:"spec"`
}

func (d *described) UnmarshalJSON(data []byte) error {
	var first, last, step int
	var categories []string
	return json.Unmarshal(data, &[]any{&d.name, &d.arity, &d.flags, &first, &last, &step, &categories, &d.tips, &d.specs, &d.subs})
}

// documented is what COMMAND DOCS says of one command.
type documented struct {
	Summary     string                `json:"summary"`
	Since       string                `json:"since"`
	Group       string                `json:"group"`
	Subcommands map[string]documented `json:"subcommands"`
}

// captureFrom asks the server at addr for its commands, through redis-cli, and returns the text of commands.json.
func captureFrom(addr string) ([]byte, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	ask := func(reply any, command ...string) error {
		out, err := exec.Command("redis-cli", append([]string{"-h", host, "-p", port, "-3", "--json"}, command...)...).Output()
		if err != nil {
			return fmt.Errorf("capture from %s: %v: %w", addr, command, err)
		}
		if err := json.Unmarshal(out, reply); err != nil {
			return fmt.Errorf("capture from %s: %v: %w", addr, command, err)
		}
		return nil
	}
	var commands []described
	var docs map[string]documented
	if err := ask(&commands, "COMMAND"); err != nil {
		return nil, err
	}
	if err := ask(&docs, "COMMAND", "DOCS"); err != nil {
		return nil, err
	}
	rows, err := condense(commands, docs)
	if err != nil {
		return nil, err
	}
	return marshalRows(rows)
}

// condense flattens the reply and keeps what the table needs. A server with modules is refused: their rows are no Redis.
func condense(commands []described, docs map[string]documented) ([]*row, error) {
	var rows []*row
	for _, c := range commands {
		if slices.Contains(c.flags, "module") {
			return nil, fmt.Errorf("capture: %s comes from a module: capture from a server without any", c.name)
		}
		doc := docs[c.name]
		flags := slices.Clone(c.flags)
		slices.Sort(flags)
		r := &row{
			Name: c.name, Arity: c.arity, Flags: strings.Join(flags, " "), Tips: strings.Join(c.tips, " "),
			Group: doc.Group, Since: doc.Since, Summary: strings.TrimRight(doc.Summary, " ."),
		}
		for _, s := range c.specs {
			r.Keys = append(r.Keys, s.condense())
		}
		rows = append(rows, r)
		subs, err := condense(c.subs, doc.Subcommands)
		if err != nil {
			return nil, err
		}
		rows = append(rows, subs...)
	}
	slices.SortFunc(rows, func(a, b *row) int { return strings.Compare(a.Name, b.Name) })
	return rows, nil
}

func (d describedSpec) condense() *spec {
	begin, find := d.BeginSearch.Spec, d.FindKeys.Spec
	backwards := begin.StartFrom < 0 // only MIGRATE's, which needs code of its own anyway
	if d.BeginSearch.Type == "unknown" || d.FindKeys.Type == "unknown" || backwards {
		return &spec{Unknown: true}
	}
	s := &spec{At: begin.Index, Word: begin.Keyword, From: begin.StartFrom, NotKey: slices.Contains(d.Flags, "not_key")}
	if d.FindKeys.Type == "keynum" {
		s.KeyNum = true
	} else {
		s.Last, s.Limit = find.LastKey, find.Limit
	}
	if find.KeyStep > 1 {
		s.Step = find.KeyStep
	}
	return s
}

// marshalRows writes one row a line, so that a change is read as a change of rows.
func marshalRows(rows []*row) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	out.WriteString("[\n")
	for i, r := range rows {
		if err := enc.Encode(r); err != nil {
			return nil, fmt.Errorf("capture: %s: %w", r.Name, err)
		}
		if i < len(rows)-1 {
			out.Truncate(out.Len() - 1)
			out.WriteString(",\n")
		}
	}
	out.WriteString("]\n")
	return out.Bytes(), nil
}
