package sentinelclient

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// A demoted master answers +OK to REPLICAOF before it has even dialled the new
// one. A password that it lacks shows now for the first time: it never was a
// replica, and never had to log in anywhere.

const (
	followLimit = 10 * time.Second // that a demoted master has to be connected to the new one, or to copy from it
	followPoll  = 50 * time.Millisecond
	followTries = 3 // that have failed: one may be chance
)

// entryOf is what a master would send to its own one to log in, or nil if it does
// not tell: CONFIG GET may not be permitted.
func entryOf(ctx context.Context, a *asker) []string {
	setting := func(name string) (string, bool) {
		v, err := a.do(ctx, "CONFIG", "GET", name)
		if err != nil || v.IsError() {
			return "", false
		}
		fields, err := parseFields(v)
		value, known := fields[name]
		return value, err == nil && known
	}
	password, known := setting("masterauth")
	user, knownToo := setting("masteruser")
	switch {
	case !known || !knownToo:
		return nil
	case password == "": // even with a user
		return []string{"PING"}
	case user == "":
		return []string{"AUTH", password}
	}
	return []string{"AUTH", user, password}
}

// admits is nil unless a replica would refuse the master's entry, were it the
// master. Whatever else may fail is no answer to that.
func admits(ctx context.Context, cfg *Config, master, replica Address, entry []string) error {
	if entry == nil {
		return nil
	}
	a := &asker{node: node{addr: replica}, with: question{forbidden: cfg.Forbidden, timeout: cfg.MasterTimeout}}
	defer a.close()
	v, err := a.do(ctx, entry...)
	if err != nil || !v.IsError() || entry[0] == "PING" && v.Code() != "NOAUTH" {
		return nil
	}
	return &CommandError{Code: "ERR", Text: fmt.Sprintf("master %v could not log in at replica %v, were that the master: %s: CONFIG SET masterauth (and masteruser) at it to what the replica wants, and CONFIG REWRITE",
		master, replica, clip(printable(v.Str)))}
}

// roleOf is what a node says of itself.
func roleOf(ctx context.Context, a *asker) (role, error) {
	v, err := a.must(ctx, "ROLE")
	if err != nil {
		return role{}, err
	}
	r, err := parseRole(v)
	if err != nil {
		err = fmt.Errorf("%v: %w", a.addr, err)
	}
	return r, err
}

// Following is why the old master, a replica now, does not get what the new one
// has, as far as that is known by now, and nil if it does. It gets nothing until
// somebody mends that.
func (s *Switchover) Following() error {
	if why := s.lost.Load(); why != nil {
		return *why
	}
	return nil
}

// pursue gives the old master a while to find the new one. It ends with the monitor.
func (s *Switchover) pursue() {
	ctx, cancel := context.WithTimeout(s.m.ctx, followLimit)
	defer cancel()
	s.follow(ctx)
}

// follow looks until ctx is done whether the old master finds the new one, and
// logs it if it does not.
func (s *Switchover) follow(ctx context.Context) {
	a := askNode(s.master.addr, s.cfg)
	defer a.close()
	tick := time.NewTicker(followPoll)
	defer tick.Stop()
	var t pursuit
	for ctx.Err() == nil {
		r, err := roleOf(s.m.ctx, a)                                    // a question that ctx cuts short would look like no answer
		if err == nil && (r.Name != "slave" || r.Link == "connected") { // or it is a master again
			s.lost.Store(nil)
			return
		}
		if t.add(r, err); t.failed >= followTries {
			why := t.why()
			s.lost.Store(&why)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	switch {
	case s.m.ctx.Err() != nil:
	case t.failed >= followTries, t.err != nil, !t.talks():
		s.note("old master does not follow the new one", slog.String("cause", t.why().Error()))
	default:
		s.m.log.LogAttrs(s.m.ctx, slog.LevelInfo, "old master still copies what the new one has", slog.String("group", s.group), slog.String("master", s.master.addr.String()))
	}
}

// pursuit is what a replica does to get what its master has.
type pursuit struct {
	of     Address
	link   string
	failed int   // it was farther before
	err    error // why it could not be asked the last time
}

// stages of a replica's link to its master, as ROLE has them.
var stages = []string{"connect", "connecting", "handshake", "sync", "connected"}

func (t *pursuit) add(r role, err error) {
	if t.err = err; err != nil {
		return
	}
	if slices.Index(stages, r.Link) < slices.Index(stages, t.link) {
		t.failed++
	}
	t.of, t.link = r.Of, r.Link
}

// talks: the master answers it, if it is only to begin with. From then on it may
// take its time: there may be much to copy.
func (t *pursuit) talks() bool {
	return slices.Index(stages, t.link) >= slices.Index(stages, "handshake")
}

func (t *pursuit) why() error {
	if t.err != nil && t.failed < followTries {
		return t.err
	}
	return fmt.Errorf("its link to %v is %q, failed attempts: %d; are its masterauth and masteruser what that one wants? Its own log has the reason", t.of, t.link, t.failed)
}
