package respconn

import (
	"bytes"
	"strconv"
)

// replyScanner frames one reply of any RESP2 or RESP3 type, attributes and pushes included. It is iterative: depth costs an entry of a bounded stack.
// Streamed types ($? *?) are refused: no server sends them.
type replyScanner struct {
	lim      Limits
	buf      []byte // the frame so far
	line     int    // where the current header begins in buf
	body     int    // bytes of a bulk body still to come, CR LF included
	bodyKind Kind
	elements int
	open     []aggregate
	resp3    bool // the frame has a type tidwall/resp does not know
}

// aggregate is one that has elements still to come.
type aggregate struct {
	left      int
	attribute bool // it is no value by itself: the one behind it is
}

func (s *replyScanner) midway() bool { return len(s.buf) > 0 }

func (s *replyScanner) reset() {
	if cap(s.buf) > frameKept {
		s.buf = nil
	}
	s.buf = s.buf[:0]
	s.open = s.open[:0]
	s.line, s.body, s.elements, s.resp3 = 0, 0, 0, false
}

func (s *replyScanner) feed(p []byte) (n int, done bool, err error) {
	for n < len(p) && !done {
		var took int
		if s.body > 0 {
			took, done, err = s.feedBody(p[n:])
		} else {
			took, done, err = s.feedLine(p[n:])
		}
		n += took
		if err != nil {
			return n, false, err
		}
	}
	return n, done, nil
}

func (s *replyScanner) feedBody(p []byte) (n int, done bool, err error) {
	n = min(s.body, len(p))
	s.buf = append(s.buf, p[:n]...)
	if s.body -= n; s.body > 0 {
		return n, false, nil
	}
	if !bytes.HasSuffix(s.buf, crlf) {
		return n, false, protocolErrorf("no CR LF behind a %s", s.bodyKind)
	}
	if text := s.buf[s.line:]; s.bodyKind == Verbatim && (len(text) < 6 || text[3] != ':') {
		return n, false, protocolErrorf("verbatim string without a format")
	}
	s.line = len(s.buf)
	return n, s.valueEnds(), nil
}

func (s *replyScanner) feedLine(p []byte) (n int, done bool, err error) {
	if len(s.buf) == s.line && !knownKind(p[0]) {
		return 0, false, protocolErrorf("unknown reply type %q", p[0])
	}
	i := bytes.IndexByte(p, '\n')
	n = i + 1
	if i < 0 {
		n = len(p)
	}
	if len(s.buf)+n > s.lim.Reply {
		return 0, false, protocolErrorf("reply over %d bytes", s.lim.Reply)
	}
	s.buf = append(s.buf, p[:n]...)
	if i < 0 {
		return n, false, nil
	}
	header, ok := bytes.CutSuffix(s.buf[s.line:], crlf)
	if !ok || bytes.IndexByte(header, '\r') >= 0 {
		return n, false, protocolErrorf("line without CR LF")
	}
	s.line = len(s.buf)
	done, err = s.header(Kind(header[0]), header[1:])
	return n, done, err
}

// header takes one header line; rest is what stands behind the type byte. done says that the whole reply ends with it.
func (s *replyScanner) header(kind Kind, rest []byte) (done bool, err error) {
	switch kind {
	case Error, SimpleString:
		return s.valueEnds(), nil
	case Integer:
		v, ok := parseInt(rest)
		if !ok {
			return false, protocolErrorf("invalid integer")
		}
		if int64(int(v)) != v {
			s.resp3 = true // tidwall/resp keeps an int: 32 bits on some machines
		}
		return s.valueEnds(), nil
	case BulkString, Array:
		return s.sized(kind, rest)
	}
	s.resp3 = true
	switch kind {
	case Null, Boolean, Double, BigNumber:
		if !validScalar(kind, rest) {
			return false, protocolErrorf("invalid %s", kind)
		}
		return s.valueEnds(), nil
	}
	return s.sized(kind, rest)
}

// sized takes the header of a type with a length.
func (s *replyScanner) sized(kind Kind, rest []byte) (done bool, err error) {
	length, ok := parseInt(rest)
	switch {
	case !ok, length < -1, length == -1 && kind != BulkString && kind != Array:
		return false, protocolErrorf("invalid length")
	case length == -1:
		return s.valueEnds(), nil
	}
	switch kind {
	case BulkString, Verbatim, bulkError:
		if length > int64(s.lim.Reply-len(s.buf)-2) {
			return false, protocolErrorf("reply over %d bytes", s.lim.Reply)
		}
		s.body, s.bodyKind = int(length)+2, kind
		return false, nil
	}
	if kind == Push && len(s.open) > 0 {
		return false, protocolErrorf("push within a reply")
	}
	if length > int64(s.lim.Elements) {
		return false, protocolErrorf("reply over %d elements", s.lim.Elements)
	}
	if kind == Map || kind == attribute {
		length *= 2
	}
	if s.elements += int(length); s.elements > s.lim.Elements {
		return false, protocolErrorf("reply over %d elements", s.lim.Elements)
	}
	if length == 0 {
		return kind != attribute && s.valueEnds(), nil
	}
	if len(s.open) == s.lim.Depth {
		return false, protocolErrorf("reply nested deeper than %d", s.lim.Depth)
	}
	s.open = append(s.open, aggregate{left: int(length), attribute: kind == attribute})
	return false, nil
}

// valueEnds counts a value that is complete, and the aggregates that end with it; true at the end of the reply.
func (s *replyScanner) valueEnds() bool {
	for len(s.open) > 0 {
		top := &s.open[len(s.open)-1]
		if top.left--; top.left > 0 {
			return false
		}
		attr := top.attribute
		s.open = s.open[:len(s.open)-1]
		if attr {
			return false
		}
	}
	return true
}

const (
	attribute Kind = '|'
	bulkError Kind = '!'
)

var crlf = []byte("\r\n")

func knownKind(b byte) bool {
	return bytes.IndexByte([]byte("+-:$*>%~_,#=(|!"), b) >= 0
}

func validScalar(kind Kind, text []byte) bool {
	switch kind {
	case Null:
		return len(text) == 0
	case Boolean:
		return len(text) == 1 && (text[0] == 't' || text[0] == 'f')
	case Double:
		_, err := strconv.ParseFloat(string(text), 64)
		return err == nil && len(text) <= 64 && !bytes.ContainsAny(text, "_xXpP")
	default: // BigNumber
		digits := text
		if len(digits) > 0 && (digits[0] == '-' || digits[0] == '+') {
			digits = digits[1:]
		}
		for _, b := range digits {
			if b < '0' || b > '9' {
				return false
			}
		}
		return len(digits) > 0
	}
}

// parseInt reads a decimal integer strictly: an optional minus, no plus, no spaces, no overflow.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 20 || b[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
