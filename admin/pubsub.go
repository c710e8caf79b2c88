package admin

import (
	"slices"

	"respgate/internal/respconn"
	"respgate/internal/status"
)

const (
	eventsChannel = "respgate:events"
	backlog       = 256 // events that may wait for a subscriber to read
	subscriptable = 64  // channels and patterns of a connection
)

// subscriptions of a session. What is published waits in feed for a goroutine of its own, for only that may wait for the client.
type subscriptions struct {
	channels, patterns []string
	feed               chan string   // nil before the first subscription
	fed                chan struct{} // closed when that goroutine has ended
}

func (u *subscriptions) any() bool { return len(u.channels)+len(u.patterns) > 0 }

func subscribe(s *session, names []string) respconn.Value {
	return s.subscribe("subscribe", &s.subs.channels, names)
}

func psubscribe(s *session, patterns []string) respconn.Value {
	return s.subscribe("psubscribe", &s.subs.patterns, patterns)
}

func unsubscribe(s *session, names []string) respconn.Value {
	return s.unsubscribe("unsubscribe", &s.subs.channels, names)
}

func punsubscribe(s *session, patterns []string) respconn.Value {
	return s.unsubscribe("punsubscribe", &s.subs.patterns, patterns)
}

// subscribe adds names to a list and confirms each; no event gets between.
func (s *session) subscribe(word string, list *[]string, names []string) respconn.Value {
	if len(s.subs.channels)+len(s.subs.patterns)+len(names) > subscriptable {
		return respconn.Errorf("ERR too many subscriptions: %d channels and patterns a connection; events are on '%s' only", subscriptable, eventsChannel)
	}
	s.listen()
	return s.confirm(word, names, func(name string) {
		if !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	})
}

// unsubscribe takes names from a list, all of them if none is given.
func (s *session) unsubscribe(word string, list *[]string, names []string) respconn.Value {
	if len(names) == 0 {
		names = slices.Clone(*list)
	}
	if len(names) == 0 {
		total := respconn.Int(int64(len(s.subs.channels) + len(s.subs.patterns)))
		return respconn.Value{Kind: respconn.Push, Elems: []respconn.Value{respconn.Bulk(word), respconn.Nil(), total}}
	}
	return s.confirm(word, names, func(name string) {
		*list = slices.DeleteFunc(*list, func(have string) bool { return have == name })
	})
}

// confirm makes changes and says so, one confirmation each: there is no other reply.
func (s *session) confirm(word string, names []string, change func(name string)) respconn.Value {
	s.writing.Lock()
	defer s.writing.Unlock()
	said := make([]respconn.Value, len(names))
	for i, name := range names {
		change(name)
		total := respconn.Int(int64(len(s.subs.channels) + len(s.subs.patterns)))
		said[i] = respconn.Value{Kind: respconn.Push, Elems: []respconn.Value{respconn.Bulk(word), respconn.Bulk(name), total}}
	}
	s.counted()
	if s.write(said...) != nil {
		s.closing = true
	}
	return respconn.Value{}
}

// forget ends all subscriptions without a word.
func (s *session) forget() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.subs.channels, s.subs.patterns = nil, nil
	s.counted()
}

func (s *session) counted() {
	s.update(func(i *clientInfo) { i.channels, i.patterns = len(s.subs.channels), len(s.subs.patterns) })
}

// listen has events brought to the session from now on.
func (s *session) listen() {
	if s.subs.feed != nil {
		return
	}
	s.conn.WriteAlongside()
	s.subs.feed, s.subs.fed = make(chan string, backlog), make(chan struct{})
	go func() {
		defer close(s.subs.fed)
		for payload := range s.subs.feed {
			if s.deliver(payload) != nil {
				s.kill()
			}
		}
	}()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.listening[s] = struct{}{}
}

// deliver sends a message for each subscription that an event fits, as Redis does.
func (s *session) deliver(payload string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	var messages []respconn.Value
	push := func(parts ...string) {
		messages = append(messages, respconn.Value{Kind: respconn.Push, Elems: respconn.Strings(parts...).Elems})
	}
	if slices.Contains(s.subs.channels, eventsChannel) {
		push("message", eventsChannel, payload)
	}
	for _, p := range s.subs.patterns {
		if match(p, eventsChannel) {
			push("pmessage", p, eventsChannel, payload)
		}
	}
	if len(messages) == 0 {
		return nil
	}
	return s.write(messages...)
}

// unsubscribed is the end of a session's subscriptions. It may be called twice.
func (s *session) unsubscribed() {
	if s.subs.feed == nil {
		return
	}
	s.server.mu.Lock()
	_, listening := s.server.listening[s]
	delete(s.server.listening, s)
	s.server.mu.Unlock()
	if listening { // nobody sends any more
		s.forget()
		close(s.subs.feed)
	}
	<-s.subs.fed
}

// Publish tells an event to all who have subscribed to it. It never waits: a client that does not read is cut off.
func (s *Server) Publish(e status.Event) {
	payload, err := message(e)
	if err != nil {
		s.log.Error("an event cannot be told, please report it", "id", e.ID, "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.listening {
		select {
		case c.subs.feed <- payload:
		default:
			s.cut.Add(1)
			s.log.Warn("a subscriber on the admin port does not read its events, closed", "client", c.remote, "name", c.snapshot().name, "waiting", backlog)
			delete(s.listening, c)
			close(c.subs.feed)
			c.kill()
		}
	}
}

// waiting is how many events the slowest subscriber has not been sent.
func (s *Server) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := 0
	for c := range s.listening {
		most = max(most, len(c.subs.feed))
	}
	return most
}

// pubsubCommands are Redis', for the channel of the proxy's events.
func pubsubCommands() []*command {
	const group = "pubsub"
	channels := argument{name: "channel", kind: text, multiple: true}
	patterns := argument{name: "pattern", kind: text, multiple: true}
	optional := func(a argument) []argument { a.optional = true; return []argument{a} }
	const confirmed = "A confirmation for each: the command, the name, and how many subscriptions there are now (a push in RESP3)."
	return []*command{{
		name: "subscribe", group: group, permission: reader, subscribed: true,
		summary:   "Has the events of the timeline sent to this connection: the channel is " + eventsChannel,
		arguments: []argument{channels},
		reply: confirmed + " Then, whenever something happens to a master, a message with an object in JSON: at the first sign `event` is `holding`, with `" +
			"id`, `pool`, `group`, `at`, `source`, `cause` and `old`; when it is over, all that `PROXY EVENTS` has. Other channels are silent.",
		errors:  []string{"-ERR too many subscriptions"},
		example: "SUBSCRIBE " + eventsChannel, handler: subscribe,
	}, {
		name: "psubscribe", group: group, permission: reader, subscribed: true,
		summary:   "Likewise, for the channels that fit a pattern",
		arguments: []argument{patterns},
		reply:     confirmed, errors: []string{"-ERR too many subscriptions"},
		example: "PSUBSCRIBE 'respgate:*'", handler: psubscribe,
	}, {
		name: "unsubscribe", group: group, permission: reader, subscribed: true,
		summary: "Ends subscriptions to channels, or all of them", arguments: optional(channels),
		reply: confirmed, example: "UNSUBSCRIBE", handler: unsubscribe,
	}, {
		name: "punsubscribe", group: group, permission: reader, subscribed: true,
		summary: "Ends subscriptions to patterns, or all of them", arguments: optional(patterns),
		reply: confirmed, example: "PUNSUBSCRIBE", handler: punsubscribe,
	}}
}
