package engine

import (
	"bytes"
	"math/bits"
	"strconv"

	"respgate/engine/command"
	"respgate/engine/resp"
)

// SCAN over several groups walks through one after the other. The cursor that a client gets says where:
//
//	cursor of the group's server * number of groups + index of the group
//
// A server's 0, its end, becomes the beginning of the next group, and 0 after the last one. Every key that is there all the
// time is seen at least once, as Redis promises it, while the pool's groups are the same and those with the cursor keep their masters.

// scanGroups sends SCAN to the group that the cursor is in, with the cursor of its server.
func (c *client) scanGroups(cmd *command.Command, frame []byte, f *resp.Frame) {
	l, n := c.loop, uint64(len(c.pool.groups))
	cursor, ok := parseCursor(arg(frame, f.Args[1]))
	if !ok {
		c.replyError("ERR invalid cursor")
		return
	}
	b := resp.AppendArray(l.scratch(), len(f.Args))
	b = resp.AppendBulk(b, arg(frame, f.Args[0]))
	b = resp.AppendBulk(b, strconv.AppendUint(nil, cursor/n, 10))
	b = append(b, frame[f.Args[1].End()+uint32(len("\r\n")):f.Size]...)
	s := l.newSplit()
	s.parts = append(s.parts, part{group: int32(cursor % n)})
	s.limit = int64(n)
	c.awaitSplit(cmd, s, len(frame))
	l.batch = nil // the request lives there: whoever answers it needs another scratch
	c.sendParts(s, b)
	l.batch = b[:0]
}

// parseCursor reads a cursor as Redis does, by strtoul(3): nothing is 0, and a minus wraps.
func parseCursor(b []byte) (n uint64, ok bool) {
	if len(b) == 0 {
		return 0, true
	}
	digits := b
	if b[0] == '+' || b[0] == '-' {
		digits = b[1:]
	}
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if b[0] == '-' {
		n = -n
	}
	return n, err == nil
}

// onward puts the pool's cursor in place of the server's; the rest of the reply is passed on as it is. False if it is no
// reply of SCAN.
func (s *split) onward() bool {
	const begin = "*2\r\n"
	pt := &s.parts[0]
	b := pt.fragment.reply.Pieces()[0].Bytes()
	cursor, size, ok := bulkString(bytes.TrimPrefix(b, []byte(begin)))
	if !ok || !bytes.HasPrefix(b, []byte(begin)) {
		return false
	}
	at, err := strconv.ParseUint(string(cursor), 10, 64)
	if err != nil {
		return false
	}
	n, index := uint64(s.limit), uint64(pt.group)
	if at == 0 {
		if index++; index == n {
			index = 0
		}
	}
	high, low := bits.Mul64(at, n)
	next, carry := bits.Add64(low, index, 0)
	if high != 0 || carry != 0 {
		return false
	}
	pt.header = len(begin) + size
	s.head = resp.AppendBulk(append(s.head, begin...), strconv.AppendUint(nil, next, 10))
	return true
}
