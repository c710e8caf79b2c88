package differential

import (
	"slices"
	"strconv"
	"strings"

	"respgate/engine/command"
)

// transactions sends MULTI, WATCH and what belongs to them, with mistakes, while the other client interferes.
func (b *builder) transactions() {
	for range 1 + b.IntN(5) {
		tag := ""
		if b.groups > 1 {
			tag = "{t}"
		}
		if b.chance(40) {
			b.one("WATCH", tag+b.words("s1 l1 none"), tag+b.words("s1 s2 t1"))
			if b.chance(50) {
				b.interfere(tag)
			}
			if b.chance(15) {
				b.one("UNWATCH")
			}
		}
		if b.chance(6) {
			b.one(b.words("EXEC DISCARD UNWATCH"))
		}
		b.transaction(tag)
		if b.chance(6) {
			for _, line := range []string{"MULTI", b.pick("CLIENT GETNAME", "CLIENT ID", "AUTH x", "client help"), "DISCARD"} {
				b.one(strings.Fields(line)...)
			}
		}
	}
}

// interfere changes a key by the other client.
func (b *builder) interfere(tag string) {
	b.who = 1 - b.who
	b.one("SET", tag+b.words("s1 s2 none"), "changed")
	b.who = 1 - b.who
}

func (b *builder) transaction(tag string) {
	steps := []step{{args: []string{b.words("MULTI MULTI multi")}}}
	for range b.IntN(7) {
		switch {
		case b.chance(4):
			steps = append(steps, step{args: []string{b.words("MULTI WATCH MULTI"), tag + "s1"}})
		case b.chance(3):
			steps = append(steps, step{args: []string{"MULTI"}})
		case b.chance(5):
			if args := b.nonsense(); !strings.HasPrefix(fullName(args), "client|") {
				steps = append(steps, step{args: args})
			}
		case b.chance(8):
			steps = append(steps, step{args: []string{b.words("PING ECHO"), "x"}})
		default:
			steps = append(steps, b.queued(tag)...)
		}
	}
	switch {
	case b.chance(70):
		steps = append(steps, step{args: []string{"EXEC"}})
	case b.chance(70):
		steps = append(steps, step{args: []string{"DISCARD"}})
	case b.chance(50):
		steps = append(steps, step{args: []string{"RESET"}})
	default:
		steps = append(steps, step{args: []string{"EXEC", "extra"}}, step{args: []string{"EXEC"}})
	}
	if b.chance(50) {
		b.add(batch{steps: steps, cut: b.cuts()})
		return
	}
	for i := range steps {
		b.add(batch{steps: steps[i : i+1]})
	}
}

// queued is a command with keys for a transaction.
func (b *builder) queued(tag string) []step {
	for {
		s := b.any()
		if s.Route == command.RouteRefused || s.Route == command.RouteFanout || s.First == 0 {
			continue
		}
		b.keyKind, b.tag = keyKinds[s.Group], tag
		args := b.arguments(slices.Clone(s.words), s, s.args)
		if b.chance(15) && b.breakable(s) {
			args = b.mutate(s, args)
		}
		steps := []step{{args: args}}
		if random(s, args) {
			steps = append(steps, step{args: after(s, args)})
		}
		return steps
	}
}

// connection sends what changes, or tells of, the connection itself.
func (b *builder) connection() {
	for range 4 + b.IntN(20) {
		if b.chance(15) {
			b.who = 1 - b.who
		}
		b.add(batch{steps: []step{{args: b.connectionRequest(), inline: b.chance(10)}}})
	}
}

