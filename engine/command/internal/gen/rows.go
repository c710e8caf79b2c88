package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	capturedFile  = "commands.json"
	additionsFile = "additions.json"
)

// row is one command or subcommand ("client|setname") of a data file. Lists are separated by spaces.
type row struct {
	Name    string  `json:"name"`
	Arity   int     `json:"arity"`
	Flags   string  `json:"flags,omitempty"`
	Tips    string  `json:"tips,omitempty"`
	Keys    []*spec `json:"keys,omitempty"`
	Group   string  `json:"group"`
	Since   string  `json:"since"`
	Summary string  `json:"summary"`
}

// spec is one key specification, as Redis' COMMAND describes it: where the search begins (at a position, or after a word), and which
// arguments from there on are keys (a range, or as many as a number says).
type spec struct {
	At      int    `json:"at,omitempty"`      // position of the first key, or of the number
	Word    string `json:"word,omitempty"`    // the search begins after this word ...
	From    int    `json:"from,omitempty"`    // ... looked for from this position on
	Last    int    `json:"last,omitempty"`    // relative to the first key, or, negative, to the end of the request
	Step    int    `json:"step,omitempty"`    // 0 is 1
	Limit   int    `json:"limit,omitempty"`   // 2: only the first half of what remains is keys
	KeyNum  bool   `json:"keynum,omitempty"`  // the argument at the beginning is the number of keys, which follow it
	NotKey  bool   `json:"not_key,omitempty"` // a channel, which is routed as a key is
	Unknown bool   `json:"unknown,omitempty"` // Redis has code for it, and so have we
}

func (r *row) has(flag string) bool { return slices.Contains(strings.Fields(r.Flags), flag) }

// container returns the name of the row's container, "" for a top-level command.
func (r *row) container() string {
	name, _, found := strings.Cut(r.Name, "|")
	if !found {
		return ""
	}
	return name
}

// loadRows reads both data files and returns their rows ordered by name. An addition may not repeat a captured row.
func loadRows(dir string) ([]*row, error) {
	var rows []*row
	for _, name := range []string{capturedFile, additionsFile} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("read the data: %w", err)
		}
		more, err := decodeRows(name, data)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	slices.SortFunc(rows, func(a, b *row) int { return strings.Compare(a.Name, b.Name) })
	return rows, checkRows(rows)
}

func decodeRows(name string, data []byte) ([]*row, error) {
	var rows []*row
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&rows); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return rows, nil
}

func checkRows(rows []*row) error {
	var errs []error
	names := map[string]bool{}
	for _, r := range rows {
		if names[r.Name] {
			errs = append(errs, fmt.Errorf("%s: listed twice", r.Name))
		}
		names[r.Name] = true
		if r.Name == "" || r.Name != strings.ToLower(r.Name) {
			errs = append(errs, fmt.Errorf("%q: not a name in lower case", r.Name))
		}
		if r.Arity == 0 || r.Group == "" || r.Since == "" || r.Summary == "" {
			errs = append(errs, fmt.Errorf("%s: arity, group, since and summary are needed", r.Name))
		}
		for _, s := range r.Keys {
			s.Step = max(s.Step, 1)
			if s.Unknown == (s.At > 0 || s.Word != "") || s.Limit > 1 && s.Last != -1 || s.Word != "" && s.From < 1 {
				errs = append(errs, fmt.Errorf("%s: key specification %+v makes no sense", r.Name, *s))
			}
		}
	}
	for _, r := range rows {
		if c := r.container(); c != "" && !names[c] {
			errs = append(errs, fmt.Errorf("%s: no container %s", r.Name, c))
		}
	}
	return errors.Join(errs...)
}

// simpleRange merges specifications that lie side by side into the one range (first, last, step) of argv positions that Redis' COMMAND had
// before it had specifications; ok is false when they are no such range.
func simpleRange(specs []*spec) (first, last, step int, ok bool) {
	for i, s := range specs {
		if s.At == 0 || s.KeyNum || s.Unknown || s.Limit > 1 || (s.Last >= 0 && s.Last%s.Step != 0) {
			return 0, 0, 0, false
		}
		end := s.Last
		if end >= 0 {
			end += s.At
		}
		if i == 0 {
			first, last, step = s.At, end, s.Step
			continue
		}
		if last < 0 || s.At != last+1 || s.Step != 1 || step != 1 {
			return 0, 0, 0, false
		}
		last = end
	}
	return first, last, step, len(specs) > 0
}
