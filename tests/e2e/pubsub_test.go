package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"respgate/tests/harness"
)

// subscriptions are scripts for play.
var subscriptions = map[string]string{
	"channel":               "A SUBSCRIBE {t}a\nB PUBLISH {t}a hi\nA<\nA UNSUBSCRIBE {t}a\nB PUBLISH {t}a hi",
	"several channels":      "A> SUBSCRIBE {t}a {t}b {t}c\nA<\nA<\nA<\nB PUBLISH {t}b hi\nA<\nA> UNSUBSCRIBE {t}b {t}none\nA<\nA<\nB PUBLISH {t}b hi\nB PUBLISH {t}a ho\nA<",
	"twice":                 "A> SUBSCRIBE {t}a {t}a\nA<\nA<\nB PUBLISH {t}a hi\nA<\nA UNSUBSCRIBE {t}a\nA UNSUBSCRIBE {t}a\nB PUBLISH {t}a hi",
	"all of one":            "A SUBSCRIBE {t}a\nA UNSUBSCRIBE\nA UNSUBSCRIBE\nA PSUBSCRIBE {t}*\nA PUNSUBSCRIBE\nA GET {t}k",
	"nothing to end":        "A UNSUBSCRIBE\nA PUNSUBSCRIBE\nA SUNSUBSCRIBE\nA UNSUBSCRIBE {t}a\nA PUNSUBSCRIBE {t}a\nA SUNSUBSCRIBE {t}a\nA GET {t}k",
	"pattern":               "A PSUBSCRIBE {t}*\nB PUBLISH {t}abc hi\nA<\nB PUBLISH {t} hi\nA<\nB PUBLISH other{t} hi\nA PUNSUBSCRIBE {t}*\nB PUBLISH {t}abc hi",
	"globs":                 "A> PSUBSCRIBE {t}?x {t}[a-c]y {t}\\*\nA<\nA<\nA<\nB PUBLISH {t}1x 1\nA<\nB PUBLISH {t}dy 2\nB PUBLISH {t}by 3\nA<\nB PUBLISH {t}z 4\nB PUBLISH {t}* 5\nA<",
	"channel and pattern":   "A SUBSCRIBE {t}a\nA PSUBSCRIBE {t}*\nB PUBLISH {t}a hi\nA<\nA<\nA UNSUBSCRIBE {t}a\nB PUBLISH {t}a hi\nA<",
	"counts":                "A SUBSCRIBE {t}a\nA PSUBSCRIBE {t}p*\nA SUBSCRIBE {t}b\nA SSUBSCRIBE {t}s\nA SSUBSCRIBE {t}s2\nA UNSUBSCRIBE {t}a\nA PUNSUBSCRIBE {t}p*\nA SUNSUBSCRIBE {t}s\nA UNSUBSCRIBE {t}b\nA SUNSUBSCRIBE {t}s2",
	"shard channel":         "A SSUBSCRIBE {t}s\nB SPUBLISH {t}s hi\nA<\nB PUBLISH {t}s hi\nA SUNSUBSCRIBE {t}s\nB SPUBLISH {t}s hi",
	"kinds apart":           "A SUBSCRIBE {t}a\nA SSUBSCRIBE {t}a\nB PUBLISH {t}a one\nA<\nB SPUBLISH {t}a two\nA<\nA UNSUBSCRIBE {t}a\nB SPUBLISH {t}a three\nA<",
	"to nobody":             "B PUBLISH {t}a hi\nB SPUBLISH {t}a hi",
	"several clients":       "A SUBSCRIBE {t}a\nB SUBSCRIBE {t}a\nC PSUBSCRIBE {t}*\nD PUBLISH {t}a hi\nA<\nB<\nC<\nA UNSUBSCRIBE\nD PUBLISH {t}a ho\nB<\nC<",
	"one leaves":            "A SUBSCRIBE {t}a\nB SUBSCRIBE {t}a\nB!\nA PING",
	"PING":                  "A PING\nA SUBSCRIBE {t}a\nA PING\nA PING hello\nB PUBLISH {t}a hi\nA<\nA PING\nA UNSUBSCRIBE {t}a\nA PING",
	"restricted":            "A SUBSCRIBE {t}a\nA GET {t}k\nA SET {t}k 1\nA MULTI\nA EXEC\nA WATCH {t}k\nA BLPOP {t}l 0.01\nA PUBLISH {t}b x\nA ECHO x\nA SELECT 1\nA CLIENT GETNAME\nA NOSUCH\nA UNSUBSCRIBE {t}a\nA GET {t}k",
	"restricted by pattern": "A PSUBSCRIBE {t}*\nA GET {t}k\nA UNSUBSCRIBE {t}a\nA GET {t}k\nA PUNSUBSCRIBE {t}*\nA GET {t}k",
	"restricted by shard":   "A SSUBSCRIBE {t}a\nA GET {t}k\nA SUNSUBSCRIBE\nA GET {t}k",
	"RESET":                 "A SUBSCRIBE {t}a\nA PSUBSCRIBE {t}*\nA RESET\nB PUBLISH {t}a hi\nA GET {t}k",
	"no arguments":          "A SUBSCRIBE\nA PSUBSCRIBE\nA SSUBSCRIBE\nA PUBLISH {t}a\nA GET {t}k",
	"pipelined":             "A> GET {t}k\nA> SUBSCRIBE {t}a\nA> PING\nA> UNSUBSCRIBE {t}a\nA> GET {t}k\nA<\nA<\nA<\nA<\nA<",
	"in turn":               "A SUBSCRIBE {t}a\nA UNSUBSCRIBE {t}a\nA SET {t}k 1\nA SUBSCRIBE {t}a\nB PUBLISH {t}a hi\nA<\nA UNSUBSCRIBE {t}a\nA GET {t}k\nA MULTI\nA GET {t}k\nA EXEC",
	"binary":                "A SUBSCRIBE {t}\x01\xff\nB PUBLISH {t}\x01\xff \x02\xfe\nA<",
	"from a transaction":    "A SUBSCRIBE {t}a\nB MULTI\nB PUBLISH {t}a one\nB SET {t}k 1\nB PUBLISH {t}a two\nB EXEC\nA<\nA<",
	"from a script":         "A SUBSCRIBE {t}a\nB EVAL \"return redis.call('publish',KEYS[1],'hi')\" 1 {t}a\nA<",
	"other database":        "A SELECT 5\nA SUBSCRIBE {t}a\nB PUBLISH {t}a hi\nA<\nA UNSUBSCRIBE {t}a\nA SET {t}k five\nB GET {t}k",
}

