package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Conn is a RESP connection that hides nothing: bytes in, bytes out, each with a deadline. It knows no pool, no retry
// and no pipeline of its own, so a test sees exactly what a server answered. Not for concurrent use.
type Conn struct {
	Timeout time.Duration // of each Receive; Patience by default
	net     net.Conn
	r       *bufio.Reader
	raw     []byte // of the reply being read
}

// Reply is one reply of any RESP2 or RESP3 type.
type Reply struct {
	Kind  byte    // + - : $ * % ~ > _ , # = ( |
	Str   string  // + - $ = , ( and the digits of :
	Int   int64   // : and # (0 or 1)
	Elems []Reply // * ~ >, and of % the keys and values in turn
	Null  bool    // _ and the null bulk and array of RESP2
	Raw   []byte  // of a top-level reply: its bytes
}

// Dial connects to host:port.
func Dial(addr string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

func newConn(c net.Conn) *Conn {
	return &Conn{net: c, r: bufio.NewReaderSize(c, 32<<10), Timeout: Patience}
}

// Close closes both directions.
func (c *Conn) Close() { _ = c.net.Close() }

// Reset closes with RST instead of FIN, as the kernel does for a process that dies with replies unread.
func (c *Conn) Reset() error {
	tcp, ok := c.net.(*net.TCPConn)
	if !ok {
		return errors.New("not a TCP connection")
	}
	return errors.Join(tcp.SetLinger(0), tcp.Close())
}

// CloseWrite says that nothing more will be sent.
func (c *Conn) CloseWrite() error {
	tcp, ok := c.net.(*net.TCPConn)
	if !ok {
		return errors.New("not a TCP connection")
	}
	return tcp.CloseWrite()
}

// SetReadBuffer bounds what the kernel takes for the connection while nobody reads; without, it may be megabytes.
func (c *Conn) SetReadBuffer(bytes int) error {
	tcp, ok := c.net.(*net.TCPConn)
	if !ok {
		return errors.New("not a TCP connection")
	}
	return tcp.SetReadBuffer(bytes)
}

// Write sends bytes as they are.
func (c *Conn) Write(s string) error {
	if err := c.net.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	_, err := io.WriteString(c.net, s)
	return err
}

// Encode renders a request as an array of bulk strings.
func Encode(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// Do sends one request and reads one reply. An error reply is a Reply, not an error.
func (c *Conn) Do(args ...string) (Reply, error) {
	if err := c.Write(Encode(args...)); err != nil {
		return Reply{}, err
	}
	return c.Receive()
}

// Receive reads one reply.
func (c *Conn) Receive() (Reply, error) {
	if err := c.net.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return Reply{}, err
	}
	c.raw = nil
	r, err := c.reply(0)
	r.Raw = c.raw
	return r, err
}

// Expect reads exactly these bytes; an error with the first that differ.
func (c *Conn) Expect(want []byte) error {
	if err := c.net.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	for len(want) > 0 {
		if _, err := c.r.Peek(1); err != nil {
			return err
		}
		got, _ := c.r.Peek(min(c.r.Buffered(), len(want)))
		if !bytes.HasPrefix(want, got) {
			return fmt.Errorf("%.200q, want %.200q", got, want)
		}
		want = want[len(got):]
		_, _ = c.r.Discard(len(got))
	}
	return nil
}

// EOF reads until the other side closes and returns what came before; an error if it stays open.
func (c *Conn) EOF() (string, error) {
	if err := c.net.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return "", err
	}
	rest, err := io.ReadAll(c.r)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return string(rest), fmt.Errorf("the connection is still open after %v", c.Timeout)
	}
	return string(rest), nil
}

func (c *Conn) line() (string, error) {
	s, err := c.r.ReadString('\n')
	c.raw = append(c.raw, s...)
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(s, "\r\n") || len(s) < 3 {
		return "", fmt.Errorf("malformed line %q", s)
	}
	return s[:len(s)-2], nil
}

func (c *Conn) reply(depth int) (Reply, error) {
	if depth > 32 {
		return Reply{}, errors.New("reply nested deeper than 32")
	}
	line, err := c.line()
	if err != nil {
		return Reply{}, err
	}
	r := Reply{Kind: line[0], Str: line[1:]}
	switch r.Kind {
	case '+', '-', ',', '(':
		return r, nil
	case '_':
		r.Null = true
		return r, nil
	case '#':
		if r.Str == "t" {
			r.Int = 1
		}
		return r, nil
	case ':':
		r.Int, err = strconv.ParseInt(r.Str, 10, 64)
		return r, err
	}
	n, err := strconv.Atoi(r.Str)
	if err != nil {
		return r, fmt.Errorf("malformed header %q", line)
	}
	switch r.Kind {
	case '$', '=':
		return c.bulk(r, n)
	case '*', '~', '>', '%', '|':
		if r.Kind == '%' || r.Kind == '|' {
			n *= 2
		}
		r.Null = n < 0
		for range max(n, 0) {
			e, err := c.reply(depth + 1)
			if err != nil {
				return r, err
			}
			r.Elems = append(r.Elems, e)
		}
		return r, nil
	}
	return r, fmt.Errorf("unknown reply type %q", line)
}

func (c *Conn) bulk(r Reply, n int) (Reply, error) {
	if n < 0 {
		r.Null, r.Str = true, ""
		return r, nil
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return r, err
	}
	c.raw = append(c.raw, b...)
	r.Str = string(b[:n])
	if r.Kind == '=' {
		r.Str = r.Str[min(4, n):] // the "txt:" of a verbatim string
	}
	return r, nil
}

// Err is the error that an error reply says, or nil.
func (r Reply) Err() error {
	if r.Kind == '-' {
		return errors.New(r.Str)
	}
	return nil
}

// Text is the reply on one line, for comparisons and failures.
func (r Reply) Text() string {
	switch {
	case r.Null:
		return "(nil)"
	case r.Kind == '*' || r.Kind == '~' || r.Kind == '>' || r.Kind == '%':
		parts := make([]string, len(r.Elems))
		for i, e := range r.Elems {
			parts[i] = e.Text()
		}
		return "[" + strings.Join(parts, " ") + "]"
	case r.Kind == '-':
		return "-" + r.Str
	}
	return r.Str
}

// Map reads a map, or a flat list of pairs, as names and texts.
func (r Reply) Map() map[string]string {
	m := make(map[string]string, len(r.Elems)/2)
	for i := 0; i+1 < len(r.Elems); i += 2 {
		m[r.Elems[i].Str] = r.Elems[i+1].Text()
	}
	return m
}

// Rows reads a list of maps.
func (r Reply) Rows() []map[string]string {
	rows := make([]map[string]string, len(r.Elems))
	for i, e := range r.Elems {
		rows[i] = e.Map()
	}
	return rows
}

// Ask opens a connection, sends one request, and closes it. A short deadline: callers poll.
func Ask(addr string, args ...string) (Reply, error) {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return Reply{}, err
	}
	conn := newConn(c)
	conn.Timeout = 5 * time.Second
	defer conn.Close()
	return conn.Do(args...)
}
