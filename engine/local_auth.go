package engine

import (
	"crypto/subtle"
	"fmt"

	"respgate/engine/resp"
)

// defaultUser is the only user that clients know.
const defaultUser = "default"

const (
	wrongPass   = "WRONGPASS invalid username-password pair or user is disabled."
	noPassword  = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
	helloNoAuth = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
)

// auth is AUTH [user] password. Clients know one user, "default", with the pool's password.
func (c *client) auth(frame []byte, args []resp.Span) {
	switch len(args) {
	case 2:
		if c.pool.topo.Settings.Password == "" {
			c.replyError(noPassword)
			return
		}
		c.login([]byte(defaultUser), arg(frame, args[1]))
	case 3:
		c.login(arg(frame, args[1]), arg(frame, args[2]))
	default:
		c.replyError(syntaxError)
		return
	}
}

// login answers AUTH.
func (c *client) login(user, password []byte) {
	if !c.matches(user, password) {
		c.pool.count(errNoAuth)
		c.replyError(wrongPass)
		return
	}
	c.authed = true
	c.respond(okReply)
}

// matches compares in constant time. Without a password any is right for the default user, as in Redis.
func (c *client) matches(user, password []byte) bool {
	if string(user) != defaultUser {
		return false
	}
	want := c.pool.topo.Settings.Password
	return want == "" || subtle.ConstantTimeCompare([]byte(want), password) == 1
}

// hello is HELLO [protover [AUTH user password] [SETNAME name]]: all of it takes effect, or nothing.
func (c *client) hello(frame []byte, args []resp.Span) {
	proto3, authed, name := c.proto3, c.authed, ""
	named := false
	if len(args) > 1 {
		n, ok := resp.ParseInt(arg(frame, args[1]))
		if !ok {
			c.replyError("ERR Protocol version is not an integer or out of range")
			return
		}
		if n != 2 && n != 3 {
			c.replyError("NOPROTO unsupported protocol version")
			return
		}
		proto3 = n == 3
	}
	for i := 2; i < len(args); {
		switch rest := len(args) - i - 1; {
		case equalFold(arg(frame, args[i]), "auth") && rest >= 2:
			if !c.matches(arg(frame, args[i+1]), arg(frame, args[i+2])) {
				c.pool.count(errNoAuth)
				c.replyError(wrongPass)
				return
			}
			authed = true
			i += 3
		case equalFold(arg(frame, args[i]), "setname") && rest >= 1:
			name, named = string(arg(frame, args[i+1])), true
			if err := badName(name); err != "" {
				c.replyError(err)
				return
			}
			i += 2
		default:
			c.replyError(fmt.Sprintf("ERR Syntax error in HELLO option '%s'", clip(string(arg(frame, args[i])), 128)))
			return
		}
	}
	if !authed {
		c.pool.count(errNoAuth)
		c.replyError(helloNoAuth)
		return
	}
	if c.session != nil && len(c.session.lanes) > 0 && proto3 != c.proto3 {
		c.replyError("ERR respgate: HELLO cannot change the protocol of a client that has WATCHed keys, CLIENT TRACKING or NO-TOUCH: end that first, or begin with HELLO")
		return
	}
	c.authed = true
	if named {
		c.describe().name = name
	}
	c.switchTo(proto3)
	c.greet()
}

// switchTo changes the protocol of what follows. Those requests take another link: they wait for the replies of earlier
// ones.
func (c *client) switchTo(proto3 bool) {
	if c.proto3 != proto3 && c.queue.count > 0 {
		c.pause(pauseSwitch)
	}
	c.proto3 = proto3
	if !proto3 {
		c.setNotices(noticesOff)
	}
}

// greet is the reply to HELLO.
func (c *client) greet() {
	proto := int64(2)
	if c.proto3 {
		proto = 3
	}
	b := resp.AppendMap(c.loop.scratch(), 7, c.proto3)
	b = resp.AppendBulkString(b, "server")
	b = resp.AppendBulkString(b, "redis")
	b = resp.AppendBulkString(b, "version")
	b = resp.AppendBulkString(b, c.pool.version())
	b = resp.AppendBulkString(b, "proto")
	b = resp.AppendInt(b, proto)
	b = resp.AppendBulkString(b, "id")
	b = resp.AppendInt(b, c.id)
	b = resp.AppendBulkString(b, "mode")
	b = resp.AppendBulkString(b, "standalone")
	b = resp.AppendBulkString(b, "role")
	b = resp.AppendBulkString(b, "master")
	b = resp.AppendBulkString(b, "modules")
	b = resp.AppendArray(b, 0)
	c.respond(b)
}
