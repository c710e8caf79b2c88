package resp_test

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"

	"respgate/engine/resp"
)

// The references of the fuzz targets: they look at whole buffers, from the
// start, with no state between calls, and share no code with the package.

var (
	errMore   = errors.New("more bytes are needed")
	errBad    = errors.New("not RESP")
	redisInt  = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	replyLen  = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
	headerMax = 64 << 10
)

func protocol(text string) error { return resp.ProtocolError("Protocol error: " + text) }

// naiveRequest frames the request at the start of b.
func naiveRequest(b []byte, lim resp.Limits) (request, error) {
	if len(b) == 0 {
		return request{}, errMore
	}
	if b[0] != '*' {
		line, ok := firstLine(b, "\n", lim.Inline)
		switch {
		case ok:
			text := bytes.TrimSuffix(line, []byte("\r"))
			return request{Size: len(line) + 1, Inline: len(text) > 0}, nil
		case len(b) > lim.Inline:
			return request{}, protocol("too big inline request")
		}
		return request{}, errMore
	}
	n, at, err := naiveHeader(b, "too big mbulk count string", "invalid multibulk length", int64(lim.Args))
	if err != nil {
		return request{}, err
	}
	if n > 10 && lim.Unauthenticated {
		return request{}, protocol("unauthenticated multibulk length")
	}
	var args []string
	for range max(n, 0) {
		rest := b[at:]
		if len(rest) == 0 {
			return request{}, errMore
		}
		if rest[0] != '$' {
			return request{}, protocol("expected '$', got '" + string(rest[:1]) + "'")
		}
		size, header, err := naiveHeader(rest, "too big bulk count string", "invalid bulk length", lim.Bulk)
		switch {
		case err != nil:
			return request{}, err
		case size < 0:
			return request{}, protocol("invalid bulk length")
		case size > 16384 && lim.Unauthenticated:
			return request{}, protocol("unauthenticated bulk length")
		case len(rest) < header+int(size)+2:
			return request{}, errMore
		}
		body := rest[header:]
		if string(body[size:size+2]) != "\r\n" {
			return request{}, protocol("expected CR LF behind bulk")
		}
		args = append(args, string(body[:size]))
		at += header + int(size) + 2
	}
	return request{Size: at, Args: args}, nil
}

// firstLine is b before sep, if sep is there within the first limit bytes or
// right behind them.
func firstLine(b []byte, sep string, limit int) ([]byte, bool) {
	line, _, ok := bytes.Cut(b, []byte(sep))
	return line, ok && len(line) <= limit
}

func naiveHeader(b []byte, long, bad string, limit int64) (n int64, size int, err error) {
	line, ok := firstLine(b, "\r", headerMax)
	switch {
	case !ok && len(b) > headerMax:
		return 0, 0, protocol(long)
	case !ok || len(b) == len(line)+1:
		return 0, 0, errMore
	case b[len(line)+1] != '\n', !redisInt.Match(line[1:]):
		return 0, 0, protocol(bad)
	}
	n, err = strconv.ParseInt(string(line[1:]), 10, 64)
	if err != nil || n > limit {
		return 0, 0, protocol(bad)
	}
	return n, len(line) + 2, nil
}

// naiveInline splits a line, a byte at a time through an automaton.
func naiveInline(line []byte) (args []string, err error) {
	const blanks = " \t\n\v\f\r"
	isHex := func(c byte) bool { return bytes.IndexByte([]byte("0123456789abcdefABCDEF"), c) >= 0 }
	escapes := map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'b': '\b', 'a': '\a'}
	state := "blank"
	var arg []byte
	emit := func() { args, arg, state = append(args, string(arg)), nil, "blank" }
	for i := 0; i < len(line); i++ {
		c := line[i]
		rest := line[i+1:]
		switch state {
		case "closed":
			if bytes.IndexByte([]byte(blanks), c) < 0 {
				return nil, protocol("unbalanced quotes in request")
			}
			emit()
		case "blank", "plain":
			end := " \t\r\n"
			if state == "blank" {
				end = blanks
			}
			switch {
			case bytes.IndexByte([]byte(end), c) >= 0:
				if state == "plain" {
					emit()
				}
			case c == '"':
				state = "double"
			case c == '\'':
				state = "single"
			default:
				state = "plain"
				arg = append(arg, c)
			}
		case "double":
			switch {
			case c == '"':
				state = "closed"
			case c == '\\' && len(rest) >= 3 && rest[0] == 'x' && isHex(rest[1]) && isHex(rest[2]):
				v, err := strconv.ParseUint(string(rest[1:3]), 16, 8)
				if err != nil {
					return nil, err
				}
				arg = append(arg, byte(v))
				i += 3
			case c == '\\' && len(rest) > 0:
				e, ok := escapes[rest[0]]
				if !ok {
					e = rest[0]
				}
				arg = append(arg, e)
				i++
			default:
				arg = append(arg, c)
			}
		case "single":
			switch {
			case c == '\'':
				state = "closed"
			case bytes.HasPrefix(line[i:], []byte(`\'`)):
				arg = append(arg, '\'')
				i++
			default:
				arg = append(arg, c)
			}
		}
	}
	switch state {
	case "double", "single":
		return nil, protocol("unbalanced quotes in request")
	case "plain", "closed":
		emit()
	}
	return args, nil
}

