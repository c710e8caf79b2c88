package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"respgate/conf"
	"respgate/engine/report"
	"respgate/engine/topology"
	"respgate/managerclient"
	"respgate/sentinelclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a Controller among fakes, in a synctest bubble: time passes only when everybody waits. What happens is written
// down in the order in which it happens.
type world struct {
	t     failer
	ctl   *Controller
	plane *plane
	level slog.LevelVar

	mu        sync.Mutex
	happened  []string
	aside     []string // what happens on goroutines whose order nobody promises
	sentinels []*sentinels
	managers  []*manager
	names     map[string]answer
	lookups   int

	published []string // events of the timeline

	commands  map[string]table // by address; nil: nobody is asked
	asked     []string         // whom, and as whom
	asking    int
	mostAsked int // at once

	file       *conf.Config // what Load gives
	unreadable error        // or why it fails
	unready    error        // why Prepare fails
}

type answer struct {
	addrs []netip.Addr
	err   error
	stall bool // no answer before ctx ends
}

// failer is what *testing.T and *rapid.T have in common here.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func newWorld(t failer) *world {
	w := &world{t: t, names: map[string]answer{}}
	w.plane = &plane{w: w, snap: &topology.Snapshot{}, stats: map[string]map[string]*report.Group{}}
	w.level.Set(slog.LevelInfo)
	return w
}

func parse(t failer, text string) *conf.Config {
	t.Helper()
	cf, err := conf.Parse("respgate.yml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return cf
}

func (w *world) start(text string) error {
	w.t.Helper()
	w.file = parse(w.t, text)
	opts := Options{
		Plane: w.plane, Log: slog.New(&diary{w: w}), Version: "test", Commands: []string{"", "get"}, Level: &w.level,
		StartSentinels: func(cfg sentinelclient.Config, deliver func(*sentinelclient.View)) Sentinels {
			s := &sentinels{w: w, cfg: cfg, deliver: deliver, steps: map[string]func(context.Context) error{}}
			w.note("sentinels of %s: start %s", cfg.Pool, showSentinels(cfg))
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sentinels = append(w.sentinels, s)
			return s
		},
		StartManager: func(cfg managerclient.Config, deliver func(managerclient.Topology)) Manager {
			m := &manager{w: w, cfg: cfg, deliver: deliver}
			w.note("manager of %s: start %s %v", cfg.Pool, cfg.Cluster, cfg.Addresses)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.managers = append(w.managers, m)
			return m
		},
		Publish: w.publish,
		Resolve: w.resolve,
		Load: func() (*conf.Config, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.file, w.unreadable
		},
		Prepare: w.prepare,
	}
	if w.commands != nil {
		opts.Inventory = w.inventory
	}
	ctl, err := Start(opts, w.file)
	w.ctl = ctl
	return err
}

// reload makes text the file and takes it over.
func (w *world) reload(text string, dry bool) ([]string, error) {
	w.t.Helper()
	cf := parse(w.t, text)
	w.mu.Lock()
	w.file = cf
	w.mu.Unlock()
	return w.ctl.Reload(dry)
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.happened = append(w.happened, fmt.Sprintf(format, args...))
}

func (w *world) noteAside(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aside = append(w.aside, fmt.Sprintf(format, args...))
}

// news is what has happened since the last time.
func (w *world) news() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.aside)
	all := strings.Join(append(w.happened, w.aside...), "\n")
	w.happened, w.aside = nil, nil
	return all
}

// latest is the newest sentinel client of a pool.
func (w *world) latest(pool string) *sentinels {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range slices.Backward(w.sentinels) {
		if s.cfg.Pool == pool {
			return s
		}
	}
	w.t.Fatalf("pool %s never had sentinels", pool)
	return nil
}

func (w *world) latestManager(pool string) *manager {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range slices.Backward(w.managers) {
		if m.cfg.Pool == pool {
			return m
		}
	}
	w.t.Fatalf("pool %s never had a manager", pool)
	return nil
}

func (w *world) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	w.mu.Lock()
	w.lookups++
	a, ok := w.names[name]
	w.mu.Unlock()
	switch {
	case a.stall:
		<-ctx.Done()
		return nil, ctx.Err()
	case !ok:
		return nil, errors.New("no such name in this test")
	}
	return a.addrs, a.err
}

