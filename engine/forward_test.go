package engine

import (
	"fmt"
	"strings"
	"testing"
)

func TestForward(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		a := r.dial()
		for _, g := range []string{"g1", "g2"} {
			k := r.key(g, 0)
			a.do("+OK\r\n", "SET", k, "value of "+g)
			a.do(bulk("value of "+g), "GET", k)
			if got, want := strings.Join(r.servers[g].requests(), "; "), "SET "+k+" value of "+g+"; GET "+k; got != want {
				t.Errorf("%s saw %q, want %q", g, got, want)
			}
		}
		a.do("$-1\r\n", "GET", r.key("g1", 5))
		a.do(bulk("HSET "+r.key("g2", 1)+" f v"), "HSET", r.key("g2", 1), "f", "v") // any command of one key
	})
}

// TestBytesAsTheyCame: what is forwarded whole is not spelled anew.
func TestBytesAsTheyCame(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"})
	a := r.dial()
	a.do(bulk("x"), "ECHO", "x")
	a.do("+OK\r\n", "sEt", "a b", "\x00\r\n\xff")
	a.do("$4\r\n\x00\r\n\xff\r\n", "GeT", "a b")
	if got := r.servers["g1"].requests(); got[0] != "sEt a b \x00\r\n\xff" {
		t.Errorf("the server saw %q", got)
	}
}

// TestOrder: replies leave in the order of the requests, whichever server is first, local ones among them.
func TestOrder(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2", "g3"})
		a := r.dial()
		k := [3]string{r.key("g1", 0), r.key("g2", 0), r.key("g3", 0)}
		r.servers["g1"].hold()
		r.servers["g2"].hold()
		var sent, want strings.Builder
		for i := range 30 {
			n := fmt.Sprint(i)
			sent.WriteString(req("APPEND", k[i%3], n))
			want.WriteString(bulk("APPEND " + k[i%3] + " " + n))
			if i%4 == 0 {
				sent.WriteString(req("ECHO", n))
				want.WriteString(bulk(n))
			}
		}
		a.send(sent.String())
		until(t, "every server has its requests", func() bool {
			n := 0
			for _, s := range r.servers {
				n += len(s.requests())
			}
			return n == 30
		})
		r.servers["g2"].open()
		r.servers["g1"].let(3)
		r.servers["g1"].open()
		a.want(want.String())
	})
}

// TestManyClients: each gets its own replies.
func TestManyClients(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		var apps []*app
		for range 50 {
			apps = append(apps, r.dial())
		}
		for round := range 3 {
			for i, a := range apps {
				a.send(req("APPEND", r.key("g1", i), fmt.Sprint(round)) + req("APPEND", r.key("g2", i), fmt.Sprint(round)))
			}
			for i, a := range apps {
				a.want(bulk(fmt.Sprintf("APPEND %s %d", r.key("g1", i), round)) + bulk(fmt.Sprintf("APPEND %s %d", r.key("g2", i), round)))
			}
		}
		st := r.e.Stats()
		if got := st.Pools["p"].Requests; got != 300 {
			t.Errorf("%d requests counted, want 300", got)
		}
		for _, l := range st.Loops {
			if l.Clients == 0 {
				t.Errorf("loop %d serves nobody, of %d clients", l.ID, st.Clients)
			}
		}
	})
}

func TestSplitAndMerge(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2", "g3"})
		a := r.dial()
		x, y, z := r.key("g1", 0), r.key("g2", 0), r.key("g3", 0)
		y2, missing := r.key("g2", 1), r.key("g3", 9)
		large := strings.Repeat("0123456789abcdef", 6000) // 96 KB: more than a chunk, passed on by reference
		a.do("+OK\r\n", "MSET", x, "1", y, "2", z, large, y2, "4")
		a.do(array(bulk("1"), bulk("2"), bulk("1"), "$-1\r\n", bulk(large), bulk("4"), bulk(large), bulk("2")),
			"MGET", x, y, x, missing, z, y2, z, y)
		a.do(array(bulk("2"), bulk("4")), "MGET", y, y2) // one group: forwarded whole
		a.do(":4\r\n", "EXISTS", x, x, y, z, missing)
		a.do(":3\r\n", "TOUCH", x, y, z)
		a.do(":2\r\n", "DEL", x, missing, y)
		a.do(":2\r\n", "UNLINK", x, z, y2)
		a.do("+OK\r\n", "MSET", x, "first", y, "1", x, "last") // the last one counts, as in Redis
		a.do(bulk("last"), "GET", x)
		a.do("-ERR wrong number of arguments for 'mset' command\r\n", "MSET", x, "1", y)
		if got := r.servers["g2"].requests()[0]; got != "MSET "+y+" 2 "+y2+" 4" {
			t.Errorf("g2 saw %q", got)
		}
	})
}

