package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"respgate/tests/harness"
)

// patient are the lines of a pool where no time-out ends anything within a test: what is answered is answered because of what happened.
var patient = []string{"timeout: 10m", "hold: { timeout: 10m }"}

// lost waits until the proxy has no link to the group's server.
func (s *sessions) lost(group string) {
	s.t.Helper()
	harness.Eventually(s.t, harness.Patience, "no link to "+group+" is left", func() error {
		if m := s.p.Master("cache", group); m["links"] != "0" {
			return fmt.Errorf("there are %s", m["links"])
		}
		return nil
	})
}

// failsWith reads a reply and wants an error of the proxy that names the group.
func failsWith(t *testing.T, what string, c *harness.Conn, group string, parts ...string) {
	t.Helper()
	r, err := c.Receive()
	good := err == nil && strings.HasPrefix(r.Text(), "-ERR respgate: ") && strings.Contains(r.Str, "group '"+group+"'")
	for _, part := range parts {
		good = good && strings.Contains(r.Str, part)
	}
	if !good {
		t.Errorf("%s: %s, %v; want -ERR respgate: with group '%s' and %q", what, r.Text(), err, group, parts)
	}
}

// TestServerKilledUnderSessions kills a server with clients in every state, and restarts it. Each learns what has become of its state, at
// once and in the words that its client library knows, and goes on on the same connection.
func TestServerKilledUnderSessions(t *testing.T) {
	t.Parallel()
	for _, groups := range []int{1, 3} {
		for _, hello := range []string{"2", "3"} {
			t.Run(fmt.Sprintf("%d groups, RESP%s", groups, hello), func(t *testing.T) {
				t.Parallel()
				s := startSessions(t, groups, patient...)
				key := s.keys["g1"][0]
				list, stream := "list:{"+key+"}", "stream:{"+key+"}"
				dialled := map[string]*harness.Conn{}
				with := func(name string, requests ...[]string) *harness.Conn {
					c := s.dial(hello)
					for _, args := range requests {
						if r, err := c.Do(args...); err != nil || r.Err() != nil {
							t.Fatalf("%s: %v: %s, %v", name, args, r.Text(), err)
						}
					}
					dialled[name] = c
					return c
				}
				set, get := []string{"SET", key, "of a transaction"}, []string{"GET", key}
				open := with("open transaction", []string{"MULTI"}, set)
				failed := with("transaction with an error", []string{"MULTI"}, set)
				wantPrefix(t, failed, "-ERR unknown command", "NOSUCH")
				watcher := with("watcher", []string{"WATCH", key})
				inMulti := with("watcher in MULTI", []string{"WATCH", key}, []string{"MULTI"}, get)
				early := with("transaction without a key", []string{"MULTI"}, []string{"PING"})
				discards := with("transaction to be discarded", []string{"MULTI"}, set)
				unwatches := with("watcher that thinks better of it", []string{"WATCH", key})
				waits := map[string]*harness.Conn{}
				s.spies["g1"].do("XGROUP", "CREATE", stream, "grp", "0", "MKSTREAM")
				for name, args := range map[string][]string{
					"BLPOP": {"BLPOP", list, "0"}, "BLMOVE": {"BLMOVE", list, list, "LEFT", "LEFT", "0"},
					"XREADGROUP": {"XREADGROUP", "GROUP", "grp", "me", "BLOCK", "0", "STREAMS", stream, ">"}, "XREAD": {"XREAD", "BLOCK", "0", "STREAMS", stream, "0"},
				} {
					waits[name] = with(name)
					if err := waits[name].Write(harness.Encode(args...) + harness.Encode("ECHO", "behind")); err != nil {
						t.Fatal(err)
					}
				}
				s.blocked("g1", 4)

				s.servers["g1"].Kill()
				for name, c := range waits {
					failsWith(t, name, c, "g1", "it may or may not have been executed")
					receive(t, c, "behind")
				}
				s.lost("g1")
				if err := open.Write(harness.Encode(get...)); err != nil {
					t.Fatal(err)
				}
				failsWith(t, "a command of an open transaction", open, "g1", "nothing of it was executed")
				wantPrefix(t, open, "-EXECABORT", "EXEC")
				wantPrefix(t, failed, "-EXECABORT", "EXEC")
				want(t, watcher, "OK", "MULTI")
				want(t, watcher, "QUEUED", set...)
				want(t, watcher, "(nil)", "EXEC")
				wantPrefix(t, inMulti, "-EXECABORT", "EXEC")
				want(t, discards, "OK", "DISCARD")
				want(t, unwatches, "OK", "UNWATCH")

				s.servers["g1"].Restart()
				if groups == 1 { // then it had a group
					wantPrefix(t, early, "-EXECABORT", "EXEC")
				} else {
					want(t, early, "QUEUED", "INCR", list)
					want(t, early, "[PONG 1]", "EXEC")
				}
				for name, c := range dialled {
					if r, err := c.Do(get...); err != nil || !r.Null {
						t.Errorf("%s: GET: %s, %v; want nothing: no transaction was executed", name, r.Text(), err)
					}
					want(t, c, "OK", "WATCH", key)
					want(t, c, "OK", "MULTI")
					want(t, c, "QUEUED", get...)
					want(t, c, "[(nil)]", "EXEC")
				}
				s.spies["g1"].again()
				s.rest()
			})
		}
	}
}