func (w *world) lookedUp() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lookups
}

func (w *world) setName(name string, a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[name] = a
}

func (w *world) prepare(old, next *conf.Config) (commit, rollback func(), err error) {
	if w.unready != nil {
		return nil, nil, w.unready
	}
	return func() { w.note("ports: commit") }, func() { w.note("ports: rollback") }, nil
}

// pass lets time pass in the bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// plane is a data plane that serves nobody.
type plane struct {
	w *world

	mu      sync.Mutex
	snap    *topology.Snapshot
	tried   int
	refuse  error
	stats   map[string]map[string]*report.Group
	check   func(old, next *topology.Snapshot) // of every snapshot that is applied
	vouched map[string]time.Time               // until when, by pool/group
	gate    chan struct{}                      // if there is one, Apply waits until it is closed
}

func (p *plane) Apply(s *topology.Snapshot) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if gate := p.gate; gate != nil {
		p.mu.Unlock()
		<-gate
		p.mu.Lock()
	}
	p.tried++
	if p.refuse != nil {
		return p.refuse
	}
	if p.check != nil {
		p.check(p.snap, s)
	}
	p.w.note("%s", showSnapshot(p.snap, s))
	p.snap = s
	for name := range p.vouched { // as the engine does: what was vouched stays for as long as the names do
		pool, group, _ := strings.Cut(name, "/")
		if t := s.Pool(pool); t == nil || !slices.ContainsFunc(t.Groups, func(g *topology.Group) bool { return g.Name == group }) {
			delete(p.vouched, name)
		}
	}
	return nil
}

// leases are until when the masters may be served, by what the data plane was told.
func (p *plane) leases() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(p.vouched)) {
		left := "without an end"
		if until := p.vouched[name]; !until.IsZero() {
			left = fmt.Sprintf("for %v", max(0, time.Until(until)))
		}
		out = append(out, name+" is served "+left)
	}
	return out
}

// Vouch is noted by those who ask for it: it comes with every view.
func (p *plane) Vouch(pool, group string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.vouched == nil {
		p.vouched = map[string]time.Time{}
	}
	p.vouched[pool+"/"+group] = until
}

func (p *plane) Stats() *report.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := &report.Stats{Serial: p.snap.Serial, Pools: map[string]*report.Pool{}}
	for _, t := range p.snap.Pools {
		rp := &report.Pool{Groups: map[string]*report.Group{}, Commands: []uint64{0, 7}, CommandErrors: []uint64{0, 1}}
		for _, g := range t.Groups {
			own := report.Group{}
			if s := p.stats[t.Name][g.Name]; s != nil {
				own = *s
			}
			rp.Groups[g.Name] = &own
		}
		st.Pools[t.Name] = rp
	}
	return st
}

// set changes the counters of a group.
func (p *plane) set(pool, group string, f func(*report.Group)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stats[pool] == nil {
		p.stats[pool] = map[string]*report.Group{}
	}
	if p.stats[pool][group] == nil {
		p.stats[pool][group] = &report.Group{}
	}
	f(p.stats[pool][group])
}

func (p *plane) refuseWith(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = err
}

// close makes the data plane stand still within the next Apply.
func (p *plane) close() (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gate := make(chan struct{})
	p.gate = gate
	return func() { close(gate); synctest.Wait() }
}

func (p *plane) current() *topology.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.snap
}

// sentinels is a sentinel client that knows what the test tells it.
type sentinels struct {
	w       *world
	cfg     sentinelclient.Config
	deliver func(*sentinelclient.View)

	steps      map[string]func(ctx context.Context) error // check, fence and promote: what comes of a switch, nil = all is well
	ahead      *sentinelclient.Address                    // the master that a switch begins from, nil = the one that is served
	standing   error                                      // what the old master says to its demotion
	following  error                                      // and why it does not follow the new one
	switchable error
	verify     error
	pin        error
}

func (s *sentinels) Reconfigure(cfg sentinelclient.Config) {
	s.w.note("sentinels of %s: reconfigure %s", cfg.Pool, showSentinels(cfg))
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.cfg = cfg
}