func (b *builder) connectionRequest() []string {
	switch b.IntN(22) {
	case 0, 1:
		return []string{"HELLO", b.words("2 3")}
	case 2:
		return []string{"HELLO", b.words("2 3"), "SETNAME", b.words("me you")}
	case 3:
		return []string{"HELLO", b.words("2 3"), "AUTH", b.words("default nobody"), "wrong"}
	case 4:
		return []string{"HELLO", b.words("1 4 x 9999999999999999999999")}
	case 5:
		return []string{"AUTH", b.words("x wrong")}
	case 6:
		return []string{"AUTH", b.words("default nobody"), b.words("x wrong"), "extra"}
	case 7:
		return []string{"AUTH", b.words("nobody none"), b.words("x wrong")}
	case 8, 9:
		return []string{"CLIENT", "SETNAME", b.pick("me", "you", "", "with space", "new\nline", "x\x00y", strings.Repeat("n", 100))}
	case 10, 11:
		return []string{"CLIENT", b.words("GETNAME getname")}
	case 12:
		return []string{"CLIENT", "REPLY", b.words("ON OFF SKIP SKIP ON bad")}
	case 13:
		return []string{"CLIENT", "REPLY", "ON"}
	case 14, 15:
		return []string{"SELECT", b.words("0 1 2 15 16 -1 x 0 0")}
	case 16:
		return []string{"RESET"}
	case 17:
		return []string{"PING", b.words("hi there")}
	case 18:
		return b.make(b.grammar.byName[b.words("set get del rpush lrange hset hgetall")], 10)[0].args
	case 19:
		return []string{"CLIENT", b.words("NO-EVICT NO-TOUCH"), b.words("on off x")}
	case 20:
		if b.chance(15) {
			return []string{"QUIT"}
		}
		return []string{"ECHO", "x"}
	}
	return b.harmless()
}

// harmless is CLIENT with a subcommand that could end or stop connections, the test's own among them, in a form that does
// not.
func (b *builder) harmless() []string {
	return strings.Fields(b.pick(
		"CLIENT nosuch 1", "CLIENT ID 1", "CLIENT UNBLOCK 999999", "CLIENT UNBLOCK 999999 ERROR", "CLIENT UNBLOCK x", "CLIENT UNBLOCK 999999 BAD",
		"CLIENT GETREDIR", "client getredir", "CLIENT KILL ID 999999", "CLIENT KILL 1.2.3.4:5", "CLIENT KILL ADDR 1.2.3.4:5 SKIPME yes",
		"CLIENT KILL ID x", "CLIENT KILL TYPE nosuch", "CLIENT KILL SKIPME maybe", "CLIENT KILL USER nobody", "CLIENT KILL LADDR 1.2.3.4:5 TYPE replica",
		"CLIENT PAUSE x", "CLIENT PAUSE -1", "CLIENT PAUSE 1", "CLIENT PAUSE 1 WRITE", "CLIENT PAUSE 1 ALL", "CLIENT PAUSE 1 bad", "CLIENT UNPAUSE",
		"CLIENT LIST TYPE nosuch", "CLIENT LIST ID x", "CLIENT LIST ID 999999", "CLIENT LIST nosuch", "CLIENT LIST TYPE master",
	))
}

// subscriptions of one client, or both, while messages are published.
func (b *builder) subscriptions() {
	for range 4 + b.IntN(16) {
		if b.chance(40) {
			b.who = 1 - b.who
		}
		var steps []step
		for range 1 + b.IntN(4) {
			steps = append(steps, step{args: b.subscriptionRequest()})
		}
		b.add(batch{steps: steps, cut: b.cuts()})
	}
}

func (b *builder) subscriptionRequest() []string {
	switch b.IntN(14) {
	case 0, 1:
		return []string{"SUBSCRIBE", b.words("c1 c2 c3")}
	case 2:
		return []string{"SUBSCRIBE", b.words("c1 c2"), b.words("c1 c2 c3")}
	case 3:
		return []string{"PSUBSCRIBE", b.words("c* c? *1 none*")}
	case 4:
		return []string{"UNSUBSCRIBE", b.words("c1 c2 none")}
	case 5:
		return []string{b.words("UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE")}
	case 6:
		return []string{"PUNSUBSCRIBE", b.words("c* c?")}
	case 7:
		return []string{"SSUBSCRIBE", b.words("c1 c2")}
	case 8:
		return []string{"PUBSUB", b.words("NUMSUB numsub"), b.words("c1 none"), "c2"}
	case 9:
		return []string{b.words("PING GET EXISTS"), "s1"}
	case 10:
		return []string{"SUBSCRIBE"}
	}
	return []string{b.words("PUBLISH PUBLISH PUBLISH SPUBLISH"), b.words("c1 c2 c3 none"), "m" + strconv.Itoa(b.IntN(1000))}
}

