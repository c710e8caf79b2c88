package failover

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestFault30MinorityPartition leaves the proxy with one sentinel and the old master, while the others elect its replica:
// writes are fenced when the lease ends, and when the network is back there is one switch.
func TestFault30MinorityPartition(t *testing.T) {
	t.Parallel()
	s := newStage(t, []string{"g1"})
	old := s.servers["g1"]
	replica := harness.StartRedis(t, harness.RedisOptions{ReplicaOf: old})
	var fronts []*harness.FaultProxy
	sentinels := []string{s.fakes[0].Addr()}
	for _, fake := range s.fakes {
		fake.Name("g1", "127.0.0.1", old.Port, 1, replica.Addr())
	}
	for _, fake := range s.fakes[1:] {
		front := harness.StartFault(t, fake.Addr())
		fronts, sentinels = append(fronts, front), append(sentinels, front.Addr())
	}
	s.open(sentinels, "on_authority_lost: fence", "sentinel_heartbeat: 300ms", "hold: { timeout: 500ms }")
	s.proxy.WaitMaster("cache", "g1", old.Addr())
	s.proxy.WaitWatching("cache")
	conn := dial(t, s.addr())
	want(t, conn, "OK", "SET", "before", "1")
	harness.Eventually(t, harness.Patience, "the replica has it", func() error {
		if r, err := replica.Ask("GET", "before"); err != nil || r.Text() != "1" {
			return fmt.Errorf("%s, %v", r.Text(), err)
		}
		return nil
	})

	l := s.load()
	l.Progress(50)

	for _, front := range fronts {
		front.Blackhole()
	}
	cut := time.Now()
	replica.Must("REPLICAOF", "NO", "ONE") // the other side elects it
	for _, fake := range s.fakes[1:] {
		fake.Name("g1", "127.0.0.1", replica.Port, 2, old.Addr())
	}
	waitError(t, conn, "respgate: ", "SET", "fenced", "1")
	fenced := time.Now()
	want(t, conn, "1", "GET", "before")
	harness.Eventually(t, harness.Patience, "its writes are refused", func() error {
		if refused := l.Failures("g1"); len(refused) == 0 {
			return fmt.Errorf("%d requests succeeded", l.Requests("g1"))
		}
		return nil
	})
	if row := s.row("g1"); row["switches"] != "0" {
		t.Errorf("switched within the minority: %v", row)
	}

	for _, front := range fronts {
		front.Heal()
		front.Cut(true)
	}
	s.proxy.WaitMaster("cache", "g1", replica.Addr())
	waitReply(t, conn, "OK", "SET", "after", "1")
	want(t, conn, "1", "GET", "before")
	if got := replica.Must("GET", "after"); got.Text() != "1" {
		t.Errorf("the write after the switch: %s", got.Text())
	}
	if row := s.row("g1"); row["switches"] != "1" {
		t.Errorf("%s switches, want one: %v", row["switches"], row)
	}
	l.Progress(100)
	// What the old master took is gone if the other side had promoted by then: it may as soon as down-after is over, and not sooner.
	got := l.Finish(map[string]*harness.Redis{"g1": replica})[0]
	if got.Duplicates > 0 || got.Wrong > 0 {
		t.Errorf("nothing may be executed twice, and no reply may be another's: %v", got)
	}
	if got.LostSent.After(fenced) || got.LostSent.Sub(cut) >= 5*time.Second {
		t.Errorf("a write was acknowledged and is lost that was sent %v after the cut and %v after writes were refused; down-after is 5s", got.LostSent.Sub(cut), got.LostSent.Sub(fenced))
	}
	if got.Lost > 0 && got.LostSent.IsZero() || got.Lost == 0 {
		t.Errorf("the books do not tell when what the old master alone had was sent: %v", got)
	}
}

// TestMinorityPartitionIsQuick cuts the proxy, the old master and one sentinel off from the replica and the others, with the
// shortest down-after that there should be: what the proxy sends when the others may have found the master down is not served.
func TestMinorityPartitionIsQuick(t *testing.T) {
	t.Parallel()
	const downAfter = time.Second
	s := newStage(t, []string{"g1"})
	old := s.servers["g1"]
	link := harness.StartFault(t, old.Addr())
	replica := harness.StartRedis(t, harness.RedisOptions{})
	_, port, _ := net.SplitHostPort(link.Addr())
	replica.Must("REPLICAOF", "127.0.0.1", port)
	cut := []*harness.FaultProxy{link}
	var sentinels []string
	for i, fake := range s.fakes {
		fake.Name("g1", "127.0.0.1", old.Port, 1, replica.Addr())
		fake.DownAfter(downAfter)
		front := harness.StartFault(t, fake.Addr())
		sentinels = append(sentinels, front.Addr())
		if i > 0 {
			cut = append(cut, front)
		}
	}
	s.open(sentinels, "hold: { timeout: 500ms }")
	s.proxy.WaitMaster("cache", "g1", old.Addr())
	s.proxy.WaitWatching("cache")
	harness.Eventually(t, harness.Patience, "the replica is online", func() error {
		if !strings.Contains(old.Must("INFO", "replication").Str, "state=online") {
			return errors.New("it is not")
		}
		return nil
	})
	conn := dial(t, s.addr())
	want(t, conn, "OK", "SET", "before", "1")

	began := time.Now()
	for _, f := range cut {
		f.Blackhole()
	}
	var served time.Duration
	harness.Eventually(t, harness.Patience, "a write is refused", func() error {
		sent := time.Since(began)
		r, err := conn.Do("SET", "key", sent.String())
		if err == nil && r.Err() != nil {
			return nil
		}
		served = sent
		return errors.Join(err, fmt.Errorf("%v after the cut: %s", sent, r.Text()))
	})
	t.Logf("the last write that was served was sent %v after the cut", served)
	if served >= downAfter {
		t.Errorf("a write of %v after the cut was served, with down-after %v", served, downAfter)
	}
	if row := s.row("g1"); row["authority"] != "lost" {
		t.Errorf("authority %s, want lost", row["authority"])
	}
}

// TestFault62ProxyStops stops the proxy while its group is failed over by hand: the old master lives, and would take
// what the proxy sends when it goes on. Nothing may be sent before somebody has vouched again.
func TestFault62ProxyStops(t *testing.T) {
	t.Parallel()
	for _, lease := range []string{"auto", "0"} {
		t.Run("authority_lease "+lease, func(t *testing.T) {
			t.Parallel()
			proxyStops(t, lease)
		})
	}
}

func proxyStops(t *testing.T, lease string) {
	f, p := stack(t, quickly("g1"), "hold: { timeout: 15s }", "authority_lease: "+lease)
	stopped := 4 * time.Second // more than any lease of this group
	if *soakFlag > 0 {
		stopped = time.Minute
	}
	l := p.Load("cache", f)
	l.Progress(100)
	old := f.Group("g1").Master
	began := time.Now()
	p.Freeze()
	f.Failover("g1")
	fresh := f.WaitMaster("g1", old)
	lasts(t, began, stopped)
	p.Thaw()
	p.WaitMaster("cache", "g1", fresh.Addr())
	l.Progress(100)
	rejected := failed(l, "g1", "authority over its master") + failed(l, "g1", "sentinel unreachable")
	if lease == "auto" && rejected > 0 {
		t.Errorf("%d requests were rejected before the sentinels could answer", rejected)
	}
	// What was in flight when it was stopped, and who gave up waiting and came again; without a lease nobody need be asked
	// before the policy takes effect.
	sound(t, l.Finish(f.Masters())[0], rejected+4*(1+int(stopped/harness.Patience)))
}
