//go:build linux

package nutcracker_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"
)

// link is a connection that speaks as much RESP2 as these tests need, with nothing asked or said at connect: twemproxy
// closes a connection that says HELLO or CLIENT.
type link struct {
	conn net.Conn
	r    *bufio.Reader
}

func dial(network, address string) (*link, error) {
	conn, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return nil, err
	}
	return newLink(conn), nil
}

func newLink(conn net.Conn) *link { return &link{conn: conn, r: bufio.NewReader(conn)} }

func mustDial(t *testing.T, network, address string) *link {
	t.Helper()
	l, err := dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.conn.Close() })
	return l
}

func appendRequest(dst []byte, args ...string) []byte {
	dst = fmt.Appendf(dst, "*%d\r\n", len(args))
	for _, arg := range args {
		dst = strconv.AppendInt(append(dst, '$'), int64(len(arg)), 10)
		dst = append(append(append(dst, "\r\n"...), arg...), "\r\n"...)
	}
	return dst
}

// send writes requests; the replies to all of them must then come within patience.
func (l *link) send(requests []byte) error {
	if err := l.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := l.conn.Write(requests)
	return err
}

// replyError is an -ERR reply.
type replyError string

func (e replyError) Error() string { return string(e) }

var okReply = []string{"OK"}

// reply reads one reply: the text of a status, integer or bulk, or the bulks of a flat array.
func (l *link) reply() ([]string, error) {
	raw, err := l.r.ReadSlice('\n')
	switch {
	case err != nil:
		return nil, err
	case string(raw) == "+OK\r\n": // nearly all of them
		return okReply, nil
	case len(raw) < 3:
		return nil, errors.New("empty reply")
	}
	line := string(raw[:len(raw)-2])
	switch kind, rest := line[0], line[1:]; kind {
	case '+', ':':
		return []string{rest}, nil
	case '-':
		return nil, replyError(rest)
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 || n > 1<<20 {
			return nil, fmt.Errorf("bad bulk header: %w", err)
		}
		bulk := make([]byte, n+2)
		if _, err := io.ReadFull(l.r, bulk); err != nil {
			return nil, err
		}
		return []string{string(bulk[:n])}, nil
	case '*':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 || n > 1<<20 {
			return nil, fmt.Errorf("bad array header: %w", err)
		}
		all := make([]string, 0, n)
		for range n {
			element, err := l.reply()
			if err != nil {
				return nil, err
			}
			all = append(all, element...)
		}
		return all, nil
	}
	return nil, fmt.Errorf("unknown reply type %q", line[0])
}

func (l *link) do(args ...string) ([]string, error) {
	if err := l.send(appendRequest(nil, args...)); err != nil {
		return nil, err
	}
	return l.reply()
}

// sample is a set of keys and the requests that set them, encoded once for all pools.
type sample struct {
	keys    []string
	batches []batch
}

// batch is what is sent before its replies are read.
type batch struct {
	requests []byte
	count    int
}

func newSample(keys []string) sample {
	const depth = 1000
	s := sample{keys: keys}
	for chunk := range slices.Chunk(keys, depth) {
		b := batch{count: len(chunk)}
		for _, key := range chunk {
			b.requests = appendRequest(b.requests, "SET", key, "v")
		}
		s.batches = append(s.batches, b)
	}
	return s
}

// set writes every key, pipelined, and returns how many were refused with an error reply, and one of the errors.
func (l *link) set(s sample) (refused int, refusal error, err error) {
	for _, b := range s.batches {
		if err := l.send(b.requests); err != nil {
			return refused, refusal, err
		}
		for range b.count {
			_, err := l.reply()
			var no replyError
			switch {
			case errors.As(err, &no):
				refused, refusal = refused+1, no
			case err != nil:
				return refused, refusal, err
			}
		}
	}
	return refused, refusal, nil
}
