package differential

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// difference is the first place where the two sides part.
type difference struct {
	step         *step // nil: not about one request
	name         string
	what         string
	plain, proxy string
}

func (d *difference) String() string {
	if d.step == nil {
		return fmt.Sprintf("%s\n  plain: %s\n  proxy: %s", d.what, d.plain, d.proxy)
	}
	return fmt.Sprintf("%s: %s\n  plain: %s\n  proxy: %s", d.step.line(), d.what, d.plain, d.proxy)
}

// late reports whether the difference is that somebody did not answer in time.
func (d *difference) late() bool {
	return strings.Contains(d.proxy, "no reply: ") || strings.Contains(d.proxy, ": no connection to its master ")
}

// exchange is a request with both replies, as rules judge it.
type exchange struct {
	name         string // of the command, "client|id"; "" if nobody knows it
	args         []string
	plain, proxy *reply
	groups       int
	queued       bool // a reply within that of EXEC
}

// compare finds the first difference that no rule allows, nil if there is none.
func compare(q *sequence, plain, proxy *transcript, rules *rulebook) *difference {
	c := &comparison{q: q, sides: [2]*transcript{plain, proxy}, rules: rules}
	for i := range q.batches {
		b := &q.batches[i]
		for k := range b.steps {
			if d := c.step(b.who, &b.steps[k]); d != nil {
				return d
			}
		}
	}
	for who := range c.at {
		if d := c.rest(who); d != nil {
			return d
		}
	}
	return nil
}

type comparison struct {
	q      *sequence
	sides  [2]*transcript
	rules  *rulebook
	models [2]model
	at     [2][2]int // client, side: replies that are compared
	queue  [2][]*step
}

// step compares what one request was answered.
func (c *comparison) step(who int, s *step) *difference {
	replies, confirmations := c.models[who].expect(s)
	for i := range replies + confirmations {
		var pair [2]*reply
		for side, t := range c.sides {
			r := &t.clients[who]
			if side == 0 && s.hidden {
				pair[0] = &reply{}
				continue
			}
			if c.at[who][side] >= len(r.replies) {
				return c.missing(who, s)
			}
			pair[side] = &r.replies[c.at[who][side]]
			c.at[who][side]++
		}
		if i >= replies && (!pair[0].isConfirmation() || !pair[1].isConfirmation()) && !bytes.Equal(pair[0].raw, pair[1].raw) {
			return c.differ(s, "confirmations of subscriptions differ", pair)
		}
		if d := c.pair(who, s, pair); d != nil {
			return d
		}
	}
	if c.models[who].gone || strings.EqualFold(s.args[0], "reset") {
		c.queue[who] = nil
	}
	return nil
}

// pair compares two replies to a request; those of a transaction one by one.
func (c *comparison) pair(who int, s *step, pair [2]*reply) *difference {
	queue := c.queue[who]
	name := strings.ToLower(s.args[0])
	if name == "exec" || name == "discard" {
		c.queue[who] = nil
	}
	if string(pair[0].raw) == "+QUEUED\r\n" {
		c.queue[who] = append(c.queue[who], s)
	}
	if name == "exec" && pair[0].kind == '*' && pair[1].kind == '*' && len(pair[0].elems) == len(queue) && len(pair[1].elems) == len(queue) {
		for i, q := range queue {
			if !c.allowed(q, &pair[0].elems[i], &pair[1].elems[i], true) {
				return c.differ(q, "its reply in EXEC differs", [2]*reply{&pair[0].elems[i], &pair[1].elems[i]})
			}
		}
		return nil
	}
	if !c.allowed(s, pair[0], pair[1], false) {
		return c.differ(s, "replies differ", pair)
	}
	return nil
}

func (c *comparison) allowed(s *step, plain, proxy *reply, queued bool) bool {
	if bytes.Equal(plain.raw, proxy.raw) {
		return true
	}
	return c.rules.allow(&exchange{name: fullName(s.args), args: s.args, plain: plain, proxy: proxy, groups: c.q.groups, queued: queued})
}

func (c *comparison) differ(s *step, what string, pair [2]*reply) *difference {
	return &difference{step: s, name: fullName(s.args), what: what, plain: clip(pair[0].raw), proxy: clip(pair[1].raw)}
}

// missing is a difference if the proxy alone has no reply; if the plain server has none either, the sequence ends there.
func (c *comparison) missing(who int, s *step) *difference {
	d := &difference{step: s, name: fullName(s.args), what: "one side has no reply"}
	for side, text := range []*string{&d.plain, &d.proxy} {
		r := &c.sides[side].clients[who]
		if at := c.at[who][side]; at < len(r.replies) {
			*text = clip(r.replies[at].raw)
		} else {
			*text = "(" + r.cause + ")"
		}
	}
	return d
}

// rest compares what came beyond the replies: messages, the end.
func (c *comparison) rest(who int) *difference {
	plain, proxy := &c.sides[0].clients[who], &c.sides[1].clients[who]
	a, b := plain.replies[c.at[who][0]:], proxy.replies[c.at[who][1]:]
	if x, y := texts(a), texts(b); x != y {
		return &difference{what: fmt.Sprintf("client %c: after all replies", 'a'+who), plain: x + plain.cause, proxy: y + proxy.cause}
	}
	if plain.cause != proxy.cause {
		return &difference{what: fmt.Sprintf("client %c: the end of the connection", 'a'+who), plain: plain.cause, proxy: proxy.cause}
	}
	x, y := streams(plain.messages), streams(proxy.messages)
	for _, name := range slices.Sorted(maps.Keys(merged(x, y))) {
		if !slices.Equal(x[name], y[name]) {
			return &difference{
				name: "message", what: fmt.Sprintf("client %c: messages of %s", 'a'+who, name),
				plain: fmt.Sprintf("%q", x[name]), proxy: fmt.Sprintf("%q", y[name]),
			}
		}
	}
	return nil
}

// streams sorts messages by where they come from: only within one channel is there an order. Keys that are invalidated are
// a set.
func streams(messages []reply) map[string][]string {
	s := map[string][]string{}
	for i := range messages {
		m := &messages[i]
		switch name := m.name(); {
		case name == "invalidate" && len(m.elems) == 2:
			for _, key := range m.elems[1].elems {
				s[name] = append(s[name], key.text)
			}
			if m.elems[1].null {
				s[name] = append(s[name], "all keys")
			}
		case len(m.elems) > 1:
			source := name + " " + quote(m.elems[1].text)
			if len(m.elems) > 3 {
				source += " " + quote(m.elems[2].text)
			}
			s[source] = append(s[source], string(m.raw))
		}
	}
	slices.Sort(s["invalidate"])
	s["invalidate"] = slices.Compact(s["invalidate"])
	return s
}

func merged(a, b map[string][]string) map[string][]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func texts(list []reply) string {
	var b strings.Builder
	for i := range list {
		b.WriteString(clip(list[i].raw))
		b.WriteByte(' ')
	}
	return b.String()
}

func clip(raw []byte) string {
	if len(raw) > 600 {
		return fmt.Sprintf("%q... (%d bytes)", raw[:600], len(raw))
	}
	return fmt.Sprintf("%q", raw)
}