// resp3Subscriptions are scripts for play that RESP2 has no room for: requests of a client that is subscribed.
var resp3Subscriptions = map[string]string{
	"requests":    "A SUBSCRIBE {t}a\nA SET {t}k 1\nA GET {t}k\nB PUBLISH {t}a hi\nA<\nA INCR {t}k\nA UNSUBSCRIBE {t}a\nA GET {t}k",
	"transaction": "A SUBSCRIBE {t}a\nA WATCH {t}k\nB PUBLISH {t}a one\nA<\nA MULTI\nA SET {t}k 1\nB PUBLISH {t}a two\nA<\nA EXEC\nB PUBLISH {t}a three\nA<\nA GET {t}k",
	"conflict":    "A SUBSCRIBE {t}a\nA WATCH {t}k\nB SET {t}k 2\nA MULTI\nA SET {t}k 1\nA EXEC\nB PUBLISH {t}a hi\nA<",
	"blocking":    "A SUBSCRIBE {t}a\nA> BLPOP {t}l 0\nA~\nB PUBLISH {t}a hi\nA<\nB RPUSH {t}l x\nA<\nB PUBLISH {t}a ho\nA<",
	"several":     "A SUBSCRIBE {t}a\nA MSET {t}x 1 {t}y 2\nA MGET {t}x {t}y\nB PUBLISH {t}a hi\nA<\nA ECHO x\nA SELECT 1\nA GET {t}x\nB PUBLISH {t}a hi\nA<",
}

// TestSubscriptions compares subscribing, in both protocols, with what Redis says.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	t.Run("both", func(t *testing.T) { t.Parallel(); likeServer(t, oneAndThree, subscriptions, "2", "3") })
	t.Run("RESP3", func(t *testing.T) { t.Parallel(); likeServer(t, oneAndThree, resp3Subscriptions, "3") })
}

// subscribe sends the request and waits for its confirmations.
func subscribe(t *testing.T, c *harness.Conn, args ...string) {
	t.Helper()
	if err := c.Write(harness.Encode(args...)); err != nil {
		t.Fatal(err)
	}
	for i, name := range args[1:] {
		want := fmt.Sprintf("[%s %s %d]", strings.ToLower(args[0]), name, i+1)
		if r, err := c.Receive(); err != nil || r.Text() != want {
			t.Fatalf("%s: %s, %v; want %s", strings.Join(args, " "), r.Text(), err, want)
		}
	}
}

