package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxFileSize is the largest configuration file that is read, in bytes.
	MaxFileSize = 4 << 20

	maxValues     = 1 << 17 // keys and list items visited, those that aliases repeat counted each time
	maxMergeDepth = 8       // of "<<" within what "<<" names
)

// reader walks the nodes of one file and collects what is wrong with it. It descends only where a key table leads, so an alias
// that contains itself ends where the tables do; budget bounds what aliases and merges multiply.
type reader struct {
	file     string
	errs     []*Error
	omitted  int
	warnings []*Error
	budget   int
	at       map[string]*yaml.Node // the value of each key and list item that the file gives, by path
}

func newReader(file string) *reader {
	return &reader{file: file, budget: maxValues, at: map[string]*yaml.Node{}}
}

// failf notes a mistake at n, which may be nil.
func (r *reader) failf(n *yaml.Node, path, format string, args ...any) {
	if len(r.errs) >= maxErrors {
		r.omitted++
		return
	}
	r.errs = append(r.errs, r.place(n, path, fmt.Sprintf(format, args...)))
}

// failAt notes a mistake at the place of a key that was read, or of the nearest one around it.
func (r *reader) failAt(path, format string, args ...any) {
	r.failf(r.nearest(path), path, format, args...)
}

// warnAt notes a warning, as failAt does a mistake.
func (r *reader) warnAt(path, format string, args ...any) {
	if len(r.warnings) < maxErrors {
		r.warnings = append(r.warnings, r.place(r.nearest(path), path, fmt.Sprintf(format, args...)))
	}
}

func (r *reader) place(n *yaml.Node, path, message string) *Error {
	e := &Error{File: r.file, Key: path, Message: message}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	return e
}

// nearest returns the node of path, or of the closest path around it that the file gives.
func (r *reader) nearest(path string) *yaml.Node {
	for {
		if n, ok := r.at[path]; ok {
			return n
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return nil
		}
		path = path[:cut]
	}
}

// given tells whether the file gives the key.
func (r *reader) given(path string) bool {
	_, ok := r.at[path]
	return ok
}

// spend takes one value from the budget; it fails once, when the budget ends.
func (r *reader) spend(n *yaml.Node, path string) bool {
	r.budget--
	if r.budget == -1 {
		r.failf(n, path, "the file has more than %d values, those that aliases repeat counted each time", maxValues)
	}
	return r.budget >= 0
}

// result returns the mistakes, or nil.
func (r *reader) result() *Errors {
	if len(r.errs) == 0 {
		return nil
	}
	inFileOrder(r.errs)
	return &Errors{List: r.errs, Omitted: r.omitted}
}

// parseDocument returns the top node of data, which must be one YAML document.
func (r *reader) parseDocument(data []byte) *yaml.Node {
	if len(data) > MaxFileSize {
		r.failf(nil, "", "the file is larger than %d bytes", MaxFileSize)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF), err == nil && len(doc.Content) == 0:
		r.failf(nil, "", "the file is empty")
		return nil
	case err != nil:
		r.failSyntax(data, err)
		return nil
	}
	if err := dec.Decode(&second); err == nil {
		r.failf(&second, "", `the file must be one document, without a second "---"`)
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.failSyntax(data, err)
		return nil
	}
	return doc.Content[0]
}

var (
	syntaxLine    = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)
	unknownAnchor = regexp.MustCompile(`^yaml: unknown anchor '(.*)' referenced$`)
)

// failSyntax notes what the YAML parser says. Its message for an unknown anchor quotes what may be a password that begins with
// "*", so that one is told in other words.
func (r *reader) failSyntax(data []byte, err error) {
	// The parser leaves the first line out of its messages.
	e := &Error{File: r.file, Line: 1, Message: "YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := unknownAnchor.FindStringSubmatch(err.Error()); m != nil {
		e.Line = lineOf(data, "*"+m[1])
		e.Message = "YAML: unknown alias; a value that begins with * needs quotes"
	} else if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Message = "YAML: " + m[2]
	}
	r.errs = append(r.errs, e)
}

// lineOf returns the first line, from 1, that has word as a token of its own, or 0.
func lineOf(data []byte, word string) int {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		for _, token := range strings.FieldsFunc(string(text), func(c rune) bool { return strings.ContainsRune(" \t\r\n[]{},", c) }) {
			if token == word {
				return line
			}
		}
	}
	return 0
}

// field is one entry of a mapping.
type field struct {
	name  string
	key   *yaml.Node
	value *yaml.Node // never an alias
}

// fields returns the entries of a mapping in the order of the file: those written in it, then those that "<<" adds to it.
func (r *reader) fields(path string, n *yaml.Node) ([]field, bool) {
	n = target(n)
	if n.Kind != yaml.MappingNode {
		if isNull(n) {
			r.failf(n, path, "has no value; leave the key out or give it a map")
		} else {
			r.failf(n, path, "must be a map of keys, not %s", kindOf(n))
		}
		return nil, false
	}
	var out []field
	seen := map[string]int{}
	ok := r.collect(path, n, 0, func(f field, depth int) {
		if line, dup := seen[f.name]; !dup {
			seen[f.name] = f.key.Line
			out = append(out, f)
		} else if depth == 0 {
			r.failf(f.key, join(path, show(f.name)), "is given twice, first in line %d", line)
		}
	})
	return out, ok
}

// collect calls add for the entries of n, and then for those of the mappings that n merges. depth is 0 for n itself.
func (r *reader) collect(path string, n *yaml.Node, depth int, add func(field, int)) bool {
	var merges, mergeKeys []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], target(n.Content[i+1])
		if !r.spend(key, path) {
			return false
		}
		switch {
		case key.Kind != yaml.ScalarNode || (key.ShortTag() != "!!str" && key.ShortTag() != "!!merge"):
			r.failf(key, path, "a key must be plain text; put it in quotes if it is a name")
		case key.ShortTag() == "!!merge":
			merges, mergeKeys = append(merges, value), append(mergeKeys, key)
		default:
			add(field{key.Value, key, value}, depth)
		}
	}
	if len(merges) > 1 {
		r.failf(mergeKeys[1], join(path, "<<"), "is given twice; name several maps as a list: <<: [*a, *b]")
		return false
	}
	for _, m := range merges {
		if !r.merge(path, m, depth+1, add) {
			return false
		}
	}
	return true
}

// merge adds the entries of what "<<" names: a mapping or a list of them, the first of which wins.
func (r *reader) merge(path string, n *yaml.Node, depth int, add func(field, int)) bool {
	if depth > maxMergeDepth {
		r.failf(n, join(path, "<<"), "merges are nested deeper than %d", maxMergeDepth)
		return false
	}
	maps := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		maps = n.Content
	}
	for _, m := range maps {
		m = target(m)
		if m.Kind != yaml.MappingNode {
			r.failf(m, join(path, "<<"), "must name a map or a list of maps")
			return false
		}
		if !r.spend(m, path) || !r.collect(path, m, depth, add) {
			return false
		}
	}
	return true
}

// target returns what an alias stands for. The parser resolves aliases of aliases, so one step is enough.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kindOf names the type of a value, for messages; it never quotes the value.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	case "!!str":
		return "text"
	}
	return "a value of another type"
}

// join returns the path of name within path; either may be empty.
func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}

const maxShown = 40

// show returns a key for a message, without what cannot be part of a key: an unquoted secret may have run into it.
func show(name string) string {
	if len(name) > maxShown {
		name = name[:maxShown]
	}
	for i := range len(name) {
		if !only(name[i:i+1], "_.-") {
			return name[:i]
		}
	}
	return name
}
