package engine

import (
	"strings"
	"testing"

	"respgate/engine/command"
	"respgate/engine/topology"
)

var (
	rowGet   = command.Row{Name: "get", Arity: 2, First: 1, Last: 1, Step: 1}
	rowGetEx = command.Row{Name: "getex", Arity: -2, Flags: []string{"write"}, First: 1, Last: 1, Step: 1}
	rowWatch = command.Row{Name: "watch", Arity: -2, First: 1, Last: -1, Step: 1}
	rowScan  = command.Row{Name: "scan", Arity: -2}
	module   = []command.Row{
		{Name: "x.set", Arity: 3, Flags: []string{"write", "module"}, First: 1, Last: 1, Step: 1},
		{Name: "x.both", Arity: -3, Flags: []string{"module", "movablekeys"}, Keys: []command.RowKeys{{Index: 1, KeyNum: true, FirstKey: 1, KeyStep: 1}}},
		{Name: "x.pop", Arity: 3, Flags: []string{"write", "blocking", "module"}, First: 1, Last: 1, Step: 1},
		{Name: "x.config", Arity: -1, Flags: []string{"module"}},
		{Name: "x", Arity: -2, Subs: []command.Row{{Name: "x|len", Arity: 3, Keys: []command.RowKeys{{Index: 2}}}}},
		{Name: "xinfo", Arity: -2, Subs: []command.Row{{Name: "xinfo|later", Arity: 3, Keys: []command.RowKeys{{Index: 2}}}}},
	}
)

// offers gives the pool's groups, in their order, what their servers have beside GET; nil is nothing known.
func offers(t testing.TB, rows ...[]command.Row) func(*topology.Snapshot) {
	t.Helper()
	return func(s *topology.Snapshot) {
		p := s.Pools[0]
		var members []command.Member
		for i, g := range p.Groups {
			m := command.Member{Group: g.Name, Master: g.Master.Name}
			if rows[i] != nil {
				o, err := command.NewOffer(append([]command.Row{rowGet}, rows[i]...))
				if err != nil {
					t.Fatal(err)
				}
				m.Offer = o
			}
			members = append(members, m)
		}
		p.Catalog = command.NewCatalog(members)
	}
}

// TestAdoptedCommands: commands of a module are routed by the keys that the servers say they have.
func TestAdoptedCommands(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.SessionLinks = 4 }))
		a := r.dial()
		k1, k2 := r.key("g1", 0), r.key("g2", 0)
		a.wantUnknown("x.set", k1, "v")
		r.apply(offers(t, module, module))
		for group, k := range map[string]string{"g1": k1, "g2": k2} {
			a.do(bulk("X.Set "+k+" v"), "X.Set", k, "v")
			a.do(bulk("x.both 1 "+k+" w"), "x.both", "1", k, "w")
			a.do(bulk("x.pop "+k+" 0"), "x.pop", k, "0")
			a.do(bulk("x len "+k), "x", "len", k)
			a.do(bulk("XINFO LATER "+k), "XINFO", "LATER", k)
			want := "X.Set " + k + " v; x.both 1 " + k + " w; CLIENT ID; x.pop " + k + " 0; x len " + k + "; XINFO LATER " + k
			// CLIENT ID is the greeting on the link of its own that the blocking one gets.
			if got := strings.Join(r.servers[group].requests(), "; "); got != want {
				t.Errorf("%s saw %q, want %q", group, got, want)
			}
		}
		a.sendLine("x.both", "2", k1, k2)
		a.wantError("CROSSSLOT")
		a.sendLine("x.both", "3", k1, k2)
		a.wantError("ERR syntax error")
		a.sendLine("x.set", k1)
		a.wantError("ERR wrong number of arguments for 'x.set' command")
		a.sendLine("x.config")
		a.wantError("ERR respgate: command 'x.config' is not supported: it names no key, and the pool has more than one group")
		a.sendLine("xinfo", "nope", k1)
		a.wantError("ERR unknown subcommand 'nope'")
		a.wantUnknown("x|len", k1)
		if n := r.pool().Commands[0]; n != 13 {
			t.Errorf("%d calls of commands that nobody listed", n)
		}
		r.apply(offers(t, nil, nil))
		a.wantUnknown("x.set", k1, "v")
		a.do("+OK\r\n", "SET", k1, "v")
	})
}