// behindFault is a pool of one server behind a proxy that breaks connections.
func behindFault(t *testing.T, lines ...string) (*harness.Redis, *harness.FaultProxy, string) {
	t.Helper()
	r := harness.StartRedis(t, harness.RedisOptions{})
	f := harness.StartFault(t, r.Addr())
	c := harness.NewConfig(t)
	addr := c.ServersPool("cache", []string{f.Addr() + ":1 g1"}, lines...)
	p := harness.StartProxy(t, c)
	p.WaitUp("cache")
	return r, f, addr
}

// TestExecInFlight loses the connection when EXEC is on its way to the server, and when its reply is on the way back: the client is told that
// nobody knows, and nothing is done twice.
func TestExecInFlight(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		drop     harness.Direction
		sign     string // of what is dropped: others are on their way as well
		executed string
	}{"request": {harness.ToServer, "EXEC", "(nil)"}, "reply": {harness.ToClient, "*1\r\n:1\r\n", "1"}} {
		for _, watching := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, watching %v", name, watching), func(t *testing.T) {
				t.Parallel()
				r, f, addr := behindFault(t, patient...)
				conn := dial(t, addr)
				if watching {
					want(t, conn, "OK", "WATCH", "counter")
				}
				want(t, conn, "OK", "MULTI")
				want(t, conn, "QUEUED", "INCR", "counter")
				gone := make(chan struct{}, 1)
				swallow := harness.Fault{Rewrite: func(chunk []byte) []byte {
					if !strings.Contains(string(chunk), c.sign) {
						return chunk
					}
					select {
					case gone <- struct{}{}:
					default:
					}
					return nil
				}}
				f.Set(c.drop, swallow)
				if err := conn.Write(harness.Encode("EXEC") + harness.Encode("ECHO", "behind")); err != nil {
					t.Fatal(err)
				}
				<-gone
				f.Set(c.drop, harness.Fault{})
				f.Cut(true)
				failsWith(t, "EXEC", conn, "g1", "it may or may not have been executed")
				receive(t, conn, "behind")
				if got := r.Must("GET", "counter").Text(); got != c.executed {
					t.Errorf("the counter is %s, want %s", got, c.executed)
				}
				want(t, conn, "OK", "MULTI")
				want(t, conn, "QUEUED", "SET", "after", "1")
				want(t, conn, "[OK]", "EXEC")
				if got := r.Must("GET", "counter").Text(); got != c.executed {
					t.Errorf("the counter is %s in the end, want %s", got, c.executed)
				}
			})
		}
	}
}

