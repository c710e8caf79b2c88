package failover

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"respgate/tests/harness"
)

// quickly is a fleet that fails over soon.
func quickly(groups ...string) harness.FleetOptions {
	return harness.FleetOptions{Groups: groups, DownAfter: 1500 * time.Millisecond}
}

// quicklyBeside is one whose group g1 fails over soon, and whose g2 does not, whatever a busy machine does to it.
func quicklyBeside() harness.FleetOptions {
	o := quickly("g1", "g2")
	o.Steady = []string{"g2"}
	return o
}

// untilServed holds requests for longer than Sentinel takes: if the machine is so busy that the sentinels call a tilt, or that
// each votes for itself, that is most of a minute.
const untilServed = "hold: { timeout: 2m }"

// patiently is one that does not, whatever a busy machine does to it.
func patiently(groups ...string) harness.FleetOptions {
	return harness.FleetOptions{Groups: groups, DownAfter: time.Minute}
}

// TestFault01MasterKilled is the reason the proxy exists: a master dies under load, its group's requests wait, its
// replica takes over, nobody touches anything. The other group must not notice.
func TestFault01MasterKilled(t *testing.T) {
	t.Parallel()
	f, p := stack(t, quicklyBeside(), untilServed)
	l := p.Load("cache", f, pipelined)
	l.Progress(200)
	told := notified(t, p)
	old := f.Group("g1").Master
	began := time.Now()
	old.Kill()
	fresh := f.WaitMaster("g1", old)
	announced := time.Since(began)
	p.WaitMaster("cache", "g1", fresh.Addr())
	l.Progress(200)
	noticed(t, told, "g1")
	t.Logf("kill -9 of g1's master %s: %s serves, load resumed after %v (down-after 1.5s)", old.Addr(), fresh.Addr(), time.Since(began).Round(time.Millisecond))

	reports := l.Finish(f.Masters())
	untouched(t, reports, "g2")
	crashed(t, reports[0], pipelines)
	if g1 := reports[0]; g1.Outage > announced+grace {
		t.Errorf("the outage of g1 was %v, and its new master was announced after %v", g1.Outage, announced)
	}
	if m := p.Master("cache", "g1"); m["switches"] != "1" || m["source"] != "sentinel" {
		t.Errorf("console: switches %s, source %s; want 1, sentinel", m["switches"], m["source"])
	}
}

// TestFault02SlowReplica has the leader of the failover wait for a replica whose transfer does not begin: it publishes
// +switch-master only after the failover's time is over, and the proxy must not wait for that.
func TestFault02SlowReplica(t *testing.T) {
	t.Parallel()
	o := quickly("g1")
	o.Replicas, o.FailoverTimeout = 2, 3*time.Minute
	f, p := stack(t, o, untilServed)
	// One sentinel finds the master down, the others vote for it. Were they to stand against it, nobody might be elected, and
	// the next election is twice the failover's time away.
	f.Sentinels[0].Must("SENTINEL", "SET", "g1", "quorum", "1")
	for _, s := range f.Sentinels[1:] {
		s.Must("SENTINEL", "SET", "g1", "down-after-milliseconds", "600000")
	}
	// Without a history in common, the second replica needs a whole transfer from the first, which puts it off.
	for _, r := range f.Groups[0].Replicas {
		r.Must("DEBUG", "CHANGE-REPL-ID")
		r.Must("CONFIG", "SET", "repl-diskless-sync", "yes")
		r.Must("CONFIG", "SET", "repl-diskless-sync-delay", "600")
	}
	l := p.Load("cache", f)
	l.Progress(100)
	takeover(t, f, p, "g1", func(old *harness.Redis) { old.Kill() })
	l.Progress(100)
	waiting := 0
	for _, s := range f.Sentinels {
		if log := s.Log(); strings.Contains(log, "+elected-leader") && !strings.Contains(log, "+switch-master") {
			waiting++
		}
	}
	if waiting != 1 {
		t.Errorf("%d sentinels lead a failover and have not announced it yet, want one", waiting)
	}
	crashed(t, l.Finish(f.Masters())[0], 0)
}

// TestFault03MasterStopsShortly stops a master for less than down-after: nobody is promoted, and nothing is executed twice.
func TestFault03MasterStopsShortly(t *testing.T) {
	t.Parallel()
	f, p := stack(t, patiently("g1", "g2"), "timeout: 500ms", "hold: { timeout: 30s }")
	l := p.Load("cache", f)
	l.Progress(100)
	m := f.Group("g1").Master
	m.Freeze()
	harness.Eventually(t, harness.Patience, "requests time out", func() error {
		if len(l.Failures("g1")) == 0 {
			return errors.New("none so far")
		}
		return nil
	})
	m.Thaw()
	l.Progress(200)
	reports := l.Finish(f.Masters())
	untouched(t, reports, "g2")
	sound(t, reports[0], 12) // the request of each connection, and what it sent before the group was suspect
	if row := p.Master("cache", "g1"); row["switches"] != "0" || row["master"] != m.Addr() {
		t.Errorf("console: %v, want no switch", row)
	}
}

