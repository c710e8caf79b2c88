package engine

import (
	"bytes"
	"fmt"
	"strings"

	"respgate/engine/command"
	"respgate/engine/resp"
	"respgate/engine/timer"
	"respgate/engine/topology"
)

// INFO is asked of every group that is up, and what the others would say is left out: clients look at INFO when they connect, and
// must not find the whole pool down because one group is.

// infoRequest is what an INFO over groups keeps.
type infoRequest struct {
	sections map[string]bool // asked for, in lower case; empty: those by default
	timer    timer.Timer     // the end of its patience
}

// infoPatience is how long INFO waits for a group that is believed to be up.
const infoPatience = int64(1e9)

// wants reports whether the section is asked for.
func (q *infoRequest) wants(section string) bool {
	return len(q.sections) == 0 || q.sections["all"] || q.sections["everything"] || q.sections["default"] || q.sections[section]
}

// askInfo sends INFO to the groups that are up; without any, the proxy tells what it knows itself.
func (c *client) askInfo(cmd *command.Command, frame []byte, f *resp.Frame) {
	l := c.loop
	asked := &infoRequest{sections: map[string]bool{}}
	for _, a := range f.Args[1:] {
		asked.sections[strings.ToLower(string(arg(frame, a)))] = true
	}
	s := l.newSplit()
	s.info = asked
	for i, g := range c.pool.groups {
		if g.up() && c.pool.topo.Access != topology.Reject {
			s.parts = append(s.parts, part{group: int32(i)})
		}
	}
	if len(s.parts) == 0 {
		l.freeSplit(s)
		c.respond(resp.AppendVerbatim(l.scratch(), "txt", string(c.withRespgate(c.ownInfo(asked), asked, 0)), c.proto3))
		return
	}
	r := c.awaitSplit(cmd, s, len(frame))
	asked.timer.Func = func(int64) { l.hurry(r) }
	l.wheel.Set(&asked.timer, l.now+infoPatience)
	c.sendParts(s, frame)
}

// hurry answers a request with what there is of it. Its late replies find nobody.
func (l *loop) hurry(r *request) {
	s := r.split
	for i := range s.parts {
		if pt := &s.parts[i]; pt.fragment.state != requestAnswered {
			l.forsake(pt.fragment)
			pt.fragment, pt.omit = nil, true
		}
	}
	s.waiting = 0
	l.mergeParts(r)
}

// infoReply is the reply to INFO from what the groups said.
func (c *client) infoReply(s *split) []byte {
	var texts [][]byte
	for i := range s.parts {
		if pt := &s.parts[i]; !pt.omit {
			if text, _, ok := bulkString(pt.whole()); ok {
				texts = append(texts, text)
			}
		}
	}
	var text []byte
	switch {
	case len(texts) == 0:
		text = c.ownInfo(s.info)
	case len(c.pool.groups) == 1:
		text = bytes.Clone(texts[0])
	default:
		m := mergeInfo(texts)
		m.set("Server", "tcp_port", c.pool.port())
		m.set("Clients", "connected_clients", fmt.Sprint(c.loop.eng.clients.Load()))
		m.set("Clients", "maxclients", fmt.Sprint(c.loop.snap.Limits.MaxClients))
		m.set("Replication", "role", "master")
		text = m.appendTo(nil)
	}
	return resp.AppendVerbatim(nil, "txt", string(c.withRespgate(text, s.info, len(texts))), c.proto3)
}

// withRespgate appends the proxy's own section.
func (c *client) withRespgate(text []byte, asked *infoRequest, answered int) []byte {
	if !asked.wants("respgate") {
		return text
	}
	if len(text) > 0 {
		text = append(text, "\r\n"...)
	}
	return fmt.Appendf(text, "# Respgate\r\nrespgate_version:%s\r\nrespgate_pool:%s\r\nrespgate_groups:%d\r\nrespgate_groups_answered:%d\r\n",
		c.loop.eng.opts.Version, c.pool.name, len(c.pool.groups), answered)
}
