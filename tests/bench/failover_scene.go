package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"respgate/tests/harness"
)

const (
	pool        = "cache"
	connections = 40
	eachRate    = 60              // requests a second of a connection
	quiet       = 6 * time.Second // at least, before the fault and from it on: a p99 of less is chance
)

// scene is one run of a row: servers, sentinels, a proxy and its clients.
type scene struct {
	*rig
	row      faultRow
	fleet    *harness.Fleet // nil if the sentinels are played
	proxies  []*harness.Proxy
	ledgers  []*harness.Ledger
	company  *company // beside the ledgers' clients; nil: none
	masters  func() map[string]*harness.Redis
	books    map[string]*book
	watches  map[string]*watch
	switches int
	tap      *harness.FaultProxy // on the way to g1's master
	manager  *harness.FakeManager

	calm   time.Time // since when the load runs before the fault
	struck time.Time // when the fault began
	healed time.Time // when it ended, for those that end
}

// newScene starts all of it, and returns when the load has run for some seconds.
func newScene(r *rig, row faultRow) *scene {
	s := &scene{rig: r, row: row, books: map[string]*book{}, watches: map[string]*watch{}}
	open := row.open
	if open == nil {
		open = (*scene).open
	}
	open(s)
	if s.fleet != nil {
		s.masters = s.fleet.Masters
		for _, g := range s.fleet.Groups {
			s.watches[g.Name] = startWatch(r, s.fleet, g)
		}
	}
	for _, l := range s.ledgers {
		l.Progress(100)
	}
	s.calm = time.Now()
	s.lasts(quiet)
	return s
}

// open is the usual one: two groups, a proxy, 40 connections.
func (s *scene) open() {
	s.fleet = s.start("g1", "g2")
	s.serve(s.proxy())
}

func (s *scene) start(groups ...string) *harness.Fleet {
	return harness.StartFleet(s, harness.FleetOptions{Groups: groups, DownAfter: s.row.downAfter})
}

// proxy starts one over the fleet.
func (s *scene) proxy() *harness.Proxy {
	c := harness.NewConfig(s)
	c.Lines[1] = "log: { level: info, format: text }"
	c.SentinelPool(pool, s.fleet, s.row.pool...)
	p := harness.StartProxy(s, c)
	p.WaitUp(pool)
	p.WaitWatching(pool)
	return p
}

// serve loads the proxies, which share the connections.
func (s *scene) serve(proxies ...*harness.Proxy) {
	s.proxies = proxies
	groups := s.fleet.GroupNames()
	for i, p := range proxies {
		s.ledgers = append(s.ledgers, p.Load(pool, s.fleet, s.rate(string(rune('w'-i)), connections/len(groups)/len(proxies), eachRate)))
	}
}

// rate sets a load of so many connections a group, each with so many requests a second.
func (s *scene) rate(keys string, workers, each int) func(*harness.LedgerOptions) {
	return func(o *harness.LedgerOptions) {
		o.Keys, o.Workers, o.Interval = keys, workers, time.Second/time.Duration(each)
		for _, g := range o.Groups {
			if s.books[g] == nil {
				s.books[g] = &book{}
			}
		}
		o.Observe = func(group string, began, ended time.Time, err error) { s.books[group].note(began, ended, err) }
	}
}

// strike is the moment of the fault.
func (s *scene) strike() { s.struck = time.Now() }

