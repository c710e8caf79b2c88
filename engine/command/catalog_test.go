package command

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// catalogOf has a group for each offer: g1, g2, ...
func catalogOf(offers ...*Offer) *Catalog {
	var members []Member
	for i, o := range offers {
		n := string(rune('1' + i))
		members = append(members, Member{Group: "g" + n, Master: "10.0.0." + n + ":6379", Offer: o})
	}
	return NewCatalog(members)
}

var (
	xSet   = Row{Name: "x.set", Arity: 3, Flags: []string{"write"}, First: 1, Last: 1, Step: 1}
	getEx  = Row{Name: "getex", Arity: -2, Flags: []string{"write"}, First: 1, Last: 1, Step: 1}
	xInfo  = Row{Name: "xinfo", Arity: -2, Subs: []Row{{Name: "xinfo|stream", First: 2, Last: 2, Step: 1}, {Name: "xinfo|later", Arity: 3, Keys: []RowKeys{{Index: 2}}}}}
	module = Row{Name: "m", Arity: -2, Subs: []Row{{Name: "m|set", Keys: []RowKeys{{Index: 2}}}, {Name: "m|help"}}}
)

// allSubs is a container with all that the table has of it.
func allSubs(name string) Row {
	r := Row{Name: name}
	for _, c := range All() {
		if strings.HasPrefix(c.Name, name+"|") {
			r.Subs = append(r.Subs, Row{Name: c.Name})
		}
	}
	return r
}

func TestCatalogSaysNothing(t *testing.T) {
	t.Parallel()
	plain := offerOf(t, getEx)
	for name, c := range map[string]*Catalog{
		"of nobody":          catalogOf(),
		"of unknown ones":    catalogOf(nil, nil),
		"of the same":        catalogOf(plain, plain),
		"of equal ones":      catalogOf(plain, offerOf(t, getEx)),
		"one is not known":   catalogOf(plain, nil),
		"local and refused":  catalogOf(offerOf(t, Row{Name: "ping"}, Row{Name: "shutdown"}), offerOf(t)),
		"subs are not known": catalogOf(offerOf(t, Row{Name: "xinfo"}), offerOf(t, Row{Name: "xinfo"})),
		"they are all known": catalogOf(offerOf(t, Row{Name: "xinfo"}), offerOf(t, allSubs("xinfo"))),
	} {
		if c != nil {
			t.Errorf("%s: adopted %v, refused %v", name, c.Adopted(), c.Refused())
		}
	}
	var none *Catalog
	if none.Find([]byte("get")) != nil || none.FindSub(Lookup([]byte("xinfo")), []byte("later")) != nil || none.Lacking(Lookup([]byte("get"))) != "" ||
		none.Adopted() != nil || none.Refused() != nil || !none.Equal(nil) {
		t.Error("no catalog says something")
	}
}

func TestCatalogFinds(t *testing.T) {
	t.Parallel()
	c := catalogOf(offerOf(t, xSet, xInfo, module))
	if d := cmp.Diff([]string{"m", "m|help", "m|set", "x.set", "xinfo|later"}, c.Adopted()); d != "" {
		t.Error(d)
	}
	if len(c.Refused()) != 0 {
		t.Errorf("refused: %v", c.Refused())
	}
	for name, want := range map[string]string{
		"x.set": "x.set", "X.Set": "x.set", "m": "m", "x.se": "", "x.sett": "", "": "", "get": "", "m|set": "", "xinfo|later": "",
		strings.Repeat("x", maxName): "", strings.Repeat("x", maxName+1): "",
	} {
		got := ""
		if cmd := c.Find([]byte(name)); cmd != nil {
			got = cmd.Name
		}
		if got != want {
			t.Errorf("Find(%q) is %q", name, got)
		}
	}
	for _, tc := range []struct {
		container *Command
		name      string
		route     Route
	}{
		{Lookup([]byte("xinfo")), "LATER", RouteKeyed},
		{c.Find([]byte("m")), "set", RouteKeyed},
		{c.Find([]byte("m")), "Help", RouteFanout},
	} {
		if sub := c.FindSub(tc.container, []byte(tc.name)); sub == nil || sub.Route != tc.route {
			t.Errorf("%s %s: %+v", tc.container.Name, tc.name, sub)
		}
	}
	if c.FindSub(Lookup([]byte("xinfo")), []byte("nope")) != nil || c.FindSub(Lookup([]byte("xinfo")), []byte(strings.Repeat("x", maxName+1))) != nil {
		t.Error("subcommands that nobody has")
	}
}

