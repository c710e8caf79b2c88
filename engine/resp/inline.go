package resp

import "strconv"

// ParseInline splits an inline request into arguments as Redis' sdssplitargs
// does and appends it to dst as a multibulk request; a server never sees the
// inline form. line is the request with or without its line end, and does not
// overlap dst.
//
//	plain      ends at a space, \t, \r or \n
//	"double"   knows \n \r \t \b \a \xHH, and \c is c for every other c
//	'single'   knows only \'
//
// A quote may open within an argument; behind a closing one comes white space
// or the end. A line without arguments appends nothing. err is a ProtocolError,
// and dst comes back as it was. A NUL is a byte like any other (Redis, where it
// ends a C string, would wait for the rest of such a line for ever).
func ParseInline(dst, line []byte) (out []byte, args int, err error) {
	start := len(dst)
	out = dst
	for i := skipBlanks(line, 0); i < len(line); i = skipBlanks(line, i) {
		at := len(out)
		out, i, err = appendArg(out, line, i)
		if err != nil {
			return out[:start], 0, err
		}
		n := len(out) - at
		out = insertHeader(out, at, '$', n)
		out = append(out, '\r', '\n')
		args++
	}
	if args > 0 {
		out = insertHeader(out, start, '*', args)
	}
	return out, args, nil
}

// appendArg decodes the argument at line[i:] and returns the offset behind it.
func appendArg(dst, line []byte, i int) (out []byte, next int, err error) {
	for i < len(line) {
		switch c := line[i]; c {
		case ' ', '\t', '\r', '\n':
			return dst, i, nil
		case '"':
			dst, i = appendDouble(dst, line, i+1)
			return dst, i, checkQuoteEnd(line, i)
		case '\'':
			dst, i = appendSingle(dst, line, i+1)
			return dst, i, checkQuoteEnd(line, i)
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst, i, nil
}

// appendDouble decodes what follows a double quote. next is behind the closing quote, or
// -1 when there is none.
func appendDouble(dst, line []byte, i int) (out []byte, next int) {
	for ; i < len(line); i++ {
		c := line[i]
		if c == '"' {
			return dst, i + 1
		}
		if c == '\\' && i+1 < len(line) {
			i++
			c = unescape(line[i])
			if hi, lo, ok := hexPair(line[i:]); ok {
				c = hi<<4 | lo
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst, -1
}

// appendSingle decodes what follows a single quote, with the results of
// appendDouble.
func appendSingle(dst, line []byte, i int) (out []byte, next int) {
	for ; i < len(line); i++ {
		c := line[i]
		if c == '\'' {
			return dst, i + 1
		}
		if c == '\\' && i+1 < len(line) && line[i+1] == '\'' {
			i++
			c = '\''
		}
		dst = append(dst, c)
	}
	return dst, -1
}

// checkQuoteEnd tells whether a quoted argument that ends at line[next:] is
// closed and set apart from what follows.
func checkQuoteEnd(line []byte, next int) error {
	if next < 0 || next < len(line) && !isSpace(line[next]) {
		return errUnbalancedQuotes
	}
	return nil
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

// hexPair reads the "xHH" of a \xHH.
func hexPair(b []byte) (hi, lo byte, ok bool) {
	if len(b) < 3 || b[0] != 'x' {
		return 0, 0, false
	}
	hi, ok1 := hexDigit(b[1])
	lo, ok2 := hexDigit(b[2])
	return hi, lo, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	if c >= '0' && c <= '9' {
		return c - '0', true
	}
	c |= 0x20 // lower case
	return c - 'a' + 10, c >= 'a' && c <= 'f'
}

// isSpace is isspace of the C locale.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func skipBlanks(line []byte, i int) int {
	for i < len(line) && isSpace(line[i]) {
		i++
	}
	return i
}

// insertHeader puts "<typ><n>\r\n" in front of out[at:], whose length was not
// known before it was decoded.
func insertHeader(out []byte, at int, typ byte, n int) []byte {
	var header [24]byte
	h := append(header[:0], typ)
	h = strconv.AppendInt(h, int64(n), 10)
	h = append(h, '\r', '\n')
	tail := len(out)
	out = append(out, h...)
	copy(out[at+len(h):], out[at:tail])
	copy(out[at:], h)
	return out
}
