package admin

import (
	"context"
	"errors"
	"strings"

	"respgate/internal/respconn"
)

// Error is an error reply with a code of its own, as in "-NOQUORUM only 1 of 3 sentinels answers": NOPOOL, NOGROUP, INPROG, NOQUORUM,
// NOREPLICA, TIMEOUT, NOTREADY. Text says which pool, group and peer, and what to do.
type Error struct {
	Code, Text string
}

func (e Error) Error() string { return e.Code + " " + e.Text }

func noPool(pool string) respconn.Value {
	return respconn.Errorf("NOPOOL no such pool '%.64s'", pool)
}

func noGroup(pool, group string) respconn.Value {
	return respconn.Errorf("NOGROUP no such group '%.64s' in pool '%.64s'", group, pool)
}

func noPermission(command string) respconn.Value {
	return respconn.Errorf("NOPERM this user has no permissions to run the '%s' command", command)
}

func wrongArity(command string) respconn.Value {
	return respconn.Errorf("ERR wrong number of arguments for '%s' command", command)
}

var (
	errNoAuth    = respconn.Errorf("NOAUTH Authentication required.")
	errWrongPass = respconn.Errorf("WRONGPASS invalid username-password pair or user is disabled.")
	errInternal  = respconn.Errorf("ERR internal error, see the proxy's log")
	errSyntax    = respconn.Errorf("ERR syntax error")
	errNotInt    = respconn.Errorf("ERR value is not an integer or out of range")
)

// errorValue is the reply for an error of StatusReader or Switcher. One that has several lines (the mistakes of a file) becomes one.
func errorValue(err error) respconn.Value {
	var e Error
	var p *Error
	switch {
	case errors.As(err, &e) && e.Code != "":
		return respconn.Errorf("%s %s", e.Code, flatten(e.Text))
	case errors.As(err, &p) && p != nil && p.Code != "":
		return respconn.Errorf("%s %s", p.Code, flatten(p.Text))
	case errors.Is(err, context.DeadlineExceeded):
		return respconn.Errorf("TIMEOUT %s", flatten(err.Error()))
	}
	return respconn.Errorf("ERR %s", flatten(strings.TrimSpace(err.Error())))
}

// flatten joins the lines of s.
func flatten(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines, "; ")
}
