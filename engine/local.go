package engine

import (
	"strconv"
	"strings"
	"time"

	"respgate/engine/command"
	"respgate/engine/resp"
)

// local answers what the proxy answers itself. Texts and shapes are those of Redis 7.
func (c *client) local(cmd *command.Command, frame []byte, f *resp.Frame) {
	args := f.Args
	switch cmd.Name {
	case "ping":
		c.ping(frame, args)
	case "echo":
		c.respond(resp.AppendBulk(c.loop.scratch(), arg(frame, args[1])))
	case "quit":
		c.respond(okReply)
		c.finish()
	case "auth":
		c.auth(frame, args)
	case "hello":
		c.hello(frame, args)
	case "select":
		c.selectDB(frame, f)
	case "reset":
		c.reset()
	case "time":
		c.time()
	case "config|get":
		c.configGet(frame, args)
	case "acl|whoami":
		c.respond(resp.AppendBulkString(c.loop.scratch(), defaultUser))
	default:
		c.localRest(cmd, frame, args)
	}
}

// localRest are the families that are answered by their first word.
func (c *client) localRest(cmd *command.Command, frame []byte, args []resp.Span) {
	switch family, sub, _ := strings.Cut(cmd.Name, "|"); {
	case family == "client":
		c.clientCommand(cmd, sub, frame, args)
	case (family == "readonly" || family == "readwrite") && c.pool.valkey8():
		c.respond(okReply) // there it is also for those who can be redirected without a cluster; a pool needs it for nothing
	case family == "cluster", family == "readonly", family == "readwrite":
		c.replyError("ERR This instance has cluster support disabled")
	default:
		c.unsupported(cmd, "it concerns a server, not a pool: connect to the server itself")
	}
}

func (c *client) ping(frame []byte, args []resp.Span) {
	switch len(args) {
	case 1:
		if c.inSubscriberMode() {
			c.pingSubscriber(nil)
			return
		}
		c.respond(pongReply)
	case 2:
		if c.inSubscriberMode() {
			c.pingSubscriber(arg(frame, args[1]))
			return
		}
		c.respond(resp.AppendBulk(c.loop.scratch(), arg(frame, args[1])))
	default:
		c.wrongArity(command.Lookup([]byte("ping")))
	}
}

func (c *client) time() {
	now := time.Now()
	b := resp.AppendArray(c.loop.scratch(), 2)
	b = resp.AppendBulkString(b, strconv.FormatInt(now.Unix(), 10))
	b = resp.AppendBulkString(b, strconv.Itoa(now.Nanosecond()/1000))
	c.respond(b)
}

// selectDB makes what follows go to another database.
func (c *client) selectDB(frame []byte, f *resp.Frame) {
	set := &c.pool.topo.Settings
	n, ok := resp.ParseInt(arg(frame, f.Args[1]))
	switch {
	case !ok:
		c.replyError("ERR value is not an integer or out of range")
	case n < 0 || n >= int64(max(set.Databases, 1)):
		c.replyError("ERR DB index is out of range")
	case c.session != nil && len(c.session.lanes) > 0:
		c.session.selectDB(c.databaseOf(n), frame, f)
	default:
		c.respond(okReply)
		c.selectDatabase(c.databaseOf(n))
	}
}

// databaseOf is the client's db for database n.
func (c *client) databaseOf(n int64) int32 {
	if n == int64(c.pool.topo.Settings.DB) {
		return poolDB
	}
	return int32(n)
}

// selectDatabase changes the database of what follows. Those requests take other links: they wait for the replies of
// earlier ones.
func (c *client) selectDatabase(db int32) {
	if db == c.db {
		return
	}
	c.db = db
	if c.queue.count > 0 {
		c.pause(pauseSwitch)
	}
}

// reset makes the connection as new.
func (c *client) reset() {
	if c.session != nil {
		if c.queue.count > 0 {
			c.postpone(cmdReset)
			return
		}
		c.session.close()
	}
	if c.muted == muteOff { // after CLIENT REPLY SKIP it has no reply, as any other command
		c.muted = muteNone
	}
	c.respond(resetReply)
	c.selectDatabase(poolDB)
	c.switchTo(false)
	c.authed = c.pool.topo.Settings.Password == ""
	if c.meta != nil {
		c.meta.name = "" // its library is the same as before
	}
}

// settingsShown is what CONFIG GET tells: what clients ask for when they connect.
func (c *client) settingsShown() [][2]string {
	set := &c.pool.topo.Settings
	return [][2]string{
		{"appendonly", "no"},
		{"databases", strconv.Itoa(max(set.Databases, 1))},
		{"maxclients", strconv.Itoa(c.loop.snap.Limits.MaxClients)},
		{"maxmemory", "0"},
		{"maxmemory-policy", "noeviction"},
		{"proto-max-bulk-len", strconv.FormatInt(set.ClientBuffer, 10)},
		{"replica-read-only", "yes"},
		{"save", ""},
		{"slave-read-only", "yes"},
		{"timeout", "0"},
	}
}

func (c *client) configGet(frame []byte, args []resp.Span) {
	var found [][2]string
	for _, s := range c.settingsShown() {
		for _, a := range args[2:] {
			if glob(strings.ToLower(string(arg(frame, a))), s[0]) {
				found = append(found, s)
				break
			}
		}
	}
	b := resp.AppendMap(c.loop.scratch(), len(found), c.proto3)
	for _, s := range found {
		b = resp.AppendBulkString(b, s[0])
		b = resp.AppendBulkString(b, s[1])
	}
	c.respond(b)
}

// glob matches with * and ?, which is what CONFIG GET patterns are made of. Linear in the product of the lengths.
func glob(pattern, s string) bool {
	star, mark, i, j := -1, 0, 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(pattern) && pattern[i] == '*' {
		i++
	}
	return i == len(pattern)
}