func TestCatalogRefuses(t *testing.T) {
	t.Parallel()
	all, some := offerOf(t, xSet, getEx, xInfo), offerOf(t)
	c := catalogOf(all, some, nil)
	one := "group 'g2' does not have it (its master 10.0.0.2:6379 does not list it): give every group the same version and modules"
	if d := cmp.Diff([]Refusal{{"getex", one}, {"x.set", one}, {"xinfo|later", one}, {"xinfo|stream", one}}, c.Refused()); d != "" {
		t.Error(d)
	}
	for _, cmd := range []*Command{Lookup([]byte("getex")), Lookup([]byte("xinfo")).Sub([]byte("stream")), c.Find([]byte("x.set"))} {
		if got := c.Lacking(cmd); got != one {
			t.Errorf("%s: %q", cmd.Name, got)
		}
	}
	for _, name := range []string{"get", "set", "ping"} { // all have it; none; the proxy itself
		if got := c.Lacking(Lookup([]byte(name))); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	several := catalogOf(some, all, some, some).Lacking(Lookup([]byte("getex")))
	if want := "group 'g1', among others, does not have it (its master 10.0.0.1:6379 does not list it): give every group the same version and modules"; several != want {
		t.Errorf("%q", several)
	}
}

func TestCatalogEqual(t *testing.T) {
	t.Parallel()
	a, b := offerOf(t, xSet, getEx), offerOf(t)
	one := catalogOf(a, b)
	if !one.Equal(one) || !one.Equal(catalogOf(a, b)) || !one.Equal(catalogOf(a, b, nil)) {
		t.Error("not equal")
	}
	for name, other := range map[string]*Catalog{"none": nil, "alone": catalogOf(a), "another group": catalogOf(b, a), "another row": catalogOf(offerOf(t, xSet, getEx), b)} {
		if one.Equal(other) || other.Equal(one) {
			t.Errorf("%s: equal", name)
		}
	}
}

func TestCatalogAllocatesNothing(t *testing.T) {
	c := catalogOf(offerOf(t, xSet, getEx, xInfo), offerOf(t))
	known, xinfo, name, later := Lookup([]byte("getex")), Lookup([]byte("xinfo")), []byte("X.SET"), []byte("later")
	if n := testing.AllocsPerRun(100, func() {
		if c.Lacking(known) == "" || c.Lacking(c.Find(name)) == "" || c.Lacking(c.FindSub(xinfo, later)) == "" {
			t.Error("not lacking")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestCatalogOfServer: a server has the commands of its version, and the table agrees with what it says of them.
func TestCatalogOfServer(t *testing.T) {
	t.Parallel()
	client := startServer(t)
	reply, err := client.Do(t.Context(), "COMMAND").Slice()
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewOffer(rowsOf(reply))
	if err != nil {
		t.Fatal(err)
	}
	if len(o.adopted) != 0 {
		t.Errorf("adopted: %v", o.adopted)
	}
	if len(o.Differences()) != 0 {
		t.Errorf("differences: %s", strings.Join(o.Differences(), "\n"))
	}
	for _, name := range []string{"get", "getex", "xinfo"} {
		if !o.has.contains(Lookup([]byte(name)).ID) {
			t.Errorf("%s is not there", name)
		}
	}
	if before := strings.HasPrefix(versionOf(t, client), "7.0."); o.has.contains(Lookup([]byte("waitaof")).ID) == before || !o.has.contains(Lookup([]byte("xinfo")).Sub([]byte("stream")).ID) {
		t.Error("a command of 7.2 is there before, or not since, or a subcommand is not")
	}
}

// rowsOf reads what a row needs here of RESP2: names, flags and ranges.
func rowsOf(reply []any) (rows []Row) {
	for _, element := range reply {
		f := element.([]any)
		r := Row{Name: f[0].(string), Arity: int(f[1].(int64)), First: int(f[3].(int64)), Last: int(f[4].(int64)), Step: int(f[5].(int64))}
		for _, flag := range f[2].([]any) {
			r.Flags = append(r.Flags, flag.(string))
		}
		r.Subs = rowsOf(f[9].([]any))
		rows = append(rows, r)
	}
	return rows
}

// TestCatalogIsBounded: servers that each have something else fill no memory.
func TestCatalogIsBounded(t *testing.T) {
	t.Parallel()
	var offers []*Offer
	for g := range 4 {
		var rows []Row
		for i := range maxAdopted {
			rows = append(rows, Row{Name: fmt.Sprintf("x%d.%d", g, i)})
		}
		offers = append(offers, offerOf(t, rows...))
	}
	c := catalogOf(offers...)
	if n := len(c.Adopted()); n != maxAdopted || len(c.Refused()) != n {
		t.Errorf("%d adopted, %d refused", n, len(c.Refused()))
	}
}
