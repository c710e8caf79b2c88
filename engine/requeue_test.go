package engine

import (
	"slices"
	"strings"
	"testing"

	"respgate/engine/topology"
)

// TestRejectedMeetsNewer: what a server has refused is older than what has begun to wait meanwhile, of its own client and of
// others: it goes before them.
func TestRejectedMeetsNewer(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"})
	s := r.servers["g1"]
	a, b, c := r.dial(), r.dial(), r.dial()
	a.do("+OK\r\n", "SET", "a", "0")
	refused := false
	s.on(func(_ *fakeConn, args []string) (string, bool) {
		if args[0] != "SET" || refused {
			return "", false
		}
		refused = true
		return "-LOADING Redis is loading the dataset in memory\r\n", true
	})
	s.hold()
	a.send(req("SET", "a", "1"))
	until(t, "it is there", func() bool { return len(s.requests()) == 2 })
	c.send(req("HSCAN", "c", "0")) // keeps what was refused at the link, and is not asked again
	until(t, "both are there", func() bool { return len(s.requests()) == 3 })
	s.let(1)
	until(t, "the refusal is seen", func() bool { return r.stats("g1").Retried == 1 })
	for i, q := range []struct {
		from *app
		args []string
	}{{b, []string{"SET", "b", "1"}}, {a, []string{"SET", "a", "2"}}, {b, []string{"SET", "b", "2"}}} {
		q.from.send(req(q.args...))
		until(t, "it waits", func() bool { return r.stats("g1").Held == i+1 })
	}
	s.open()
	c.want(bulk("HSCAN c 0"))
	a.want("+OK\r\n+OK\r\n")
	b.want("+OK\r\n+OK\r\n")
	if got := strings.Join(s.requests()[3:], ", "); got != "SET a 1, SET b 1, SET a 2, SET b 2" {
		t.Errorf("the server saw %q", got)
	}
}

// TestRecalledMeetsNewer: the same for what had not left when a hold began.
func TestRecalledMeetsNewer(t *testing.T) {
	t.Parallel()
	r, s, a, read := choked(t, plain, []string{"SET", "p", strings.Repeat("x", 64<<10)}, []string{"SET", "k", "1"})
	for _, l := range r.e.loops {
		l.call(func() { l.pools["p"].byName["g1"].servers[0].links[0].expect = maxInflight }) // it takes no more
	}
	b := r.dial()
	for i, q := range []struct {
		from *app
		args []string
	}{{b, []string{"SET", "b", "1"}}, {a, []string{"SET", "k", "2"}}} {
		q.from.send(req(q.args...))
		until(t, "it waits", func() bool { return r.stats("g1").Held == i+1 })
	}
	r.apply(change("g1", func(g *topology.Group) { g.Hold = true }))
	until(t, "what has not left has come back", func() bool { return r.stats("g1").Held == 3 })
	read()
	a.want(bulk("APPEND k x") + "+OK\r\n")
	before := len(s.requests())
	r.apply(change("g1", func(g *topology.Group) { g.Hold = false }))
	a.want("+OK\r\n+OK\r\n")
	b.want("+OK\r\n")
	if got := strings.Join(s.requests()[before:], ", "); got != "SET k 1, SET b 1, SET k 2" {
		t.Errorf("the server saw %q", got)
	}
}

// TestMergeUnsorted: requests of several clients come back in the order of their link, which need not be that of their age.
func TestMergeUnsorted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ waiting, back, want []int64 }{
		{nil, []int64{1, 2}, []int64{1, 2}},
		{[]int64{1, 2}, nil, []int64{1, 2}},
		{[]int64{5, 7}, []int64{1, 6, 9}, []int64{1, 5, 6, 7, 9}},
		{[]int64{5, 7}, []int64{8, 9}, []int64{5, 7, 8, 9}},
		{[]int64{5, 7}, []int64{9, 6, 1}, []int64{1, 5, 6, 7, 9}},
		{[]int64{5}, []int64{9, 1}, []int64{1, 5, 9}},
	} {
		queue := func(ages []int64) (q serverQueue) {
			for _, age := range ages {
				q.push(&request{requestFields: requestFields{start: age}})
			}
			return q
		}
		q, back := queue(tc.waiting), queue(tc.back)
		q.merge(&back)
		var got []int64
		for r := q.head; r != nil; r = r.nextServer {
			got = append(got, r.start)
		}
		if !slices.Equal(got, tc.want) || q.count != len(tc.want) || back.count != 0 || back.head != nil {
			t.Errorf("%v into %v: %v, count %d", tc.back, tc.waiting, got, q.count)
		}
		if q.tail != nil && (q.tail.nextServer != nil || q.tail.start != slices.Max(tc.want)) {
			t.Errorf("%v into %v: the tail is %d", tc.back, tc.waiting, q.tail.start)
		}
	}
}
