package differential

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"respgate/engine/command"
)

// generator makes requests of a grammar. What it makes follows from the seed alone.
type generator struct {
	*rand.Rand
	grammar  *grammar
	payloads []string // what DUMP says, for RESTORE
	groups   int
	tag      string // put before keys, so that those of one request lie in one group
	keyKind  string // what kind of key the command wants
	repeats  int    // how often the last argument with "multiple" was written
}

func newGenerator(seed uint64, g *grammar, payloads []string, groups int) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 0)), grammar: g, payloads: payloads, groups: groups}
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) pick(list ...string) string { return list[g.IntN(len(list))] }

// words picks from words that are separated by blanks.
func (g *generator) words(list string) string { return g.pick(strings.Fields(list)...) }

// times is how often something repeatable stands there.
func (g *generator) times() int {
	if g.chance(3) {
		return 10 + g.IntN(30)
	}
	return 1 + g.IntN(3)
}

// keyKinds are the letters that keys begin with, by the group of the commands that are made for them.
var keyKinds = map[string]string{
	"string": "s", "list": "l", "set": "t", "sorted-set": "z", "hash": "h", "stream": "x", "bitmap": "b", "hyperloglog": "p", "geo": "g",
}

// request makes one request of the command, correct by its grammar.
func (g *generator) request(s *shape) []string {
	g.keyKind = keyKinds[s.Group]
	g.tag = ""
	if g.groups > 1 {
		g.tag = g.pick("", "", "{t}", "{u}")
		// What EVAL brings to a group is there for EVALSHA.
		if s.Group == "scripting" || s.keys() > 1 && s.Route != command.RouteMGet && s.Route != command.RouteMSet && s.Route != command.RouteSum {
			g.tag = "{t}"
		}
	}
	out := slices.Clone(s.words)
	if g.chance(30) {
		for i := range out {
			out[i] = g.letterCase(out[i])
		}
	}
	return g.arguments(out, s, s.args)
}

// letterCase changes it.
func (g *generator) letterCase(word string) string {
	if g.chance(50) {
		return strings.ToLower(word)
	}
	b := []byte(word)
	for i := range b {
		if g.chance(50) {
			b[i] = strings.ToLower(string(b[i]))[0]
		}
	}
	return string(b)
}

// arguments appends a value for each argument; the optional ones now and then.
func (g *generator) arguments(out []string, s *shape, args []argument) []string {
	counter := -1 // where the number of keys stands, which is known when they are written
	for i := range args {
		a := &args[i]
		if a.name == "numkeys" {
			if a.token != "" {
				out = append(out, a.token)
			}
			counter = len(out)
			out = append(out, "0")
			continue
		}
		if a.optional && !g.chance(35) && !(a.kind == "key" && g.groups > 1 && strings.HasPrefix(s.Name, "eval") && !strings.HasPrefix(s.Name, "evalsha")) {
			continue
		}
		n := 1
		if a.multiple {
			n = g.times()
			if a.name == "id" && strings.HasPrefix(s.Name, "xread") || a.name == "weight" {
				n = g.repeats // one for each key
			}
			if a.kind == "key" {
				g.repeats = n
			}
		}
		if counter >= 0 && a.kind == "key" {
			out[counter] = strconv.Itoa(n)
		}
		for k := range n {
			if a.token != "" && (k == 0 || a.per) {
				out = append(out, a.token)
			}
			switch a.kind {
			case "pure-token":
			case "oneof":
				one := a.args[g.IntN(len(a.args))]
				one.optional = false
				out = g.arguments(out, s, []argument{one})
			case "block":
				out = g.arguments(out, s, a.args)
			default:
				out = append(out, g.value(s, a))
			}
		}
	}
	return out
}

// key picks one of few keys, so that commands meet: mostly of the kind that the command is for.
func (g *generator) key() string {
	kind := g.keyKind
	switch {
	case kind == "":
		kind = g.words("s l t z h x b p g")
	case g.chance(6):
		kind = g.words("s l t z h x b p g")
	}
	if g.chance(2) {
		return g.tag + g.pick("none", "", "a key", "\x00\xff\r\n", "k\"'\\")
	}
	return g.tag + kind + strconv.Itoa(1+g.IntN(3))
}

// junk is what a number, a word or a key should not be. Numbers that a time-out or an expiry could be are not among it:
// see shape.timed.
var junk = []string{
	"", "abc", "-1", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551616",
	"1e400", "nan", "-nan", "inf", "-inf", "+1", " 1", "1 ", "01", "0x1f", "1.5", "1e3", "\x00", "\r\n", "\xff\xfe", "(1", "[a", "$", "*", "%", ">",
	"COUNT", "WITHSCORES", "LIMIT", "STORE", "BLOCK", "STREAMS", "-0", "4294967296",
}

// mutate breaks a request in some way.
func (g *generator) mutate(s *shape, args []string) []string {
	args = slices.Clone(args)
	first := len(s.words)
	for range 1 + g.IntN(2) {
		if len(args) <= first {
			args = append(args, g.broken(s))
			continue
		}
		at := first + g.IntN(len(args)-first)
		switch g.IntN(8) {
		case 0:
			args = args[:len(args)-1]
		case 1:
			args = append(args, g.broken(s))
		case 2, 3:
			args[at] = g.broken(s)
		case 4:
			args = slices.Delete(args, at, at+1)
		case 5:
			if !s.timed {
				args = slices.Insert(args, at, args[at])
			}
		case 6:
			if !s.timed {
				other := first + g.IntN(len(args)-first)
				args[at], args[other] = args[other], args[at]
			}
		case 7:
			args[at] = g.letterCase(args[at])
		}
	}
	return args
}

// broken is an argument out of place. Where it could become a time-out it is no number.
func (g *generator) broken(s *shape) string {
	if s.blocks {
		return g.pick("", "abc", "-1", "nan", "\xff\xfe", "COUNT", "1 ", "-9223372036854775809")
	}
	if s.timed {
		return g.pick("", "abc", "-1", "9223372036854775808", "1e400", "nan", "\xff\xfe", "COUNT", "NX", "1 ", "-9223372036854775809", "1.5")
	}
	return junk[g.IntN(len(junk))]
}

// nonsense is a request that no command has.
func (g *generator) nonsense() []string {
	name := g.pick("NOSUCH", "getx", "", "client", "CLIENT", "\x00\x01", "a b", "GET\r\n", strings.Repeat("long", 50), "OBJECT", "xinfo", "config", "%s%n")
	args := []string{name}
	for range g.IntN(4) {
		args = append(args, g.pick("x", "", "\xff\r\n", "'quoted'", strings.Repeat("y", 100), "nosuch", "help"))
	}
	return args
}

// after is what must follow a request whose effect is random, so that both sides are alike again.
func after(s *shape, args []string) []string {
	upper := func(i int) string { return strings.ToUpper(args[i]) }
	switch s.Name {
	case "spop", "xadd":
		if len(args) > 1 {
			return []string{"DEL", args[1]}
		}
	case "sort", "georadius", "georadiusbymember":
		for i := 1; i+1 < len(args); i++ {
			if strings.HasPrefix(upper(i), "STORE") {
				return []string{"DEL", args[i+1]}
			}
		}
	}
	return nil
}

// random reports whether the request may need an "after".
func random(s *shape, args []string) bool {
	if s.Name != "xadd" {
		return after(s, args) != nil
	}
	return slices.Contains(args, "*")
}
