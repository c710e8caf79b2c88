// Package control decides what the data plane serves. One goroutine owns the desired state: it merges the configuration
// file, the managers' topologies, what the sentinels say and the operator's orders, keeps for each part where it came
// from, and applies the result as an immutable snapshot.
//
//	file ────────┐
//	manager ─────┤            ┌─ desired() ─> topology.Snapshot ─> Plane.Apply ─> every event loop
//	sentinels ───┼─> inbox ─> Controller.run
//	operator ────┤            └─ rows for the console, the manager's "applied"
//	data plane ──┘
//
// Callers never wait for one another: deliveries are coalesced in the inbox (the newest view per pool, one event per
// group and kind), and whatever blocks (DNS, a switch-over) runs outside the goroutine and comes back through the inbox.
package control

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"respgate/conf"
	"respgate/engine/report"
	"respgate/engine/topology"
	"respgate/managerclient"
	"respgate/sentinelclient"
)

// Plane is the data plane.
type Plane interface {
	// Apply makes every event loop serve the snapshot; on an error nothing has changed.
	Apply(*topology.Snapshot) error
	Stats() *report.Stats
}

// Sentinels watches the sentinels of one pool; *sentinelclient.Monitor is one.
type Sentinels interface {
	Reconfigure(sentinelclient.Config)
	Suspect(group, cause string)
	Rotate(*sentinelclient.Address) error
	Sentinels() []sentinelclient.SentinelStatus
	Failover(ctx context.Context, group string) error
	Verify(ctx context.Context, addr sentinelclient.Address) error
	Pin(group string, addr sentinelclient.Address) error
	Close()
}

// Manager is the client of one pool's manager; *managerclient.Client is one.
type Manager interface {
	Applied(version uint64)
	Refused(version uint64, cause string)
	Reconfigure(managerclient.Config)
	Status() []managerclient.Status
	Close()
}

// Options are what a Controller works with.
type Options struct {
	Plane          Plane
	Log            *slog.Logger
	Version        string // of respgate
	StartSentinels func(sentinelclient.Config, func(*sentinelclient.View)) Sentinels
	StartManager   func(managerclient.Config, func(managerclient.Topology)) Manager
	// Resolve looks a host name up; nil = the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Load reads the configuration file again.
	Load func() (*conf.Config, error)
	// Prepare readies what belongs to the process rather than to a pool (admin and metrics ports, log level) for a new
	// configuration: an error refuses the whole reload; otherwise exactly one of commit and rollback is called.
	Prepare func(old, next *conf.Config) (commit, rollback func(), err error)
	// Commands are the names for the counters of report.Pool.Commands.
	Commands []string
	// Level gets and sets the log level.
	Level *slog.LevelVar
}

// Controller is the control plane of a proxy. Its exported methods are safe for any goroutine.
type Controller struct {
	opts    Options
	log     *slog.Logger
	started time.Time

	box  inbox
	quit chan struct{}
	done chan struct{}
	once sync.Once

	// What follows belongs to the goroutine of run.
	conf       *conf.Config
	loaded     time.Time
	refused    error // of the last reload, nil after a good one
	refusedAt  time.Time
	pools      map[string]*pool
	snap       *topology.Snapshot
	generation uint64 // of masters, over all groups
	names      resolver
	due        *time.Timer // the next thing that happens by itself
	acceptLog  time.Time
}

// Start takes over the first configuration. Its pools are bound when Start returns; an error names the one that cannot be.
func Start(opts Options, first *conf.Config) (*Controller, error) {
	c := &Controller{
		opts: opts, log: opts.Log, started: time.Now(),
		quit: make(chan struct{}), done: make(chan struct{}),
		pools: map[string]*pool{}, snap: &topology.Snapshot{},
		due: time.NewTimer(time.Hour),
	}
	c.box.wake = make(chan struct{}, 1)
	c.names = resolver{ctl: c, lookup: opts.Resolve, hosts: map[string]*host{}}
	if c.names.lookup == nil {
		c.names.lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return defaultLookup(ctx, name)
		}
	}
	if err := c.take(first); err != nil {
		c.closePools()
		return nil, err
	}
	go c.run()
	return c, nil
}

// Close stops the control plane; the data plane goes on serving the last snapshot.
func (c *Controller) Close() {
	c.once.Do(func() { close(c.quit) })
	<-c.done
}