// blocking sends commands that wait: with data, with a short time-out, or until the other client brings what they wait for.
func (b *builder) blocking() {
	tag := ""
	if b.groups > 1 {
		tag = "{t}"
	}
	for n := range 1 + b.IntN(4) {
		if b.chance(50) {
			key, late := tag+"new"+strconv.Itoa(n), 0
			if b.chance(30) {
				late = 1 // requests behind the blocked one
			}
			b.handOver(key, tag, late)
			continue
		}
		var steps []step
		for range 1 + b.IntN(3) {
			steps = append(steps, b.blocked(tag)...)
		}
		b.add(batch{steps: steps, cut: b.cuts()})
	}
}

// handOver blocks one client on a key that the other one fills.
func (b *builder) handOver(key, tag string, behind int) {
	if b.models[b.who].multi || b.models[1-b.who].multi {
		return
	}
	var wait, bring []string
	switch b.IntN(7) {
	case 0:
		wait, bring = []string{"BLPOP", key, "0"}, []string{"RPUSH", key, "v"}
	case 1:
		wait, bring = []string{"BRPOP", key, tag + "none", "0"}, []string{"LPUSH", key, "v"}
	case 2:
		wait, bring = []string{"BZPOPMIN", key, "0"}, []string{"ZADD", key, "1", "v"}
	case 3:
		wait, bring = []string{"BLMOVE", key, tag + "l1", "LEFT", "RIGHT", "0"}, []string{"RPUSH", key, "v"}
	case 4:
		wait, bring = []string{"XREAD", "BLOCK", "0", "STREAMS", key, "0"}, []string{"XADD", key, "1-1", "f", "v"}
	case 5:
		wait, bring = []string{"BLMPOP", "0", "1", key, "LEFT"}, []string{"RPUSH", key, "v"}
	case 6:
		wait, bring = []string{"BRPOPLPUSH", key, tag + "l1", "0"}, []string{"RPUSH", key, "v"}
	}
	first := []step{{args: wait}}
	for range behind {
		first = append(first, step{args: []string{"ECHO", "behind"}})
	}
	b.add(batch{steps: first, late: true})
	b.who = 1 - b.who
	b.one(bring...)
}

// blocked is a command that blocks for a short time at most.
func (b *builder) blocked(tag string) []step {
	for {
		s := b.any()
		if !s.blocks || !s.known {
			continue
		}
		b.keyKind, b.tag = keyKinds[s.Group], tag
		args := b.arguments(slices.Clone(s.words), s, s.args)
		if b.chance(20) && b.breakable(s) {
			args = b.mutate(s, args)
		}
		return []step{{args: args}}
	}
}

// tracking is client-side caching of one client, while the other one writes.
func (b *builder) tracking() {
	b.who = 0
	b.one("HELLO", "3")
	for range 3 + b.IntN(10) {
		switch b.IntN(6) {
		case 0:
			b.one("CLIENT", "TRACKING", b.words("on ON off"))
		case 1:
			b.one("CLIENT", "TRACKING", "on", b.words("BCAST NOLOOP OPTIN"))
		case 2:
			b.one("CLIENT", "CACHING", b.words("yes no"))
		case 3:
			b.one("CLIENT", b.words("TRACKINGINFO GETREDIR"))
		case 4:
			b.one(b.words("GET EXISTS STRLEN"), b.words("s1 s2 b2"))
		case 5:
			b.who = 1 - b.who
			b.one("SET", b.words("s1 s2 b2"), "changed")
			b.who = 1 - b.who
		}
	}
}
