package respconn

import "bytes"

// requestScanner frames one request of an untrusted client: a flat array of bulk strings, or an inline line. The texts of its errors are Redis'.
type requestScanner struct {
	lim    RequestLimits
	buf    []byte
	line   int // where the current header line begins in buf
	body   int // bytes of an argument still to come, CR LF included
	left   int // arguments still to come
	inline bool
	multi  bool // the multibulk header was read
}

func (s *requestScanner) midway() bool { return len(s.buf) > 0 }

func (s *requestScanner) reset() {
	if cap(s.buf) > frameKept {
		s.buf = nil
	}
	*s = requestScanner{lim: s.lim, buf: s.buf[:0]}
}

func (s *requestScanner) feed(p []byte) (n int, done bool, err error) {
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

// feedBody takes an argument. Redis does not look at its CR LF; a server in front of an operator rather notices that it is out of step.
func (s *requestScanner) feedBody(p []byte) (n int, done bool, err error) {
	n = min(s.body, len(p))
	s.buf = append(s.buf, p[:n]...)
	if s.body -= n; s.body > 0 {
		return n, false, nil
	}
	if !bytes.HasSuffix(s.buf, crlf) {
		return n, false, protocolErrorf("invalid bulk length")
	}
	s.line = len(s.buf)
	s.left--
	return n, s.left == 0, nil
}

func (s *requestScanner) feedLine(p []byte) (n int, done bool, err error) {
	if len(s.buf) == 0 {
		s.inline = p[0] != '*'
	} else if s.multi && len(s.buf) == s.line && p[0] != '$' {
		return 0, false, protocolErrorf("expected '$', got %s", quoteByte(p[0]))
	}
	i := bytes.IndexByte(p, '\n')
	n = i + 1
	if i < 0 {
		n = len(p)
	}
	if len(s.buf)+n > s.lim.Bytes {
		return 0, false, &ProtocolError{Reason: s.tooBig()}
	}
	s.buf = append(s.buf, p[:n]...)
	if i < 0 {
		return n, false, nil
	}
	if s.inline {
		return n, true, nil
	}
	done, err = s.header(s.buf[s.line:])
	s.line = len(s.buf)
	return n, done, err
}

func (s *requestScanner) header(line []byte) (done bool, err error) {
	digits, ok := bytes.CutSuffix(line[1:], crlf)
	length, valid := parseInt(digits)
	ok = ok && valid
	if !s.multi {
		if !ok || length > int64(s.lim.Args) {
			return false, protocolErrorf("invalid multibulk length")
		}
		s.multi, s.left = true, int(max(length, 0))
		return s.left == 0, nil
	}
	if !ok || length < 0 || length > int64(s.lim.Bytes-len(s.buf)-2) {
		return false, protocolErrorf("invalid bulk length")
	}
	s.body = int(length) + 2
	return false, nil
}

func (s *requestScanner) tooBig() string {
	switch {
	case s.inline:
		return "too big inline request"
	case s.multi:
		return "too big bulk count string"
	}
	return "too big mbulk count string"
}

func quoteByte(b byte) string {
	if b < ' ' || b > '~' {
		b = '?' // the text goes out in an error line
	}
	return string([]byte{'\'', b, '\''})
}

// splitInline splits an inline request as Redis does: words between spaces, "…" with \n \r \t \b \a \xHH and \c, '…' with \' alone; a closing quote
// is followed by a space or the end.
func splitInline(line []byte) ([]string, error) {
	var args []string
	for {
		line = bytes.TrimLeft(line, " \t\r\n\v\f\x00")
		if len(line) == 0 {
			return args, nil
		}
		word, rest, ok := cutWord(line)
		if !ok {
			return nil, protocolErrorf("unbalanced quotes in request")
		}
		args = append(args, word)
		line = rest
	}
}

// cutWord takes the first word of line, which begins with one.
func cutWord(line []byte) (word string, rest []byte, ok bool) {
	var out []byte
	for i := 0; i < len(line); i++ {
		switch b := line[i]; {
		case inlineSpace(b):
			return string(out), line[i:], true
		case b == '"' || b == '\'':
			var n int
			if out, n, ok = unquote(out, line[i:]); !ok {
				return "", nil, false
			}
			i += n
			if i < len(line) && !inlineSpace(line[i]) {
				return "", nil, false
			}
			return string(out), line[i:], true
		default:
			out = append(out, b)
		}
	}
	return string(out), nil, true
}

// unquote appends what stands between the quotes at the head of s; n counts the quotes in. ok is false without a closing one.
func unquote(out, s []byte) (_ []byte, n int, ok bool) {
	quote := s[0]
	for i := 1; i < len(s); i++ {
		switch b := s[i]; {
		case b == quote:
			return out, i + 1, true
		case b == '\\' && quote == '"' && i+3 < len(s) && s[i+1] == 'x' && isHex(s[i+2]) && isHex(s[i+3]):
			out = append(out, unhex(s[i+2])<<4|unhex(s[i+3]))
			i += 3
		case b == '\\' && quote == '"' && i+1 < len(s):
			i++
			out = append(out, unescape(s[i]))
		case b == '\\' && quote == '\'' && i+1 < len(s) && s[i+1] == '\'':
			i++
			out = append(out, '\'')
		default:
			out = append(out, b)
		}
	}
	return nil, 0, false
}

func unescape(b byte) byte {
	switch b {
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
	return b
}

func inlineSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\r' || b == '\n' || b == 0 }

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}

func unhex(b byte) byte {
	switch {
	case b <= '9':
		return b - '0'
	case b <= 'F':
		return b - 'A' + 10
	}
	return b - 'a' + 10
}
