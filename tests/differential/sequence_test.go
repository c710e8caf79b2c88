package differential

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"respgate/tests/harness"
)

// step is one request.
type step struct {
	args   []string
	inline bool // sent as a line
	hidden bool // only the proxy gets it, which must refuse it: it would harm the server, or the test
}

// batch is what one client sends without waiting for replies.
type batch struct {
	who   int // 0 or 1: a sequence has two clients
	steps []step
	cut   cut  // how its bytes are cut on the way to the proxy
	late  bool // it blocks until the other client's next batch: its replies are read after that
}

// cut says into how many pieces the bytes of a batch are cut.
type cut uint8

const (
	whole cut = iota
	somewhere
	everywhere
)

// sequence is what is compared as a whole. Both sides are empty when it begins.
type sequence struct {
	seed    uint64
	groups  int
	batches []batch
}

// bytes of a step on the wire.
func (s *step) bytes() string {
	if !s.inline {
		return harness.Encode(s.args...)
	}
	words := make([]string, len(s.args))
	for i, a := range s.args {
		words[i] = quote(a)
	}
	return strings.Join(words, " ") + "\r\n"
}

// quote writes an argument as redis-cli and inline requests take it.
func quote(s string) string {
	plain := s != ""
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\'' || c == '\\' {
			plain = false
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, "\\x%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// line is the step as one would type it into redis-cli.
func (s *step) line() string {
	words := make([]string, len(s.args))
	for i, a := range s.args {
		words[i] = quote(a)
	}
	return strings.Join(words, " ")
}

// pieces of a batch's bytes, without what the side must not get. The same sequence is always cut the same way.
func (b *batch) pieces(plain bool, seed uint64, at int) [][]byte {
	var all strings.Builder
	for i := range b.steps {
		if !plain || !b.steps[i].hidden {
			all.WriteString(b.steps[i].bytes())
		}
	}
	rest := []byte(all.String())
	if plain || b.cut == whole || len(rest) < 2 {
		return [][]byte{rest}
	}
	var out [][]byte
	rnd := rand.New(rand.NewPCG(seed, uint64(at)))
	largest := 1
	if b.cut == somewhere {
		largest = max(2, len(rest)/3)
	}
	for len(rest) > 0 {
		n := min(len(rest), 1+rnd.IntN(largest))
		out, rest = append(out, rest[:n]), rest[n:]
	}
	return out
}

// String is the sequence for a person: redis-cli lines, by client.
func (q *sequence) String() string {
	var b strings.Builder
	two := false
	for i := range q.batches {
		two = two || q.batches[i].who > 0
	}
	for i := range q.batches {
		bt := &q.batches[i]
		for k := range bt.steps {
			if two {
				fmt.Fprintf(&b, "%c> ", 'a'+bt.who)
			}
			b.WriteString(bt.steps[k].line())
			var notes []string
			if len(bt.steps) > 1 && k == 0 {
				notes = append(notes, fmt.Sprintf("pipelined, %d requests", len(bt.steps)))
			}
			if k == 0 && bt.cut == somewhere {
				notes = append(notes, "in pieces")
			}
			if k == 0 && bt.cut == everywhere {
				notes = append(notes, "byte by byte")
			}
			if bt.steps[k].inline {
				notes = append(notes, "inline")
			}
			if bt.steps[k].hidden {
				notes = append(notes, "to the proxy only")
			}
			if bt.late {
				notes = append(notes, "its reply comes later")
			}
			if len(notes) > 0 {
				b.WriteString("    # " + strings.Join(notes, ", "))
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// size counts the requests.
func (q *sequence) size() (n int) {
	for i := range q.batches {
		n += len(q.batches[i].steps)
	}
	return n
}
