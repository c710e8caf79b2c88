package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"respgate/tests/harness"
)

// faultRow is a fault, and what clients may notice of it.
type faultRow struct {
	name, title string
	downAfter   time.Duration
	pool        []string     // lines of the pool
	struck      []string     // the groups that may notice
	open        func(*scene) // what it happens to; nil: (*scene).open
	strike      func(*scene) // the fault, and the wait until it is over
	goal        goal
	pictured    bool // the page shows when what happened
	once        bool // it repeats itself in a round
}

// inFlight are the requests that a kill may catch.
const inFlight = 2

func faultRows() []faultRow {
	g1 := []string{"g1"}
	crash := goal{since: announced, within: 50 * time.Millisecond, failed: inFlight}
	early := goal{since: promoted, within: 50 * time.Millisecond, failed: inFlight}
	soon := []string{"follow: early"}
	unnoticed := goal{lossless: true}
	return []faultRow{
		{name: "kill9", title: "kill -9 of a master", downAfter: time.Second, struck: g1, strike: killed("g1"), goal: crash, pictured: true},
		{name: "early", title: "the same, `follow: early`", downAfter: time.Second, struck: g1, pool: soon, strike: killed("g1"), goal: early},
		{name: "kill9-5s", title: "kill -9, down-after 5 s", downAfter: 5 * time.Second, struck: g1, strike: killed("g1"), goal: crash},
		{
			name: "stop", title: "SIGSTOP of a master for 10 s", downAfter: time.Second, struck: g1, strike: stopped,
			goal: goal{since: announced, within: 50 * time.Millisecond, failed: connections / 2, lossless: true},
		},
		{
			name: "hand", title: "SENTINEL FAILOVER of a living master", downAfter: time.Second, struck: g1, strike: byHand,
			goal: goal{lossless: true, slowest: 1300 * time.Millisecond},
		},
		{
			name: "hand-early", title: "the same, `follow: early`", downAfter: time.Second, struck: g1, pool: soon, strike: byHand,
			goal: goal{lossless: true, slowest: 300 * time.Millisecond},
		},
		{name: "sentinel", title: "the active sentinel killed", downAfter: time.Second, strike: sentinelKilled, goal: unnoticed},
		{name: "frozen", title: "the active sentinel stopped, then a master killed", downAfter: time.Second, struck: g1, strike: frozenThenKilled, goal: crash},
		{name: "sentinels", title: "all sentinels killed for 10 s", downAfter: time.Second, strike: sentinelsKilled, goal: unnoticed},
		{
			name: "both", title: "both masters killed at once", downAfter: time.Second, struck: []string{"g1", "g2"}, strike: killed("g1", "g2"),
			goal: goal{since: announced, within: 50 * time.Millisecond, failed: 2 * inFlight},
		},
		{
			name: "packets", title: "the way to a master dead for 10 s", struck: g1, open: tapped, strike: cutOff,
			pool: []string{fmt.Sprintf("timeout: %v", wireTimeout), fmt.Sprintf("hold: { timeout: %v }", wireTimeout)},
			goal: goal{since: healed, within: 100 * time.Millisecond, failed: -1, lossless: true, slowest: wireTimeout + 200*time.Millisecond, everyWait: true},
		},
		{
			name: "restart", title: "the proxy killed and started again", downAfter: time.Second, struck: []string{"g1", "g2"}, strike: restarted,
			goal: goal{since: healed, within: 60 * time.Millisecond, failed: connections, lossless: true},
		},
		{
			name: "switch", title: "PROXY SWITCH, again and again, two proxies, 64 connections, and others with HSCAN, PUBLISH, EVAL", downAfter: 5 * time.Second, struck: g1, open: twoProxies, strike: switchedOver, once: true,
			goal: goal{lossless: true, slowest: 1500 * time.Millisecond},
		},
		{name: "manager", title: "the manager old, empty, lying, gone", downAfter: time.Second, open: managed, strike: managerFails, goal: unnoticed},
	}
}

func killed(groups ...string) func(*scene) {
	return func(s *scene) {
		s.strike()
		for _, g := range groups {
			s.fleet.Group(g).Master.Kill()
		}
		for _, g := range groups {
			s.taken(g)
		}
	}
}

