package failover

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// managed is a stage whose groups and sentinels come from a manager, which says what the test lets it say.
type managed struct {
	*stage
	*harness.FakeManager
}

// setManaged starts all of it at version 7.
func setManaged(t *testing.T) *managed {
	t.Helper()
	m := &managed{newStage(t, []string{"g1"}), harness.StartFakeManager(t)}
	m.Say(harness.Topology("7", m.groups, m.sentinels()))
	c := harness.NewConfig(t)
	c.ManagerPool("cache", "c", []string{m.Addr()})
	m.proxy = harness.StartProxy(t, c)
	m.proxy.WaitUp("cache")
	return m
}

// rejected is how many answers the console has counted as refused.
func (m *managed) rejected() string {
	m.t.Helper()
	return m.proxy.Rows("PROXY", "MANAGER", "cache")[0]["rejected"]
}

// refuses checks that each of the answers is counted and changes nothing, under load, and that a good one is taken then.
func (m *managed) refuses(lies map[string]string) {
	m.t.Helper()
	l := m.load()
	l.Progress(20)
	for name, lie := range lies {
		before := m.rejected()
		m.Say(lie)
		harness.Eventually(m.t, harness.Patience, name+": the console counts the refusal", func() error {
			if now := m.rejected(); now == before {
				return fmt.Errorf("rejected is %s after %d answers", now, m.Asked())
			}
			return nil
		})
		if row := m.proxy.Pool("cache"); row["version"] != "7" || row["groups"] != "1" || row["state"] != "up" {
			m.t.Errorf("%s: the pool is now %v", name, row)
		}
	}
	l.Progress(50)
	untouched(m.t, l.Finish(m.servers))
	second := harness.StartRedis(m.t, harness.RedisOptions{})
	for _, fake := range m.fakes {
		fake.Name("g2", "127.0.0.1", second.Port, 1)
	}
	m.Say(harness.Topology("9", []string{"g1", "g2"}, m.sentinels()))
	waitVersion(m.t, m.proxy, "9")
}

func waitVersion(t *testing.T, p *harness.Proxy, version string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "the pool has version "+version, func() error {
		if row := p.Pool("cache"); row["version"] != version || row["state"] != "up" {
			return fmt.Errorf("version %s, %s: %s", row["version"], row["state"], row["cause"])
		}
		return nil
	})
}

// TestFault56ManagerGoneAtStart starts a proxy that never heard its manager, then one that did: the first serves as soon
// as the manager is there, the second at once, from what it kept on disk.
func TestFault56ManagerGoneAtStart(t *testing.T) {
	t.Parallel()
	s := newStage(t, []string{"g1"})
	m := harness.StartManager(t, map[string]harness.Cluster{"c": {Version: 5, Groups: s.groups, Sentinels: s.sentinels()}})
	m.Kill()
	c := harness.NewConfig(t)
	addr := c.ManagerPool("cache", "c", []string{m.Addr})
	s.proxy = harness.StartProxy(t, c)
	wantError(t, dial(t, addr), []string{"respgate: "}, "SET", "a", "1")
	if state := s.proxy.Pool("cache")["state"]; state == "up" {
		t.Error("the pool says it is up and knows no group")
	}
	m.Restart()
	s.proxy.WaitUp("cache")
	want(t, dial(t, addr), "OK", "SET", "a", "1")
	harness.Eventually(t, harness.Patience, "the version is applied, and so on disk", func() error {
		if row := s.proxy.Rows("PROXY", "MANAGER", "cache")[0]; row["applied-version"] != "5" {
			return fmt.Errorf("%v", row)
		}
		return nil
	})
	m.Kill()
	if code, err := s.proxy.Terminate(harness.Patience); err != nil || code != 0 {
		t.Fatalf("SIGTERM: exit code %d, %v", code, err)
	}
	s.proxy.Restart()
	s.proxy.WaitUp("cache")
	want(t, dial(t, addr), "1", "GET", "a")
	if row := s.proxy.Pool("cache"); row["version"] != "5" {
		t.Errorf("version %s from disk, want 5", row["version"])
	}
}

