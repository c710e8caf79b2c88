package failover

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestFault31StaleSentinel has one sentinel that stays with the old address: it is outvoted.
func TestFault31StaleSentinel(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	old, fresh := s.servers["g1"], harness.StartRedis(t, harness.RedisOptions{})
	for _, fake := range s.fakes[:2] {
		fake.Switch("g1", "127.0.0.1", fresh.Port, 2)
	}
	s.proxy.WaitMaster("cache", "g1", fresh.Addr())
	l := s.load()
	l.Progress(50)
	// It insists, with an event, and is asked again.
	asked := s.fakes[2].Asked("sentinel get-master-addr-by-name")
	s.fakes[2].Publish("+switch-master", fmt.Sprintf("g1 127.0.0.1 %d 127.0.0.1 %d", fresh.Port, s.servers["g1"].Port))
	waitAsked(t, s.fakes[2], asked+1)
	l.Progress(50)
	for _, row := range s.proxy.Rows("PROXY", "EVENTS", "cache", "g1") {
		if votes := row["votes"]; row["event"] == "switched" && !strings.Contains(votes, s.fakes[2].Addr()+" master "+old.Addr()+" epoch 1") {
			t.Errorf("the record does not tell how the stale sentinel has voted: %v", votes)
		}
	}
	s.servers["g1"] = fresh
	untouched(t, l.Finish(s.servers))
	if row := s.row("g1"); row["switches"] != "1" || row["master"] != fresh.Addr() {
		t.Errorf("console: %v", row)
	}
}

// waitAsked waits until the sentinel has been asked for addresses so often.
func waitAsked(t *testing.T, s *harness.FakeSentinel, n int) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "the sentinel is asked", func() error {
		if now := s.Asked("sentinel get-master-addr-by-name"); now < n {
			return fmt.Errorf("%d of %d times", now, n)
		}
		return nil
	})
}

// TestFault32EventWithoutAnswer has a sentinel announce a switch that it does not stand by when it is asked. Only when a
// majority names the address, and its ROLE agrees, is it followed.
func TestFault32EventWithoutAnswer(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	old, fresh := s.servers["g1"], harness.StartRedis(t, harness.RedisOptions{})
	l := s.load()
	l.Progress(50)
	asked := s.fakes[0].Asked("sentinel get-master-addr-by-name")
	s.fakes[0].Publish("+switch-master", fmt.Sprintf("g1 127.0.0.1 %d 127.0.0.1 %d", old.Port, fresh.Port))
	waitAsked(t, s.fakes[0], asked+2)
	l.Progress(50)
	if row := s.row("g1"); row["master"] != old.Addr() || row["switches"] != "0" {
		t.Errorf("an event alone made a switch: %v", row)
	}
	untouched(t, l.Finish(s.servers))
	for _, fake := range s.fakes {
		fake.Name("g1", "127.0.0.1", fresh.Port, 2)
	}
	s.proxy.WaitMaster("cache", "g1", fresh.Addr())
}

// TestFault32OneIsNotEnough has a sentinel announce a switch and stand by it, under a higher epoch: while the master lives it is one
// of three. With a second one, it is followed.
func TestFault32OneIsNotEnough(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	old, fresh := s.servers["g1"], harness.StartRedis(t, harness.RedisOptions{})
	l := s.load()
	l.Progress(50)
	began := time.Now()
	s.fakes[0].Switch("g1", "127.0.0.1", fresh.Port, 2)
	askedAgain(t, s.fakes)
	lasts(t, began, 4*time.Second) // an address that need only stay for some time is taken by then
	l.Progress(50)
	if row := s.row("g1"); row["master"] != old.Addr() || row["switches"] != "0" {
		t.Errorf("one sentinel of three made a switch: %v", row)
	}
	untouched(t, l.Finish(s.servers))
	s.fakes[1].Switch("g1", "127.0.0.1", fresh.Port, 2)
	s.proxy.WaitMaster("cache", "g1", fresh.Addr())
}

// askedAgain waits until each of the sentinels has answered twice more, so that what they say now has been looked at.
func askedAgain(t *testing.T, fakes []*harness.FakeSentinel) {
	t.Helper()
	var asked []int
	for _, fake := range fakes {
		asked = append(asked, fake.Asked("sentinel get-master-addr-by-name"))
	}
	for i, fake := range fakes {
		waitAsked(t, fake, asked[i]+3) // the third question is asked when the second one was answered
	}
}

