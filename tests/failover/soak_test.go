package failover

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"respgate/tests/harness"
)

// soak is a fleet and a proxy under load, to which one thing happens after the other.
type soak struct {
	*testing.T
	fleet   *harness.Fleet
	proxy   *harness.Proxy
	ledger  *harness.Ledger
	random  *rand.Rand      // of the step, so that what one step draws changes no other
	crashes map[string]int  // of masters, by group: each may have lost what it had not yet sent to its replica
	books   map[string]book // of each group, at the end of the step before
}

// book is what a group has gone through so far.
type book struct {
	failures  map[string]int // by text
	elections int            // of a sentinel, to lead a failover of it
}

// misfortune is one of the things that happen to a group.
type misfortune struct {
	name string
	run  func(s *soak, g *harness.Group)

	whole bool // only to a fleet that is in order: another failover of the group could not go well otherwise
	// What it excuses, in this group only; the test of the fault asks for the same.
	all       bool   // in each group, rather
	elections int    // of a sentinel
	failed    int    // requests
	everybody string // any number of errors that begin so, in all groups
}

// inFlight are the requests that a group has on their way: one of each connection of the load. replaced is how many fail if
// a living master is left for its silence: those, and what each connection sent before the group was suspect.
const (
	inFlight = 4
	replaced = 2 * inFlight
)

// requestTimeout is the pool's. What was sent in one step has ended so long after it.
const requestTimeout = 2 * time.Second