// TestTransactionsUnderCuts cuts all connections to the server again and again under transactions. Each is executed whole or not at all; what
// was acknowledged is there once, what was refused is not, and what nobody knows at most once.
func TestTransactionsUnderCuts(t *testing.T) {
	t.Parallel()
	r, f, addr := behindFault(t, patient...)
	const clients, rounds = 12, 25
	var all sync.WaitGroup
	var mu sync.Mutex
	outcome := map[string]string{}
	var done, executed atomic.Int64
	for i := range clients {
		all.Go(func() {
			defer done.Add(1)
			c, err := harness.Dial(addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for j := range rounds {
				id := fmt.Sprintf("%d-%d", i, j)
				text := harness.Encode("MULTI") + harness.Encode("RPUSH", "ids", id) + harness.Encode("INCR", "count") + harness.Encode("EXEC")
				if j%3 == 0 {
					text = harness.Encode("WATCH", "own:"+id) + text
				}
				if err := c.Write(text); err != nil {
					t.Error(err)
					return
				}
				var last harness.Reply
				for range strings.Count(text, "*") {
					if last, err = c.Receive(); err != nil {
						t.Errorf("%s: %v", id, err)
						return
					}
				}
				how := "refused"
				switch {
				case len(last.Elems) == 2 && last.Elems[0].Kind == ':':
					how = "executed"
					executed.Add(1)
				case strings.Contains(last.Str, "may or may not"):
					how = "unknown"
				case !last.Null && last.Kind != '-':
					t.Errorf("%s: EXEC: %s", id, last.Text())
				}
				mu.Lock()
				outcome[id] = how
				mu.Unlock()
			}
		})
	}
	for cuts := int64(0); done.Load() < clients; cuts++ {
		target := executed.Load() + 3
		_ = harness.Poll(harness.Patience, func() error {
			if executed.Load() < target && done.Load() < clients {
				return errors.New("not yet")
			}
			return nil
		})
		f.Cut(cuts%2 == 0)
	}
	all.Wait()
	there := map[string]int{}
	for _, e := range r.Must("LRANGE", "ids", "0", "-1").Elems {
		there[e.Str]++
	}
	counts := map[string]int{}
	for id, how := range outcome {
		counts[how]++
		if n := there[id]; n > 1 || how == "executed" && n != 1 || how == "refused" && n != 0 {
			t.Errorf("%s was %s and is there %d times", id, how, n)
		}
	}
	if got := r.Must("GET", "count").Text(); got != fmt.Sprint(len(there)) {
		t.Errorf("%s transactions counted, %d pushed: one was executed by halves", got, len(there))
	}
	if counts["executed"] == 0 {
		t.Error("no transaction was executed")
	}
	t.Logf("%v", counts)
}

// TestFailoverUnderSessions fails a group over under clients in every state: none hangs, none is told something that is not so.
func TestFailoverUnderSessions(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{}, patient...)
	addr := p.Config.Addr("cache")
	key := keysIn(t, p, "cache", "s", 1)["g1"][0]
	list := "list:{" + key + "}"
	blocked, behind, open, watcher := dial(t, addr), dial(t, addr), dial(t, addr), dial(t, addr)
	want(t, watcher, "OK", "SET", "watched:{"+key+"}", "1")
	want(t, watcher, "1", "WAIT", "1", "0")
	want(t, watcher, "OK", "WATCH", "watched:{"+key+"}")
	want(t, open, "OK", "MULTI")
	want(t, open, "QUEUED", "INCR", key)
	for _, c := range []*harness.Conn{blocked, behind} {
		if err := c.Write(harness.Encode("BLPOP", list, "0")); err != nil {
			t.Fatal(err)
		}
	}
	if err := behind.Write(harness.Encode("GET", "watched:{"+key+"}")); err != nil {
		t.Fatal(err)
	}
	old := f.Group("g1").Master
	w := newSpy(t, old)
	harness.Eventually(t, harness.Patience, "two clients are blocked", func() error { return w.counts("b", 2) })
	w.conn.Close()

	f.Failover("g1")
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	for _, c := range []*harness.Conn{blocked, behind} {
		if r, err := c.Receive(); err != nil || r.Kind != '-' || !strings.HasPrefix(r.Str, "UNBLOCKED ") && !strings.Contains(r.Str, "group 'g1'") {
			t.Errorf("BLPOP: %s, %v; want an error", r.Text(), err)
		}
	}
	receive(t, behind, "1")
	wantPrefix(t, open, "-EXECABORT", "EXEC")
	want(t, watcher, "OK", "MULTI")
	want(t, watcher, "QUEUED", "INCR", key)
	want(t, watcher, "(nil)", "EXEC")
	for _, c := range []*harness.Conn{blocked, behind, open, watcher} {
		if r, err := c.Do("GET", key); err != nil || !r.Null {
			t.Errorf("GET: %s, %v; want nothing: no transaction was executed", r.Text(), err)
		}
	}
	// At the new master all of it works.
	want(t, watcher, "OK", "WATCH", key)
	want(t, watcher, "OK", "MULTI")
	want(t, watcher, "QUEUED", "RPUSH", list, "x")
	want(t, watcher, "[1]", "EXEC")
	want(t, blocked, "["+list+" x]", "BLPOP", list, "0")
}

// TestFrozenServerUnderSessions stops a server in the middle of transactions: time-outs are errors, and what a transaction with an error has
// queued is never executed, not even when the server goes on.
func TestFrozenServerUnderSessions(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3, "timeout: 2s", "hold: { timeout: 2s }")
	key := s.keys["g1"][0]
	c, w := s.dial(""), s.dial("")
	want(t, c, "OK", "MULTI")
	want(t, c, "QUEUED", "SET", key, "stray")
	want(t, w, "OK", "WATCH", key)
	s.servers["g1"].Freeze()
	began := time.Now()
	for _, args := range [][]string{{"SET", key, "stray"}, {"EXEC"}} {
		if r, err := c.Do(args...); err != nil || r.Kind != '-' {
			t.Errorf("%v at a server that is stopped: %s, %v; want an error", args, r.Text(), err)
		}
	}
	// The others are served meanwhile, sessions too.
	other := s.dial("")
	want(t, other, "OK", "MULTI")
	want(t, other, "QUEUED", "SET", s.keys["g2"][0], "1")
	want(t, other, "[OK]", "EXEC")
	if took := time.Since(began); took > harness.Patience {
		t.Errorf("two requests with a time-out of 2s took %v", took)
	}
	s.servers["g1"].Thaw()
	harness.Eventually(t, harness.Patience, "the server that goes on serves transactions", func() error {
		if r, err := c.Do("WATCH", key); err != nil || r.Err() != nil {
			return fmt.Errorf("WATCH: %s, %w", r.Text(), err)
		}
		var last harness.Reply
		for _, args := range [][]string{{"MULTI"}, {"GET", key}, {"EXEC"}} {
			r, err := c.Do(args...)
			if err != nil {
				return err
			}
			last = r
		}
		if last.Text() != "[(nil)]" {
			return errors.New("EXEC: " + last.Text())
		}
		return nil
	})
	if got := s.spies["g1"].do("EXISTS", key); got.Int != 0 {
		t.Error("a transaction that had failed was executed")
	}
	s.rest()
}
