package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// replies finds the ends of RESP2 replies in what a connection receives, however it is cut. It keeps no bytes but those
// of a line that is not complete.
type replies struct {
	line    []byte // begin of the line being read
	skip    int    // bytes left of a bulk string, its CR LF included
	depth   int    // values left until the reply is complete; 0 is between replies
	refused bool   // the reply is an error, or has one in it
	missing bool   // it is null, or has one in it
}

// outcome of one reply.
type outcome struct {
	refused bool // an error, or an array with one in it
	missing bool // null, or an array with one in it
}

var errProtocol = errors.New("not a reply of RESP2")

// feed takes what was received and calls done for each reply that it completes.
func (r *replies) feed(data []byte, done func(outcome)) error {
	for len(data) > 0 {
		if r.skip > 0 {
			n := min(r.skip, len(data))
			data, r.skip = data[n:], r.skip-n
			if r.skip == 0 {
				r.value(done)
			}
			continue
		}
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			r.line = append(r.line, data...)
			return nil
		}
		line := data[:end+1]
		if len(r.line) > 0 {
			r.line = append(r.line, line...)
			line = r.line
		}
		data = data[end+1:]
		err := r.header(line, done)
		r.line = r.line[:0]
		if err != nil {
			return err
		}
	}
	return nil
}

// header takes a complete line.
func (r *replies) header(line []byte, done func(outcome)) error {
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return fmt.Errorf("%w: %.40q", errProtocol, line)
	}
	if r.depth == 0 {
		r.depth = 1
	}
	kind, text := line[0], string(line[1:len(line)-2])
	if kind == '+' || kind == ':' || kind == '-' {
		r.refused = r.refused || kind == '-'
		r.value(done)
		return nil
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < -1 || kind != '$' && kind != '*':
		return fmt.Errorf("%w: %.40q", errProtocol, line)
	case n < 0:
		r.missing = true
		r.value(done)
	case kind == '$':
		r.skip = n + 2
	default:
		r.depth += n
		r.value(done) // the array itself
	}
	return nil
}

// value counts one that is complete.
func (r *replies) value(done func(outcome)) {
	if r.depth--; r.depth == 0 {
		o := outcome{refused: r.refused, missing: r.missing}
		r.refused, r.missing = false, false
		done(o)
	}
}

// appendCommand renders a request.
func appendCommand(dst []byte, words ...[]byte) []byte {
	dst = fmt.Appendf(dst, "*%d\r\n", len(words))
	for _, w := range words {
		dst = appendBulk(dst, w)
	}
	return dst
}

func appendBulk(dst, word []byte) []byte {
	dst = append(dst, '$')
	dst = strconv.AppendInt(dst, int64(len(word)), 10)
	dst = append(dst, '\r', '\n')
	dst = append(dst, word...)
	return append(dst, '\r', '\n')
}
