package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"respgate/engine/report"
	"respgate/engine/topology"
	"respgate/managerclient"
	"respgate/sentinelclient"
)

// TestModel tells control random things in random order and holds of every snapshot:
//
//   - its serial is one more than that of the one before, and something differs;
//   - a generation belongs to one master of one group, is never used again, and never falls within a group;
//   - a master was told by the view in force of the client in force, or by the file in force;
//   - pools that nothing was said about are the very same objects.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var stop any // how rapid ends a run early
		synctest.Test(t, func(*testing.T) {
			defer func() { stop = recover() }()
			m := newModel(rt)
			defer m.w.ctl.Close()
			rt.Repeat(map[string]func(*rapid.T){
				"":         func(*rapid.T) { m.verify() },
				"view":     m.view,
				"late":     m.late,
				"topology": m.topology,
				"event":    m.event,
				"reload":   m.reload,
				"counters": m.counters,
				"time":     m.time,
				"plane":    m.plane,
				"switch":   m.switchOver,
			})
		})
		switch text := fmt.Sprint(stop); {
		case stop == nil:
		case strings.Contains(text, "overrun"): // rapid tells a run that is no test from a failure by the line
			panic(stop)
		default:
			panic(stop)
		}
	})
}

// model knows what control has been told.
type model struct {
	rt *rapid.T
	w  *world

	file    map[string]filePool
	views   map[*sentinels]*sentinelclient.View
	owners  map[uint64]string // generation -> pool, group and master
	highest map[string]uint64 // pool and group -> generation
	touched map[string]bool   // pools that the present step says something about
	wrong   []string
}

// filePool is a pool as the file has it.
type filePool struct {
	source  string // file, manager, servers
	names   []string
	servers map[string]string // address by name
	extra   string
}

func newModel(rt *rapid.T) *model {
	m := &model{
		rt: rt, w: newWorld(rt), views: map[*sentinels]*sentinelclient.View{}, owners: map[uint64]string{}, highest: map[string]uint64{},
		file: map[string]filePool{
			"a": {source: "file", names: []string{"g1", "g2"}},
			"b": {source: "manager"},
			"c": {source: "servers", names: []string{"s1", "s2"}, servers: map[string]string{"s1": "10.3.0.1:6379", "s2": "10.3.0.2:6379"}},
		},
	}
	m.w.plane.check = m.check
	m.step(func() {
		if err := m.w.start(m.text(m.file)); err != nil {
			rt.Fatal(err)
		}
	}, "a", "b", "c")
	return m
}

func (m *model) text(file map[string]filePool) string {
	var b strings.Builder
	b.WriteString("admin: {listen: \"\"}\npools:\n")
	for i, name := range slices.Sorted(maps.Keys(file)) {
		p := file[name]
		fmt.Fprintf(&b, "  %s:\n    listen: 127.0.0.1:%d\n%s", name, 6401+i, p.extra)
		switch p.source {
		case "file":
			fmt.Fprintf(&b, "    sentinels: [10.0.0.1:26379, 10.0.0.2:26379, 10.0.0.3:26379]\n    groups: [%s]\n", strings.Join(p.names, ", "))
		case "manager":
			b.WriteString("    manager: {addresses: [10.0.0.9:7078], cluster: shop}\n")
		case "servers":
			b.WriteString("    auto_eject_hosts: true\n    server_retry_timeout: 5s\n    servers:\n")
			for _, n := range p.names {
				fmt.Fprintf(&b, "      - \"%s:1 %s\"\n", p.servers[n], n)
			}
		}
	}
	return b.String()
}

// step does something that concerns the named pools, and waits until all has come of it.
func (m *model) step(f func(), pools ...string) {
	m.w.plane.mu.Lock() // check has it, too
	m.touched = map[string]bool{}
	for _, p := range pools {
		m.touched[p] = true
	}
	m.w.plane.mu.Unlock()
	f()
	synctest.Wait()
	m.w.news()
}

