package admin

import (
	"fmt"
	"strings"
	"time"

	"respgate/internal/respconn"
)

// longestClientName bounds what a client may call itself and its library, in bytes.
const longestClientName = 128

var errBadName = respconn.Errorf("ERR Client names cannot contain spaces, newlines or special characters, or be longer than %d bytes.", longestClientName)

// validName says that a name can stand in a line of CLIENT LIST.
func validName(name string) bool {
	for i := range len(name) {
		if name[i] < '!' || name[i] > '~' {
			return false
		}
	}
	return len(name) <= longestClientName
}

func clientID(s *session, _ []string) respconn.Value { return respconn.Int(int64(s.id)) }

func clientGetName(s *session, _ []string) respconn.Value {
	if name := s.snapshot().name; name != "" {
		return respconn.Bulk(name)
	}
	return respconn.Nil()
}

func clientSetName(s *session, args []string) respconn.Value {
	if !validName(args[0]) {
		return errBadName
	}
	s.update(func(i *clientInfo) { i.name = args[0] })
	return replyOK
}

func clientSetInfo(s *session, args []string) respconn.Value {
	option, value := args[0], args[1]
	if !validName(value) {
		return respconn.Errorf("ERR %.32s cannot contain spaces, newlines or special characters, or be longer than %d bytes.", option, longestClientName)
	}
	switch strings.ToLower(option) {
	case "lib-name":
		s.update(func(i *clientInfo) { i.libName = value })
	case "lib-ver":
		s.update(func(i *clientInfo) { i.libVersion = value })
	default:
		return respconn.Errorf("ERR Unrecognized option '%.128s'", option)
	}
	return replyOK
}

func clientInfoLine(s *session, _ []string) respconn.Value {
	return respconn.Text(s.line(s.server.now()))
}

func clientList(s *session, _ []string) respconn.Value {
	var lines strings.Builder
	now := s.server.now()
	for _, c := range s.server.clients() {
		lines.WriteString(c.line(now))
	}
	return respconn.Text(lines.String())
}

// line is the session in the words of Redis' CLIENT LIST, those that mean something here.
func (s *session) line(now time.Time) string {
	i := s.snapshot()
	seconds := func(since time.Time) int64 { return int64(max(0, now.Sub(since)) / time.Second) }
	return fmt.Sprintf("id=%d addr=%s laddr=%s name=%s age=%d idle=%d flags=%s db=0 sub=%d psub=%d ssub=0 multi=-1 cmd=%s user=%s permission=%s resp=%d lib-name=%s lib-ver=%s\n",
		s.id, s.remote, s.local, i.name, seconds(s.since), seconds(i.lastAt), i.flags(), i.channels, i.patterns, orNull(i.last), defaultUser, i.granted, i.protocol, i.libName, i.libVersion)
}

// flags are Redis': P for one that is subscribed, N for all else.
func (i clientInfo) flags() string {
	if i.channels+i.patterns > 0 {
		return "P"
	}
	return "N"
}

// orNull is what Redis shows for a client that has not sent a command.
func orNull(command string) string {
	if command == "" {
		return "NULL"
	}
	return command
}

func clientKill(s *session, args []string) respconn.Value {
	if !strings.EqualFold(args[0], "id") {
		return errSyntax
	}
	id, ok := respconn.ParseInt(args[1])
	if !ok || id <= 0 {
		return respconn.Errorf("ERR client-id should be greater than 0")
	}
	victim := s.server.client(uint64(id))
	switch victim {
	case nil:
		return respconn.Int(0)
	case s:
		s.closing = true // with the reply, as in Redis
	default:
		victim.kill()
	}
	s.audit("kill of a connection to the admin port", "id", id)
	return respconn.Int(1)
}