// lasts waits: some faults are a length of time.
func (s *scene) lasts(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// taken waits until the group has another master than it began with, and is served by it.
func (s *scene) taken(group string) {
	fresh := s.fleet.WaitMaster(group, s.fleet.Group(group).Master)
	for _, p := range s.proxies {
		p.WaitMaster(pool, group, fresh.Addr())
	}
}

// progress waits until all groups are served.
func (s *scene) progress() {
	for _, l := range s.ledgers {
		l.Progress(200)
	}
}

// damage closes the books.
func (s *scene) damage() damage {
	s.progress()
	s.lasts(time.Until(s.struck.Add(quiet)))
	ended := time.Now()
	o := damage{row: s.row, struck: s.struck}
	masters := s.masters()
	if s.company != nil {
		s.company.end()
	}
	reports := map[string][]harness.GroupReport{}
	for _, l := range s.ledgers {
		for _, r := range l.Finish(masters) {
			reports[r.Group] = append(reports[r.Group], r)
		}
	}
	for group, all := range reports {
		ops := s.books[group].sorted()
		g := groupDamage{name: group, ops: ops, struck: slices.Contains(s.row.struck, group)}
		for _, r := range all {
			g.lost += r.Lost
			g.stale += r.Stale
			g.broken += r.Wrong + r.Duplicates
		}
		if s.company != nil {
			if err := s.company.audit(&g, masters[group]); err != nil {
				s.Fatal(err)
			}
		}
		g.before, g.during = waits(ops, s.calm, s.struck), waits(ops, s.struck, ended)
		g.failed, g.slowest = failures(ops, s.struck), slowest(ops, s.struck, s.row.goal.everyWait)
		if g.struck {
			_, g.restored = outage(ops, s.struck)
			if s.row.goal.since == healed { // the end of that very gap: a short one is not the longest on every machine
				_, g.restored = gapAround(ops, s.healed)
			}
		}
		g.since = s.healed
		if w := s.watches[group]; w != nil {
			w.mu.Lock()
			g.promoted = w.promoted
			w.mu.Unlock()
			g.announced = w.announced()
			switch s.row.goal.since {
			case announced:
				g.since = g.announced
			case promoted:
				g.since = g.promoted
			}
			g.seen = w.sightings()
		}
		if g.struck && len(s.proxies) > 0 {
			told, err := steps(s.proxies[0], pool, group)
			if err != nil {
				s.Fatal(err)
			}
			g.seen = append(g.seen, told...)
			slices.SortStableFunc(g.seen, func(a, b sighting) int { return a.at.Compare(b.at) })
		}
		o.groups = append(o.groups, g)
	}
	slices.SortFunc(o.groups, func(a, b groupDamage) int { return strings.Compare(a.name, b.name) })
	return o
}

// damage is what a run of a row gave.
type damage struct {
	row    faultRow
	struck time.Time
	groups []groupDamage
}

// groupDamage is that of a group.
type groupDamage struct {
	name                string
	struck              bool // the fault is one of this group
	promoted, announced time.Time
	since, restored     time.Time // what the goal counts from; the end of the outage
	failed              map[string]int
	lost, stale, broken int
	slowest             time.Duration
	before, during      []time.Duration // how long each request took
	ops                 []op
	seen                []sighting
}

// after is milliseconds from the fault to the latest such moment of the struck groups; NaN if it was not seen.
func (d damage) after(moment func(groupDamage) time.Time) float64 {
	ms := math.NaN()
	for _, g := range d.groups {
		if at := moment(g); g.struck && !at.IsZero() {
			ms = math.Max(nanIs(ms, math.Inf(-1)), millis(at.Sub(d.struck)))
		}
	}
	return ms
}

func millis(d time.Duration) float64 { return float64(d) / 1e6 }

func nanIs(v, other float64) float64 {
	if math.IsNaN(v) {
		return other
	}
	return v
}

func (d damage) promoted() float64 {
	return d.after(func(g groupDamage) time.Time { return g.promoted })
}
func (d damage) announced() float64 {
	return d.after(func(g groupDamage) time.Time { return g.announced })
}
func (d damage) restored() float64 {
	return d.after(func(g groupDamage) time.Time { return g.restored })
}

// late is how long after what the goal counts from the last group was served again.
func (d damage) late() float64 {
	ms := math.NaN()
	for _, g := range d.groups {
		if g.struck && !g.since.IsZero() && !g.restored.IsZero() {
			ms = math.Max(nanIs(ms, math.Inf(-1)), millis(g.restored.Sub(g.since)))
		}
	}
	return ms
}

func (d damage) outage() time.Duration { return time.Duration(nanIs(d.restored(), 0) * 1e6) }

// slowest is in milliseconds.
func (d damage) slowest() float64 {
	longest := time.Duration(0)
	for _, g := range d.groups {
		longest = max(longest, g.slowest)
	}
	return millis(longest)
}

// calmP99 is p99 before the fault of the groups that it does not concern.
func (d damage) calmP99() time.Duration {
	var before []time.Duration
	for _, g := range d.groups {
		if !g.struck {
			before = append(before, g.before...)
		}
	}
	return percentile99(before)
}

// others is p99 during the faults in units of that before, of the group that suffered most of those that are not struck, over
// all rounds; infinite if one of them was not served at all, NaN if there are none.
func others(rounds ...damage) float64 {
	before, during := map[string][]time.Duration{}, map[string][]time.Duration{}
	for _, d := range rounds {
		for _, g := range d.groups {
			if g.struck {
				continue
			}
			if len(g.during) == 0 && len(g.before) > 0 {
				return math.Inf(1)
			}
			before[g.name], during[g.name] = append(before[g.name], g.before...), append(during[g.name], g.during...)
		}
	}
	worst := math.NaN()
	for name, b := range before {
		if len(b) > 0 {
			worst = math.Max(nanIs(worst, 0), float64(percentile99(during[name]))/float64(percentile99(b)))
		}
	}
	return worst
}

func (d damage) sum(of func(groupDamage) int) int {
	n := 0
	for _, g := range d.groups {
		n += of(g)
	}
	return n
}

func (d damage) lost() int   { return d.sum(func(g groupDamage) int { return g.lost }) }
func (d damage) stale() int  { return d.sum(func(g groupDamage) int { return g.stale }) }
func (d damage) broken() int { return d.sum(func(g groupDamage) int { return g.broken }) }

// unexcused are the acknowledged writes that were gone, in the end or when they were read, and not with a master that died: that
// may have taken along the last one of each connection.
func (d damage) unexcused() int {
	return d.sum(func(g groupDamage) int {
		excused := 0
		if g.struck && !d.row.goal.lossless {
			excused = connections / len(d.groups)
		}
		return max(0, g.lost-excused) + max(0, g.stale-excused)
	})
}

// refused are the requests that somebody refused who is no master: a proxy has to wait for one that is.
func (d damage) refused() int {
	return d.sum(func(g groupDamage) int {
		n := 0
		for kind, count := range g.failed {
			if strings.HasSuffix(kind, readOnly) {
				n += count
			}
		}
		return n
	})
}

// errors are the requests that were sent and failed.
func (d damage) errors() int {
	return d.sum(func(g groupDamage) int {
		n := 0
		for kind, count := range g.failed {
			if kind != notConnected {
				n += count
			}
		}
		return n
	})
}

// kinds are the errors of all groups.
func (d damage) kinds() map[string]int {
	all := map[string]int{}
	for _, g := range d.groups {
		for kind, n := range g.failed {
			all[kind] += n
		}
	}
	return all
}

func (d damage) String() string {
	return fmt.Sprintf("promoted %s, announced %s, served again %s, after it %s ms; slowest %s ms; errors [%s]; lost %d; stale %d; broken %d; others %s (p99 %v)",
		number(d.promoted()), number(d.announced()), number(d.restored()), number(d.late()), number(d.slowest()), kindsText(d.kinds()), d.lost(), d.stale(), d.broken(), number(others(d)), d.calmP99())
}
