package respconn

import "fmt"

// ProtocolError says that the peer does not speak RESP, or goes over a cap. The connection has to be closed: the stream is out of step.
type ProtocolError struct {
	// Reason is Redis' own text where it has one; it never holds bytes of a key, a value or a password.
	Reason string
}

// Error is the text a server sends behind "-ERR ".
func (e *ProtocolError) Error() string { return "Protocol error: " + e.Reason }

func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{Reason: fmt.Sprintf(format, args...)}
}
