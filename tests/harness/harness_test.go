package harness

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// TestFleetFailsOver shows that what the suites stand on works without any proxy: the fleet settles, a failover by
// Sentinel happens, and the old master becomes a replica.
func TestFleetFailsOver(t *testing.T) {
	t.Parallel()
	f := StartFleet(t, FleetOptions{Groups: []string{"g1"}, DownAfter: 2 * time.Second})
	old := f.WaitMaster("g1", nil)
	if old != f.Groups[0].Master {
		t.Fatalf("the sentinels' master is %s, want %s", old.Addr(), f.Groups[0].Master.Addr())
	}
	old.Kill()
	fresh := f.WaitMaster("g1", old)
	fresh.Must("SET", "a", "1")
	old.Restart()
	Eventually(t, 2*Patience, "the old master becomes a replica", func() error {
		role, err := old.Role()
		if err == nil && role != "slave" {
			err = fmt.Errorf("it is a %s", role)
		}
		return err
	})
}

// TestFleetChanges adds a group to running sentinels and replaces them all, with passwords everywhere.
func TestFleetChanges(t *testing.T) {
	t.Parallel()
	f := StartFleet(t, FleetOptions{Groups: []string{"g1"}, Password: "pw1", SentinelPassword: "pw2"})
	f.AddGroup("g2")
	f.WaitSettled()
	old, _ := f.ReplaceSentinels()
	for _, s := range old {
		s.Kill()
	}
	f.WaitSettled()
	before := f.Masters()
	if len(before) != 2 || before["g2"] != f.Group("g2").Master {
		t.Fatalf("masters %v", before)
	}
	f.Failover("g2")
	f.WaitMaster("g2", before["g2"])
}

// TestLedgerFindsLoss runs the ledger against a server directly and takes writes away behind its back.
func TestLedgerFindsLoss(t *testing.T) {
	t.Parallel()
	r := StartRedis(t, RedisOptions{})
	l := StartLedger(t, LedgerOptions{Addr: r.Addr(), Groups: []string{"g1"}, Route: toOne, Workers: 2, Pipeline: 1, Interval: time.Millisecond})
	l.Progress(200)
	l.halt()
	tag := l.workers[0].tag
	r.Must("RPOP", tag+":l")
	step := l.workers[0].step
	r.Must("DECRBY", tag+":c0", fmt.Sprint(2*step))
	r.Must("INCRBY", tag+":c1", fmt.Sprint(3*step))
	r.Must("DEL", tag+":s1")
	got := l.Finish(map[string]*Redis{"g1": r})[0]
	if got.Lost != 4 || got.Duplicates != 3 || got.Wrong != 0 || got.Failed() != 0 {
		t.Errorf("lost %d, duplicates %d, wrong %d, failed %d; want 4, 3, 0, 0", got.Lost, got.Duplicates, got.Wrong, got.Failed())
	}
}

// TestLedgerFindsSwaps: a reply that belongs to the request of another worker, or to another one of the same pipeline, is no reply
// that the ledger takes, although all workers are at the same point.
func TestLedgerFindsSwaps(t *testing.T) {
	t.Parallel()
	r := StartRedis(t, RedisOptions{})
	l := StartLedger(t, LedgerOptions{Addr: r.Addr(), Groups: []string{"g1"}, Route: toOne, Workers: 3, Pipeline: 2, Interval: time.Millisecond})
	l.Progress(400)
	l.halt()
	reply := func(w *worker, q request) Reply {
		t.Helper()
		got, err := r.Ask(q.args...)
		if err != nil {
			t.Fatalf("%v: %v", q.args, err)
		}
		return got
	}
	for i, w := range l.workers {
		other := l.workers[(i+1)%len(l.workers)]
		for kind, of := range map[string]func(*worker) request{
			"SET": func(w *worker) request { return w.set(0) }, "GET": func(w *worker) request { return w.get(0) },
			"INCRBY": func(w *worker) request { return w.incr(0) }, "RPUSH": func(w *worker) request { w.seq++; return w.push() },
		} {
			mine, theirs := of(w), of(other)
			right, swapped := reply(w, mine), reply(other, theirs)
			before := w.wrong + w.twice + w.stale
			if mine.answer(right); w.wrong+w.twice+w.stale != before {
				t.Errorf("worker %d: the right reply to %s, %s, is not taken", i, kind, right.Text())
			}
			theirs.answer(swapped)
			mine = of(w)
			reply(w, mine)
			if mine.answer(swapped); kind != "SET" && w.wrong+w.twice+w.stale == before { // one +OK is like another
				t.Errorf("worker %d: %s, the reply to another one's %s, is taken", i, swapped.Text(), kind)
			}
		}
	}
	w := l.workers[0]
	for i, q := range w.requests() { // in one write
		before := w.wrong
		if q.answer(reply(w, w.requests()[(i+1)%4])); w.wrong == before {
			t.Errorf("the reply to the next request of a pipeline is taken for that to %s", q.args[0])
		}
	}
}

// toOne routes every key to g1.
func toOne(keys []string) []string {
	groups := make([]string, len(keys))
	for i := range groups {
		groups[i] = "g1"
	}
	return groups
}

