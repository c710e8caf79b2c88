package sentinelclient

import (
	"net"
	"strings"
	"time"
)

// stringConn is a connection on which a string arrives.
type stringConn struct{ r *strings.Reader }

func (c *stringConn) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *stringConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *stringConn) Close() error                     { return nil }
func (c *stringConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *stringConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *stringConn) SetDeadline(time.Time) error      { return nil }
func (c *stringConn) SetReadDeadline(time.Time) error  { return nil }
func (c *stringConn) SetWriteDeadline(time.Time) error { return nil }
