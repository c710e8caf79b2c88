package sentinelclient

import (
	"errors"
	"strings"
)

var (
	// ErrClosed: the monitor was closed.
	ErrClosed = errors.New("the sentinel monitor is closed")
	// ErrUnknownSentinel: no sentinel of the pool has that address.
	ErrUnknownSentinel = errors.New("no such sentinel in this pool")
	// ErrNotWatching: that sentinel, or any other one, is not being watched.
	ErrNotWatching = errors.New("sentinel is not being watched")
	// ErrUnknownGroup: the pool has no group of that name.
	ErrUnknownGroup = errors.New("no such group in this pool")
	// ErrNotMaster: the node does not say master in ROLE.
	ErrNotMaster = errors.New("not a master")
)

// CommandError is a refusal of a planned switch.
type CommandError struct {
	// Code is INPROG, NOQUORUM, NOREPLICA, NOGROUP, NOSENTINEL (none is being
	// watched), NOTREADY, TIMEOUT, ERR, or the first word of what the peer said.
	Code string
	Text string // the rest, with the step and the peer's address
}

func (e *CommandError) Error() string { return e.Code + " " + e.Text }

// newCommandError reads the error text of a sentinel, without its dash.
func newCommandError(sentinel Address, text string) *CommandError {
	code, rest, _ := strings.Cut(clip(text), " ")
	switch {
	case code == "NOGOODSLAVE":
		code = "NOREPLICA"
	case code == "ERR" && strings.HasPrefix(rest, "No such master"):
		code = "NOGROUP"
	}
	return &CommandError{Code: code, Text: "sentinel " + sentinel.String() + ": " + rest}
}
