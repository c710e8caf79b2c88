package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxErrors bounds the report on one file.
const maxErrors = 100

// Error is one mistake in a configuration file.
type Error struct {
	File    string
	Line    int    // from 1; 0 if the mistake has no place in the file
	Column  int    // from 1, in characters
	Key     string // dotted path, list items with their index: pools.cache.servers[1]; may be ""
	Message string // never quotes a secret
	Cause   error  // of an operation on the file; may be nil
}

// Error returns "file:line:col: key: message", without the parts that are not known.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key)
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Unwrap returns the cause, so that errors.Is(err, fs.ErrNotExist) works.
func (e *Error) Unwrap() error { return e.Cause }

// Errors is what Load and Parse return: everything that is wrong with the file, in the order of the file.
type Errors struct {
	List    []*Error // at least one
	Omitted int      // how many more there were
}

// Error returns one line for each mistake.
func (e *Errors) Error() string {
	lines := make([]string, 0, len(e.List)+1)
	for _, one := range e.List {
		lines = append(lines, one.Error())
	}
	if e.Omitted > 0 {
		lines = append(lines, fmt.Sprintf("%s: %d more errors not shown", e.List[0].File, e.Omitted))
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each mistake.
func (e *Errors) Unwrap() []error {
	out := make([]error, len(e.List))
	for i, one := range e.List {
		out[i] = one
	}
	return out
}

// inFileOrder sorts by line and column; what stands at the same place keeps its order.
func inFileOrder(list []*Error) {
	slices.SortStableFunc(list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