// TestLedgerCounts: the reply to INCR or RPUSH says whether something was lost, executed twice, or meant for somebody else.
func TestLedgerCounts(t *testing.T) {
	t.Parallel()
	w := &worker{}
	for _, r := range []Reply{{Kind: ':', Int: 4}, {Kind: ':', Int: 6}, {Kind: ':', Int: 3}, {Kind: ':', Int: 7}, {Kind: '$', Int: 5}} {
		w.counted(r, 3, 6) // 4, 5 and 6 are right
	}
	if w.stale != 1 || w.twice != 1 || w.wrong != 1 {
		t.Errorf("stale %d, twice %d, wrong %d; want one of each", w.stale, w.twice, w.wrong)
	}
}

func TestFaultProxy(t *testing.T) {
	t.Parallel()
	r := StartRedis(t, RedisOptions{})
	f := StartFault(t, r.Addr())
	dial := func() *Conn {
		c, err := Dial(f.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	ask := func(c *Conn, want string, args ...string) {
		t.Helper()
		got, err := c.Do(args...)
		if err != nil || got.Text() != want {
			t.Fatalf("%v: %q, %v; want %q", args, got.Text(), err, want)
		}
	}

	c := dial()
	ask(c, "OK", "SET", "k", "v")
	f.Set(ToServer, Fault{Split: 1})
	f.Set(ToClient, Fault{Split: 1, Delay: time.Millisecond})
	ask(c, "v", "GET", "k")
	f.Set(ToServer, Fault{})
	f.Set(ToClient, Fault{Rewrite: func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), "v", "w")) }})
	ask(c, "w", "GET", "k")

	f.Blackhole()
	c.Timeout = 50 * time.Millisecond
	if got, err := c.Do("GET", "k"); err == nil {
		t.Fatalf("a swallowed request was answered: %s", got.Text())
	}
	if f.Open() != 1 {
		t.Fatalf("%d connections open, want the half-open one", f.Open())
	}
	f.Heal()
	f.Cut(true)
	c.Timeout = Patience
	if rest, err := c.EOF(); err != nil || rest != "" {
		t.Fatalf("after the cut: %q, %v", rest, err)
	}

	c = dial()
	ask(c, "v", "GET", "k")
	f.HalfClose(ToClient)
	if rest, err := c.EOF(); err != nil || rest != "" {
		t.Fatalf("after the half-close: %q, %v", rest, err)
	}
	f.Refuse(true)
	c = dial()
	if _, err := c.Do("GET", "k"); err == nil {
		t.Fatal("a refused connection answered")
	}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	r := StartRedis(t, RedisOptions{})
	c, err := Dial(r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	steps := []struct {
		args []string
		want string
	}{
		{[]string{"HSET", "h", "f", "1.5"}, "1"},
		{[]string{"HGETALL", "h"}, "[f 1.5]"},
		{[]string{"HELLO", "3"}, ""},
		{[]string{"HGETALL", "h"}, "[f 1.5]"},
		{[]string{"GET", "none"}, "(nil)"},
		{[]string{"ZADD", "z", "1.5", "m"}, "1"},
		{[]string{"ZSCORE", "z", "m"}, "1.5"},
		{[]string{"DEBUG", "PROTOCOL", "TRUE"}, "t"},
		{[]string{"DEBUG", "PROTOCOL", "VERBATIM"}, "This is a verbatim\nstring"},
		{[]string{"DEBUG", "PROTOCOL", "BIGNUM"}, "1234567999999999999999999999999999999"},
		{[]string{"NOSUCH"}, "-ERR unknown command 'NOSUCH', with args beginning with: "},
	}
	for _, s := range steps {
		got, err := c.Do(s.args...)
		if err != nil {
			t.Fatalf("%v: %v", s.args, err)
		}
		if s.want != "" && got.Text() != s.want {
			t.Errorf("%v: %q, want %q", s.args, got.Text(), s.want)
		}
	}
	if got, _ := c.Do("HGETALL", "h"); got.Kind != '%' || string(got.Raw) != "%1\r\n$1\r\nf\r\n$3\r\n1.5\r\n" {
		t.Errorf("HGETALL over RESP3: %q", got.Raw)
	}
}

func TestFakeSentinel(t *testing.T) {
	t.Parallel()
	s := StartFakeSentinel(t, 2)
	s.Name("g1", "127.0.0.1", 7001, 3)
	c, err := Dial(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range [][2]string{
		{"PING", "PONG"},
		{"SENTINEL GET-MASTER-ADDR-BY-NAME g1", "[127.0.0.1 7001]"},
		{"SENTINEL GET-MASTER-ADDR-BY-NAME g2", "(nil)"},
		{"PSUBSCRIBE +switch-master", "[psubscribe +switch-master 1]"},
		{"PING", "[pong ]"},
	} {
		got, err := c.Do(strings.Fields(step[0])...)
		if err != nil || got.Text() != step[1] {
			t.Fatalf("%s: %q, %v; want %q", step[0], got.Text(), err, step[1])
		}
	}
	s.Switch("g1", "127.0.0.1", 7002, 4)
	got, err := c.Receive()
	if want := "[pmessage +switch-master +switch-master g1 127.0.0.1 7001 127.0.0.1 7002]"; err != nil || got.Text() != want {
		t.Fatalf("event %q, %v; want %q", got.Text(), err, want)
	}
}
