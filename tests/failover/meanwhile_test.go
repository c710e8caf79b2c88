package failover

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"respgate/tests/harness"
)

// ordered gives the order for a switch of g1 and does not wait for what comes of it.
func ordered(p *harness.Proxy) <-chan string {
	reply := make(chan string, 1)
	go func() {
		c, err := harness.Dial(p.Config.Admin)
		if err != nil {
			reply <- err.Error()
			return
		}
		defer c.Close()
		c.Timeout = 3 * time.Minute
		r, err := c.Do("PROXY", "SWITCH", "cache", "g1")
		if err != nil {
			reply <- err.Error()
			return
		}
		reply <- r.Text()
	}()
	return reply
}

// during waits for a moment within a switch.
func during(t *testing.T, reply <-chan string, what string, cond func() error) {
	t.Helper()
	harness.Eventually(t, harness.Patience, what, func() error {
		select {
		case text := <-reply:
			t.Fatalf("the switch is over before %s: %s", what, text)
		default:
		}
		return cond()
	})
}

// TestSwitchDuringFailover: somebody asks Sentinel for a failover while a planned switch waits for the requests in flight. The
// switch is given up, there is one new master, and the timeline tells of both.
func TestSwitchDuringFailover(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}, DownAfter: 20 * time.Second})
	old := f.Group("g1").Master
	ears := listen(t, p)
	old.Must("CLIENT", "PAUSE", "10000", "WRITE")
	writer := dial(t, p.Config.Addr("cache"))
	written := make(chan error, 1)
	go func() { _, err := writer.Do("SET", "in-flight", "1"); written <- err }()
	harness.Eventually(t, harness.Patience, "a write is in flight", func() error {
		if n := stat(t, old, "clients", "blocked_clients"); n == 0 {
			return errors.New("none waits at the master")
		}
		return nil
	})

	reply := ordered(p)
	during(t, reply, "the requests are held", func() error {
		if row := p.Master("cache", "g1"); row["cause"] != "planned switch-over" {
			return errors.New(row["cause"])
		}
		return nil
	})
	f.Failover("g1")
	if text := <-reply; !strings.HasPrefix(text, "-") {
		t.Errorf("PROXY SWITCH: %s, want an error", text)
	}
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	waitReply(t, dial(t, p.Config.Addr("cache")), "OK", "SET", "after", "1")
	if err := <-written; err != nil {
		t.Errorf("the write in flight had no reply: %v", err)
	}
	sources := map[string]string{}
	for _, e := range append(ears.until("g1", "switched"), told{}) {
		sources[e.Event] = e.Source
	}
	if _, done := sources["given-up"]; !done {
		sources["given-up"] = last(ears.until("g1", "given-up")).Source
	}
	if sources["switched"] != "sentinel" || sources["given-up"] != "planned" {
		t.Errorf("the timeline tells of %v", sources)
	}
	if row := p.Master("cache", "g1"); row["switches"] != "1" {
		t.Errorf("%s switches", row["switches"])
	}
}

func last(all []told) told { return all[len(all)-1] }

// TestTimelineCounts: what clients were told is in the records, request by request.
func TestTimelineCounts(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{DownAfter: 1500 * time.Millisecond}, "timeout: 700ms", "hold: { timeout: 15s }")
	l := p.Load("cache", f)
	l.Progress(100)
	old := f.Group("g1").Master
	old.Freeze()
	defer old.Thaw()
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	l.Progress(100)
	harness.Eventually(t, harness.Patience, "the records have every failed request", func() error {
		failures, told, held := 0, 0, 0
		for _, n := range l.Failures("g1") {
			failures += n
		}
		for _, row := range p.Rows("PROXY", "EVENTS", "cache", "g1", "COUNT", "100") {
			for field, sum := range map[string]*int{"failed": &told, "held": &held} {
				n, err := strconv.Atoi(row[field])
				if err != nil {
					return err
				}
				*sum += n
			}
		}
		if failures == 0 || told != failures || held == 0 {
			return fmt.Errorf("%d requests failed: %v; the records tell of %d, and of %d that were held", failures, l.Failures("g1"), told, held)
		}
		return nil
	})
}

// TestSwitchOfRemovedGroup takes a group out of the configuration while its switch waits for the replica: nobody is promoted,
// and the master's writers are not left paused.
func TestSwitchOfRemovedGroup(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{DownAfter: 20 * time.Second, FailoverTimeout: 3 * time.Minute})
	g := f.Group("g1")
	way := lag(t, f, g)
	c := p.Config
	whole := c.String()
	c.Pool("cache", harness.SentinelLines([]string{"g2"}, f.SentinelAddrs(), f.Options)...)
	rest := c.String()

	writer := dial(t, g.Master.Addr())
	writer.Timeout = 200 * time.Millisecond
	reply := ordered(p)
	during(t, reply, "the master's writers are paused", func() error {
		if r, err := writer.Do("SET", "probe", "1"); err == nil {
			return fmt.Errorf("a write is answered: %s", r.Text())
		}
		return nil
	})
	take := func(text string, groups int) {
		t.Helper()
		p.Write(text)
		harness.Eventually(t, harness.Patience, fmt.Sprintf("the proxy has %d groups", groups), func() error {
			if rows := p.Rows("PROXY", "MASTERS", "cache"); len(rows) != groups {
				return fmt.Errorf("it has %d", len(rows))
			}
			return nil
		})
	}
	take(rest, 1)
	way.Heal()
	if text := <-reply; !strings.HasPrefix(text, "-NOGROUP failover: ") && !strings.HasPrefix(text, "-NOREPLICA catch-up") { // on a busy machine
		t.Errorf("PROXY SWITCH: %s, want an error", text)
	}
	unpaused(t, g.Master)
	take(whole, 2)
	p.WaitMaster("cache", "g1", g.Master.Addr())
	waitReply(t, dial(t, c.Addr("cache")), "OK", "SET", keyIn(t, p, "g1"), "1")
}

// TestSwitchAtShutdown tells the proxy to stop when Sentinel has agreed to a switch: it finishes that first, and clients of
// another proxy get no error.
func TestSwitchAtShutdown(t *testing.T) {
	t.Parallel()
	f, first := stack(t, harness.FleetOptions{Groups: []string{"g1"}})
	second := proxyOf(t, f)
	old := f.Group("g1").Master
	l := second.Load("cache", f)
	l.Progress(100)
	reply := ordered(first)
	during(t, reply, "a sentinel fails over", func() error {
		for _, s := range f.Sentinels {
			r, err := s.Ask("SENTINEL", "MASTER", "g1")
			if err == nil && strings.Contains(r.Map()["flags"], "failover_in_progress") {
				return nil
			}
		}
		return errors.New("none does")
	})
	first.Signal(syscall.SIGTERM)
	if code, err := first.Wait(2 * harness.Patience); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	<-reply
	if log := first.Log(); !strings.Contains(log, "planned switch-over done") {
		t.Errorf("the switch was not finished:\n%s", log)
	}
	writer := dial(t, old.Addr())
	if r, err := writer.Do("SET", "past-the-proxies", "1"); err != nil || !strings.HasPrefix(r.Str, "READONLY") {
		t.Errorf("the old master answers a write with %s, %v", r.Text(), err)
	}
	second.WaitMaster("cache", "g1", f.WaitMaster("g1", old).Addr())
	l.Progress(100)
	untouched(t, l.Finish(f.Masters()))
}
