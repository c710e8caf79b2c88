package engine

// errorKind counts the proxy's own errors by their cause; the names are labels of the console and of the metrics.
type errorKind uint8

const (
	errProtocol errorKind = iota
	errUnknownCommand
	errArity
	errNoAuth
	errUnsupported
	errCrossSlot
	errTooLarge
	errNoAuthority
	errNoMaster
	errHoldFull
	errHeld
	errTimeout
	errUnknownOutcome
	errRejected
	errGroupGone
	errNoSessionLink
	errAborted
	errTooSlow
	errBusy
	errorKinds
)

var errorNames = [errorKinds]string{
	"protocol", "unknown-command", "arity", "noauth", "unsupported", "crossslot", "too-large", "no-authority", "no-master",
	"hold-full", "hold-timeout", "timeout", "unknown-outcome", "rejected", "group-removed",
	"no-session-link", "aborted", "too-slow", "busy",
}

// count notes an error of the proxy's own.
func (p *pool) count(k errorKind) { p.errors[k]++ }

// failures are the errors that mean that something is wrong on the servers' side, rather than in a request.
func failures(e *[errorKinds]uint64) (n uint64) {
	for k := errNoAuthority; k < errorKinds; k++ {
		n += e[k]
	}
	return n
}

const syntaxError = "ERR syntax error"

// Replies that are always the same.
var (
	okReply         = []byte("+OK\r\n")
	pongReply       = []byte("+PONG\r\n")
	resetReply      = []byte("+RESET\r\n")
	noAuthReply     = []byte("-NOAUTH Authentication required.\r\n")
	execNoAuthReply = []byte("-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n")
	crossSlotReply  = []byte("-CROSSSLOT Keys in request don't hash to the same group\r\n")
	maxClients      = []byte("-ERR max number of clients reached\r\n")
)
