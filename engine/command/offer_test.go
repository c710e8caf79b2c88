package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var getRow = Row{Name: "get", Arity: 2, Flags: []string{"readonly", "fast"}, First: 1, Last: 1, Step: 1}

func offerOf(t testing.TB, rows ...Row) *Offer {
	t.Helper()
	o, err := NewOffer(append([]Row{getRow}, rows...))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func adoptedOf(t testing.TB, r Row) *Command {
	t.Helper()
	o := offerOf(t, r)
	if len(o.adopted) != 1 {
		t.Fatalf("%+v: %d commands adopted", r, len(o.adopted))
	}
	return o.adopted[0]
}

// TestAdopt routes requests of commands that nobody listed by what their server says of them.
func TestAdopt(t *testing.T) {
	t.Parallel()
	single := RowKeys{Index: 1}
	for _, tc := range []struct {
		name    string
		row     Row
		route   Route
		request string
		keys    string // "!": malformed
	}{
		{"before Redis 7", Row{Flags: []string{"write"}, First: 1, Last: 1, Step: 1}, RouteKeyed, "x k v", "k"},
		{"pairs", Row{First: 1, Last: -1, Step: 2}, RouteKeyed, "x a 1 b 2", "a b"},
		{"step 0", Row{First: 1, Last: 2}, RouteKeyed, "x a b", "a b"},
		{"movable before Redis 7", Row{Flags: []string{"movablekeys"}, First: 1, Last: 1, Step: 1}, RouteFanout, "x a", ""},
		{"no keys", Row{Flags: []string{"readonly"}}, RouteFanout, "x a", ""},
		{"of a server", Row{Flags: []string{"admin"}, First: 1, Last: 1, Step: 1}, RouteRefused, "x a", "a"},
		{"blocking", Row{Flags: []string{"write", "blocking"}, Keys: []RowKeys{single}}, RouteBlocking, "x k", "k"},
		{"blocking without keys", Row{Flags: []string{"blocking"}}, RouteFanout, "x", ""},
		{"one specification", Row{Keys: []RowKeys{{Index: 2, LastKey: -1, KeyStep: 1}}}, RouteKeyed, "x v a b", "a b"},
		{"the last but one", Row{Keys: []RowKeys{{Index: 1, LastKey: -2, KeyStep: 1}}}, RouteKeyed, "x a b 0", "a b"},
		{"specifications outrank the range", Row{First: 1, Last: 1, Step: 1, Keys: []RowKeys{{Index: 2}}}, RouteKeyed, "x v k", "k"},
		{"a number of keys", Row{Flags: []string{"movablekeys"}, Keys: []RowKeys{{Index: 1, KeyNum: true, FirstKey: 1, KeyStep: 1}}}, RouteKeyed, "x 2 a b c", "a b"},
		{"too high a number", Row{Keys: []RowKeys{{Index: 1, KeyNum: true, FirstKey: 1, KeyStep: 1}}}, RouteKeyed, "x 9 a b c", "!"},
		{"a destination and a number", Row{Keys: []RowKeys{single, {Index: 2, KeyNum: true, FirstKey: 1, KeyStep: 1}}}, RouteKeyed, "x d 1 a", "d a"},
		{"behind a word", Row{Flags: []string{"movablekeys"}, Keys: []RowKeys{{Keyword: "STREAMS", StartFrom: 1, LastKey: -1, KeyStep: 1, Limit: 2}}}, RouteKeyed, "x n 1 streams a b 0 0", "a b"},
		{"the word is not there", Row{Keys: []RowKeys{{Keyword: "STREAMS", StartFrom: 1, LastKey: -1, KeyStep: 1}}}, RouteKeyed, "x n 1", "!"},

		{"an unknown specification", Row{Keys: []RowKeys{single, {Unknown: true}}}, RouteFanout, "x a", ""},
		{"the rest is found by code", Row{Flags: []string{"movablekeys", "module"}, Keys: []RowKeys{single}}, RouteFanout, "x a", ""},
		{"a word from the end", Row{Keys: []RowKeys{{Keyword: "KEYS", StartFrom: -2, LastKey: -1, KeyStep: 1}}}, RouteFanout, "x a", ""},
		{"a number elsewhere", Row{Keys: []RowKeys{{Index: 1, KeyNum: true, KeyNumIdx: 1, FirstKey: 2, KeyStep: 1}}}, RouteFanout, "x a 1 b", ""},
		{"half of what does not end", Row{Keys: []RowKeys{{Index: 1, LastKey: 3, KeyStep: 1, Limit: 2}}}, RouteFanout, "x a", ""},
		{"the name as a key", Row{Keys: []RowKeys{{Index: 0}}}, RouteFanout, "x a", ""},
		{"positions of a liar", Row{First: 1 << 40, Last: 1 << 41, Step: 1 << 42}, RouteFanout, "x a", ""},
		{"a last key before the first", Row{First: 3, Last: 1, Step: 1}, RouteFanout, "x a", ""},
		{"a negative first key", Row{First: -3, Last: -1, Step: 1}, RouteFanout, "x a", ""},
		{"specifications of a liar", Row{Keys: []RowKeys{{Index: 1 << 40, LastKey: -1 << 50, KeyStep: 1 << 40}}}, RouteFanout, "x a", ""},
		{"a limit below zero", Row{Keys: []RowKeys{{Index: 1, LastKey: -1, KeyStep: 1, Limit: -1 << 40}}}, RouteFanout, "x a", ""},
		{"too many specifications", Row{Keys: slices.Repeat([]RowKeys{single}, maxRowKeys+1)}, RouteFanout, "x a", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.row.Name, tc.row.Arity = "X.Y", -2
			c := adoptedOf(t, tc.row)
			if c.Name != "x.y" || c.ID != 0 || c.Route != tc.route {
				t.Fatalf("%+v is %+v", tc.row, c)
			}
			if (c.Reason != "") != (c.Route == RouteFanout || c.Route == RouteRefused) {
				t.Errorf("%s, and its reason is %q", c.Route, c.Reason)
			}
			args := words(tc.request)
			frame, spans := frameOf(args...)
			at, ok := c.Keys(nil, frame, spans)
			got := "!"
			if ok {
				keys := make([]string, 0, len(at))
				for _, i := range at {
					keys = append(keys, args[i])
				}
				got = strings.Join(keys, " ")
			}
			if got != tc.keys {
				t.Errorf("keys of %q: %q, want %q", tc.request, got, tc.keys)
			}
		})
	}
}