// TestFault26TiltedDoNotVote has a majority of the sentinels in tilt, with another master: they do not know what time it is, so they
// are not heard. When they are out of it, they are.
func TestFault26TiltedDoNotVote(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	old, fresh := s.servers["g1"], harness.StartRedis(t, harness.RedisOptions{})
	tilt := func(on string) {
		t.Helper()
		for _, fake := range s.fakes[:2] {
			fake.Answer(func(args []string) (string, bool) {
				text := "redis_mode:sentinel\r\nsentinel_tilt:" + on + "\r\n"
				return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text), strings.EqualFold(args[0], "INFO")
			})
			fake.Publish(map[string]string{"0": "-tilt", "1": "+tilt"}[on], "#tilt mode")
		}
		harness.Eventually(t, harness.Patience, "the console shows tilt "+on+" of two sentinels", func() error {
			n := 0
			for _, row := range s.proxy.Rows("PROXY", "SENTINELS", "cache") {
				if row["tilt"] == "1" {
					n++
				}
			}
			if on == "1" && n != 2 || on == "0" && n != 0 {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
	}
	for _, fake := range s.fakes {
		fake.DownAfter(10 * time.Minute) // the lease of the master outlasts this
	}
	askedAgain(t, s.fakes)
	tilt("1")
	for _, fake := range s.fakes[:2] {
		fake.Switch("g1", "127.0.0.1", fresh.Port, 2)
	}
	askedAgain(t, s.fakes)
	if row := s.row("g1"); row["master"] != old.Addr() || row["switches"] != "0" {
		t.Errorf("sentinels in tilt made a switch: %v", row)
	}
	want(t, dial(t, s.addr()), "OK", "SET", "a", "1")
	if got := old.Must("GET", "a"); got.Text() != "1" {
		t.Errorf("the write went elsewhere: the old master has %s", got.Text())
	}
	tilt("0")
	s.proxy.WaitMaster("cache", "g1", fresh.Addr())
}

// TestFault33PartialSentinel has a sentinel that knows only some groups, and a group that none of them knows.
func TestFault33PartialSentinel(t *testing.T) {
	t.Parallel()
	s := newStage(t, []string{"g1", "g2"})
	s.groups = append(s.groups, "nobody")
	partial := harness.StartFakeSentinel(t, 2)
	partial.Name("g1", "127.0.0.1", s.servers["g1"].Port, 1)
	s.fakes[0] = partial
	s.open(s.sentinels(), "hold: { timeout: 500ms }")
	s.proxy.WaitMaster("cache", "g1", s.servers["g1"].Addr())
	s.proxy.WaitMaster("cache", "g2", s.servers["g2"].Addr())
	conn := dial(t, s.addr())
	wantError(t, conn, []string{"group 'nobody'", "unknown master name"}, "SET", keyIn(t, s.proxy, "nobody"), "1")
	s.groups = s.groups[:2]
	l := s.load()
	l.Progress(100)
	untouched(t, l.Finish(s.servers))
}

// TestFault34MonitoredElsewhere takes the group from real sentinels and gives it back with another address: no event of a
// switch, and an epoch of 0. It counts when a majority says so.
func TestFault34MonitoredElsewhere(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}})
	_, before := byHand(t, f, p, "g1") // an epoch to fall back from
	other := harness.StartRedis(t, harness.RedisOptions{})
	conn := dial(t, p.Config.Addr("cache"))
	point := func(s *harness.Sentinel) {
		t.Helper()
		s.Must("SENTINEL", "REMOVE", "g1")
		s.Must("SENTINEL", "MONITOR", "g1", "127.0.0.1", fmt.Sprint(other.Port), "2")
	}
	point(f.Sentinels[0])
	for n := range 20 {
		want(t, conn, "OK", "SET", "a", fmt.Sprint(n))
	}
	if row := p.Master("cache", "g1"); row["master"] != before.Addr() {
		t.Errorf("one of three sentinels made a switch: %v", row)
	}
	// One that still knows the old address, and its epoch, can talk the others round: as an operator would, look again.
	harness.Eventually(t, harness.Patience, "every sentinel is pointed at the other master", func() error {
		var talked []string
		for _, s := range f.Sentinels {
			if addr, err := s.Master("g1"); err == nil && addr != other.Addr() {
				point(s)
				talked = append(talked, s.Name)
			}
		}
		if len(talked) > 0 {
			return fmt.Errorf("not yet: %v", talked)
		}
		return nil
	})
	p.WaitMaster("cache", "g1", other.Addr())
	want(t, conn, "OK", "SET", "a", "last")
	if got := other.Must("GET", "a"); got.Text() != "last" {
		t.Errorf("the write after it: %s", got.Text())
	}
}

// TestFault47WrongAddress has all sentinels name somebody who is certainly no master of the group. Nobody of them gets a
// request; the console says why, and the old master, which says that it still is one, is served on or held.
func TestFault47WrongAddress(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1", "g2"}, "hold: { timeout: 30s }")
	master := s.servers["g1"]
	replica := harness.StartRedis(t, harness.RedisOptions{ReplicaOf: master})
	l := s.load()
	l.Progress(20)
	epoch := 1
	for name, addr := range map[string]string{
		"a sentinel":             s.fakes[0].Addr(),
		"a replica":              replica.Addr(),
		"the proxy itself":       s.addr(),
		"the console":            s.proxy.Config.Admin,
		"another group's master": s.servers["g2"].Addr(),
	} {
		host, text, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		epoch++
		s.announce("g1", host, port, epoch)
		harness.Eventually(t, harness.Patience, "the console says what is wrong with "+name, func() error {
			if row := s.row("g1"); !strings.Contains(row["cause"], addr) || row["state"] != "verifying" {
				return fmt.Errorf("%v", row)
			}
			return nil
		})
		if row := s.row("g1"); row["master"] == addr || row["switches"] != "0" {
			t.Errorf("%s is the master of g1: %v", name, row)
		}
		epoch++
		s.announce("g1", "127.0.0.1", master.Port, epoch)
		s.proxy.WaitMaster("cache", "g1", master.Addr())
		l.Progress(20)
	}
	if errs := replica.Must("INFO", "errorstats").Str; strings.Contains(errs, "READONLY") {
		t.Errorf("a write was sent to the replica:\n%s", errs)
	}
	untouched(t, l.Finish(s.servers))
}

// TestFault47WrongAddressIsAnError: the sentinels have left the master, whatever it says of itself. What it would acknowledge
// now may be lost.
func TestFault47WrongAddressIsAnError(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"}, "hold: { timeout: 200ms }")
	master := s.servers["g1"]
	replica := harness.StartRedis(t, harness.RedisOptions{ReplicaOf: master})
	conn, key := dial(t, s.addr()), keyIn(t, s.proxy, "g1")
	s.announce("g1", "127.0.0.1", replica.Port, 2)
	waitError(t, conn, replica.Addr()+": it is a replica of "+master.Addr(), "SET", key, "1")
	s.announce("g1", "127.0.0.1", master.Port, 3)
	waitReply(t, conn, "OK", "SET", key, "2")
}
