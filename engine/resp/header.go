package resp

// What ReplyScanner.size holds in a header while, or in place of, a length.
const (
	lengthNull     = -1 - iota // "-1"
	lengthStreamed             // "?"
	lengthMinus                // "-" so far
	lengthNone                 // nothing so far
)

func (s *ReplyScanner) becomeHeader(typ byte) {
	s.typ, s.size, s.state = typ, lengthNone, atLength
}

// readLength takes one byte of the length in a header, or the CR behind it.
func (s *ReplyScanner) readLength(c byte) error {
	digit := c >= '0' && c <= '9'
	switch {
	case digit && s.size > 0:
		s.size = s.size*10 + int64(c-'0')
		if s.size > MaxReplyLength {
			return errReplyLength(s.typ, s.size)
		}
	case digit && s.size == lengthNone:
		s.size = int64(c - '0')
	case c == '\r' && s.size >= 0:
		s.state = atHeaderLF
	case c == '-' && s.size == lengthNone && mayBeNull(s.typ):
		s.size = lengthMinus
	case c == '1' && s.size == lengthMinus:
		s.size, s.state = lengthNull, atHeaderCR
	case c == '?' && s.size == lengthNone && mayBeStreamed(s.typ):
		s.size, s.state = lengthStreamed, atHeaderCR
	case digit && s.size == lengthMinus:
		return errReplyLength(s.typ, -int64(c-'0'))
	default:
		return errReplyByte(c, s.state)
	}
	return nil
}

// mayBeNull: RESP2 has $-1 and *-1; the others are let pass as hiredis does.
func mayBeNull(typ byte) bool { return typ != '|' && typ != '>' && typ != ';' }

func mayBeStreamed(typ byte) bool {
	return typ == '$' || typ == '*' || typ == '%' || typ == '~'
}

// endHeader acts on a complete header.
func (s *ReplyScanner) endHeader() (done bool, err error) {
	s.state = atType
	switch s.typ {
	case '$', '!', '=', ';':
		return s.endBulkHeader(), nil
	case '.':
		return s.closeStream(), nil
	case '%', '|':
		if s.size > 0 {
			s.size *= 2
		}
	}
	if s.size == lengthStreamed {
		return false, s.openStream()
	}
	s.pending += max(s.size, 0)
	if s.typ != '|' {
		s.pending-- // the aggregate itself; an attribute is none
	}
	if s.pending > MaxReplyLength {
		return false, errReplyLength(s.typ, s.pending)
	}
	return !s.Midway(), nil
}

func (s *ReplyScanner) endBulkHeader() (done bool) {
	switch {
	case s.size == lengthNull, s.size == 0 && s.typ == ';':
		return s.endValue()
	case s.size == lengthStreamed:
		s.state = atChunk
	case s.size == 0:
		s.state = atBodyCR
	default:
		s.state = atBody
	}
	return false
}

// openStream counts the elements of a streamed aggregate apart from the values
// around it, because only its '.' tells how many there are.
func (s *ReplyScanner) openStream() error {
	depth := 1
	if s.open != nil {
		depth += s.open.depth
	}
	if depth > MaxReplyStream {
		return errReplyDepth
	}
	s.open = &stream{outer: s.open, pending: s.pending - 1, depth: depth}
	s.pending = 0
	return nil
}

func (s *ReplyScanner) closeStream() (done bool) {
	s.pending, s.open = s.open.pending, s.open.outer
	return !s.Midway()
}