// TestFault57ManagerGone stops the manager, and then kills it, while the proxy runs: nothing changes but what the console
// says of it.
func TestFault57ManagerGone(t *testing.T) {
	t.Parallel()
	s := newStage(t, []string{"g1"})
	m := harness.StartManager(t, map[string]harness.Cluster{"c": {Version: 5, Groups: s.groups, Sentinels: s.sentinels()}})
	c := harness.NewConfig(t)
	c.ManagerPool("cache", "c", []string{m.Addr})
	s.proxy = harness.StartProxy(t, c)
	s.proxy.WaitUp("cache")
	l := s.load()
	l.Progress(50)
	alarmed := func(what string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, "the console says that the manager does not answer: "+what, func() error {
			if row := s.proxy.Rows("PROXY", "MANAGER", "cache")[0]; !strings.Contains(row["cause"], what) {
				return fmt.Errorf("%v", row)
			}
			return nil
		})
	}
	m.Freeze()
	alarmed("no answer within")
	l.Progress(50)
	m.Thaw()
	m.Kill()
	alarmed("connection refused")
	// And a switch is followed all the same.
	l.Progress(50)
	fresh := harness.StartRedis(t, harness.RedisOptions{})
	untouched(t, l.Finish(s.servers))
	s.announce("g1", "127.0.0.1", fresh.Port, 2)
	s.proxy.WaitMaster("cache", "g1", fresh.Addr())
}

// TestFault58OldVersion has the manager answer a lower version, and the same version with other content.
func TestFault58OldVersion(t *testing.T) {
	t.Parallel()
	m := setManaged(t)
	m.refuses(map[string]string{
		"lower version":    harness.Topology("6", []string{"g1", "g2"}, m.sentinels()),
		"same version":     harness.Topology("7", []string{"g1", "g2"}, m.sentinels()),
		"negative version": harness.Topology("-1", m.groups, m.sentinels()),
	})
}

// TestFault59EmptyLists has the manager say that there is nothing.
func TestFault59EmptyLists(t *testing.T) {
	t.Parallel()
	m := setManaged(t)
	m.refuses(map[string]string{
		"no groups":    harness.Topology("8", nil, m.sentinels()),
		"no sentinels": harness.Topology("8", m.groups, nil),
	})
}

// TestFault60BrokenTopology has the manager answer what can be no topology: all of it is refused, however good the rest.
func TestFault60BrokenTopology(t *testing.T) {
	t.Parallel()
	m := setManaged(t)
	var many []string
	for i := range 100_000 {
		many = append(many, fmt.Sprintf("g%d", i))
	}
	good := harness.Topology("8", []string{"g1", "g2"}, m.sentinels())
	m.Cut(good[:len(good)/2]) // and closed: that is a link that is lost
	asked := m.Asked()
	harness.Eventually(t, harness.Patience, "it is asked again", func() error {
		if now := m.Asked(); now < asked+2 {
			return fmt.Errorf("%d times", now-asked)
		}
		return nil
	})
	if row := m.proxy.Pool("cache"); row["version"] != "7" || row["groups"] != "1" || row["state"] != "up" {
		t.Errorf("after half of an answer the pool is %v", row)
	}
	rss, err := m.proxy.RSS()
	if err != nil {
		t.Fatal(err)
	}
	m.refuses(map[string]string{
		"duplicate group":    harness.Topology("8", []string{"g1", "g1"}, m.sentinels()),
		"bad name":           harness.Topology("8", []string{"g 1\r\n"}, m.sentinels()),
		"bad port":           harness.Topology("8", m.groups, []string{"127.0.0.1:70000"}),
		"port is a word":     harness.Topology("8", m.groups, []string{"127.0.0.1:abc"}),
		"no host":            harness.Topology("8", m.groups, []string{":26379"}),
		"a hundred thousand": harness.Topology("8", many, m.sentinels()),
		"garbage":            "HTTP/1.1 200 OK\r\n\r\n",
		"huge bulk":          "$9999999999\r\n",
		"huge array":         "*2147483647\r\n",
		"one line too many":  strings.Replace(good, "*6\r\n", "*7\r\n", 1) + "*-7\r\n",
	})
	if now, err := m.proxy.RSS(); err != nil || now > rss+mebibytes(64) {
		t.Errorf("%d MiB resident, %d before: %v", now>>20, rss>>20, err)
	}
}

