package respconn

import (
	"bytes"
	"strings"

	"respgate/engine/resp"
)

// requestScanner frames one request of an untrusted client: what a request is, and when it is none, engine/resp decides, as it does for the clients of the
// proxy. Here are the bytes and the bound on all of them together.
type requestScanner struct {
	lim    RequestLimits
	caps   resp.Limits // lim, argument by argument
	buf    []byte
	framer resp.RequestScanner
	frame  resp.Frame
}

func (s *requestScanner) limit(lim RequestLimits) {
	s.lim = lim
	s.caps = resp.Limits{Inline: lim.Bytes, Args: lim.Args, Bulk: int64(lim.Bytes)}
}

func (s *requestScanner) midway() bool { return len(s.buf) > 0 }

func (s *requestScanner) reset() {
	if cap(s.buf) > frameKept {
		s.buf, s.frame.Args = nil, nil
	}
	s.buf = s.buf[:0]
	s.framer.Reset()
}

// feed takes what the framer needs for its next step and no more: a byte of a line, or an argument to its end. So it never takes bytes of the next
// request, and an argument that goes over the bound is refused at its header, in whatever pieces it comes.
func (s *requestScanner) feed(p []byte) (n int, done bool, err error) {
	for n < len(p) && !done {
		took := min(s.framer.Need()-len(s.buf), len(p)-n)
		s.buf = append(s.buf, p[n:n+took]...)
		n += took
		if done, err = s.framer.Scan(s.buf, &s.caps, &s.frame); err != nil {
			return n, false, requestError(err)
		}
		if !done && s.framer.Need() > s.lim.Bytes {
			return n, false, s.tooBig()
		}
	}
	return n, done, nil
}

// tooBig is what Redis says about the part of the request that goes over the bound.
func (s *requestScanner) tooBig() error {
	switch {
	case s.framer.Need() > len(s.buf)+1: // within a line it is one byte more
		return protocolErrorf("invalid bulk length")
	case s.buf[0] != '*':
		return protocolErrorf("too big inline request")
	case bytes.Contains(s.buf, crlf):
		return protocolErrorf("too big bulk count string")
	}
	return protocolErrorf("too big mbulk count string")
}

// multibulk is the frame as an array of bulk strings, also if it was an inline line; it is empty for a request without arguments.
func (s *requestScanner) multibulk() ([]byte, error) {
	switch {
	case s.frame.Inline:
		frame, _, err := resp.ParseInline(nil, s.buf)
		if err != nil {
			return nil, requestError(err)
		}
		return frame, nil
	case len(s.frame.Args) == 0:
		return nil, nil
	}
	return s.buf, nil
}

// noBulkEnd is the one text of engine/resp here that is not Redis': Redis does not look at the CR LF behind an argument.
const noBulkEnd = resp.ProtocolError("Protocol error: expected CR LF behind bulk")

func requestError(err error) error {
	if err == noBulkEnd {
		return protocolErrorf("invalid bulk length")
	}
	return &ProtocolError{Reason: strings.TrimPrefix(err.Error(), "Protocol error: ")}
}
