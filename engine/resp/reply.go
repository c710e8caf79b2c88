package resp

import (
	"bytes"
	"encoding/binary"
)

// What a server may send. Redis documents no bounds; these only tell a reply
// from garbage. What a reply costs in memory is bounded by the caller, who may
// forward its bytes long before its end.
const (
	MaxReplyLine   = 64 << 20 // bytes of a simple string, an error or a big number
	MaxReplyScalar = 64 << 10 // bytes of any other line: : _ # ,
	MaxReplyLength = 1 << 40  // a length in a header; values outstanding in a reply
	MaxReplyStream = 128      // streamed aggregates open within one another
)

// replyState is what the next byte of a reply is.
type replyState uint8

const (
	atType     replyState = iota // the first byte of a value
	atLine                       // the text of a line, or its CR
	atLineLF                     // the LF of a line
	atLength                     // the length in a header, or its CR
	atHeaderCR                   // the CR of a header that takes no digit more
	atHeaderLF                   // the LF of a header
	atBody                       // the bytes of a bulk
	atBodyCR                     // the CR behind them
	atBodyLF                     // the LF behind them
	atChunk                      // the ';' of the next chunk of a streamed string
	atBroken                     // none: Feed has failed
)

var replyStateNames = [...]string{
	atType: "type", atLine: "line", atLineLF: "line-lf", atLength: "length", atHeaderCR: "header-cr",
	atHeaderLF: "header-lf", atBody: "body", atBodyCR: "body-cr", atBodyLF: "body-lf", atChunk: "chunk",
	atBroken: "broken",
}

func (s replyState) String() string { return replyStateNames[s] }

// ReplyScanner frames one reply at a time over a stream of chunks. One per
// server link; the zero value is ready. Nested aggregates are counted, not
// stacked: depth costs nothing. Only a streamed aggregate ("*?", which no
// released Redis sends) allocates, 24 bytes while it is open.
type ReplyScanner struct {
	// size is the length in the header being read, or what is left of the
	// body, or the bytes seen of the line.
	size int64
	// pending counts the values that are not complete: all those of the reply,
	// or, within a streamed aggregate, of the element being read.
	pending int64
	open    *stream // the innermost streamed aggregate that is open
	state   replyState
	kind    byte // see Kind
	typ     byte // first byte of the header or line being read
}

// stream is a streamed aggregate that waits for its '.'.
type stream struct {
	outer   *stream
	pending int64 // as it was outside of the stream
	depth   int
}

// Reset forgets the reply that was being read.
func (s *ReplyScanner) Reset() { *s = ReplyScanner{} }

// Kind is the first byte of the reply that is being read or was just finished.
// For a reply with an attribute it is the type of the reply behind it, and '|'
// until that has arrived.
func (s *ReplyScanner) Kind() byte { return s.kind }

// Midway tells whether some but not all bytes of a reply were consumed.
func (s *ReplyScanner) Midway() bool { return s.pending > 0 || s.open != nil }

// Feed consumes bytes of the current reply from p.
//
//   - done: p[:n] ends the reply and the scanner is ready for the next.
//   - !done and no error: n is len(p); call again with the bytes that follow.
//   - err: the server does not speak RESP; p[n] is about where that shows.
//     Close the link; Feed fails until the scanner is Reset.
//
// The types are + - : $ * _ # , ( ! = % ~ > and |, where an attribute | is part
// of the reply it precedes, and streamed $? with ;n, and *? %? ~? with '.'.
// Lengths are strict decimals, -1 is the only negative one. The text of a line
// is not checked, beyond that its CR is followed by LF.
func (s *ReplyScanner) Feed(p []byte) (n int, done bool, err error) {
	if s.state == atType && !s.Midway() {
		if n := scalarSize(p); n > 0 {
			s.kind = p[0]
			return n, true, nil
		}
	}
	return s.feed(p)
}

// scalarSize is the size of the value at the start of p if that is a well
// formed scalar of a common type, short, and complete in p. 0 sends the caller
// the long way.
func scalarSize(p []byte) int {
	if len(p) < 3 {
		return 0
	}
	switch p[0] {
	case '$':
		return bulkSize(p)
	case '+', '-', ':', '_', ',', '#':
		for i, c := range p[1:min(len(p)-1, 32)] {
			if c != '\r' {
				continue
			}
			if p[i+2] != '\n' {
				return 0
			}
			return i + 3
		}
	}
	return 0
}

