package engine

import (
	"strconv"
	"strings"

	"respgate/engine/command"
	"respgate/engine/poller"
	"respgate/engine/resp"
)

// clientKind is Redis' type of a client.
type clientKind uint8

const (
	kindAny clientKind = iota
	kindNormal
	kindPubSub
	kindNone // masters and replicas: there are none of them here
)

// kindByName is the kind that TYPE names.
func kindByName(name []byte) (clientKind, bool) {
	switch {
	case equalFold(name, "normal"):
		return kindNormal, true
	case equalFold(name, "pubsub"):
		return kindPubSub, true
	case equalFold(name, "master"), equalFold(name, "replica"), equalFold(name, "slave"):
		return kindNone, true
	}
	return kindAny, false
}

// list is CLIENT LIST [TYPE type | ID id ...].
func (c *client) list(cmd *command.Command, frame []byte, args []resp.Span) {
	kind := kindAny
	var ids []int64
	switch {
	case len(args) == 2:
	case len(args) == 4 && equalFold(arg(frame, args[2]), "type"):
		var ok bool
		if kind, ok = kindByName(arg(frame, args[3])); !ok {
			c.replyError("ERR Unknown client type '" + clip(string(arg(frame, args[3])), 128) + "'")
			return
		}
	case len(args) > 3 && equalFold(arg(frame, args[2]), "id"):
		for _, a := range args[3:] {
			id, ok := resp.ParseInt(arg(frame, a))
			if !ok {
				c.replyError("ERR Invalid client ID")
				return
			}
			ids = append(ids, id)
		}
	default:
		c.replyError(syntaxError)
		return
	}
	var wanted map[int64]bool
	if ids != nil {
		wanted = make(map[int64]bool, len(ids))
		for _, id := range ids {
			wanted[id] = true
		}
	}
	c.ask(cmd, question{
		client: func(o *client) (answer, bool) {
			if wanted != nil && !wanted[o.id] || kind != kindAny && o.kind() != kind {
				return answer{}, false
			}
			return answer{o.id, o.describeLine()}, true
		},
		reply: func(c *client, all []answer) ([]byte, bool) { return c.listReply(all, ids), false },
	})
}

// listReply has a line for each client, in the order in which they came or, with ids, in theirs.
func (c *client) listReply(all []answer, ids []int64) []byte {
	var b strings.Builder
	if ids == nil {
		for _, a := range all {
			b.WriteString(a.text)
		}
	} else {
		byID := make(map[int64]string, len(all))
		for _, a := range all {
			byID[a.id] = a.text
		}
		for _, id := range ids {
			b.WriteString(byID[id])
		}
	}
	return resp.AppendVerbatim(nil, "txt", b.String(), c.proto3)
}

// commandNames are the names by ID, with what Redis says of a client that has sent no command yet.
var commandNames = func() []string {
	names := Commands()
	names[0] = "NULL"
	return names
}()

// describeLine is a client in the format of CLIENT LIST. What concerns the memory of a server process is 0.
func (c *client) describeLine() string {
	meta := c.meta
	if meta == nil {
		meta = &clientMeta{}
	}
	now := c.loop.seconds()
	st := c.sessionState()
	b := make([]byte, 0, 512)
	num := func(name string, n int64) {
		b = append(b, name...)
		b = strconv.AppendInt(b, n, 10)
	}
	str := func(name, s string) {
		b = append(b, name...)
		b = append(b, s...)
	}
	free := 0
	if c.in != nil {
		free = c.in.Cap() - int(c.inLen)
	}
	omem := int64(c.out.Size()) + c.stored
	num("id=", c.id)
	str(" addr=", c.peer())
	str(" laddr=", localName(int(c.fd)))
	num(" fd=", int64(c.fd))
	str(" name=", meta.name)
	num(" age=", int64(now-c.since))
	num(" idle=", int64(now-c.active))
	str(" flags=", st.flags)
	num(" db=", st.db)
	num(" sub=", st.sub)
	num(" psub=", st.psub)
	num(" ssub=", st.ssub)
	num(" multi=", st.multi)
	num(" watch=", st.watch)
	num(" qbuf=", int64(c.inLen))
	num(" qbuf-free=", int64(free))
	num(" argv-mem=", c.inflight)
	str(" multi-mem=0 rbs=0 rbp=0 obl=0", "")
	num(" oll=", int64(len(c.out.Pieces())))
	num(" omem=", omem)
	num(" tot-mem=", c.holds())
	str(" events=", eventNames(c.wants))
	str(" cmd=", commandNames[c.last])
	str(" user=default", "")
	num(" redir=", st.redir)
	num(" resp=", c.protocol())
	str(" lib-name=", meta.libName)
	str(" lib-ver=", meta.libVersion)
	return string(append(b, '\n'))
}

// peer is the client's address. One that came by a unix socket has none: then it is the socket's path, as in Redis.
func (c *client) peer() string {
	if name := peerName(int(c.fd)); name != ":0" {
		return name
	}
	return localName(int(c.fd))
}

func eventNames(e poller.Events) string {
	switch e & (poller.Readable | poller.Writable) {
	case poller.Readable:
		return "r"
	case poller.Writable:
		return "w"
	case 0:
		return ""
	}
	return "rw"
}

func (c *client) protocol() int64 {
	if c.proto3 {
		return 3
	}
	return 2
}

// sessionState is what CLIENT LIST shows of a client's own state at the servers.
type sessionState struct {
	flags                                    string
	db, sub, psub, ssub, multi, watch, redir int64
}

func (c *client) sessionState() sessionState {
	st := sessionState{db: int64(c.db), multi: -1, redir: -1}
	if c.db == poolDB {
		st.db = int64(c.pool.topo.Settings.DB)
	}
	s := c.session
	if s == nil {
		st.flags = "N"
		return st
	}
	st.sub, st.psub, st.ssub = int64(len(s.subs.names[channels])), int64(len(s.subs.names[patterns])), int64(len(s.subs.names[shardChannels]))
	if s.tx.multi {
		st.multi = int64(s.tx.queued)
	}
	st.watch = int64(s.tx.watched)
	if s.tracking != nil {
		st.redir = 0 // to itself
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"O", s.monitor}, {"P", s.subs.count() > 0}, {"x", s.tx.multi}, {"b", s.blocked}, {"t", s.tracking != nil},
		{"d", s.tx.lost != ""}, {"T", s.noTouch != nil},
	} {
		if f.set {
			st.flags += f.name
		}
	}
	if st.flags == "" {
		st.flags = "N"
	}
	return st
}

// kind is the client's type.
func (c *client) kind() clientKind {
	if c.session != nil && c.session.subs.count() > 0 {
		return kindPubSub
	}
	return kindNormal
}