// TestAdoptedAlone: a pool of one group has no question where a command without keys belongs.
func TestAdoptedAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"}, offers(t, module))
	a := r.dial()
	a.do(bulk("x.config a b"), "x.config", "a", "b")
	a.do(bulk("x.both 3 k"), "x.both", "3", "k") // the server itself says what is wrong
}

// TestLackingCommands: what one group does not have is refused for all keys, with the group's name, known or not.
func TestLackingCommands(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2", "g3"}, set(func(s *topology.Settings) { s.SessionLinks = 4 }))
		a := r.dial()
		k1, k2 := r.key("g1", 0), r.key("g2", 0)
		a.do(bulk("GETEX "+k1), "GETEX", k1)
		all := append([]command.Row{rowGetEx, rowWatch, rowScan}, module...)
		r.apply(offers(t, all, []command.Row{}, nil))
		because := "' is not supported: group 'g2' does not have it (its master " + r.servers["g2"].master(1).Name + " does not list it)"
		for _, args := range [][]string{{"GETEX", k1}, {"getex", k2}, {"x.set", k1, "v"}, {"x", "len", k1}, {"xinfo", "later", k1}, {"watch", k1}, {"scan", "0"}} {
			name := strings.ToLower(args[0])
			if len(args) == 3 && args[0] != "x.set" {
				name += "|" + args[1]
			}
			a.sendLine(args...)
			a.wantError("ERR respgate: command '" + name + because)
		}
		a.do("+OK\r\n", "SET", k2, "v") // which neither lists
		a.do(bulk("v"), "GET", k2)
		a.do("+OK\r\n", "MULTI")
		a.sendLine("GETEX", k1)
		a.wantError("ERR respgate: command 'getex" + because)
		a.sendLine("EXEC")
		a.wantError("EXECABORT")
		r.apply(offers(t, all, all, nil))
		a.do(bulk("GETEX "+k2), "GETEX", k2)
		a.do(bulk("x.set "+k2+" v"), "x.set", k2, "v")
		if n := r.stats("g3").Requests; n != 0 {
			t.Errorf("%d requests to the group of which nothing is known", n)
		}
	})
}

// TestAdoptedIsNotTheTable: a server cannot make the proxy forget its own rules.
func TestAdoptedIsNotTheTable(t *testing.T) {
	t.Parallel()
	liar := []command.Row{{Name: "shutdown", First: 1, Last: 1, Step: 1}, {Name: "client", Subs: []command.Row{{Name: "client|nope", Arity: 2}}}, {Name: "set", First: 2, Last: 2, Step: 1}}
	r := newRig(t, plain, []string{"g1", "g2"}, offers(t, liar, liar))
	a := r.dial()
	a.sendLine("SHUTDOWN", "k")
	a.wantError("ERR respgate: command 'shutdown' is not supported")
	a.sendLine("CLIENT", "NOPE")
	a.wantError("ERR unknown subcommand 'NOPE'")
	k := r.key("g2", 0)
	a.do("+OK\r\n", "SET", k, "v")
	if got := r.servers["g2"].requests(); len(got) != 1 {
		t.Errorf("g2 saw %q", got)
	}
}

func (a *app) sendLine(args ...string) { a.t.Helper(); a.send(req(args...)) }

func (a *app) wantUnknown(args ...string) {
	a.t.Helper()
	a.sendLine(args...)
	a.wantError("ERR unknown command '" + args[0] + "'")
}
