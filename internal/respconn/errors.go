package respconn

import "fmt"

// ProtocolError says that the peer does not speak RESP, or goes over a cap. The connection has to be closed: the stream is out of step.
type ProtocolError struct {
	// Reason is Redis' own text where it has one. Of what the peer sent it holds one byte at most, which may be a CR: Errorf makes a line of it.
	Reason string
}

// Error is the text a server sends behind "-ERR ".
func (e *ProtocolError) Error() string { return "Protocol error: " + e.Reason }

func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{Reason: fmt.Sprintf(format, args...)}
}