func (s *sentinels) Suspect(group, cause string) {
	s.w.note("sentinels of %s: suspect %s: %s", s.cfg.Pool, group, cause)
}

func (s *sentinels) Rotate(to *sentinelclient.Address) error {
	s.w.note("sentinels of %s: rotate to %v", s.cfg.Pool, to)
	return nil
}

func (s *sentinels) Sentinels() []sentinelclient.SentinelStatus {
	var rows []sentinelclient.SentinelStatus
	for _, c := range s.cfg.Sentinels {
		rows = append(rows, sentinelclient.SentinelStatus{Address: c.Address, State: sentinelclient.SentinelWatching})
	}
	return rows
}

func (s *sentinels) Switchover(ctx context.Context, group string) (Switchover, error) {
	if err := s.step(ctx, "check", group); err != nil {
		return nil, err
	}
	return &switchover{s, group, s.masterOf(group)}, nil
}

func (s *sentinels) Switchable(context.Context, string) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.switchable
}

// step notes a step of a switch and fails it if it is to fail.
func (s *sentinels) step(ctx context.Context, step, group string) error {
	s.w.note("sentinels of %s: %s %s, held: %t", s.cfg.Pool, step, group, held(s.w.plane.current(), s.cfg.Pool, group))
	s.w.mu.Lock()
	f := s.steps[step]
	s.w.mu.Unlock()
	if f != nil {
		return f(ctx)
	}
	return nil
}

// failing makes a step of the switches to come fail, or go on, with nil.
func (s *sentinels) failing(step string, f func(ctx context.Context) error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.steps[step] = f
}

// masterOf is the group's, as it knows it.
func (s *sentinels) masterOf(group string) (a sentinelclient.Address) {
	if s.ahead != nil {
		return *s.ahead
	}
	if p := s.w.plane.current().Pool(s.cfg.Pool); p != nil {
		if g, _ := p.Group(group); g != nil {
			a, _ = sentinelclient.ParseAddress(g.Master.Name)
		}
	}
	return a
}

// switchover is a planned switch that does what the test has told its sentinels.
type switchover struct {
	s      *sentinels
	group  string
	master sentinelclient.Address
}

func (o *switchover) Master() sentinelclient.Address { return o.master }

func (o *switchover) Fence(ctx context.Context) error { return o.s.step(ctx, "fence", o.group) }

// Promote makes 10.0.1.2 the master after 10.0.1.1, and the other way round.
func (o *switchover) Promote(ctx context.Context, sure func() error) (next sentinelclient.Address, err error) {
	if err = sure(); err == nil {
		err = o.s.step(ctx, "promote", o.group)
	}
	next = o.master
	if host, first := strings.CutSuffix(next.Host, ".1"); first {
		next.Host = host + ".2"
	} else {
		next.Host = strings.TrimSuffix(next.Host, ".2") + ".1"
	}
	return next, err
}

func (o *switchover) Standing() error { return o.s.standing }

func (o *switchover) Close() {
	o.s.w.note("sentinels of %s: close switch of %s, held: %t", o.s.cfg.Pool, o.group, held(o.s.w.plane.current(), o.s.cfg.Pool, o.group))
}

func (s *sentinels) Verify(context.Context, sentinelclient.Address) error { return s.verify }

func (s *sentinels) Pin(group string, a sentinelclient.Address) error {
	s.w.note("sentinels of %s: pin %s to %v", s.cfg.Pool, group, a)
	return s.pin
}

func (s *sentinels) Close() { s.w.noteAside("sentinels of %s: close", s.cfg.Pool) }

// manager is a manager client that knows what the test tells it.
type manager struct {
	w       *world
	cfg     managerclient.Config
	deliver func(managerclient.Topology)
	cause   string
}

func (m *manager) Applied(v uint64) { m.w.note("manager of %s: applied %d", m.cfg.Pool, v) }
func (m *manager) Refused(v uint64, cause string) {
	m.w.note("manager of %s: refused %d: %s", m.cfg.Pool, v, cause)
}

