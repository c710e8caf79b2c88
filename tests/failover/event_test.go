package failover

import (
	"fmt"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestFault43EventOfAnother announces a switch of groups that the pool does not have, with names like those it has.
func TestFault43EventOfAnother(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	l := s.load()
	l.Progress(50)
	elsewhere := harness.StartRedis(t, harness.RedisOptions{})
	for _, fake := range s.fakes {
		for _, name := range []string{"g10", "g", "G1", "xg1", "g1 "} {
			fake.Publish("+switch-master", fmt.Sprintf("%s 127.0.0.1 %d 127.0.0.1 %d", name, s.servers["g1"].Port, elsewhere.Port))
			fake.Publish("+elected-leader", fmt.Sprintf("master %s 127.0.0.1 %d", name, s.servers["g1"].Port))
		}
	}
	l.Progress(100)
	row := s.row("g1")
	if row["master"] != s.servers["g1"].Addr() || row["switches"] != "0" || row["state"] != "up" {
		t.Errorf("console: %v", row)
	}
	untouched(t, l.Finish(s.servers))
}

// TestFault44EventsOutOfOrder repeats and swaps the events of two switches: what counts is the answer to a question.
func TestFault44EventsOutOfOrder(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	first := s.servers["g1"]
	second, third := harness.StartRedis(t, harness.RedisOptions{}), harness.StartRedis(t, harness.RedisOptions{})
	for _, fake := range s.fakes {
		fake.Name("g1", "127.0.0.1", third.Port, 3)
		for range 3 {
			fake.Publish("+switch-master", fmt.Sprintf("g1 127.0.0.1 %d 127.0.0.1 %d", second.Port, third.Port))
			fake.Publish("+switch-master", fmt.Sprintf("g1 127.0.0.1 %d 127.0.0.1 %d", first.Port, second.Port))
			fake.Publish("+failover-end", fmt.Sprintf("master g1 127.0.0.1 %d", first.Port))
		}
	}
	s.proxy.WaitMaster("cache", "g1", third.Addr())
	s.servers["g1"] = third
	l := s.load()
	l.Progress(100)
	untouched(t, l.Finish(s.servers))
	if row := s.row("g1"); row["master"] != third.Addr() || row["switches"] != "1" {
		t.Errorf("console: %v, want one switch", row)
	}
}

// TestFault45EventFlood sends a hundred thousand events: each is a reason to ask again, and they are asked ten times a
// second at most.
func TestFault45EventFlood(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	l := s.load()
	l.Progress(50)
	fake := s.fakes[0]
	rss, err := s.proxy.RSS()
	if err != nil {
		t.Fatal(err)
	}
	asked, began := fake.Asked("sentinel get-master-addr-by-name"), time.Now()
	for range 100_000 {
		fake.Publish("+sdown", fmt.Sprintf("slave 127.0.0.1:1 127.0.0.1 1 @ g1 127.0.0.1 %d", s.servers["g1"].Port))
	}
	s.proxy.Admin("PING")
	now, took := fake.Asked("sentinel get-master-addr-by-name")-asked, time.Since(began)
	t.Logf("%d questions in %v", now, took.Round(time.Millisecond))
	if limit := int(took.Seconds()+1)*10 + 2; now > limit {
		t.Errorf("asked %d times in %v, want at most %d", now, took, limit)
	}
	if now, err := s.proxy.RSS(); err != nil || now > rss+mebibytes(64) {
		t.Errorf("%d MiB resident, %d before: %v", now>>20, rss>>20, err)
	}
	l.Progress(100)
	untouched(t, l.Finish(s.servers))
}

// TestFault46SwitchToItself announces the master that there is: nothing is torn down for that.
func TestFault46SwitchToItself(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	l := s.load()
	l.Progress(50)
	m := s.servers["g1"]
	before, generation := stat(t, m, "clients", "connected_clients"), s.row("g1")["generation"]
	dials := func() float64 {
		n, err := s.proxy.Metric(`respgate_server_dials_total{pool="cache"}`)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	dialled := dials()
	for epoch := 2; epoch < 5; epoch++ {
		asked := s.fakes[0].Asked("sentinel get-master-addr-by-name")
		s.announce("g1", "127.0.0.1", m.Port, epoch)
		waitAsked(t, s.fakes[0], asked+1)
		l.Progress(50)
	}
	if row := s.row("g1"); row["generation"] != generation || row["switches"] != "0" {
		t.Errorf("console: %v, want generation %s", row, generation)
	}
	if now := dials(); now != dialled {
		t.Errorf("%v links were made anew, with %d clients at the master before", now-dialled, before)
	}
	untouched(t, l.Finish(s.servers))
}
