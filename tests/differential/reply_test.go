package differential

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"
)

// reply is one reply, or a part of one, with its bytes.
type reply struct {
	kind  byte
	text  string // of a line or a bulk string
	elems []reply
	null  bool
	raw   []byte
}

func (r *reply) isError() bool { return r.kind == '-' }

// name is the first element of an array or a push: what kind of message it is.
func (r *reply) name() string {
	if (r.kind == '*' || r.kind == '>') && len(r.elems) > 0 && r.elems[0].kind == '$' {
		return r.elems[0].text
	}
	return ""
}

// isMessage reports whether nobody asked for the reply: it came by a subscription, or by client-side caching.
func (r *reply) isMessage() bool {
	switch r.name() {
	case "message", "pmessage", "smessage", "invalidate", "tracking-redir-broken":
		return true
	}
	return false
}

// isConfirmation reports whether the reply is one of those that SUBSCRIBE and its kind have for each channel.
func (r *reply) isConfirmation() bool {
	switch r.name() {
	case "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe":
		return len(r.elems) == 3
	}
	return false
}

var errShort = errors.New("the reply is not complete")

// parse reads the first reply of b; errShort if there is more to come.
func parse(b []byte) (r reply, n int, err error) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return r, 0, errShort
	}
	if end == 0 {
		return r, 0, errors.New("an empty line is no reply")
	}
	r.kind, r.text, n = b[0], string(b[1:end]), end+2
	switch r.kind {
	case '+', '-', ':', ',', '(', '#', '_':
		r.null = r.kind == '_'
		r.raw = b[:n]
		return r, n, nil
	case '$', '=', '!', '*', '~', '>', '%', '|':
	default:
		return r, 0, fmt.Errorf("no reply begins with %q", b[:min(len(b), 40)])
	}
	size, err := strconv.Atoi(r.text)
	if err != nil {
		return r, 0, fmt.Errorf("no length: %q", b[:end])
	}
	r.null, r.text = size < 0, ""
	switch r.kind {
	case '$', '=', '!':
		if size < 0 {
			break
		}
		if len(b) < n+size+2 {
			return r, 0, errShort
		}
		r.text = string(b[n : n+size])
		n += size + 2
	default:
		if r.kind == '%' || r.kind == '|' {
			size *= 2
		}
		for range max(size, 0) {
			e, m, err := parse(b[n:])
			if err != nil {
				return r, 0, err
			}
			r.elems = append(r.elems, e)
			n += m
		}
	}
	r.raw = b[:n]
	return r, n, nil
}

// wire is a connection that is written in pieces, and read reply by reply.
type wire struct {
	conn net.Conn
	buf  []byte
	off  int
}

func dialWire(addr string) (*wire, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn}, nil
}

// write sends the pieces with a system call each.
func (w *wire) write(pieces [][]byte, patience time.Duration) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := w.conn.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// next reads one reply; io.EOF at the end.
func (w *wire) next(patience time.Duration) (reply, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return reply{}, err
	}
	for {
		if w.off < len(w.buf) {
			r, n, err := parse(w.buf[w.off:])
			if err == nil {
				w.off += n
				return r, nil
			}
			if !errors.Is(err, errShort) {
				return r, err
			}
		}
		// Replies that were returned point into the array: it is only ever appended to.
		w.buf = slices.Grow(w.buf, 16<<10)
		n, err := w.conn.Read(w.buf[len(w.buf):cap(w.buf)])
		w.buf = w.buf[:len(w.buf)+n]
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) && w.off < len(w.buf) {
				return reply{}, fmt.Errorf("the connection ends within a reply: %q", w.buf[w.off:])
			}
			return reply{}, err
		}
	}
}

func (w *wire) close() { _ = w.conn.Close() }