// TestFault04MasterStops stops a master for longer than down-after, without closing anything: connections look alive and
// answer nothing. When it goes on, late replies arrive, and for seconds it says that it is a master. No request has timed out
// by then: that nothing more is sent on the links that there were is not because of their silence.
func TestFault04MasterStops(t *testing.T) {
	t.Parallel()
	f, p := stack(t, quicklyBeside(), "timeout: 2m", untilServed)
	l := p.Load("cache", f)
	l.Progress(100)
	old, _ := takeover(t, f, p, "g1", func(old *harness.Redis) { old.Freeze() })
	probe(t, p, "g1")
	l.Progress(100)
	old.Thaw()
	waitRole(t, old, "slave")
	probe(t, p, "g1")
	l.Progress(100)
	reports := l.Finish(f.Masters())
	untouched(t, reports, "g2")
	sound(t, reports[0], 4) // what was in flight; in its kernel, so it may have executed that
	unprobed(t, old)
	if errs := old.Must("INFO", "errorstats").Str; strings.Contains(errs, "READONLY") {
		t.Errorf("a write was sent to the old master after the switch:\n%s", errs)
	}
}

// TestFault04LateReply lets the old master's reply to a write come when the loop that waits for it has just left that master: it tells of
// a write that the new master does not have, so what the client gets is that nobody knows.
func TestFault04LateReply(t *testing.T) {
	t.Parallel()
	s := newStage(t, []string{"g1"})
	old, fresh := s.servers["g1"], harness.StartRedis(t, harness.RedisOptions{})
	before, after := harness.StartFault(t, old.Addr()), harness.StartFault(t, fresh.Addr())
	for _, fake := range s.fakes {
		fake.Name("g1", "127.0.0.1", before.Port(), 1)
	}
	c := harness.NewConfig(t)
	c.Lines = append(c.Lines, "loops: 1")
	c.Pool("cache", append(harness.SentinelLines(s.groups, s.sentinels(), harness.FleetOptions{}), "timeout: 20s")...)
	s.proxy = harness.StartProxy(t, c)
	s.proxy.WaitUp("cache")
	s.proxy.WaitWatching("cache")
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	// A loop begins a link when it has left those to the old master, and asks other things than control does.
	after.Set(harness.ToServer, harness.Fault{Rewrite: func(chunk []byte) []byte {
		if text := string(chunk); strings.Contains(text, "ROLE") && strings.Contains(text, "server") && !strings.Contains(text, "replication") {
			release()
		}
		return chunk
	}})
	conn := dial(t, s.addr())
	want(t, conn, "1", "INCR", "n")
	before.Set(harness.ToClient, harness.Fault{Rewrite: func(chunk []byte) []byte { <-released; return chunk }})
	if err := conn.Write(harness.Encode("INCR", "n")); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, harness.Patience, "the old master has executed it", func() error {
		if n := old.Must("GET", "n").Text(); n != "2" {
			return errors.New(n)
		}
		return nil
	})
	s.announce("g1", "127.0.0.1", after.Port(), 2)
	if r, err := conn.Receive(); err != nil || r.Kind != '-' || !strings.Contains(r.Str, "may or may not have been executed") {
		t.Errorf("a late reply of the old master: %s, %v", r.Text(), err)
	}
	s.proxy.WaitMaster("cache", "g1", after.Addr())
	want(t, conn, "1", "INCR", "n")
}

// TestFault05OldMasterReturns lets a killed master come back: for some seconds it says it is a master, and no byte of a
// client may reach it, not even through a proxy that was started just then.
func TestFault05OldMasterReturns(t *testing.T) {
	t.Parallel()
	f, p := stack(t, quickly("g1"))
	old, fresh := takeover(t, f, p, "g1", func(old *harness.Redis) { old.Kill() })
	l := p.Load("cache", f)
	l.Progress(100)
	old.Restart()

	second := proxyOf(t, f)
	second.WaitMaster("cache", "g1", fresh.Addr())
	probe(t, second, "g1")
	want(t, dial(t, second.Config.Addr("cache")), "OK", "SET", "from-the-second", "1")
	l.Progress(100)
	waitRole(t, old, "slave")
	probe(t, p, "g1")
	probe(t, second, "g1")
	l.Progress(100)
	untouched(t, l.Finish(f.Masters()))
	unprobed(t, old)
	if n := calls(t, old, "get"); n > 0 { // of the load; what it writes comes by replication as well
		t.Errorf("%d reads were sent to the old master", n)
	}
	if got := fresh.Must("GET", "from-the-second"); got.Text() != "1" {
		t.Errorf("the write through the second proxy: %s", got.Text())
	}
}