func (m *model) fail(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// check is called with every snapshot that is applied, on the control goroutine.
func (m *model) check(old, next *topology.Snapshot) {
	if next.Serial != old.Serial+1 {
		m.fail("serial %d after %d", next.Serial, old.Serial)
	}
	differs := len(old.Pools) != len(next.Pools) || old.Limits != next.Limits
	for _, p := range next.Pools {
		was := old.Pool(p.Name)
		if was == p {
			continue
		}
		if was == nil || !alike(was, p) || !sameWords(was, p) {
			differs = true
		} else {
			m.fail("pool %s is another object without a difference", p.Name)
		}
		if was != nil && !m.touched[p.Name] {
			m.fail("pool %s changed, nothing was said about it", p.Name)
		}
		for _, g := range p.Groups {
			m.checkGeneration(p.Name, g)
		}
	}
	if !differs {
		m.fail("snapshot %d is like the one before", next.Serial)
	}
}

func (m *model) checkGeneration(pool string, g *topology.Group) {
	n := g.Master.Generation
	if n == 0 {
		return
	}
	group := pool + "/" + g.Name
	owner := group + " " + g.Master.Name
	if was, used := m.owners[n]; used && was != owner {
		m.fail("generation %d of %s was that of %s", n, owner, was)
	}
	m.owners[n] = owner
	if n < m.highest[group] {
		m.fail("generation %d of %s after %d", n, group, m.highest[group])
	}
	m.highest[group] = n
}

// verify holds what is served against what was told, when everything is at rest.
func (m *model) verify() {
	synctest.Wait()
	for _, w := range m.wrong {
		m.rt.Error(w)
	}
	if m.w.plane.refuse != nil {
		return
	}
	snap := m.w.plane.current()
	for name := range m.file {
		if snap.Pool(name) == nil {
			m.rt.Errorf("pool %s is not served", name)
		}
	}
	for _, p := range snap.Pools {
		if _, ok := m.file[p.Name]; !ok {
			m.rt.Errorf("pool %s is served, the file has none", p.Name)
			continue
		}
		if p.Ring != nil && len(p.Ring.Nodes()) != len(p.Groups) {
			m.rt.Errorf("pool %s has %d groups and a ring of %d", p.Name, len(p.Groups), len(p.Ring.Nodes()))
		}
		for _, g := range p.Groups {
			if want := m.told(p.Name, g.Name); g.Master.Name != want {
				m.rt.Errorf("group %s of pool %s is at '%s', told was '%s'", g.Name, p.Name, g.Master.Name, want)
			}
			if !g.Master.Known() && !g.Hold && g.Access == topology.Serve {
				m.rt.Errorf("group %s of pool %s has no master and no reason", g.Name, p.Name)
			}
		}
	}
}

// told is the master that a group's source names.
func (m *model) told(pool, group string) string {
	if m.file[pool].source == "servers" {
		return m.file[pool].servers[group]
	}
	if v := m.views[m.w.latest(pool)]; v != nil {
		return v.Groups[group].Master.String()
	}
	return ""
}

// watched draws a pool that has sentinels.
func (m *model) watched(rt *rapid.T) *sentinels {
	var pools []string
	for name, p := range m.file {
		if p.source != "servers" && slices.ContainsFunc(m.w.sentinels, func(s *sentinels) bool { return s.cfg.Pool == name }) {
			pools = append(pools, name)
		}
	}
	if len(pools) == 0 {
		rt.SkipNow()
	}
	slices.Sort(pools)
	return m.w.latest(rapid.SampledFrom(pools).Draw(rt, "pool"))
}

func drawView(rt *rapid.T, pool string) *sentinelclient.View {
	v := &sentinelclient.View{Pool: pool, Ready: rapid.Bool().Draw(rt, "ready"), Groups: map[string]sentinelclient.GroupView{}}
	if !v.Ready {
		v.Cause = rapid.SampledFrom([]string{"refused", "timed out"}).Draw(rt, "cause")
	}
	for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"g1", "g2", "g3"}), rapid.ID[string]).Draw(rt, "groups") {
		g := sentinelclient.GroupView{State: sentinelclient.GroupState(rapid.IntRange(0, int(sentinelclient.GroupNone)).Draw(rt, "state"))}
		g.Cause = rapid.SampledFrom([]string{"", "x", "y"}).Draw(rt, "why")
		if rapid.IntRange(0, 4).Draw(rt, "known") > 0 {
			g.Master = sentinelclient.Address{Host: fmt.Sprintf("10.1.0.%d", rapid.IntRange(1, 3).Draw(rt, "host")), Port: 6379}
			g.Epoch = rapid.Uint64Range(0, 3).Draw(rt, "epoch")
			g.Authority = rapid.Bool().Draw(rt, "authority")
			g.Failover = rapid.SampledFrom([]string{"", "", "+elected-leader"}).Draw(rt, "failover")
		}
		v.Groups[name] = g
	}
	return v
}

func (m *model) view(rt *rapid.T) {
	s := m.watched(rt)
	v := drawView(rt, s.cfg.Pool)
	m.views[s] = v
	m.step(func() { s.deliver(v) }, s.cfg.Pool)
}

// late is a word of a client that was replaced or whose pool is gone. It concerns nobody.
func (m *model) late(rt *rapid.T) {
	var gone []*sentinels
	for _, s := range m.w.sentinels {
		if p, ok := m.file[s.cfg.Pool]; !ok || p.source == "servers" || m.w.latest(s.cfg.Pool) != s {
			gone = append(gone, s)
		}
	}
	if len(gone) == 0 {
		rt.SkipNow()
	}
	s := rapid.SampledFrom(gone).Draw(rt, "client")
	v := drawView(rt, s.cfg.Pool)
	m.step(func() { s.deliver(v) })
}

