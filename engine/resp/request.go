package resp

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Redis' defaults, and the bounds that are not configurable.
const (
	DefaultInline = 64 << 10  // bytes of an inline request (PROTO_INLINE_MAX_SIZE)
	DefaultArgs   = 1 << 20   // arguments of a request
	DefaultBulk   = 512 << 20 // bytes of an argument (proto-max-bulk-len)

	// MaxRequest bounds a whole request, in bytes, so that a Span can hold any
	// place in it.
	MaxRequest = math.MaxInt32

	maxHeader  = 64 << 10 // bytes of a '*' or '$' line (PROTO_INLINE_MAX_SIZE)
	unauthArgs = 10
	unauthBulk = 16 << 10
)

var defaults Limits

// crlf is "\r\n" as a little-endian number.
const crlf = '\r' | '\n'<<8

// Span is a place within a frame, in bytes.
type Span struct{ Off, Len uint32 }

// Of returns the bytes of b that the span covers.
func (s Span) Of(b []byte) []byte { return b[s.Off : s.Off+s.Len : s.Off+s.Len] }

// End is the offset behind the span.
func (s Span) End() uint32 { return s.Off + s.Len }

// Limits bound what a client may send. The zero value, like a nil pointer, is
// Redis' defaults.
type Limits struct {
	Inline int   // bytes of an inline request without its LF; 0 = DefaultInline
	Args   int   // arguments of a request; 0 = DefaultArgs
	Bulk   int64 // bytes of an argument; 0 = DefaultBulk

	// Unauthenticated holds a client that has yet to authenticate to 10
	// arguments of 16 KiB, as Redis does.
	Unauthenticated bool
}

func (l *Limits) inline() int {
	if l.Inline > 0 {
		return l.Inline
	}
	return DefaultInline
}

func (l *Limits) args() int64 {
	if l.Args > 0 {
		return int64(l.Args)
	}
	return DefaultArgs
}

func (l *Limits) bulk() int64 {
	if l.Bulk > 0 {
		return l.Bulk
	}
	return DefaultBulk
}

// Frame is the last request framed. The caller owns it and hands it in again:
// the array behind Args is reused, and grows to 8 bytes times the arguments of
// the largest request.
type Frame struct {
	Size   int    // bytes of the request, line ends included
	Args   []Span // relative to the start of the request
	Inline bool   // an inline request: Args is empty, see ParseInline
}

// RequestScanner finds where a request ends and resumes where it stopped. One
// per client; the zero value is ready. It looks at no byte of a bulk, and at a
// header only twice: when it arrives and, for a request that came in pieces,
// when the last piece is there.
type RequestScanner struct {
	pos  uint32 // start of the line to be read next; 0 = the first line
	seen uint32 // the line is known not to end before this offset
	left uint32 // arguments still to come, when pos > 0
	need uint32 // what Need says; 0 = nothing of the request was seen
}

// Reset forgets the request that was being read.
func (s *RequestScanner) Reset() { *s = RequestScanner{} }

// Need is the least length, in bytes from the start of the request, that buf
// must have before Scan can get further. Inside a bulk it is the end of the
// bulk, so that a buffer can grow once.
func (s *RequestScanner) Need() int { return max(1, int(s.need)) }

// Scan looks for one request at the start of buf. Between calls that return
// done=false buf may move and grow but still begins with the same request.
//
//   - done: buf[:f.Size] is one request and the scanner is ready for the next.
//     "*0", a negative count and an empty line are requests without arguments:
//     f.Args is empty and f.Inline false; nobody expects a reply to them.
//   - !done and no error: more bytes are needed, see Need. f is scratch.
//   - err is a ProtocolError. Say it to the client and close: the scanner must
//     be Reset before it is used again.
func (s *RequestScanner) Scan(buf []byte, lim *Limits, f *Frame) (done bool, err error) {
	if len(buf) < s.Need() {
		return false, nil
	}
	if lim == nil {
		lim = &defaults
	}
	whole := len(buf)
	buf = buf[:min(whole, MaxRequest)]
	switch {
	case s.pos > 0:
		done, err = s.resume(buf, lim, f)
	case buf[0] == '*':
		done, err = s.begin(buf, lim, f)
	default:
		done, err = s.inline(buf, lim, f)
	}
	if !done && err == nil && whole > MaxRequest {
		err = errRequestSize
	}
	return done, err
}

// begin reads a multibulk request from its first byte. A request that arrived
// whole is done here, in one pass.
func (s *RequestScanner) begin(buf []byte, lim *Limits, f *Frame) (bool, error) {
	var left, i int
	if len(buf) >= 4 && binary.LittleEndian.Uint16(buf[2:]) == crlf && buf[1]-'1' <= 8 && int64(buf[1]-'0') <= lim.args() {
		left, i = int(buf[1]-'0'), 4
	} else {
		n, next, err := s.count(buf, lim)
		if next == 0 || err != nil {
			return false, err
		}
		left, i = n, next
	}
	args := f.Args[:0]
	short := uint32(min(lim.bulk(), 99))
	for left > 0 {
		// One or two digits of length, and the bulk complete: nearly all.
		if b := buf[i:]; len(b) >= 6 && b[0] == '$' {
			n, h := shortLength(b)
			end := int(h + n)
			if h > 0 && n <= short && end+2 <= len(b) && binary.LittleEndian.Uint16(b[end:]) == crlf {
				args = append(args, Span{uint32(i) + h, n})
				i += end + 2
				left--
				continue
			}
		}
		body, end, err := s.bulk(buf, i, lim)
		if end == 0 || err != nil {
			s.left = uint32(left)
			f.Args = args
			return false, err
		}
		args = append(args, Span{uint32(body), uint32(end - 2 - body)})
		i = end
		left--
	}
	s.Reset()
	f.Args, f.Size, f.Inline = args, i, false
	return true, nil
}

