package engine

import (
	"fmt"
	"maps"
	"slices"

	"respgate/engine/command"
	"respgate/engine/resp"
)

// subscriptions are what a client has subscribed to. The proxy keeps them, so that they outlive a link: a server that comes
// back is told again.
type subscriptions struct {
	names [subscriptionKinds]map[string]*subscription
	bytes int64 // about what they take
}

// subscriptionWeight is about what one takes beside its name.
const subscriptionWeight = 256

const (
	channels = iota
	patterns
	shardChannels
	subscriptionKinds
)

// subscription is one name. Its messages are passed on from the moment on when every group has confirmed it, and until all
// have confirmed its end: what was published before is not lost.
type subscription struct {
	kind    int
	name    string
	leaving bool
	pending map[*lane]bool // feeds that have not confirmed its beginning, or its end; nil when all have
	call    *feedCall      // that waits for this
}

// delivers reports that messages are passed on.
func (sub *subscription) delivers() bool { return sub.pending == nil || sub.leaving }

// count is the number of subscriptions.
func (s *subscriptions) count() int {
	return len(s.names[channels]) + len(s.names[patterns]) + len(s.names[shardChannels])
}

// told is the number that a confirmation tells: channels and patterns together, shard channels by themselves.
func (s *subscriptions) told(kind int) int {
	if kind == shardChannels {
		return len(s.names[shardChannels])
	}
	return len(s.names[channels]) + len(s.names[patterns])
}

// subscriptionKind is what a command subscribes to.
func subscriptionKind(cmd *command.Command) int {
	switch cmd.Name[0] {
	case 'p':
		return patterns
	case 's':
		if cmd.Name[1] == 's' || cmd.Name == "sunsubscribe" {
			return shardChannels
		}
	}
	return channels
}

var subscribeWords = [subscriptionKinds][2]string{
	{"subscribe", "unsubscribe"}, {"psubscribe", "punsubscribe"}, {"ssubscribe", "sunsubscribe"},
}

// forSubscribers reports that a RESP2 client with subscriptions may use the command.
func forSubscribers(cmd *command.Command) bool {
	switch cmd.Name {
	case "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe", "ping", "quit", "reset":
		return true
	}
	return false
}

// subscribe is SUBSCRIBE and its kind: confirmed when every group has confirmed every name.
func (c *client) subscribe(cmd *command.Command, frame []byte, f *resp.Frame) {
	s := c.own()
	if c.queue.count > 0 {
		c.postpone(cmd) // what it published before must not come back to it
		return
	}
	if limit := c.pool.topo.Settings.ClientBuffer; s.subs.bytes+int64(len(frame)+len(f.Args)*subscriptionWeight) > limit {
		c.pool.count(errTooLarge)
		c.replyError(fmt.Sprintf("ERR respgate: not subscribed: the client's subscriptions would take more than client_buffer (%d bytes)", limit))
		return
	}
	if !s.openFeeds() {
		s.settle()
		return
	}
	kind := subscriptionKind(cmd)
	call := &feedCall{}
	var fresh []*subscription
	var text []byte
	for _, a := range f.Args[1:] {
		name := string(arg(frame, a))
		if sub := s.subs.names[kind][name]; sub == nil || sub.leaving {
			fresh = append(fresh, s.add(kind, name))
		}
		text = c.appendConfirmation(text, subscribeWords[kind][0], name, s.subs.told(kind))
	}
	for _, sub := range fresh {
		sub.call = call
		for _, ln := range s.feeds {
			if ln.link() != nil { // others are told of all names when they are up
				ln.subscribe(sub)
			}
		}
	}
	call.left = len(fresh)
	call.done = func() []byte { return text }
	call.undo = func() {
		for _, sub := range fresh {
			s.leave(sub)
			s.remove(sub) // the client never had it
		}
	}
	s.wait(call, c.request(cmd, len(frame)))
}

// add notes a name that no feed has confirmed.
func (s *session) add(kind int, name string) *subscription {
	sub := &subscription{kind: kind, name: name, pending: map[*lane]bool{}}
	for _, ln := range s.feeds {
		sub.pending[ln] = true
	}
	if s.subs.names[kind] == nil {
		s.subs.names[kind] = map[string]*subscription{}
	}
	if s.subs.names[kind][name] == nil { // else it was about to be forgotten
		s.subs.bytes += int64(len(name)) + subscriptionWeight
	}
	s.subs.names[kind][name] = sub
	return sub
}