func (m *manager) Reconfigure(cfg managerclient.Config) {
	m.w.note("manager of %s: reconfigure %s %v as %s", cfg.Pool, cfg.Cluster, cfg.Addresses, cfg.ProxyID)
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.cfg = cfg
}

func (m *manager) Status() []managerclient.Status {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return []managerclient.Status{{Address: m.cfg.Addresses[0], Cluster: m.cfg.Cluster, State: "dialing", Active: true, Cause: m.cause}}
}

func (m *manager) Close() { m.w.noteAside("manager of %s: close", m.cfg.Pool) }

func held(s *topology.Snapshot, pool, group string) bool {
	if p := s.Pool(pool); p != nil {
		if g, _ := p.Group(group); g != nil {
			return g.Hold
		}
	}
	return false
}

func showSentinels(cfg sentinelclient.Config) string {
	var list []string
	for _, s := range cfg.Sentinels {
		list = append(list, s.String())
	}
	return fmt.Sprintf("%v at %v", cfg.Groups, list)
}

// showSnapshot is what differs from the one before, group by group; pools that are the very same are only named.
func showSnapshot(old, next *topology.Snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "snapshot %d", next.Serial)
	if old.Limits != next.Limits {
		fmt.Fprintf(&b, " max-clients=%d memory=%d", next.Limits.MaxClients, next.Limits.Memory)
	}
	for _, p := range next.Pools {
		was := old.Pool(p.Name)
		if was == p {
			fmt.Fprintf(&b, "\n  %s: the same", p.Name)
			continue
		}
		fmt.Fprintf(&b, "\n  %s on %s: %s", p.Name, p.Listen.Address, p.Access)
		if p.Reason != "" {
			fmt.Fprintf(&b, " (%s)", p.Reason)
		}
		if was != nil && was.Ring != p.Ring {
			b.WriteString(", another ring")
		}
		if was != nil && was.Settings != p.Settings {
			b.WriteString(", other settings")
		}
		if was != nil && was.Catalog != p.Catalog {
			fmt.Fprintf(&b, ", adopted %v", p.Catalog.Adopted())
			for _, r := range p.Catalog.Refused() {
				fmt.Fprintf(&b, "\n    %s: %s", r.Name, r.Reason)
			}
		}
		for _, g := range p.Groups {
			fmt.Fprintf(&b, "\n    %s", showGroup(g))
		}
	}
	return b.String()
}

func showGroup(g *topology.Group) string {
	text := g.Name + " " + cmp.Or(g.Master.Name, "-")
	if g.Master.Generation > 0 {
		text += fmt.Sprintf(" #%d", g.Master.Generation)
	}
	if g.Master.Epoch > 0 {
		text += fmt.Sprintf(" epoch %d", g.Master.Epoch)
	}
	if len(g.Master.Addrs) > 0 && g.Master.Addrs[0].String() != g.Master.Name {
		text += fmt.Sprintf(" at %v", g.Master.Addrs)
	}
	if g.Hold {
		text += ", hold (" + g.Cause + ")"
		if g.Finish {
			text += ", transactions finish"
		}
	}
	if g.Access != topology.Serve {
		text += fmt.Sprintf(", %s (%s)", g.Access, g.Reason)
	}
	return text
}

// diary is a log handler: a line a record, for the world.
type diary struct {
	w     *world
	attrs []slog.Attr
}

func (d *diary) Enabled(_ context.Context, l slog.Level) bool { return l >= d.w.level.Level() }
func (d *diary) WithGroup(string) slog.Handler                { return d }
func (d *diary) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &diary{d.w, append(slices.Clone(d.attrs), attrs...)}
}

func (d *diary) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", strings.ToLower(r.Level.String()), r.Message)
	show := func(a slog.Attr) bool {
		v := a.Value.Resolve()
		if v.Kind() == slog.KindTime {
			v = slog.StringValue(v.Time().UTC().Format(time.TimeOnly))
		}
		fmt.Fprintf(&b, " %s=%v", a.Key, v)
		return true
	}
	for _, a := range d.attrs {
		show(a)
	}
	r.Attrs(show)
	d.w.note("%s", b.String())
	return nil
}
