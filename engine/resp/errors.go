package resp

import (
	"errors"
	"fmt"
)

// ProtocolError is what Redis says about a malformed request before it closes
// the connection: the text after "-ERR ". It may end in a byte that the client
// sent, CR and LF included: send it through AppendError.
type ProtocolError string

func (e ProtocolError) Error() string { return string(e) }

// The texts are Redis' own, except the last two, which stand for mistakes that
// Redis does not look for.
const (
	errMultibulkLength  = ProtocolError("Protocol error: invalid multibulk length")
	errBulkLength       = ProtocolError("Protocol error: invalid bulk length")
	errUnauthMultibulk  = ProtocolError("Protocol error: unauthenticated multibulk length")
	errUnauthBulk       = ProtocolError("Protocol error: unauthenticated bulk length")
	errMultibulkLine    = ProtocolError("Protocol error: too big mbulk count string")
	errBulkLine         = ProtocolError("Protocol error: too big bulk count string")
	errInlineLine       = ProtocolError("Protocol error: too big inline request")
	errUnbalancedQuotes = ProtocolError("Protocol error: unbalanced quotes in request")
	errBulkEnd          = ProtocolError("Protocol error: expected CR LF behind bulk")
	errRequestSize      = ProtocolError("Protocol error: too big request")
)

func errNotBulk(got byte) error {
	return ProtocolError("Protocol error: expected '$', got '" + string([]byte{got}) + "'")
}

// Errors of a server that does not speak RESP. They name one byte or one
// length, never more of a reply.

var (
	errReplyBroken = errors.New("malformed reply: an earlier one was not understood")
	errReplyDepth  = fmt.Errorf("malformed reply: more than %d streamed aggregates within one another", MaxReplyStream)
)

func errReplyByte(got byte, at replyState) error {
	return fmt.Errorf("malformed reply: byte %q as %s", got, at)
}

func errReplyLength(typ byte, n int64) error {
	return fmt.Errorf("malformed reply: length %d behind %q", n, typ)
}

func errReplyLine(typ byte, limit int64) error {
	return fmt.Errorf("malformed reply: more than %d bytes in the line behind %q", limit, typ)
}