var misfortunes = []misfortune{
	{name: "kill -9 of the master", whole: true, elections: 1, failed: inFlight, run: func(s *soak, g *harness.Group) {
		m := s.fleet.WaitMaster(g.Name, nil)
		s.crashes[g.Name]++
		m.Kill()
		s.fleet.WaitMaster(g.Name, m)
		m.Restart()
	}},
	{name: "kill -9 of the masters of all groups", whole: true, all: true, elections: 1, failed: inFlight, run: func(s *soak, _ *harness.Group) {
		old := s.fleet.Masters()
		for g, m := range old {
			s.crashes[g]++
			m.Kill()
		}
		for g, m := range old {
			s.fleet.WaitMaster(g, m)
		}
		for _, m := range old {
			m.Restart()
		}
	}},
	{name: "kill -9 of the active sentinel and of the master", whole: true, elections: 1, failed: inFlight, run: func(s *soak, g *harness.Group) {
		m, one := s.fleet.WaitMaster(g.Name, nil), active(s.T, s.fleet, s.proxy)
		s.crashes[g.Name]++
		one.Kill()
		m.Kill()
		s.fleet.WaitMaster(g.Name, m)
		m.Restart()
		one.Restart()
	}},
	{name: "SIGSTOP of the active sentinel, and SENTINEL FAILOVER", whole: true, elections: 1, run: func(s *soak, g *harness.Group) {
		m, one := s.fleet.WaitMaster(g.Name, nil), active(s.T, s.fleet, s.proxy)
		for _, other := range s.fleet.Sentinels {
			if other != one {
				one.Freeze()
				if _, err := other.Ask("SENTINEL", "FAILOVER", g.Name); err == nil {
					s.fleet.WaitMaster(g.Name, m)
				} else {
					s.Log(err)
				}
				break
			}
		}
		one.Thaw()
	}},
	{name: "SIGTERM to the master", whole: true, elections: 1, failed: inFlight, run: func(s *soak, g *harness.Group) {
		m := s.fleet.WaitMaster(g.Name, nil)
		if _, err := m.Terminate(harness.Patience); err != nil {
			s.Error(err)
		}
		s.fleet.WaitMaster(g.Name, m)
		m.Restart()
	}},
	{name: "SIGSTOP of the master until it is replaced", whole: true, elections: 1, failed: replaced, run: func(s *soak, g *harness.Group) {
		m := s.fleet.WaitMaster(g.Name, nil)
		m.Freeze()
		s.fleet.WaitMaster(g.Name, m)
		m.Thaw()
	}},
	{name: "SENTINEL FAILOVER", whole: true, elections: 1, run: func(s *soak, g *harness.Group) {
		m := s.fleet.WaitMaster(g.Name, nil)
		s.fleet.Failover(g.Name)
		s.fleet.WaitMaster(g.Name, m)
	}},
	{name: "PROXY SWITCH", whole: true, elections: 1, run: func(s *soak, g *harness.Group) {
		before := s.elections(g.Name)
		switch r := order(s.T, s.proxy, g.Name); {
		case r.Kind == '+':
		case s.elections(g.Name) > before: // a sentinel that was starved has begun one that nobody asked for
			s.Logf("PROXY SWITCH: %s", r.Text())
		default:
			s.Errorf("PROXY SWITCH of %s: %s", g.Name, r.Text())
		}
	}},
	{name: "SIGSTOP of the proxy, and a failover meanwhile", whole: true, elections: 1, failed: inFlight, run: func(s *soak, g *harness.Group) {
		m := s.fleet.WaitMaster(g.Name, nil)
		began := time.Now()
		s.proxy.Freeze()
		s.fleet.Failover(g.Name)
		s.fleet.WaitMaster(g.Name, m)
		lasts(s.T, began, 3*time.Second)
		s.proxy.Thaw()
	}},
	{name: "kill -9 of the proxy", everybody: "connection: ", run: func(s *soak, _ *harness.Group) {
		s.proxy.Kill()
		s.proxy.Restart()
	}},
	{name: "SIGHUP to the proxy", run: func(s *soak, _ *harness.Group) { s.proxy.Signal(syscall.SIGHUP) }},
	{name: "PROXY ROTATE", run: func(s *soak, _ *harness.Group) { s.proxy.Admin("PROXY", "ROTATE", "cache") }},
	{name: "kill -9 of a sentinel", run: func(s *soak, _ *harness.Group) {
		one := s.sentinel()
		one.Kill()
		one.Restart()
	}},
	{name: "SIGSTOP of a sentinel", run: func(s *soak, _ *harness.Group) {
		one := s.sentinel()
		one.Freeze()
		s.wait(2500)
		one.Thaw()
	}},
	{name: "SENTINEL RESET", whole: true, run: func(s *soak, _ *harness.Group) {
		for _, one := range s.fleet.Sentinels {
			one.Must("SENTINEL", "RESET", "*")
		}
	}},
	{name: "SIGSTOP of a replica", run: func(s *soak, g *harness.Group) {
		for _, n := range g.Nodes() {
			if role, err := n.Role(); err == nil && role == "slave" {
				n.Freeze()
				s.wait(1000)
				n.Thaw()
			}
		}
	}},
	{name: "all links to the master killed", failed: inFlight, run: func(s *soak, g *harness.Group) { s.tell(g, "CLIENT", "KILL", "TYPE", "normal") }},
	{name: "CLIENT PAUSE", run: func(s *soak, g *harness.Group) { s.tell(g, "CLIENT", "PAUSE", "600", "WRITE") }},
	{name: "a command that takes long", run: func(s *soak, g *harness.Group) { s.tell(g, "DEBUG", "SLEEP", "0.4") }},
	{name: "clients that send garbage", run: func(s *soak, _ *harness.Group) {
		for _, text := range []string{"*1\r\n$536870913\r\n", "*3\r\n$3\r\nSET\r\n", "\x00\xff\r\n"} {
			if c, err := harness.Dial(s.proxy.Config.Addr("cache")); err == nil {
				_ = c.Write(text)
				c.Close()
			}
		}
	}},
}

func (s *soak) sentinel() *harness.Sentinel {
	return s.fleet.Sentinels[s.random.IntN(len(s.fleet.Sentinels))]
}

// wait lets up to so many milliseconds go by.
func (s *soak) wait(ms int) {
	lasts(s.T, time.Now(), time.Duration(s.random.IntN(ms))*time.Millisecond)
}