func stopped(s *scene) {
	old := s.fleet.Group("g1").Master
	s.strike()
	old.Freeze()
	s.lasts(10 * time.Second)
	s.taken("g1")
	s.probe("g1")
	old.Thaw()
	harness.Eventually(s, 2*harness.Patience, old.Addr()+" is made a replica", func() error {
		if role, err := old.Role(); err != nil || role != "slave" {
			return fmt.Errorf("it is a %s, %v", role, err)
		}
		return nil
	})
	s.probe("g1")
	s.progress()
	// What was in its kernel it may have executed. Nothing came later: a write to a replica would have been refused, and one to a
	// master that it still believes to be would be among those that nobody else has sent.
	for _, command := range probes {
		if n, err := old.Calls(strings.ToLower(command)); err != nil || n > 0 {
			s.Errorf("%d times %s was sent to the old master after the switch, %v", n, command, err)
		}
	}
	if errs, err := old.Ask("INFO", "errorstats"); err != nil || strings.Contains(errs.Str, "READONLY") {
		s.Errorf("a write was sent to the old master after the switch: %s, %v", errs.Text(), err)
	}
}

// probes are a read and a write that nobody else sends here. Of a key that there is not they change nothing, and no replication
// brings them to anybody.
var probes = []string{"STRLEN", "PERSIST"}

// probe sends them to a group, from connections of several loops.
func (s *scene) probe(group string) {
	p := s.proxies[0]
	var keys []string
	for i := range 100 {
		keys = append(keys, harness.Scatter("nowhere", i))
	}
	for i, g := range p.Route(pool)(keys) {
		if g != group {
			continue
		}
		for _, command := range probes {
			if r, err := harness.Ask(p.Config.Addr(pool), command, keys[i]); err != nil || r.Text() != "0" {
				s.Errorf("%s: %s, %v", command, r.Text(), err)
			}
		}
	}
}

func byHand(s *scene) {
	s.strike()
	s.fleet.Failover("g1")
	s.taken("g1")
}

// sentinel is the one that the proxy calls active.
func (s *scene) sentinel() *harness.Sentinel {
	active := s.proxies[0].ActiveSentinel(pool)
	for _, one := range s.fleet.Sentinels {
		if one.Addr() == active {
			return one
		}
	}
	s.Fatalf("the active sentinel is %q, which is none of the fleet's", active)
	return nil
}

func sentinelKilled(s *scene) {
	one := s.sentinel()
	s.strike()
	one.Kill()
	s.lasts(quiet)
	one.Restart() // the masters of the end are found with a majority
}

func frozenThenKilled(s *scene) {
	one := s.sentinel()
	one.Freeze()
	killed("g1")(s)
	one.Thaw()
}

func sentinelsKilled(s *scene) {
	s.strike()
	for _, one := range s.fleet.Sentinels {
		one.Kill()
	}
	s.lasts(10 * time.Second)
	for _, one := range s.fleet.Sentinels {
		one.Restart()
	}
	s.progress()
}

func restarted(s *scene) {
	p := s.proxies[0]
	s.strike()
	p.Kill()
	s.healed = time.Now()
	p.Restart()
	p.WaitUp(pool)
}

func twoProxies(s *scene) {
	s.fleet = s.start("g1")
	s.proxies = []*harness.Proxy{s.proxy(), s.proxy()}
	for i, p := range s.proxies {
		// Three of four requests write: 2,000 a second from 64 connections.
		s.ledgers = append(s.ledgers, p.Load(pool, s.fleet, s.rate([]string{"w", "v"}[i], 32, 42)))
	}
	s.accompany("g1")
}

func switchedOver(s *scene) {
	s.strike()
	for i := range s.switches {
		p := s.proxies[i%len(s.proxies)]
		old := s.fleet.WaitMaster("g1", nil)
		c, err := harness.Dial(p.Config.Admin)
		if err != nil {
			s.Fatal(err)
		}
		c.Timeout = 3 * time.Minute
		got, err := c.Do("PROXY", "SWITCH", pool, "g1")
		c.Close()
		if err != nil || got.Err() != nil {
			s.Fatalf("switch %d of %d: %s, %v", i+1, s.switches, got.Text(), err)
		}
		fresh := s.fleet.WaitMaster("g1", old)
		for _, p := range s.proxies {
			p.WaitMaster(pool, "g1", fresh.Addr())
		}
		s.progress()
		s.fleet.WaitSettled()
	}
}