// resume goes on with a request of which at least the count was read, and has
// begin walk the headers again when it is complete: the spans of the first
// pieces were in a Frame that has served other requests since.
func (s *RequestScanner) resume(buf []byte, lim *Limits, f *Frame) (bool, error) {
	i := int(s.pos)
	for s.left > 0 {
		_, end, err := s.bulk(buf, i, lim)
		if end == 0 || err != nil {
			return false, err
		}
		i = end
		s.left--
	}
	s.Reset()
	return s.begin(buf[:i], lim, f)
}

// count reads the line "*n\r\n". next is where the first argument begins, 0
// when the line is not complete. n is not negative.
func (s *RequestScanner) count(buf []byte, lim *Limits) (n, next int, err error) {
	c, ok, next, err := s.header(buf, 0, errMultibulkLine, errMultibulkLength)
	switch {
	case next == 0 || err != nil:
		return 0, 0, err
	case !ok || c > lim.args():
		return 0, 0, errMultibulkLength
	case lim.Unauthenticated && c > unauthArgs:
		return 0, 0, errUnauthMultibulk
	}
	return int(max(c, 0)), next, nil
}

// bulk reads one argument at buf[i:]. body is its first byte, end is behind its
// line end; end is 0 when it is not complete, and then the scanner remembers
// where to go on.
func (s *RequestScanner) bulk(buf []byte, i int, lim *Limits) (body, end int, err error) {
	if i == len(buf) {
		s.wait(i, i, i+1)
		return 0, 0, nil
	}
	if buf[i] != '$' {
		return 0, 0, errNotBulk(buf[i])
	}
	n, ok, body, err := s.header(buf, i, errBulkLine, errBulkLength)
	switch {
	case body == 0 || err != nil:
		return 0, 0, err
	case !ok || n < 0 || n > lim.bulk():
		return 0, 0, errBulkLength
	case lim.Unauthenticated && n > unauthBulk:
		return 0, 0, errUnauthBulk
	case n > int64(MaxRequest-2-body):
		return 0, 0, errRequestSize
	}
	end = body + int(n) + 2
	if end > len(buf) {
		s.wait(i, i, end)
		return 0, 0, nil
	}
	if binary.LittleEndian.Uint16(buf[end-2:]) != crlf {
		return 0, 0, errBulkEnd
	}
	return body, end, nil
}

// header reads the line of a type, a number and CR LF at buf[i:]. next is
// behind it, 0 when it has not arrived; ok is false when that is no number.
func (s *RequestScanner) header(buf []byte, i int, long, bad error) (n int64, ok bool, next int, err error) {
	k := i + 1
	for ; k < len(buf) && k <= i+9 && buf[k]-'0' <= 9; k++ {
		n = n*10 + int64(buf[k]-'0')
	}
	if k > i+1 && len(buf)-k >= 2 && binary.LittleEndian.Uint16(buf[k:]) == crlf && (buf[i+1] != '0' || k == i+2) {
		return n, true, k + 2, nil
	}
	// Cut short, not a number, or a very long one.
	cr, err := s.line(buf, i, long, bad)
	if cr == 0 || err != nil {
		return 0, false, 0, err
	}
	n, ok = ParseInt(buf[i+1 : cr])
	return n, ok, cr + 2, nil
}

// line returns the offset of the CR LF that ends the header line at buf[i:],
// or 0 when it has not arrived.
func (s *RequestScanner) line(buf []byte, i int, long, bad error) (cr int, err error) {
	from := max(i, int(s.seen))
	k := bytes.IndexByte(buf[from:min(len(buf), i+maxHeader+1)], '\r')
	switch {
	case k < 0 && len(buf)-i > maxHeader:
		return 0, long
	case k < 0:
		s.wait(i, len(buf), len(buf)+1)
		return 0, nil
	}
	cr = from + k
	switch {
	case cr+1 == len(buf):
		s.wait(i, cr, cr+2)
		return 0, nil
	case buf[cr+1] != '\n':
		return 0, bad
	}
	return cr, nil
}

// inline reads a request that is one line, ended by LF or CR LF.
func (s *RequestScanner) inline(buf []byte, lim *Limits, f *Frame) (bool, error) {
	limit := lim.inline()
	k := bytes.IndexByte(buf[s.seen:min(len(buf), limit+1)], '\n')
	switch {
	case k < 0 && len(buf) > limit:
		return false, errInlineLine
	case k < 0:
		s.wait(0, len(buf), len(buf)+1)
		return false, nil
	}
	lf := int(s.seen) + k
	s.Reset()
	f.Size, f.Args = lf+1, f.Args[:0]
	f.Inline = lf > 1 || lf == 1 && buf[0] != '\r'
	return true, nil
}

// wait remembers the line to go on with, how much of it needs no second look,
// and the length that makes another look worth while.
func (s *RequestScanner) wait(pos, seen, need int) {
	s.pos, s.seen, s.need = uint32(pos), uint32(seen), uint32(need)
}