func TestAdoptedTraits(t *testing.T) {
	t.Parallel()
	key := []RowKeys{{Index: 1}}
	for _, tc := range []struct {
		row   Row
		retry bool
		flags Flags
		arity int
	}{
		{Row{Name: "x", Arity: 3, Flags: []string{"readonly", "fast", "no_auth", "nonsense"}, Keys: key}, true, FlagReadOnly | FlagFast, 3},
		{Row{Name: "x", Flags: []string{"write", "denyoom"}, Keys: key}, false, FlagWrite | FlagDenyOOM, -1},
		{Row{Name: "x", Arity: -1 << 40, Flags: []string{"readonly"}}, false, FlagReadOnly, -1},
		{Row{Name: "x", Flags: []string{"readonly", "blocking"}, Keys: key}, false, FlagReadOnly | FlagBlocking, -1},
	} {
		if c := adoptedOf(t, tc.row); c.Retry != tc.retry || c.Flags != tc.flags || c.Arity != tc.arity {
			t.Errorf("%+v is %+v", tc.row, c)
		}
	}
}

func TestHostileOffers(t *testing.T) {
	t.Parallel()
	many := func(n int) (rows []Row) {
		for i := range n {
			rows = append(rows, Row{Name: fmt.Sprintf("x%d", i)})
		}
		return rows
	}
	for name, rows := range map[string][]Row{
		"nothing":       nil,
		"another table": {{Name: "hello"}, {Name: "publish"}},
		"too many":      append([]Row{getRow}, many(maxRows)...),
		"too many subs": {getRow, {Name: "x", Subs: many(maxRows)}},
	} {
		if o, err := NewOffer(rows); !errors.Is(err, ErrNoTable) || o != nil {
			t.Errorf("%s: %v, %v", name, o, err)
		}
	}
	if n := len(offerOf(t, many(maxAdopted+9)...).adopted); n != maxAdopted {
		t.Errorf("%d commands adopted", n)
	}
	long := strings.Repeat("n", maxName+1)
	o := offerOf(t,
		Row{Name: ""}, Row{Name: long}, Row{Name: "a b"}, Row{Name: "x\r\n-ERR"}, Row{Name: "host:"}, Row{Name: "post"}, Row{Name: "POST"}, Row{Name: "x|y"}, Row{Name: "\xff"},
		Row{Name: "twice", First: 1, Last: 1, Step: 1}, Row{Name: "TWICE"},
		Row{Name: "xinfo", Subs: []Row{{Name: "xgroup|other", First: 2, Last: 2, Step: 1}, {Name: "xinfo|" + long}, {Name: "xinfo"}, {Name: "xinfo|a|b", First: 2}}},
		Row{Name: "client", Subs: []Row{{Name: "client|later"}}}, // without keys it may be the proxy's own matter
	)
	if len(o.adopted) != 1 || o.adopted[0].Name != "twice" || o.adopted[0].Route != RouteKeyed {
		t.Errorf("adopted: %v", o.adopted)
	}
}