// bulkSize is scalarSize for bulk strings of less than 1 MB, and the null one.
func bulkSize(p []byte) int {
	if len(p) < 5 {
		return 0
	}
	length, header := shortLength(p)
	n, h := int(length), int(header)
	if h == 0 {
		if string(p[:5]) == "$-1\r\n" {
			return 5
		}
		i := 1
		for ; i < min(7, len(p)) && p[i]-'0' <= 9; i++ {
			n = n*10 + int(p[i]-'0')
		}
		// Three digits at least: the shorter ones were not well formed.
		if i < 4 || p[1] == '0' || len(p) < i+2 || binary.LittleEndian.Uint16(p[i:]) != crlf {
			return 0
		}
		h = i + 2
	}
	end := h + n
	if end+2 > len(p) || binary.LittleEndian.Uint16(p[end:]) != crlf {
		return 0
	}
	return end + 2
}

// feed is Feed one step at a time, from wherever the last chunk ended.
func (s *ReplyScanner) feed(p []byte) (n int, done bool, err error) {
	for i := 0; i < len(p); {
		n, done = 1, false
		switch c := p[i]; s.state {
		case atType:
			if s.pending > 0 && s.kind != '|' {
				if n = scalarSize(p[i:]); n > 0 {
					// All but the last of a run of scalars need nothing else: the elements of most arrays.
					for ; s.pending > 1 && n > 0; n = scalarSize(p[i:]) {
						s.pending--
						i += n
					}
					if n > 0 {
						done = s.endValue()
					}
					break
				}
				n = 1
			}
			err = s.beginValue(c)
		case atLine:
			n, err = s.readLine(p[i:])
		case atLineLF:
			if err = s.expect(c, '\n'); err == nil {
				done = s.endValue()
			}
		case atLength:
			err = s.readLength(c)
		case atHeaderCR:
			err = s.expect(c, '\r')
			s.state = atHeaderLF
		case atHeaderLF:
			if err = s.expect(c, '\n'); err == nil {
				done, err = s.endHeader()
			}
		case atBody:
			n = int(min(s.size, int64(len(p)-i)))
			if s.size -= int64(n); s.size == 0 {
				s.state = atBodyCR
			}
		case atBodyCR:
			err = s.expect(c, '\r')
			s.state = atBodyLF
		case atBodyLF:
			if err = s.expect(c, '\n'); err == nil {
				done = s.endBody()
			}
		case atChunk:
			err = s.expect(c, ';')
			s.becomeHeader(c)
		default:
			err = errReplyBroken
		}
		if err != nil {
			s.state = atBroken
			return i, false, err
		}
		i += n
		if done {
			return i, true, nil
		}
	}
	return len(p), false, nil
}

func (s *ReplyScanner) expect(got, want byte) error {
	if got != want {
		return errReplyByte(got, s.state)
	}
	return nil
}

// beginValue takes the first byte of a value, or the '.' in place of one.
func (s *ReplyScanner) beginValue(c byte) error {
	switch c {
	case '+', '-', ':', '_', '#', ',', '(':
		s.becomeLine(c)
	case '$', '!', '=', '*', '~', '>', '%', '|':
		s.becomeHeader(c)
	case '.':
		if s.open == nil || s.pending > 0 {
			return errReplyByte(c, s.state)
		}
		s.typ, s.state = c, atHeaderCR
		return nil
	default:
		return errReplyByte(c, s.state)
	}
	switch {
	case s.pending == 0 && s.open == nil:
		s.pending, s.kind = 1, c
	case s.pending == 0:
		s.pending = 1
	case s.pending == 1 && s.open == nil && s.kind == '|':
		// Only the value behind the attribute is left.
		s.kind = c
	}
	return nil
}

// endValue counts one value as complete and tells whether it was the last.
func (s *ReplyScanner) endValue() (done bool) {
	s.state = atType
	s.pending--
	return !s.Midway()
}

func (s *ReplyScanner) becomeLine(typ byte) {
	s.typ, s.size, s.state = typ, 0, atLine
}

// readLine consumes the text of a line as far as its CR.
func (s *ReplyScanner) readLine(p []byte) (n int, err error) {
	n = bytes.IndexByte(p, '\r')
	text := n
	if n < 0 {
		text, n = len(p), len(p)
	} else {
		n++
		s.state = atLineLF
	}
	s.size += int64(text)
	limit := int64(MaxReplyScalar)
	if s.typ == '+' || s.typ == '-' || s.typ == '(' {
		limit = MaxReplyLine
	}
	if s.size > limit {
		return 0, errReplyLine(s.typ, limit)
	}
	return n, nil
}

// endBody ends a bulk, or a chunk of a streamed one.
func (s *ReplyScanner) endBody() (done bool) {
	if s.typ == ';' {
		s.state = atChunk
		return false
	}
	return s.endValue()
}
