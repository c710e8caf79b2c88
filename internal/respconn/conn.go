// Package respconn is a RESP connection of the control plane on untrusted bytes: github.com/tidwall/resp behind deadlines and caps. The sentinel
// client and the manager client use it as clients, the admin port and the reference manager as servers.
//
//	socket -> replyScanner, or engine/resp for a request (caps, checked before anything is allocated) -> one whole frame -> tidwall/resp, or
//	decodeRESP3 for what it does not know -> Value, or the arguments
//
// tidwall/resp alone is not safe on bytes of a stranger (a deep nesting overflows its stack, a length is allocated as announced, an array that is too
// long leaves the stream out of step), so it only ever sees a frame that was checked whole.
//
// A Conn belongs to one reading and one writing goroutine, which may be the same one, and is in a server; Close and SetDeadline may be called by any.
package respconn

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"time"

	"github.com/tidwall/resp"
)

// Conn is one RESP connection. After a ProtocolError the stream is out of step: every later read returns the same error, and only Close is of use.
type Conn struct {
	c         net.Conn
	in        *bufio.Reader
	out       *bufio.Writer
	w         *resp.Writer // over out; it drops write errors, but out keeps the first one for Flush
	reply     replyScanner
	request   requestScanner
	frame     bytes.Reader
	decoder   *resp.Reader // over frame
	broken    error
	proto     int
	alongside bool // others write as well
}

// Dial connects to a RESP server. network is "tcp" or "unix"; the dial is bounded by ctx alone. The limits are those of the replies.
func Dial(ctx context.Context, network, address string, lim Limits) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err // it names the operation, the network and the address
	}
	return New(c, lim), nil
}

// New wraps a connection to a RESP server, or an end of net.Pipe; it owns c from now on.
func New(c net.Conn, lim Limits) *Conn {
	return newConn(c, lim, RequestLimits{})
}

// NewServer wraps an accepted connection of a client whose requests are bounded by lim; it owns c from now on. Replies are written as RESP2 until
// SetProtocol.
func NewServer(c net.Conn, lim RequestLimits) *Conn {
	return newConn(c, Limits{}, lim)
}

func newConn(c net.Conn, lim Limits, reqs RequestLimits) *Conn {
	conn := &Conn{c: c, in: bufio.NewReader(c), out: bufio.NewWriter(c), proto: 2}
	conn.w = resp.NewWriter(conn.out)
	conn.decoder = resp.NewReader(&conn.frame)
	conn.reply.lim = lim.withDefaults()
	conn.request.limit(reqs.withDefaults())
	return conn
}

// SetDeadline bounds every read and write from now on; the zero time takes the bound away. A Receive or ReadRequest that ran into it may be called
// again: what was read is kept.
func (c *Conn) SetDeadline(t time.Time) error { return c.c.SetDeadline(t) }

// SetReadDeadline is SetDeadline for Receive and ReadRequest alone.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.c.SetReadDeadline(t) }

// SetWriteDeadline is SetDeadline for Flush, and for Send and Reply when their buffer overflows.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.c.SetWriteDeadline(t) }

// RemoteAddr is the address of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.c.RemoteAddr() }

// LocalAddr is the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.c.LocalAddr() }

// Close closes the connection; a blocked read or write returns with an error. What was sent and not flushed is lost.
func (c *Conn) Close() error { return c.c.Close() }

// CloseGently flushes, says that no more will come, and takes what the peer still sends for as long as patience, before it closes: a socket closed over
// unread bytes is reset, and the reset may overtake the last reply. Errors are of no more interest.
func (c *Conn) CloseGently(patience time.Duration) {
	defer func() { _ = c.c.Close() }()
	if c.c.SetDeadline(time.Now().Add(patience)) != nil || c.out.Flush() != nil {
		return
	}
	half, ok := c.c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_, _ = io.Copy(io.Discard, c.c)
}