// TestFault61GroupRemoved takes a group away, and replaces the sentinels, at a manager: what is in flight at the removed
// group is answered, and the others do not notice.
func TestFault61GroupRemoved(t *testing.T) {
	t.Parallel()
	s := newStage(t, []string{"g1", "g2"})
	m := harness.StartManager(t, map[string]harness.Cluster{"c": {Version: 1, Groups: s.groups, Sentinels: s.sentinels()}})
	c := harness.NewConfig(t)
	c.ManagerPool("cache", "c", []string{m.Addr}, "timeout: 30s")
	s.proxy = harness.StartProxy(t, c)
	s.proxy.WaitUp("cache")
	key := keyIn(t, s.proxy, "g2")
	conn := dial(t, s.addr())
	want(t, conn, "OK", "SET", key, "1")
	l := harness.StartLedger(t, harness.LedgerOptions{Addr: s.addr(), Groups: []string{"g1"}, Route: s.proxy.Route("cache")})
	l.Progress(50)
	if err := conn.Write(harness.Encode("EVAL", "local t=redis.call('time')[1] while redis.call('time')[1]-t<3 do end return 'done'", "1", key)); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, harness.Patience, "the script runs", func() error {
		if n := s.proxy.Master("cache", "g2")["inflight"]; n != "1" {
			return fmt.Errorf("%s in flight", n)
		}
		return nil
	})
	old := s.fakes
	s.fakes = nil
	for range 3 {
		fake := harness.StartFakeSentinel(t, 2)
		fake.Name("g1", "127.0.0.1", s.servers["g1"].Port, 1)
		fake.Answer(func([]string) (string, bool) { return "", true }) // nothing, for now
		s.fakes = append(s.fakes, fake)
	}
	m.Write(map[string]harness.Cluster{"c": {Version: 2, Groups: []string{"g1"}, Sentinels: s.sentinels()}})
	waitVersion(t, s.proxy, "2")
	if r, err := conn.Receive(); err != nil || r.Text() != "done" {
		t.Errorf("the request in flight at the removed group: %q, %v; want its reply", r.Text(), err)
	}
	// The new ones were asked and have not answered: until they do, the old ones are watched.
	harness.Eventually(t, harness.Patience, "the new sentinels are asked", func() error {
		for _, fake := range s.fakes {
			if fake.Sessions() == 0 {
				return errors.New("not yet")
			}
		}
		return nil
	})
	for i, fake := range old {
		if fake.Subscribers() == 0 {
			t.Errorf("old sentinel %d was left before the new ones answer", i)
		}
	}
	for _, fake := range s.fakes {
		fake.Answer(nil)
	}
	harness.Eventually(t, harness.Patience, "the old sentinels are left", func() error {
		for i, fake := range old {
			if n := fake.Sessions(); n > 0 {
				return fmt.Errorf("sentinel %d has %d connections", i, n)
			}
		}
		return nil
	})
	s.proxy.WaitWatching("cache")
	l.Progress(50)
	untouched(t, l.Finish(s.servers))
	if rows := s.proxy.Rows("PROXY", "MASTERS", "cache"); len(rows) != 1 {
		t.Errorf("groups on the console: %v", rows)
	}
	want(t, conn, "(nil)", "GET", key) // it belongs to g1 now
}