// tell sends the master a command; one that is gone by then does not mind.
func (s *soak) tell(g *harness.Group, args ...string) {
	if m, err := s.fleet.Master(g.Name); err == nil {
		if _, err := m.Ask(args...); err != nil {
			s.Logf("%s: %v", m.Name, err)
		}
	}
}

// settle waits until another failover would go well. That may take minutes: a sentinel that got no processor for two
// seconds is tilted, and does nothing for thirty.
func (s *soak) settle() {
	s.Helper()
	harness.Eventually(s, 10*harness.Patience, "the fleet is in order", s.fleet.Settled)
}

// elections counts how often a sentinel was elected to lead a failover of the group, by what the sentinels say.
func (s *soak) elections(group string) int {
	n := 0
	for _, one := range s.fleet.Sentinels {
		n += strings.Count(one.Log(), "+elected-leader master "+group+" ")
	}
	return n
}

// step lets something happen to a group, and judges by its kind what clients have noticed.
func (s *soak) step(m misfortune, g *harness.Group) {
	if m.whole {
		s.settle()
	}
	fmt.Printf("%s %s: %s\n", time.Now().Format(time.TimeOnly), g.Name, m.name)
	m.run(s, g)
	s.ledger.Progress(50)
	lasts(s.T, time.Now(), requestTimeout+200*time.Millisecond)
	for _, other := range s.fleet.GroupNames() {
		before, now := s.books[other], book{s.ledger.Failures(other), s.elections(other)}
		s.books[other] = now
		failed, elections := 0, 0
		if other == g.Name || m.all {
			failed, elections = m.failed, m.elections
		}
		if more := now.elections - before.elections - elections; more > 0 { // starved sentinels take living masters for dead
			s.Logf("%s: %d failovers of %s that nobody asked for", m.name, more, other)
			failed += more * replaced
		}
		if news := m.unexcused(before.failures, now.failures); count(news) > failed {
			s.Errorf("%s of %s: %d requests to %s failed, at most %d may: %v", m.name, g.Name, count(news), other, failed, news)
		}
	}
}

// unexcused are the failures that have come since, but for those that are everybody's.
func (m misfortune) unexcused(before, now map[string]int) map[string]int {
	news := map[string]int{}
	for text, n := range now {
		if n > before[text] && (m.everybody == "" || !strings.HasPrefix(text, m.everybody)) {
			news[text] = n - before[text]
		}
	}
	return news
}

func count(failures map[string]int) (n int) {
	for _, m := range failures {
		n += m
	}
	return n
}

// TestSoak has one misfortune follow the other for as long as -soak says, judges each, and closes the books in the end. What
// a step does depends on the seed and on its number only.
func TestSoak(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for _, line := range []string{fmt.Sprintf("make soak SEED=%d repeats this", seed)} {
		t.Log(line)
		fmt.Println(line) // to be seen while it runs
	}
	f, p := stack(t, quickly("g1", "g2"), fmt.Sprintf("timeout: %v", requestTimeout), "hold: { timeout: 15s }")
	s := &soak{T: t, fleet: f, proxy: p, ledger: p.Load("cache", f), crashes: map[string]int{}, books: map[string]book{}}
	s.ledger.Progress(100)
	for _, g := range f.GroupNames() {
		s.books[g] = book{elections: s.elections(g)}
	}
	for n, until := uint64(1), time.Now().Add(*soakFlag); time.Now().Before(until); n++ {
		s.random = rand.New(rand.NewPCG(seed, n))
		g := f.Groups[s.random.IntN(len(f.Groups))]
		s.step(misfortunes[s.random.IntN(len(misfortunes))], g)
		s.wait(2000)
	}
	s.settle()
	p.WaitUp("cache")
	s.ledger.Progress(200)
	for _, r := range s.ledger.Finish(f.Masters()) {
		gone := inFlight * s.crashes[r.Group]
		if r.Lost > gone || r.Stale > gone || r.Duplicates > 0 || r.Wrong > 0 {
			t.Errorf("%d crashes excuse %d lost writes, and nothing else: %v", s.crashes[r.Group], gone, r)
		}
	}
}