// Send buffers one request; Flush sends it. An error is that of an earlier write, so Flush's is enough for most callers.
func (c *Conn) Send(args ...string) error {
	vals := make([]resp.Value, len(args))
	for i, a := range args {
		vals[i] = resp.StringValue(a)
	}
	if err := c.w.WriteArray(vals); err != nil {
		return err
	}
	return c.bufferError()
}

// Flush writes what is buffered.
func (c *Conn) Flush() error { return c.out.Flush() }

// bufferError is the first error of an earlier write: bufio.Writer keeps it, and an empty Write tells it.
func (c *Conn) bufferError() error {
	_, err := c.out.Write(nil)
	return err
}

// Do sends one request and waits for its reply; the error reply of a server is a Value, not an error. It is for links without pushes and without
// requests in flight.
func (c *Conn) Do(args ...string) (Value, error) {
	if err := c.Send(args...); err != nil {
		return Value{}, err
	}
	if err := c.Flush(); err != nil {
		return Value{}, err
	}
	return c.Receive()
}

// Receive waits for the next reply or push. Attributes (|) are checked and skipped. Errors: *ProtocolError, io.EOF between two replies,
// io.ErrUnexpectedEOF within one, or that of the connection.
func (c *Conn) Receive() (Value, error) {
	if c.broken != nil {
		return Value{}, c.broken
	}
	if err := c.fill(&c.reply, nil); err != nil {
		return Value{}, err
	}
	v, err := c.decode()
	c.reply.reset()
	if err != nil {
		c.broken = err
	}
	return v, err
}

// ReadRequest waits for the next request of a client: an array of bulk strings, or an inline line with quotes as Redis reads it. It has at least one
// argument: empty requests are skipped. Replies that are still buffered are flushed before it waits, so that a server answers pipelined requests with one
// write. A *ProtocolError carries Redis' text; tell the client "-ERR " and the text, then CloseGently.
func (c *Conn) ReadRequest() ([]string, error) {
	for {
		if c.broken != nil {
			return nil, c.broken
		}
		out := c.out
		if c.alongside {
			out = nil
		}
		if err := c.fill(&c.request, out); err != nil {
			return nil, err
		}
		args, err := c.decodeRequest()
		c.request.reset()
		if err != nil {
			c.broken = err
			return nil, err
		}
		if len(args) > 0 {
			return args, nil
		}
	}
}

// WriteAlongside says that replies are flushed by whoever writes them, for other goroutines write as well, one at a time: from now on
// ReadRequest leaves the buffer alone.
func (c *Conn) WriteAlongside() { c.alongside = true }

// LimitRequests changes the bounds of the requests to come: a server lets a client that has authenticated send more. It is called between two requests.
func (c *Conn) LimitRequests(lim RequestLimits) { c.request.limit(lim.withDefaults()) }

// Buffered is the number of bytes received and not yet read.
func (c *Conn) Buffered() int { return c.in.Buffered() }

// scanner frames one message over a stream of chunks.
type scanner interface {
	// feed takes bytes from p; done says that the message ends with p[:n].
	feed(p []byte) (n int, done bool, err error)
	midway() bool
}

// fill reads until s has one whole frame. It flushes out before it has to wait, if it is given one: only a server reads and writes in one goroutine.
func (c *Conn) fill(s scanner, out *bufio.Writer) error {
	for {
		if c.in.Buffered() == 0 {
			if out != nil {
				if err := out.Flush(); err != nil {
					return err
				}
			}
			if _, err := c.in.Peek(1); err != nil {
				if err == io.EOF && s.midway() {
					return io.ErrUnexpectedEOF
				}
				return err
			}
		}
		p, _ := c.in.Peek(c.in.Buffered()) // cannot fail: these bytes are there
		n, done, err := s.feed(p)
		_, _ = c.in.Discard(n) // likewise
		if err != nil {
			c.broken = err
			return err
		}
		if done {
			return nil
		}
	}
}