// wireTimeout is the pool's, for requests and for those that wait, where the way to a master is dead.
const wireTimeout = time.Second

// tapped has sentinels of the harness' own, for real ones would fail over a master that cannot be reached: it is only the
// proxy's way to it that is dead.
func tapped(s *scene) {
	masters, groups := map[string]*harness.Redis{}, []string{"g1", "g2"}
	var sentinels []string
	for _, g := range groups {
		masters[g] = harness.StartRedis(s, harness.RedisOptions{})
	}
	s.masters = func() map[string]*harness.Redis { return masters }
	s.tap = harness.StartFault(s, masters["g1"].Addr())
	var port int
	if _, err := fmt.Sscanf(s.tap.Addr(), "127.0.0.1:%d", &port); err != nil {
		s.Fatal(err)
	}
	for range 3 {
		fake := harness.StartFakeSentinel(s, 2)
		fake.Name("g1", "127.0.0.1", port, 1)
		fake.Name("g2", "127.0.0.1", masters["g2"].Port, 1)
		sentinels = append(sentinels, fake.Addr())
	}
	c := harness.NewConfig(s)
	c.Pool(pool, append(harness.SentinelLines(groups, sentinels, harness.FleetOptions{}), s.row.pool...)...)
	p := harness.StartProxy(s, c)
	p.WaitUp(pool)
	p.WaitWatching(pool)
	s.proxies = []*harness.Proxy{p}
	o := harness.LedgerOptions{Addr: c.Addr(pool), Groups: groups, Route: p.Route(pool)}
	s.rate("w", connections/len(groups), eachRate)(&o)
	s.ledgers = []*harness.Ledger{harness.StartLedger(s, o)}
}

// cutOff drops packets as the kernel of a proxy sees it: what is sent is answered by nothing, nor is a SYN, and when the way
// is free again only new connections get through at once.
func cutOff(s *scene) {
	s.strike()
	s.tap.Vanish(s)
	s.lasts(10 * time.Second)
	s.healed = time.Now()
	s.tap.Return(s)
}

// faultTable has a line for each row.
func faultTable(all []measuredRow) string {
	var b strings.Builder
	b.WriteString("| fault | promoted, ms | announced, ms | served again, ms | after it, ms | errors | lost | slowest, ms | others | goal |\n|---|---:|---:|---:|---:|---|---:|---:|---:|---|\n")
	mark := func(text string, is bool) string {
		if is {
			return text + " ⚠"
		}
		return text
	}
	dash := func(v float64) string {
		if math.IsNaN(v) {
			return ""
		}
		return number(v)
	}
	for _, m := range all {
		bad := m.missed()
		errs := "0"
		if kinds := m.failing().kinds(); len(kinds) > 0 {
			errs = kindsText(kinds)
		}
		if n := m.worst(damage.errors); n > m.failing().errors() {
			errs += fmt.Sprintf("; %d at worst", n)
		}
		after := m.middleOf(damage.late)
		if m.goal.since == none {
			after = math.NaN()
		}
		lost := mark(fmt.Sprint(m.worst(damage.lost)), bad.lost)
		if n := m.worst(damage.stale); n > 0 {
			lost += fmt.Sprintf(", %d read an older value", n)
		}
		if n := m.worst(damage.broken); n > 0 {
			lost += fmt.Sprintf(", %d executed twice or answered to another ⚠", n)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", m.title, dash(m.middleOf(damage.promoted)), dash(m.middleOf(damage.announced)),
			dash(m.middleOf(damage.restored)), mark(dash(after), bad.late), mark(errs, bad.failed), lost,
			mark(dash(m.middleOf(damage.slowest)), bad.slow), mark(dash(others(m.rounds...)), bad.others), m.goal)
	}
	return b.String()
}