// leave tells the servers that a name is not wanted any more; it is forgotten when all know.
func (s *session) leave(sub *subscription) {
	sub.leaving, sub.pending = true, map[*lane]bool{}
	for _, ln := range s.feeds {
		if k := ln.link(); k != nil { // another is not told of the name when it is up
			sub.pending[ln] = true
			ln.expected = append(ln.expected, feedOp{sub: sub, leave: true})
			k.write(subscribeWords[sub.kind][1], sub.name)
		}
	}
	if len(sub.pending) == 0 {
		s.remove(sub)
	}
}

// remove forgets a name.
func (s *session) remove(sub *subscription) {
	if s.subs.names[sub.kind][sub.name] == sub {
		delete(s.subs.names[sub.kind], sub.name)
		s.subs.bytes -= int64(len(sub.name)) + subscriptionWeight
	}
	if c := s.client; s.subs.count() == 0 && s.call == nil && c.state == clientOpen {
		c.pause(pauseSwitch) // for settle, when nothing is under way
		c.loop.markClient(c)
	}
}

// subscribe tells the feed's server of one name, so that an error is about that one.
func (ln *lane) subscribe(sub *subscription) {
	ln.expected = append(ln.expected, feedOp{sub: sub})
	ln.link().write(subscribeWords[sub.kind][0], sub.name)
}

// confirmed notes that a feed has begun, or ended, a name.
func (s *session) confirmed(ln *lane, sub *subscription, leave bool) {
	if sub.pending == nil || sub.leaving != leave {
		return
	}
	delete(sub.pending, ln)
	if len(sub.pending) > 0 {
		return
	}
	sub.pending = nil
	if leave {
		s.remove(sub)
	}
	if s.call != nil && s.call == sub.call {
		if s.call.left--; s.call.left == 0 {
			s.call.finish()
		}
	}
}

// unsubscribe is UNSUBSCRIBE and its kind: confirmed when every group has confirmed every name.
func (c *client) unsubscribe(cmd *command.Command, frame []byte, f *resp.Frame) {
	if c.queue.count > 0 {
		c.postpone(cmd) // what it published before must still come back to it
		return
	}
	kind := subscriptionKind(cmd)
	var subs subscriptions
	if c.session != nil {
		subs = c.session.subs // the maps are the session's
	}
	var names []string
	for _, a := range f.Args[1:] {
		names = append(names, string(arg(frame, a)))
	}
	told := subs.told(kind)
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(subs.names[kind]))
	}
	word := subscribeWords[kind][1]
	var text []byte
	var gone []*subscription
	for _, name := range names {
		if sub := subs.names[kind][name]; sub != nil && !sub.leaving {
			gone = append(gone, sub)
			c.session.leave(sub)
		}
		text = c.appendConfirmation(text, word, name, told-len(gone))
	}
	if len(names) == 0 {
		text = resp.AppendPush(text, 3, c.proto3)
		text = resp.AppendBulkString(text, word)
		text = resp.AppendNull(text, c.proto3)
		text = resp.AppendInt(text, int64(told))
	}
	if len(gone) == 0 {
		c.respond(text)
		return
	}
	call := &feedCall{ending: true, done: func() []byte { return text }}
	for _, sub := range gone {
		sub.call = call
		if len(sub.pending) > 0 {
			call.left++
		}
	}
	call.undo = func() {
		for _, sub := range gone {
			c.session.remove(sub)
		}
	}
	c.session.wait(call, c.request(cmd, len(frame)))
}

// appendConfirmation appends what Redis answers to (UN)SUBSCRIBE about one name.
func (c *client) appendConfirmation(b []byte, word, name string, n int) []byte {
	b = resp.AppendPush(b, 3, c.proto3)
	b = resp.AppendBulkString(b, word)
	b = resp.AppendBulkString(b, name)
	return resp.AppendInt(b, int64(n))
}

// inSubscriberMode reports that the client may do little else than subscribe.
func (c *client) inSubscriberMode() bool {
	return c.session != nil && !c.proto3 && c.session.subs.count() > 0
}

// pingSubscriber is PING of a RESP2 client with subscriptions.
func (c *client) pingSubscriber(text []byte) {
	b := resp.AppendArray(c.loop.scratch(), 2)
	b = resp.AppendBulkString(b, "pong")
	c.respond(resp.AppendBulk(b, text))
}