// receive reads one reply or push.
func receive(t *testing.T, c *harness.Conn, want string) {
	t.Helper()
	if r, err := c.Receive(); err != nil || r.Text() != want {
		t.Fatalf("%s, %v; want %s", r.Text(), err, want)
	}
}

// TestMessageOrder sends many messages in one go, of one channel and of several of different groups, to both protocols: each channel's
// arrive in order, all of them, once.
func TestMessageOrder(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3)
	const messages = 10_000
	channels := []string{s.keys["g1"][0], s.keys["g2"][0], s.keys["g3"][0]}
	readers := []*harness.Conn{s.dial("2"), s.dial("3"), s.dial("2")}
	subscribe(t, readers[0], append([]string{"SUBSCRIBE"}, channels...)...)
	subscribe(t, readers[1], append([]string{"SUBSCRIBE"}, channels...)...)
	subscribe(t, readers[2], "PSUBSCRIBE", "s:*")
	var all sync.WaitGroup
	for i, c := range readers {
		all.Go(func() {
			next := map[string]int{}
			for n := range messages {
				r, err := c.Receive()
				if err != nil || len(r.Elems) < 3 {
					t.Errorf("reader %d: message %d: %s, %v", i, n, r.Text(), err)
					return
				}
				channel, text := r.Elems[len(r.Elems)-2].Str, r.Elems[len(r.Elems)-1].Str
				if want := fmt.Sprint(next[channel]); text != want {
					t.Errorf("reader %d: %s: message %s, want %s", i, channel, text, want)
					return
				}
				next[channel]++
			}
		})
	}
	p := s.dial("")
	all.Go(func() {
		var b strings.Builder
		for i := range messages {
			b.WriteString(harness.Encode("PUBLISH", channels[i%3], fmt.Sprint(i/3)))
		}
		if err := p.Write(b.String()); err != nil {
			t.Error(err)
		}
	})
	for i := range messages {
		if r, err := p.Receive(); err != nil || r.Int != 3 {
			t.Fatalf("PUBLISH %d: %s, %v; want 3 receivers", i, r.Text(), err)
		}
	}
	all.Wait()
	want(t, readers[1], "PONG", "PING")
}

// TestKeyspaceEvents holds that a subscriber hears of the keys of every group.
func TestKeyspaceEvents(t *testing.T) {
	t.Parallel()
	s := startSessionsOver(t, 3, []string{"notify-keyspace-events KEA"})
	for _, hello := range []string{"2", "3"} {
		c, other := s.dial(hello), s.dial("")
		subscribe(t, c, "PSUBSCRIBE", "__keyevent@0__:set")
		for _, g := range s.names {
			want(t, other, "OK", "SET", s.keys[g][0], "1")
			receive(t, c, "[pmessage __keyevent@0__:set __keyevent@0__:set "+s.keys[g][0]+"]")
		}
		c.Close()
		c = s.dial(hello)
		channel := "__keyspace@0__:" + s.keys["g2"][1]
		subscribe(t, c, "SUBSCRIBE", channel)
		want(t, other, "1", "RPUSH", s.keys["g2"][1], "x")
		receive(t, c, "[message "+channel+" rpush]")
		want(t, other, "1", "DEL", s.keys["g2"][1])
		receive(t, c, "[message "+channel+" del]")
	}
}

// TestSubscribersOutliveServer kills and restarts the servers under subscribers: they are subscribed again by themselves, their
// connections stay, and the log says so.
func TestSubscribersOutliveServer(t *testing.T) {
	t.Parallel()
	for _, groups := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d groups", groups), func(t *testing.T) {
			t.Parallel()
			s := startSessions(t, groups)
			channel := s.keys["g1"][0]
			two, three, other := s.dial("2"), s.dial("3"), s.dial("")
			subscribe(t, two, "SUBSCRIBE", channel, "second")
			subscribe(t, three, "SUBSCRIBE", channel)
			want(t, three, "[psubscribe s:* 2]", "PSUBSCRIBE", "s:*")
			for range 2 {
				s.servers["g1"].Kill()
				s.servers["g1"].Restart()
				publishUntil(t, other, channel, 3)
				drain(t, two, "[message "+channel+" now]")
				drain(t, three, "[pmessage s:* "+channel+" now]")
			}
			s.p.WaitLog("subscribed again")
			want(t, three, "PONG", "PING")
			want(t, two, "[pong ]", "PING")
			late := s.dial("2")
			subscribe(t, late, "SUBSCRIBE", "late")
			for _, c := range []*harness.Conn{two, three, late} {
				c.Close()
			}
			s.spies["g1"].again()
			s.rest()
		})
	}
}