// run is the control goroutine.
func (c *Controller) run() {
	defer close(c.done)
	defer c.closePools()
	for {
		c.settle(time.Now())
		select {
		case <-c.quit:
			return
		case <-c.box.wake:
		case <-c.due.C:
		}
		b := c.box.take()
		now := time.Now()
		for name, v := range b.views {
			if p := c.pools[name]; p != nil && p.sentinels != nil {
				p.view = v
			}
		}
		for name, t := range b.topologies {
			if p := c.pools[name]; p != nil && p.manager != nil {
				c.adopt(p, t)
			}
		}
		for _, ev := range b.events {
			c.notice(ev, now)
		}
		for _, f := range b.calls {
			f()
		}
	}
}

func (c *Controller) closePools() {
	for _, p := range c.pools {
		p.stop()
	}
}

// ask runs f on the control goroutine and waits for it; false if control has ended.
func (c *Controller) ask(f func()) bool {
	finished := make(chan struct{})
	if !c.box.call(func() { f(); close(finished) }) {
		return false
	}
	select {
	case <-finished:
		return true
	case <-c.done:
		return false
	}
}

// Notice takes an event of the data plane. It never blocks.
func (c *Controller) Notice(ev report.Event) { c.box.event(ev) }

// notice acts on an event: it is a hint to look again, never a decision.
func (c *Controller) notice(ev report.Event, now time.Time) {
	if ev.Kind == report.EventAcceptFailed {
		if now.Sub(c.acceptLog) > time.Minute {
			c.acceptLog = now
			c.log.Error("cannot accept connections: raise the limit of open files or lower limits.max_clients", "pool", ev.Pool, "cause", ev.Cause)
		}
		return
	}
	p := c.pools[ev.Pool]
	if p == nil {
		return
	}
	g := p.groups[ev.Group]
	if g == nil || ev.Generation != g.master.Generation {
		return // of a master that is history
	}
	c.log.Debug("data plane", "event", ev.Kind.String(), "pool", ev.Pool, "group", ev.Group, "master", ev.Master, "cause", ev.Cause)
	switch ev.Kind {
	case report.EventLinkUp:
		g.failures = 0
		return
	case report.EventDialFailed:
		c.names.refresh(g.host, now)
	}
	if p.sentinels != nil {
		p.sentinels.Suspect(ev.Group, ev.Cause)
		return
	}
	c.countFailure(p, g, ev.Cause, now)
}

// inbox collects what others tell control. Views, topologies and events are coalesced, so it is bounded by the number of
// pools and groups; calls are bounded by who makes them (the admin port's connections, the pools' lookups).
type inbox struct {
	mu     sync.Mutex
	wake   chan struct{}
	items  batch
	closed bool
}

type batch struct {
	views      map[string]*sentinelclient.View
	topologies map[string]managerclient.Topology
	events     map[eventKey]report.Event
	calls      []func()
}

type eventKey struct {
	pool, group string
	kind        report.EventKind
}

func (b *inbox) take() batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items = batch{}
	return items
}

func (b *inbox) put(f func(*batch)) {
	b.mu.Lock()
	f(&b.items)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *inbox) view(v *sentinelclient.View) {
	b.put(func(i *batch) {
		if i.views == nil {
			i.views = map[string]*sentinelclient.View{}
		}
		i.views[v.Pool] = v
	})
}

func (b *inbox) topology(pool string, t managerclient.Topology) {
	b.put(func(i *batch) {
		if i.topologies == nil {
			i.topologies = map[string]managerclient.Topology{}
		}
		i.topologies[pool] = t
	})
}

func (b *inbox) event(ev report.Event) {
	b.put(func(i *batch) {
		if i.events == nil {
			i.events = map[eventKey]report.Event{}
		}
		i.events[eventKey{ev.Pool, ev.Group, ev.Kind}] = ev
	})
}

// maxCalls bounds the calls that wait: beyond it a caller is refused.
const maxCalls = 4096

func (b *inbox) call(f func()) bool {
	accepted := true
	b.put(func(i *batch) {
		if accepted = len(i.calls) < maxCalls; accepted {
			i.calls = append(i.calls, f)
		}
	})
	return accepted
}