// TestMergeInPieces: elements that end anywhere in what was read merge like whole ones.
func TestMergeInPieces(t *testing.T) {
	t.Parallel()
	for _, cuts := range [][]int{{1}, {7, 1}, {4096}, {4097, 3, 65536}} {
		r := newRig(t, plain, []string{"g1", "g2"})
		a := r.dial()
		value := func(n int, c string) string { return strings.Repeat(c, n) }
		sizes := []int{0, 1, 4095, 4096, 5000}
		if cuts[0] > 7 {
			sizes = append(sizes, 65536, 70000, 200000)
		}
		var keys, want []string
		for i, n := range sizes {
			for _, g := range []string{"g1", "g2"} {
				k, val := r.key(g, i), value(n, g[1:])
				r.servers[g].change(func() { r.servers[g].data[k] = val })
				keys, want = append(keys, k), append(want, bulk(val))
			}
		}
		for _, s := range r.servers {
			s.change(func() { s.cuts = cuts })
		}
		a.do(array(want...), append([]string{"MGET"}, keys...)...)
	}
}

func TestNullsOfRESP3(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		a, b := r.dial(), r.dial()
		a.send(req("HELLO", "3"))
		for range 1 + 7*2 {
			for n := a.line(); n[0] == '$'; n = a.line() {
			}
			if a.r.Buffered() == 0 {
				break
			}
		}
		x, y := r.key("g1", 0), r.key("g2", 0)
		a.do(array("_\r\n", "_\r\n"), "MGET", x, y)
		a.do("_\r\n", "GET", x)
		b.do(array("$-1\r\n", "$-1\r\n"), "MGET", x, y)
		b.do("$-1\r\n", "GET", x)
		if open, _ := r.servers["g1"].connections(); open < 2 {
			t.Errorf("%d links to g1: RESP2 and RESP3 must not share one", open)
		}
	})
}

// TestFailedFragment: one error, with the name of the group; the connection and the other groups go on.
func TestFailedFragment(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2", "g3"})
		a := r.dial()
		x, y, z := r.key("g1", 0), r.key("g2", 0), r.key("g3", 0)
		refuse := func(_ *fakeConn, args []string) (string, bool) {
			return "-OOM command not allowed\r\n", args[0] != "ROLE" && args[0] != "INFO"
		}
		r.servers["g2"].on(refuse)
		for _, cmd := range [][]string{{"MGET", x, y, z}, {"DEL", x, y, z}, {"MSET", x, "1", y, "2", z, "3"}} {
			a.do("-OOM command not allowed (respgate: group 'g2')\r\n", cmd...)
		}
		r.servers["g3"].on(refuse)
		a.send(req("MGET", x, y, z) + req("GET", x))
		a.wantError("OOM command not allowed (respgate: group 'g")
		a.want(bulk("1"))
		for _, odd := range []string{"+OK\r\n", array(), array(bulk("1"), bulk("2")), ":1\r\n"} {
			r.servers["g2"].on(func(_ *fakeConn, args []string) (string, bool) { return odd, args[0] == "MGET" })
			r.servers["g3"].on(nil)
			a.send(req("MGET", x, y, z))
			a.wantError("ERR respgate: group 'g2': " + r.servers["g2"].ln.Addr().String() + " answered mget with a reply of another shape")
		}
		r.servers["g2"].on(func(_ *fakeConn, args []string) (string, bool) { return "+what\r\n", args[0] == "DEL" })
		a.send(req("DEL", x, y))
		a.wantError("ERR respgate: group 'g2': " + r.servers["g2"].ln.Addr().String() + " answered del with a reply of another shape")
		r.servers["g2"].on(nil)
		a.do(array("$-1\r\n", "$-1\r\n", bulk("3")), "MGET", x, y, z)
	})
}

func TestKeysOfSeveralGroups(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1", "g2"})
	a := r.dial()
	x, y := r.key("g1", 0), r.key("g2", 0)
	a.do("-CROSSSLOT Keys in request don't hash to the same group\r\n", "RENAME", x, y)
	a.do("-CROSSSLOT Keys in request don't hash to the same group\r\n", "EVAL", "return 1", "2", x, y)
	a.do(bulk("RENAME {t}a {t}b"), "RENAME", "{t}a", "{t}b")
	a.do(bulk("EVAL return 1 1 "+x), "EVAL", "return 1", "1", x)
	a.do("-ERR Number of keys can't be greater than number of args\r\n", "EVAL", "return 1", "3", x)
	a.do("-ERR respgate: command 'eval' is not supported: without a key it belongs to none of the pool's groups\r\n", "EVAL", "return 1", "0")
	a.do(bulk("SORT {t}a STORE {t}b"), "SORT", "{t}a", "STORE", "{t}b")
	if got := r.pool().Errors; got["crossslot"] != 2 || got["unsupported"] != 2 {
		t.Errorf("errors counted: %v", got)
	}
}