// publishUntil publishes "early" until so many hear it, and then "now".
func publishUntil(t *testing.T, c *harness.Conn, channel string, receivers int64) {
	t.Helper()
	harness.Eventually(t, harness.Patience, fmt.Sprintf("%d subscriptions to %s", receivers, channel), func() error {
		r, err := c.Do("PUBLISH", channel, "early")
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind != ':' || r.Int != receivers {
			return errors.New(r.Text())
		}
		return nil
	})
	want(t, c, fmt.Sprint(receivers), "PUBLISH", channel, "now")
}

// drain reads messages until the last one.
func drain(t *testing.T, c *harness.Conn, last string) {
	t.Helper()
	for {
		r, err := c.Receive()
		if err != nil || r.Kind == '-' {
			t.Fatalf("%s, %v; want %s in the end", r.Text(), err, last)
		}
		if r.Text() == last {
			return
		}
	}
}

// TestSubscribersFollowMaster fails a group over, by a kill and by hand, under subscribers.
func TestSubscribersFollowMaster(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{}, "hold: { timeout: 25s }")
	addr := p.Config.Addr("cache")
	channel := keysIn(t, p, "cache", "s", 1)["g1"][0]
	two, three, other := dial(t, addr), dial(t, addr), dial(t, addr)
	want(t, three, "OK", "SET", channel, "1")
	want(t, three, "1", "WAIT", "1", "0")
	if _, err := three.Do("HELLO", "3"); err != nil {
		t.Fatal(err)
	}
	subscribe(t, two, "SUBSCRIBE", channel)
	subscribe(t, three, "SUBSCRIBE", channel)
	old := f.Group("g1").Master
	f.Failover("g1")
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	harness.Eventually(t, harness.Patience, "both are subscribed at the new master", func() error {
		r, err := fresh.Ask("PUBSUB", "NUMSUB", channel)
		if err == nil && r.Elems[1].Int != 2 {
			err = errors.New(r.Text())
		}
		return err
	})
	publishUntil(t, other, channel, 2)
	drain(t, two, "[message "+channel+" now]")
	drain(t, three, "[message "+channel+" now]")
	want(t, three, "1", "GET", channel)
	harness.Eventually(t, harness.Patience, "nobody is subscribed at the old master", func() error {
		r, err := old.Ask("PUBSUB", "NUMSUB", channel)
		if err == nil && r.Elems[1].Int != 0 {
			err = errors.New(r.Text())
		}
		return err
	})
}

// TestSlowSubscriber publishes far more than a subscriber reads: it is closed, as Redis would, and costs a bounded amount; who reads
// gets everything.
func TestSlowSubscriber(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3)
	slow, fast, other := s.dial(""), s.dial(""), s.dial("")
	if err := slow.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	subscribe(t, slow, "SUBSCRIBE", "ch")
	subscribe(t, fast, "SUBSCRIBE", "ch")
	before, err := s.p.RSS()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 256<<10)
	highest, closed := int64(0), false
	for i := 0; i < 2000 && !closed; i++ {
		r, err := other.Do("PUBLISH", "ch", text)
		if err != nil || r.Kind != ':' {
			t.Fatalf("PUBLISH: %s, %v", r.Text(), err)
		}
		if r, err := fast.Receive(); err != nil || len(r.Elems) != 3 || r.Elems[2].Str != text {
			t.Fatalf("message %d of the subscriber that reads: %d parts, %v", i, len(r.Elems), err)
		}
		closed = r.Int == 1
		if rss, err := s.p.RSS(); err == nil {
			highest = max(highest, rss)
		}
	}
	if !closed {
		t.Errorf("the slow subscriber is still subscribed after %d MiB", 2000*len(text)>>20)
	}
	if limit := before + mebibytes(96); highest > limit {
		t.Errorf("the proxy took %d MiB, %d before; want a bounded amount", highest>>20, before>>20)
	}
	if _, err := slow.EOF(); err != nil {
		t.Errorf("the slow subscriber: %v", err)
	}
	want(t, other, "1", "PUBLISH", "ch", "still")
	receive(t, fast, "[message ch still]")
}
