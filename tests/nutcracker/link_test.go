//go:build linux

package nutcracker_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// link is a connection that speaks as much RESP2 as these tests need, with nothing asked or said at connect: twemproxy
// closes a connection that says HELLO or CLIENT.
type link struct {
	conn net.Conn
	r    *bufio.Reader
	out  []byte
}

func dial(network, address string) (*link, error) {
	conn, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &link{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}, nil
}

func mustDial(t *testing.T, network, address string) *link {
	t.Helper()
	l, err := dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.conn.Close() })
	return l
}

func (l *link) queue(args ...string) {
	l.out = fmt.Appendf(l.out, "*%d\r\n", len(args))
	for _, arg := range args {
		l.out = strconv.AppendInt(append(l.out, '$'), int64(len(arg)), 10)
		l.out = append(append(append(l.out, "\r\n"...), arg...), "\r\n"...)
	}
}

func (l *link) flush() error {
	_, err := l.conn.Write(l.out)
	l.out = l.out[:0]
	return err
}

// replyError is an -ERR reply.
type replyError string

func (e replyError) Error() string { return string(e) }

// reply reads one reply: the text of a status, integer or bulk, or the bulks of a flat array.
func (l *link) reply() ([]string, error) {
	line, err := l.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, errors.New("empty reply")
	}
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
	l.queue(args...)
	if err := l.flush(); err != nil {
		return nil, err
	}
	return l.reply()
}

// set writes every key, pipelined, and returns how many were refused with an error reply, and one of the errors.
func (l *link) set(keys []string) (refused int, refusal error, err error) {
	const depth = 1000
	for len(keys) > 0 {
		batch := keys[:min(depth, len(keys))]
		keys = keys[len(batch):]
		for _, key := range batch {
			l.queue("SET", key, "v")
		}
		if err := l.flush(); err != nil {
			return refused, refusal, err
		}
		for range batch {
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