func (m *model) topology(rt *rapid.T) {
	var managers []*manager
	for name, p := range m.file {
		if p.source == "manager" {
			managers = append(managers, m.w.latestManager(name))
		}
	}
	if len(managers) == 0 {
		rt.SkipNow()
	}
	t := managerclient.Topology{Version: rapid.Uint64Range(1, 9).Draw(rt, "version"), Sentinels: []string{"10.0.0.1:26379"}}
	for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"g1", "g2", "g3"}), 1, 3, rapid.ID[string]).Draw(rt, "groups") {
		t.Groups = append(t.Groups, managerclient.Group{Name: n, Weight: rapid.IntRange(1, 2).Draw(rt, "weight")})
	}
	if rapid.IntRange(0, 4).Draw(rt, "bad") == 0 {
		t.Settings = map[string]string{"hash": "nonsense"}
	}
	m.step(func() { managers[0].deliver(t) }, managers[0].cfg.Pool)
}

func (m *model) event(rt *rapid.T) {
	pool := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "pool")
	ev := report.Event{
		Pool: pool, Group: rapid.SampledFrom([]string{"g1", "g2", "s1", "s2"}).Draw(rt, "group"), Cause: "x",
		Kind: report.EventKind(rapid.IntRange(0, int(report.EventAcceptFailed)).Draw(rt, "kind")),
	}
	if p := m.w.plane.current().Pool(pool); p != nil {
		if g, _ := p.Group(ev.Group); g != nil {
			ev.Generation = g.Master.Generation
		}
	}
	m.step(func() { m.w.ctl.Notice(ev) }, pool)
}

func (m *model) reload(rt *rapid.T) {
	next := maps.Clone(m.file)
	name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "pool")
	p := filePool{source: rapid.SampledFrom([]string{"file", "manager", "servers", "none"}).Draw(rt, "source")}
	p.names = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"g1", "g2", "g3"}), 1, 3, rapid.ID[string]).Draw(rt, "names")
	if rapid.Bool().Draw(rt, "extra") {
		p.extra = "    timeout: 1s\n"
	}
	if p.source == "servers" {
		p.servers = map[string]string{}
		for i, n := range p.names {
			p.servers[n] = fmt.Sprintf("10.3.%d.%d:6379", i, rapid.IntRange(1, 2).Draw(rt, "address"))
		}
	}
	if next[name] = p; p.source == "none" {
		delete(next, name)
	}
	if len(next) == 0 {
		rt.SkipNow()
	}
	dry := rapid.IntRange(0, 4).Draw(rt, "dry") == 0
	refused := rapid.IntRange(0, 3).Draw(rt, "refused") == 0
	// The ports follow the order of the pools, so that any of them may change its own.
	touched := slices.Concat(slices.Collect(maps.Keys(next)), slices.Collect(maps.Keys(m.file)))
	if len(next) == len(m.file) {
		touched = []string{name}
	}
	before := m.w.plane.refuse
	m.step(func() {
		if refused {
			m.w.plane.refuseWith(errors.New("no"))
		}
		_, err := m.w.reload(m.text(next), dry)
		m.w.plane.refuseWith(before)
		if err == nil && !dry {
			m.file = next
		}
	}, touched...)
	for s := range m.views { // a pool without sentinels in between has others now
		if _, ok := m.file[s.cfg.Pool]; !ok {
			delete(m.views, s)
		}
	}
}

func (m *model) counters(rt *rapid.T) {
	n := rapid.Uint64Range(0, 3).Draw(rt, "answered")
	m.w.plane.set("c", rapid.SampledFrom([]string{"s1", "g1"}).Draw(rt, "server"), func(g *report.Group) { g.Answered = n })
}

func (m *model) time(rt *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 3 * time.Second, 20 * time.Second}).Draw(rt, "length")
	m.step(func() { pass(d) }, "a", "b", "c", "d")
}

// plane refuses snapshots for a while; afterwards all that was missed has to be made up for.
func (m *model) plane(rt *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{time.Millisecond, 3 * time.Second}).Draw(rt, "length")
	m.w.plane.refuseWith(errors.New("no"))
	if rapid.Bool().Draw(rt, "view") {
		m.view(rt)
	}
	m.step(func() {
		pass(d)
		m.w.plane.refuseWith(nil)
		pass(applyAgain)
	}, "a", "b", "c", "d")
}

// switchOver begins a switch that Sentinel refuses, or that comes to nothing.
func (m *model) switchOver(rt *rapid.T) {
	s := m.watched(rt)
	s.failing("promote", nil)
	if rapid.Bool().Draw(rt, "refused") {
		s.failing("promote", func(context.Context) error { return errors.New("no") })
	}
	m.step(func() {
		done := make(chan struct{})
		go func() { _, _ = m.w.ctl.Switch(context.Background(), s.cfg.Pool, "g1"); close(done) }()
		<-done
		synctest.Wait()
		for _, row := range m.w.ctl.Masters(s.cfg.Pool, "g1") {
			if strings.Contains(row.Cause, "planned") {
				m.fail("group g1 of pool %s is still paused", row.Pool)
			}
		}
	}, "a", "b", "c", "d")
}
