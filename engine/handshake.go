package engine

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// step is one question of the handshake on a new link. All are sent at once; no client's byte goes to a node before the
// last answer: a node that is no master, or not ours, never sees one.
type step uint8

const (
	stepAuth step = iota
	stepHello
	stepSelect
	stepRole
	stepReplication // INFO replication, where an ACL denies ROLE
	stepVersion     // INFO server: for what the proxy answers to HELLO and INFO
	stepID          // CLIENT ID, on a lane
	stepSetup       // what the session wants of each of its links: CLIENT TRACKING
	stepReset       // RESET, on a lane that a session has left
	stepDiscard     // the same where there is no RESET
	stepUnwatch
)

var stepNames = [...]string{"AUTH", "HELLO 3", "SELECT", "ROLE", "INFO replication", "INFO server", "CLIENT ID", "CLIENT", "RESET", "DISCARD", "UNWATCH"}

func (s step) name() string { return stepNames[s] }

// greet queues the handshake.
func (k *link) greet() {
	set, ask := k.server.settings(), k.ask
	switch {
	case k.server.proto3 && set.ServerPassword != "":
		user := set.ServerUser
		if user == "" {
			user = "default"
		}
		ask(stepHello, "HELLO", "3", "AUTH", user, set.ServerPassword)
	case k.server.proto3:
		ask(stepHello, "HELLO", "3")
	case set.ServerPassword != "" && set.ServerUser != "":
		ask(stepAuth, "AUTH", set.ServerUser, set.ServerPassword)
	case set.ServerPassword != "":
		ask(stepAuth, "AUTH", set.ServerPassword)
	}
	if db := k.server.database(); db != 0 {
		ask(stepSelect, "SELECT", strconv.Itoa(db))
	}
	if set.VerifyRole {
		ask(stepRole, "ROLE")
	}
	ask(stepVersion, "INFO", "server")
	if ln := k.server.lane; ln != nil {
		ask(stepID, "CLIENT", "ID")
		if ln.session != nil {
			for _, args := range ln.session.setup {
				ask(stepSetup, args...)
			}
		}
	}
}

// greeted takes the answer to the oldest question.
func (k *link) greeted(kind byte, rep *reply) {
	if len(k.steps) == 0 {
		k.unasked(kind, rep)
		return
	}
	s := k.steps[0]
	k.steps = k.steps[1:]
	text := rep.whole()
	if isError(kind) && !k.tolerates(s, text) {
		k.refused = s == stepSetup || s == stepSelect && k.server.db != poolDB
		k.close(s.name() + ": " + k.redact(text))
		return
	}
	switch {
	case (s == stepAuth || s == stepSelect || s == stepReset) && kind != '+':
		k.close(s.name() + ": the reply is not OK") // out of step, or no Redis
		return
	case s == stepRole && !isError(kind):
		if role := firstBulk(text); role != "master" {
			k.refuse(role)
			return
		}
	case s == stepReplication:
		if role := infoField(text, "role"); role != "master" {
			k.refuse(role)
			return
		}
	case s == stepID && kind == ':':
		k.server.lane.clientID = line(text)
	case s == stepVersion && !isError(kind):
		k.server.group.version = infoField(text, "redis_version")
		k.server.group.valkey = infoField(text, "valkey_version")
	}
	if len(k.steps) == 0 {
		k.becomeUp()
	}
}

// tolerates reports whether the handshake goes on after an error.
func (k *link) tolerates(s step, text []byte) bool {
	switch s {
	case stepVersion, stepID, stepDiscard:
		return true // an ACL may deny INFO; there may be nothing to discard
	case stepRole:
		if ln := k.server.lane; ln != nil && ln.session != nil && ln.session.killing && hasCode(text, "BUSY") {
			ln.dirty |= dirtyUnverified
			return true
		}
		if hasCode(text, "NOPERM") {
			k.ask(stepReplication, "INFO", "replication") // its answer comes behind those already asked for
			return true
		}
	}
	return false
}

// redact takes what the proxy sent out of a server's error: one that knows no HELLO repeats its arguments, password
// included, and the cause goes to logs and to clients.
func (k *link) redact(text []byte) string {
	text, _, _ = bytes.Cut(text, []byte(", with args beginning with"))
	if password := k.server.settings().ServerPassword; password != "" {
		text = bytes.ReplaceAll(text, []byte(password), []byte("(password)"))
	}
	return line(text)
}

// refuse closes a link to a node that is no master.
func (k *link) refuse(role string) {
	k.demoted = true
	k.close(fmt.Sprintf("ROLE of %s is '%s', not master", k.peer, clip(role, 32)))
}

// becomeUp opens the link for requests.
func (k *link) becomeUp() {
	l, s := k.loop, k.server
	k.state = linkUp
	k.steps = nil
	l.wheel.Stop(&k.timer)
	s.failures, s.redialAt, s.cause = 0, 0, ""
	s.group.verified = l.now
	s.demotion.denied = s.demotion.denied || k.opened >= s.demotion.at
	if s.lane != nil {
		s.lane.up()
	} else {
		l.eng.observe(Event{Kind: EventLinkUp, Pool: s.group.pool.name, Group: s.group.name, Master: k.peer, Generation: s.master.Generation})
	}
	s.recover()
}

// whole is the reply in one piece, copied only if it came in several.
func (r *reply) whole() []byte {
	if r.lead == nil || r.lead.Size() == 0 {
		return r.tail()
	}
	b := make([]byte, 0, r.size())
	for _, p := range r.lead.Pieces() {
		b = append(b, p.Bytes()...)
	}
	return append(b, r.tail()...)
}

// firstBulk is the first element of an array of strings: of ROLE, the role.
func firstBulk(b []byte) string {
	if len(b) == 0 || b[0] != '*' {
		return ""
	}
	parts := bytes.SplitN(b, []byte("\r\n"), 4)
	if len(parts) < 4 || len(parts[1]) == 0 || parts[1][0] != '$' {
		return ""
	}
	return string(parts[2])
}

// infoField finds "name:value" in an INFO reply.
func infoField(b []byte, name string) string {
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, name+":"); ok {
			return clip(strings.TrimSpace(v), 64)
		}
	}
	return ""
}

// clip bounds a string that came from outside before it gets into a message.
func clip(s string, n int) string { return s[:min(len(s), n)] }
