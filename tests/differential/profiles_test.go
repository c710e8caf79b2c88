package differential

import (
	"strings"

	"respgate/engine/command"
)

// profile is a kind of sequence.
type profile struct {
	name   string
	weight int
	groups int // 0: for any number of groups
	fill   func(b *builder)
}

var profiles = []profile{
	{"any command", 30, 0, func(b *builder) { b.data(b.any, 20) }},
	{"one data type", 30, 0, func(b *builder) { b.data(b.ofGroup(), 12) }},
	{"broken requests", 14, 0, func(b *builder) { b.data(b.any, 70) }},
	{"transactions", 18, 0, (*builder).transactions},
	{"connection", 12, 0, (*builder).connection},
	{"subscriptions", 12, 0, (*builder).subscriptions},
	{"blocking", 8, 0, (*builder).blocking},
	{"tracking", 4, 0, (*builder).tracking},
}

// builder puts a sequence together.
type builder struct {
	*generator
	q      *sequence
	models [2]model
	pool   []*shape // commands that may be sent to the pool as data
	who    int
}

// build makes the sequence of a seed.
func build(seed uint64, g *grammar, payloads []string, groups int) *sequence {
	b := &builder{generator: newGenerator(seed, g, payloads, groups), q: &sequence{seed: seed, groups: groups}}
	for _, s := range g.shapes {
		if b.isData(s) {
			b.pool = append(b.pool, s)
		}
	}
	for who := range b.models {
		if b.chance(50) {
			b.who = who
			b.one("HELLO", "3")
		}
	}
	b.who = 0
	b.populate()
	total := 0
	for i := range profiles {
		total += profiles[i].weight
	}
	n := b.IntN(total)
	for i := range profiles {
		if n -= profiles[i].weight; n < 0 {
			profiles[i].fill(b)
			break
		}
	}
	return b.q
}

// isData reports whether the command can stand anywhere: it does not change what the connection is.
func (b *builder) isData(s *shape) bool {
	switch s.Name {
	case "quit", "reset", "hello", "select", "auth", "client|reply", "client|tracking", "client|caching", "client|trackinginfo", "client|setname",
		"client|kill", "client|pause":
		return false
	case "wait", "waitaof":
		return true
	}
	return s.Route != command.RouteSession
}

// add appends a batch and follows what it does to the connection.
func (b *builder) add(bt batch) {
	bt.who = b.who
	var kept []step
	for _, s := range bt.steps {
		if b.models[b.who].accepts(&s) {
			b.models[b.who].expect(&s)
			kept = append(kept, s)
		}
	}
	if len(kept) > 0 {
		bt.steps = kept
		b.q.batches = append(b.q.batches, bt)
	}
}

// one sends a single request and waits for its reply.
func (b *builder) one(args ...string) { b.add(batch{steps: []step{{args: args}}}) }

// populate makes a key or two of each kind, so that commands find something.
func (b *builder) populate() {
	tags := []string{""}
	if b.groups > 1 {
		tags = []string{"", "{t}"}
	}
	var steps []step
	for _, tag := range tags {
		for _, line := range []string{
			"SET s1 10", "SET s2 hello", "SETEX s3 100000 x", "RPUSH l1 c a b 3 1", "RPUSH l2 1 2 10", "SADD t1 1 2 3", "SADD t2 a b c 1",
			"ZADD z1 1 a 2 b 3 c", "ZADD z2 2 b 4 d", "HSET h1 f1 v1 f2 10 n1 5", "HSET h2 f1 x", "XADD x1 1-1 f v", "XADD x1 2-1 f w g x",
			"XGROUP CREATE x1 grp 0", "XADD x2 3-1 a b", "SETBIT b1 7 1", "SET b2 foobar", "PFADD p1 a b c", "PFADD p2 c d",
			"GEOADD g1 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", "SET w_a 3", "SET w_b 1", "SET w_c 2",
		} {
			if !b.chance(75) {
				continue
			}
			args := strings.Fields(line)
			at := 1
			if args[0] == "XGROUP" {
				at = 2
			}
			args[at] = tag + args[at]
			steps = append(steps, step{args: args})
		}
	}
	if b.chance(30) {
		steps = append(steps, step{args: []string{"SCRIPT", "LOAD", scripts[b.IntN(len(scripts))]}})
	}
	if b.chance(20) {
		steps = append(steps, step{args: []string{"FUNCTION", "LOAD", "REPLACE", library}})
	}
	if len(steps) > 0 {
		b.add(batch{steps: steps})
	}
}

// any picks any command that can stand anywhere.
func (b *builder) any() *shape { return b.pool[b.IntN(len(b.pool))] }

// ofGroup picks commands of one group.
func (b *builder) ofGroup() func() *shape {
	group := b.words("string list set sorted-set hash stream generic scripting geo bitmap hyperloglog server connection")
	var some []*shape
	for _, s := range b.pool {
		if s.Group == group && s.known {
			some = append(some, s)
		}
	}
	return func() *shape { return some[b.IntN(len(some))] }
}

// make is a request of the command, broken in so many of a hundred cases, with what must follow it.
func (b *builder) make(s *shape, broken int) []step {
	if s.Route == command.RouteRefused && !s.Container() {
		return []step{{args: b.request(s), hidden: true}}
	}
	args := b.request(s)
	if s.Container() && s.Name != "command" && b.chance(50) {
		args = append(args[:1:1], b.words("nosuch HELP help"))
	}
	if s.Name == "command|getkeys" || s.Name == "command|getkeysandflags" {
		args = append(args[:2:2], b.request(b.any())...)
	}
	if b.chance(broken) && b.breakable(s) {
		args = b.mutate(s, args)
	}
	st := step{args: args}
	st.inline = b.chance(8)
	steps := []step{st}
	if random(s, args) {
		steps = append(steps, step{args: after(s, args)})
	}
	return steps
}

// breakable reports whether a broken request of the command leaves both sides alike: with several groups a key in the
// wrong place may be of another group, and the plain server does what the proxy refuses.
func (b *builder) breakable(s *shape) bool {
	return b.groups == 1 || s.keys() < 2 || s.Flags.Has(command.FlagReadOnly)
}

// data sends batches of commands from next.
func (b *builder) data(next func() *shape, broken int) {
	for range 2 + b.IntN(12) {
		depth := 1
		switch b.IntN(5) {
		case 0:
			depth = 2 + b.IntN(8)
		case 1:
			depth = 10 + b.IntN(91)
		}
		if b.chance(10) {
			b.who = 1 - b.who
		}
		var steps []step
		for len(steps) < depth {
			if b.chance(broken / 10) {
				steps = append(steps, step{args: b.nonsense()})
				continue
			}
			steps = append(steps, b.make(next(), broken)...)
		}
		b.add(batch{steps: steps, cut: b.cuts()})
	}
}

func (b *builder) cuts() cut {
	switch n := b.IntN(20); {
	case n < 6:
		return somewhere
	case n == 6:
		return everywhere
	}
	return whole
}
