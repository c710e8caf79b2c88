package failover

import (
	"fmt"
	"math/rand/v2"
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
	random  *rand.Rand
	crashes map[string]int // of masters, by group: each may have lost what it had not yet sent to its replica
}

// misfortune is one of the things that happen to a group.
type misfortune struct {
	name  string
	whole bool // only to a fleet that is in order: another failover of the group could not go well otherwise
	run   func(s *soak, g *harness.Group)
}

var misfortunes = []misfortune{
	{"kill -9 of the master", true, func(s *soak, g *harness.Group) {
		m := s.fleet.WaitMaster(g.Name, nil)
		s.crashes[g.Name]++
		m.Kill()
		s.fleet.WaitMaster(g.Name, m)
		m.Restart()
	}},
	{"SIGTERM to the master", true, func(s *soak, g *harness.Group) {
		m := s.fleet.WaitMaster(g.Name, nil)
		if _, err := m.Terminate(harness.Patience); err != nil {
			s.Error(err)
		}
		s.fleet.WaitMaster(g.Name, m)
		m.Restart()
	}},
	{"SIGSTOP of the master until it is replaced", true, func(s *soak, g *harness.Group) {
		m := s.fleet.WaitMaster(g.Name, nil)
		m.Freeze()
		s.fleet.WaitMaster(g.Name, m)
		m.Thaw()
	}},
	{"SENTINEL FAILOVER", true, func(s *soak, g *harness.Group) {
		m := s.fleet.WaitMaster(g.Name, nil)
		s.fleet.Failover(g.Name)
		s.fleet.WaitMaster(g.Name, m)
	}},
	{"PROXY SWITCH", true, func(s *soak, g *harness.Group) {
		if r, err := harness.Ask(s.proxy.Config.Admin, "PROXY", "SWITCH", "cache", g.Name); err != nil || r.Kind != '+' {
			s.Logf("PROXY SWITCH: %s, %v", r.Text(), err) // a failover that nobody asked for may be under way
		}
	}},
	{"SIGSTOP of the proxy, and a failover meanwhile", true, func(s *soak, g *harness.Group) {
		m := s.fleet.WaitMaster(g.Name, nil)
		began := time.Now()
		s.proxy.Freeze()
		s.fleet.Failover(g.Name)
		s.fleet.WaitMaster(g.Name, m)
		lasts(s.T, began, 3*time.Second)
		s.proxy.Thaw()
	}},
	{"kill -9 of the proxy", false, func(s *soak, _ *harness.Group) {
		s.proxy.Kill()
		s.proxy.Restart()
	}},
	{"SIGHUP to the proxy", false, func(s *soak, _ *harness.Group) { s.proxy.Signal(syscall.SIGHUP) }},
	{"PROXY ROTATE", false, func(s *soak, _ *harness.Group) { s.proxy.Admin("PROXY", "ROTATE", "cache") }},
	{"kill -9 of a sentinel", false, func(s *soak, _ *harness.Group) {
		one := s.sentinel()
		one.Kill()
		one.Restart()
	}},
	{"SIGSTOP of a sentinel", false, func(s *soak, _ *harness.Group) {
		one := s.sentinel()
		one.Freeze()
		s.wait(2500)
		one.Thaw()
	}},
	{"SENTINEL RESET", true, func(s *soak, _ *harness.Group) {
		for _, one := range s.fleet.Sentinels {
			one.Must("SENTINEL", "RESET", "*")
		}
	}},
	{"SIGSTOP of a replica", false, func(s *soak, g *harness.Group) {
		for _, n := range g.Nodes() {
			if role, err := n.Role(); err == nil && role == "slave" {
				n.Freeze()
				s.wait(1000)
				n.Thaw()
			}
		}
	}},
	{"all links to the master killed", false, func(s *soak, g *harness.Group) { s.tell(g, "CLIENT", "KILL", "TYPE", "normal") }},
	{"CLIENT PAUSE", false, func(s *soak, g *harness.Group) { s.tell(g, "CLIENT", "PAUSE", "600", "WRITE") }},
	{"a command that takes long", false, func(s *soak, g *harness.Group) { s.tell(g, "DEBUG", "SLEEP", "0.4") }},
	{"clients that send garbage", false, func(s *soak, _ *harness.Group) {
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

// TestSoak has one misfortune follow the other for as long as -soak says, and closes the books in the end. Their order is
// that of the seed.
func TestSoak(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for _, line := range []string{fmt.Sprintf("make soak SEED=%d repeats this", seed)} {
		t.Log(line)
		fmt.Println(line) // to be seen while it runs
	}
	f, p := stack(t, quickly("g1", "g2"), "timeout: 2s", "hold: { timeout: 15s }")
	s := &soak{T: t, fleet: f, proxy: p, random: rand.New(rand.NewPCG(seed, 0)), crashes: map[string]int{}}
	l := p.Load("cache", f)
	l.Progress(100)
	for until := time.Now().Add(*soakFlag); time.Now().Before(until); {
		g := f.Groups[s.random.IntN(len(f.Groups))]
		m := misfortunes[s.random.IntN(len(misfortunes))]
		if m.whole {
			s.settle()
		}
		fmt.Printf("%s %s: %s\n", time.Now().Format(time.TimeOnly), g.Name, m.name)
		m.run(s, g)
		l.Progress(50)
		s.wait(3000)
	}
	s.settle()
	p.WaitUp("cache")
	l.Progress(200)
	for _, r := range l.Finish(f.Masters()) {
		gone := 4 * s.crashes[r.Group]
		if r.Lost > gone || r.Stale > gone || r.Duplicates > 0 || r.Wrong > 0 {
			t.Errorf("%d crashes excuse %d lost writes, and nothing else: %v", s.crashes[r.Group], gone, r)
		}
	}
}
