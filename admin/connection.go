package admin

import (
	"strconv"
	"strings"
	"time"

	"respgate/internal/respconn"
)

var replyOK = respconn.Simple("OK")

func ping(s *session, args []string) respconn.Value {
	if s.subs.any() && s.conn.Protocol() == 2 { // it has to be told from a message
		return respconn.Strings("pong", strings.Join(args, ""))
	}
	if len(args) > 0 {
		return respconn.Bulk(args[0])
	}
	return respconn.Simple("PONG")
}

func echo(_ *session, args []string) respconn.Value { return respconn.Bulk(args[0]) }

func quit(s *session, _ []string) respconn.Value {
	s.closing = true
	return replyOK
}

func reset(s *session, _ []string) respconn.Value {
	st := s.server.settings.Load()
	s.forget()
	s.setProtocol(2)
	s.grant(st.initial(), st.generation)
	s.update(func(i *clientInfo) { i.name = "" })
	return respconn.Simple("RESET")
}

func selectDB(_ *session, args []string) respconn.Value {
	switch n, ok := respconn.ParseInt(args[0]); {
	case !ok:
		return errNotInt
	case n != 0:
		return respconn.Errorf("ERR DB index is out of range")
	}
	return replyOK
}

func tellTime(s *session, _ []string) respconn.Value {
	now := s.server.now()
	return respconn.Strings(strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond()/int(time.Microsecond)))
}

func auth(s *session, args []string) respconn.Value {
	user, password := defaultUser, args[len(args)-1]
	if len(args) == 2 {
		user = args[0]
	} else if st := s.server.settings.Load(); st.Password == "" {
		if _, ok := st.check(password); !ok {
			return respconn.Errorf("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
		}
	}
	if refusal, ok := s.login(user, password); !ok {
		return refusal
	}
	return replyOK
}

// hello is HELLO [protover [AUTH username password] [SETNAME name]]: all or nothing, as in Redis.
func hello(s *session, args []string) respconn.Value {
	version := s.conn.Protocol()
	var user, password, name string
	var login, rename bool
	if len(args) > 0 {
		v, ok := respconn.ParseInt(args[0])
		if !ok {
			return respconn.Errorf("ERR Protocol version is not an integer or out of range")
		}
		if v != 2 && v != 3 {
			return respconn.Errorf("NOPROTO unsupported protocol version")
		}
		version, args = int(v), args[1:]
	}
	for len(args) > 0 {
		switch {
		case strings.EqualFold(args[0], "auth") && len(args) >= 3:
			user, password, login, args = args[1], args[2], true, args[3:]
		case strings.EqualFold(args[0], "setname") && len(args) >= 2:
			name, rename, args = args[1], true, args[2:]
		default:
			return respconn.Errorf("ERR Syntax error in HELLO option '%.128s'", args[0])
		}
	}
	if rename && !validName(name) {
		return errBadName
	}
	if login {
		if refusal, ok := s.login(user, password); !ok {
			return refusal
		}
	}
	if s.permission(s.server.settings.Load()) == anyone {
		return respconn.Errorf("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
	}
	if rename {
		s.update(func(i *clientInfo) { i.name = name })
	}
	s.setProtocol(version)
	return respconn.Fields("server", "respgate", "version", s.server.status.Process().Version, "proto", version, "id", s.id,
		"mode", "standalone", "role", "master", "modules", respconn.List())
}