func TestOfferDigest(t *testing.T) {
	t.Parallel()
	x := Row{Name: "x.set", Arity: 3, First: 1, Last: 1, Step: 1}
	y := Row{Name: "y.set", Arity: 3, First: 1, Last: 1, Step: 1}
	set := Row{Name: "set", Arity: -3, Flags: []string{"write", "denyoom"}, First: 1, Last: 1, Step: 1}
	want := offerOf(t, x, y, set).Digest
	if got := offerOf(t, set, y, x).Digest; got != want {
		t.Error("the digest depends on the order of the rows")
	}
	blocking := x
	blocking.Flags = []string{"blocking"}
	second := x
	second.Keys = []RowKeys{{Index: 2, KeyNum: true, FirstKey: 1}}
	for name, rows := range map[string][]Row{"one less": {x, set}, "another": {x, {Name: "z.set"}, set}, "of the table": {x, y}, "a flag": {blocking, y, set}, "keys": {second, y, set}} {
		if offerOf(t, rows...).Digest == want {
			t.Errorf("%s: the same digest", name)
		}
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	o := offerOf(t,
		Row{Name: "set", Flags: []string{"write"}, First: 1, Last: 1, Step: 1},
		Row{Name: "strlen", Flags: []string{"write"}, First: 2, Last: 2, Step: 1},
		Row{Name: "append", Flags: []string{"readonly", "blocking"}, First: 1, Last: 1, Step: 1},
		Row{Name: "ping", First: 1, Last: 1, Step: 1},
		Row{Name: "eval", Flags: []string{"movablekeys"}, First: 3, Last: 3, Step: 1},
		Row{Name: "object", First: 2, Last: 2, Step: 1}, // before Redis 7 its subcommands were arguments
		Row{Name: "blpop", Flags: []string{"write", "blocking"}, First: 1, Last: -2, Step: 1},
	)
	want := []string{
		"append: it blocks, and the proxy does not expect it",
		"append: it reads, and the proxy takes it for a write",
		"ping: its keys are at 1 1 1, and the proxy takes them from 0 0 0",
		"strlen: it writes, and the proxy takes it for a read",
		"strlen: its keys are at 2 2 1, and the proxy takes them from 1 1 1",
	}
	if d := cmp.Diff(want, o.Differences()); d != "" {
		t.Error(d)
	}
	var rows []Row
	for _, c := range All() {
		if !strings.Contains(c.Name, "|") && c.Name != "get" {
			rows = append(rows, Row{Name: c.Name, First: 9, Last: 9, Step: 9})
		}
	}
	if n := len(offerOf(t, rows...).Differences()); n != maxDiffers+1 {
		t.Errorf("%d lines of differences", n)
	}
}
