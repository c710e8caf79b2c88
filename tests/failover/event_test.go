package failover

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestFault43EventOfAnother announces failovers and switches of groups that the pool does not have, with names like those it has:
// nothing is held for that, and nobody is asked. The same of its own group is a reason for both.
func TestFault43EventOfAnother(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"}, "sentinel_heartbeat: 100ms")
	l := s.load()
	l.Progress(50)
	elsewhere := harness.StartRedis(t, harness.RedisOptions{})
	port := s.servers["g1"].Port
	publish := func(name string, events ...string) {
		for _, fake := range s.fakes {
			for _, event := range events {
				fake.Publish(event, fmt.Sprintf("master %s 127.0.0.1 %d", name, port))
			}
		}
	}
	const question = "sentinel get-master-addr-by-name"
	links := s.proxy.Rows("PROXY", "SENTINELS", "cache")
	harness.Eventually(t, 2*harness.Patience, "events of other groups are no reason to ask", func() error {
		fake := s.fakes[0]
		waitAsked(t, fake, fake.Asked(question)+1) // as it is each second
		before := fake.Asked(question)
		for _, name := range []string{"g10", "g", "G1", "xg1", "g1.", "1"} {
			for _, fake := range s.fakes {
				fake.Publish("+switch-master", fmt.Sprintf("%s 127.0.0.1 %d 127.0.0.1 %d", name, port, elsewhere.Port))
			}
			publish(name, "+sdown", "+elected-leader")
		}
		waitHeard(t, fake)
		if now := fake.Asked(question); now > before {
			return fmt.Errorf("%d questions more", now-before)
		}
		if n := fake.Subscribers(); n == 0 {
			return errors.New("nobody has heard it")
		}
		return nil
	})
	for i, row := range s.proxy.Rows("PROXY", "SENTINELS", "cache") {
		if row["rotations"] != links[i]["rotations"] {
			t.Errorf("a link to a sentinel was replaced for that: %v, before %v", row, links[i])
		}
	}
	signs := func() (all []string) {
		for _, row := range s.proxy.Rows("PROXY", "EVENTS", "cache", "g1") {
			if row["sign"] != "" {
				all = append(all, row["sign"])
			}
		}
		return all
	}
	if all := signs(); len(all) > 0 {
		t.Errorf("the timeline has signs of a failover that was another group's: %v", all)
	}
	l.Progress(100)
	row := s.row("g1")
	if row["master"] != s.servers["g1"].Addr() || row["switches"] != "0" || row["state"] != "up" {
		t.Errorf("console: %v", row)
	}
	untouched(t, l.Finish(s.servers))

	asked := s.fakes[0].Asked(question)
	publish("g1", "+selected-slave")
	waitAsked(t, s.fakes[0], asked+1)
	harness.Eventually(t, harness.Patience, "the sign of the group itself is on record", func() error {
		if all := signs(); len(all) != 1 || !strings.Contains(all[0], "+selected-slave") {
			return fmt.Errorf("signs %v", all)
		}
		return nil
	})
	publish("g1", "-failover-abort-not-elected")
}

// waitHeard waits until the proxy has read what a sentinel has published so far: it has asked for signs of life twice since.
func waitHeard(t *testing.T, fake *harness.FakeSentinel) {
	t.Helper()
	before := fake.Asked("ping")
	harness.Eventually(t, harness.Patience, "the sentinel is heard", func() error {
		if now := fake.Asked("ping"); now < before+2 {
			return fmt.Errorf("%d of 2 PINGs", now-before)
		}
		return nil
	})
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
	l := s.load(pipelined)
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
	l := s.load(pipelined)
	l.Progress(50)
	m := s.servers["g1"]
	before, generation := stat(t, m, "clients", "connected_clients"), s.row("g1")["generation"]
	links := dials(t, s.proxy)
	for epoch := 2; epoch < 5; epoch++ {
		asked := s.fakes[0].Asked("sentinel get-master-addr-by-name")
		s.announce("g1", "127.0.0.1", m.Port, epoch)
		waitAsked(t, s.fakes[0], asked+1)
		l.Progress(50)
	}
	if row := s.row("g1"); row["generation"] != generation || row["switches"] != "0" {
		t.Errorf("console: %v, want generation %s", row, generation)
	}
	if now := dials(t, s.proxy); now != links {
		t.Errorf("%v links were made anew, with %d clients at the master before", now-links, before)
	}
	untouched(t, l.Finish(s.servers))
}