// naiveReply frames the reply at the start of b by recursive descent.
func naiveReply(b []byte) (size int, kind byte, err error) {
	r := naiveReader{b: b}
	err = r.value(0, 0)
	return r.at, r.kind, err
}

type naiveReader struct {
	b    []byte
	at   int
	kind byte // of the first value that is no attribute
	deep bool // below the top
}

func (r *naiveReader) next() (byte, error) {
	if r.at == len(r.b) {
		return 0, errMore
	}
	r.at++
	return r.b[r.at-1], nil
}

func (r *naiveReader) literal(s string) error {
	for i := range len(s) {
		if c, err := r.next(); err != nil {
			return err
		} else if c != s[i] {
			return errBad
		}
	}
	return nil
}

// value reads one value; behind counts those that must follow it before the
// innermost stream, or the reply, can end, and streams those that are open.
func (r *naiveReader) value(behind int64, streams int) error {
	c, err := r.next()
	if err != nil {
		return err
	}
	if !r.deep && r.kind == 0 && c != '|' {
		r.kind = c
	}
	switch c {
	case '+', '-', '(':
		return r.line(64 << 20)
	case ':', '_', '#', ',':
		return r.line(64 << 10)
	}
	if bytes.IndexByte([]byte("$!=*~>%|"), c) < 0 {
		return errBad
	}
	length, err := r.length(c)
	if err != nil {
		return err
	}
	switch {
	case length == "?" && c == '$':
		return r.chunks()
	case length == "?":
		if streams == 128 {
			return errBad
		}
		return r.stream(streams + 1)
	case length == "-1":
		return nil
	}
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil {
		return errBad
	}
	switch c {
	case '$', '!', '=':
		return r.body(n)
	case '%':
		n *= 2
	case '|':
		n *= 2
		behind++
	}
	if behind+n > 1<<40 {
		return errBad
	}
	deep := r.deep
	r.deep = true
	for ; n > 0; n-- {
		if err := r.value(behind+n-1, streams); err != nil {
			return err
		}
	}
	r.deep = deep
	if c == '|' {
		return r.value(behind-1, streams)
	}
	return nil
}

func (r *naiveReader) line(limit int) error {
	text, _, ok := bytes.Cut(r.b[r.at:], []byte("\r"))
	if len(text) > limit {
		return errBad
	}
	r.at += len(text)
	if !ok {
		return errMore
	}
	return r.literal("\r\n")
}

// length reads the rest of a header: "?", "-1" or a decimal.
func (r *naiveReader) length(typ byte) (string, error) {
	start := r.at
	for {
		c, err := r.next()
		if err != nil {
			return "", err
		}
		got := string(r.b[start:r.at])
		switch {
		case c == '\r' && len(got) > 1:
			return got[:len(got)-1], r.literal("\n")
		case replyLen.MatchString(got):
			if n, err := strconv.ParseInt(got, 10, 64); err != nil || n > 1<<40 {
				return "", errBad
			}
		case got == "-" && typ != '|' && typ != '>' && typ != ';':
		case got == "-1":
			return got, r.literal("\r\n")
		case got == "?" && bytes.IndexByte([]byte("$*~%"), typ) >= 0:
			return got, r.literal("\r\n")
		default:
			return "", errBad
		}
		if got == "-" {
			if c, err := r.next(); err != nil {
				return "", err
			} else if c != '1' {
				return "", errBad
			}
			return "-1", r.literal("\r\n")
		}
	}
}

func (r *naiveReader) body(n int64) error {
	if int64(len(r.b)-r.at) < n {
		return errMore
	}
	r.at += int(n)
	return r.literal("\r\n")
}

func (r *naiveReader) chunks() error {
	for {
		if err := r.literal(";"); err != nil {
			return err
		}
		length, err := r.length(';')
		if err != nil || length == "0" {
			return err
		}
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil {
			return errBad
		}
		if err := r.body(n); err != nil {
			return err
		}
	}
}

func (r *naiveReader) stream(streams int) error {
	deep := r.deep
	r.deep = true
	for {
		if r.at == len(r.b) {
			return errMore
		}
		if r.b[r.at] == '.' {
			r.deep = deep
			return r.literal(".\r\n")
		}
		if err := r.value(0, streams); err != nil {
			return err
		}
	}
}
