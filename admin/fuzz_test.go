package admin

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"respgate/internal/respconn"
)

// canned is a connection whose client has sent all it will, and reads everything.
type canned struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *canned) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *canned) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *canned) Close() error                     { return nil }
func (c *canned) LocalAddr() net.Addr              { return &net.TCPAddr{Port: 1} }
func (c *canned) RemoteAddr() net.Addr             { return &net.TCPAddr{Port: 2} }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

// FuzzSwitchPayload sends any bytes to a session. Whatever comes, the replies are whole RESP replies, and none is an internal error.
func FuzzSwitchPayload(f *testing.F) {
	for _, c := range newTable().all() {
		f.Add([]byte(c.example + "\r\n"))
		f.Add([]byte("HELLO 3\r\n" + c.example + "\r\n"))
	}
	for _, s := range []string{
		"*5\r\n$5\r\nPROXY\r\n$6\r\nSWITCH\r\n$5\r\ncache\r\n$2\r\ng1\r\n$0\r\n\r\n", "PROXY SWITCH cache g1 \"\\x00\\n\" 1\r\n", "PROXY SWITCH '' ''\r\n",
		"*1048577\r\n", "*1\r\n$536870913\r\n", "*1\r\n$-2\r\n", "*-1\r\n*0\r\n\r\nPING\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HELLO 3 AUTH default x SETNAME \"\\n\"\r\n",
		"COMMAND DOCS proxy| |\r\n", "COMMAND LIST FILTERBY PATTERN [\\\r\n", "PROXY ROUTE cache \"\r\n", "CLIENT SETNAME \xff\r\n", "CLIENT KILL ID 18446744073709551615\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		proxy := newFake()
		s := New(Config{}, proxy, proxy, proxy, slog.New(slog.DiscardHandler))
		c := &canned{in: bytes.NewReader(request)}
		newSession(s, c, 1).serve()
		replies := respconn.New(&canned{in: bytes.NewReader(c.out.Bytes())}, respconn.Limits{Reply: 4 << 20, Elements: 1 << 16, Depth: 32})
		for {
			v, err := replies.Receive()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%q: the replies %q: %v", request, c.out.Bytes(), err)
			}
			if v.IsError() && v.Str == errInternal.Str {
				t.Fatalf("%q: internal error", request)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