// TestFault06MasterTerminated stops a master as an init system does: it waits for its replicas, so nothing is lost.
func TestFault06MasterTerminated(t *testing.T) {
	t.Parallel()
	f, p := stack(t, quicklyBeside(), untilServed)
	l := p.Load("cache", f)
	l.Progress(100)
	takeover(t, f, p, "g1", func(old *harness.Redis) {
		if _, err := old.Terminate(harness.Patience); err != nil {
			t.Fatal(err)
		}
	})
	l.Progress(100)
	reports := l.Finish(f.Masters())
	untouched(t, reports, "g2")
	sound(t, reports[0], 4)
}

// TestFault07MasterLoads restarts a master that has much to read from its disk, within down-after: -LOADING is a reason
// to wait, and no failover.
func TestFault07MasterLoads(t *testing.T) {
	t.Parallel()
	o := patiently("g1")
	o.RedisConfig = []string{"key-load-delay 300", "rdbcompression no"}
	if harness.ServerHas7(t) {
		o.RedisConfig = append(o.RedisConfig, "loading-process-events-interval-bytes 1024")
	}
	f := harness.StartFleet(t, o)
	c := harness.NewConfig(t)
	c.SentinelPool("cache", f, "hold: { timeout: 30s }")
	c.SentinelPool("brief", f, "hold: { timeout: 200ms }")
	p := harness.StartProxy(t, c)
	p.WaitUp("cache", "brief")
	m := f.Group("g1").Master
	m.Must("DEBUG", "POPULATE", "10000", "key", "1000") // servers before 7.0 look up every two megabytes
	m.Must("SET", "kept", "1")
	m.Must("SAVE")
	m.Kill()
	l := p.Load("cache", f)
	conn, brief := dial(t, c.Addr("cache")), dial(t, c.Addr("brief"))
	refused := make(chan error, 1)
	go func() {
		refused <- harness.Poll(harness.Patience, func() error {
			r, err := brief.Do("GET", "kept")
			if err == nil && (r.Kind != '-' || !strings.Contains(r.Str, "loading")) {
				err = errors.New(r.Text())
			}
			return err
		})
	}()
	m.Restart()
	if err := <-refused; err != nil {
		t.Errorf("no clear error while the master loads: %v", err)
	}
	want(t, conn, "1", "GET", "kept")
	l.Progress(100)
	untouched(t, l.Finish(f.Masters()))
	if row := p.Master("cache", "g1"); row["switches"] != "0" {
		t.Errorf("console: %v, want no switch", row)
	}
}

// TestFault08MasterRestartsEmpty restarts a master that keeps nothing, within down-after. It is the master still, and the
// log says what happened.
func TestFault08MasterRestartsEmpty(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1", "g2"}, "hold: { timeout: 30s }")
	near := s.load(func(o *harness.LedgerOptions) { o.Groups = s.groups })
	near.Progress(50)
	conn := dial(t, s.addr())
	key := keyIn(t, s.proxy, "g1")
	want(t, conn, "OK", "SET", key, "before")
	s.servers["g1"].Kill()
	s.servers["g1"].Restart()
	want(t, conn, "(nil)", "GET", key)
	s.proxy.WaitLog("master was restarted")
	near.Progress(50)
	untouched(t, near.Finish(s.servers)[1:])
	if row := s.row("g1"); row["state"] != "up" || row["switches"] != "0" {
		t.Errorf("console: %v, want it up, without a switch", row)
	}
}

// failed counts the errors so far whose text has the part.
func failed(l *harness.Ledger, group, part string) int {
	n := 0
	for text, count := range l.Failures(group) {
		if strings.Contains(text, part) {
			n += count
		}
	}
	return n
}

// waitFailed waits for so many more of them.
func waitFailed(t *testing.T, l *harness.Ledger, group, part string, more int) {
	t.Helper()
	before := failed(l, group, part)
	harness.Eventually(t, harness.Patience, fmt.Sprintf("%d errors with %q", more, part), func() error {
		if now := failed(l, group, part); now < before+more {
			return fmt.Errorf("%d so far: %v", now-before, l.Failures(group))
		}
		return nil
	})
}
