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
// Callers never wait for one another: deliveries are coalesced in the inbox (the newest view per client, one event per
// group and kind), and whatever blocks (DNS, a switch-over) runs outside the goroutine and comes back through the inbox.
package control

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"respgate/conf"
	"respgate/engine/command"
	"respgate/engine/report"
	"respgate/engine/topology"
	"respgate/internal/inventory"
	"respgate/internal/status"
	"respgate/managerclient"
	"respgate/sentinelclient"
)

// Plane is the data plane.
type Plane interface {
	// Apply makes every event loop serve the snapshot; on an error nothing has changed.
	Apply(*topology.Snapshot) error
	// Vouch says until when the master of a group may be sent anything; the zero time is without an end.
	Vouch(pool, group string, until time.Time)
	Stats() *report.Stats
}

// Sentinels watches the sentinels of one pool; *sentinelclient.Monitor is one.
type Sentinels interface {
	Reconfigure(sentinelclient.Config)
	Suspect(group, cause string)
	Rotate(*sentinelclient.Address) error
	Sentinels() []sentinelclient.SentinelStatus
	// Switchover begins a planned switch of a group, unless something is in its way.
	Switchover(ctx context.Context, group string) (Switchover, error)
	// Switchable says what is in its way now, nil if nothing is.
	Switchable(ctx context.Context, group string) error
	Verify(ctx context.Context, addr sentinelclient.Address) error
	Pin(group string, addr sentinelclient.Address) error
	Close()
}

// Switchover is a planned switch of one group under way; *sentinelclient.Switchover is one.
type Switchover interface {
	// Master is the one that is switched from.
	Master() sentinelclient.Address
	// Fence makes the old master take no write, and waits for its replicas.
	Fence(ctx context.Context) error
	// Promote has Sentinel fail over, and makes the old master a replica of the new one, which it returns. sure is asked last:
	// an error of it ends the switch, and everything is as it was.
	Promote(ctx context.Context, sure func() error) (sentinelclient.Address, error)
	// Standing is why the old master could not be made a replica, nil if it could.
	Standing() error
	// Following is why the old master, a replica now, does not get what the new one has, as far as that is known by now.
	Following() error
	// Close undoes what nothing has come of.
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
	// Inventory asks a server for its commands; nil = nobody is asked, and the proxy goes by its own table.
	Inventory func(ctx context.Context, s inventory.Server) ([]command.Row, error)
	// Load reads the configuration file again.
	Load func() (*conf.Config, error)
	// Prepare readies what belongs to the process rather than to a pool (admin and metrics ports, log level) for a new
	// configuration: an error refuses the whole reload; otherwise exactly one of commit and rollback is called.
	Prepare func(old, next *conf.Config) (commit, rollback func(), err error)
	// Publish is told every event of the timeline, and when one begins. It must not block. nil = nobody is.
	Publish func(status.Event)
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

	box      inbox
	quit     chan struct{} // closed: decide nothing any more
	done     chan struct{} // closed: nothing is decided any more
	last     chan struct{} // closed: vouch for nobody any more
	gone     chan struct{} // closed: all has ended
	resign   sync.Once
	released sync.Once

	// What follows belongs to the goroutine of run.
	conf       *conf.Config
	loaded     time.Time
	refused    error // of the last reload, nil after a good one
	refusedAt  time.Time
	pools      map[string]*pool
	snap       *topology.Snapshot
	generation uint64 // of masters, over all groups
	clients    uint64 // sentinel and manager clients started so far: their ids in the inbox
	names      *resolver
	commands   *learner
	stats      *report.Stats // of this round, nil until somebody asks
	due        *time.Timer   // the next thing that happens by itself
	overdue    bool          // the data plane refused the last snapshot
	events     uint64        // that were numbered
	open       []*incident   // that are going on
	sampled    time.Time     // the counters that events are compared with
	accepting  complaint
	applying   complaint

	reloading chan struct{}  // holds one during a reload: what is read first is taken over first
	stopping  sync.WaitGroup // clients of pools that are gone
}

// complaint logs the same trouble once a minute.
type complaint struct {
	cause string
	at    time.Time
}

func (k *complaint) due(cause string, now time.Time) bool {
	if k.cause == cause && now.Sub(k.at) < time.Minute {
		return false
	}
	k.cause, k.at = cause, now
	return true
}

// Start takes over the first configuration. Its pools are bound when Start returns; an error names the one that cannot be.
func Start(opts Options, first *conf.Config) (*Controller, error) {
	c := &Controller{
		opts: opts, log: opts.Log, started: time.Now(),
		quit: make(chan struct{}), done: make(chan struct{}), last: make(chan struct{}), gone: make(chan struct{}),
		pools: map[string]*pool{}, snap: &topology.Snapshot{},
		due: time.NewTimer(time.Hour), reloading: make(chan struct{}, 1),
	}
	c.box.wake = make(chan struct{}, 1)
	c.names = newResolver(&c.box, opts.Resolve)
	c.commands = newLearner()
	next, err := c.form(first)
	if err == nil {
		err = c.take(first, next)
	}
	if err != nil {
		c.commands.close()
		c.names.close()
		return nil, err
	}
	c.loaded = c.started
	go c.run()
	return c, nil
}

// Resign ends what changes the data plane: it keeps the last snapshot, in which no operator's switch holds anything, while its
// clients leave. Until Close the masters in it are vouched for as long as their sentinels say so.
func (c *Controller) Resign() {
	c.resign.Do(func() { close(c.quit) })
	<-c.done
}

// Close stops the control plane. A data plane that goes on sends its masters what it can within their last leases.
func (c *Controller) Close() {
	c.Resign()
	c.released.Do(func() { close(c.last) })
	<-c.gone
}

// run is the control goroutine.
func (c *Controller) run() {
	defer close(c.gone)
	for {
		c.settle(time.Now())
		select {
		case <-c.quit:
			c.end()
			c.keepVouching()
			return
		case <-c.box.wake:
		case <-c.due.C:
		}
		c.round(c.box.take(), time.Now())
	}
}

// round acts on what has been told since the last one.
func (c *Controller) round(b batch, now time.Time) {
	c.stats = nil
	c.each("", func(p *pool) {
		if v := b.views[p.sentinelsID]; v != nil {
			p.view = v
		}
		if t, ok := b.topologies[p.managerID]; ok {
			c.adopt(p, t)
		}
	})
	for _, ev := range b.inOrder() {
		c.notice(ev, now)
	}
	for _, f := range b.calls {
		f()
	}
}

// end releases what only this goroutine could release, and stops all that brings changes.
func (c *Controller) end() {
	defer close(c.done)
	for _, p := range c.pools {
		for _, g := range p.order {
			g.switching, g.paused = nil, nil
		}
	}
	c.settle(time.Now())
	c.each("", func(p *pool) {
		if p.manager != nil {
			p.manager.Close()
		}
	})
	c.commands.close()
	c.names.close()
	c.stopping.Wait()
}

// ask runs f on the control goroutine and waits for it: errStopped if control has ended, errBusy if too many wait already.
func (c *Controller) ask(f func()) error { return c.wait(f, c.box.call) }

// insist is ask for what follows up something that was begun: it is never refused for being one too many.
func (c *Controller) insist(f func()) error {
	return c.wait(f, func(f func()) bool { c.box.must(f); return true })
}

func (c *Controller) wait(f func(), queue func(func()) bool) error {
	finished := make(chan struct{})
	if !queue(func() { f(); close(finished) }) {
		return errBusy
	}
	select {
	case <-finished:
		return nil
	case <-c.done:
	}
	select {
	case <-finished: // in the last round
		return nil
	default:
		return errStopped
	}
}

// Notice takes an event of the data plane. It never blocks.
func (c *Controller) Notice(ev report.Event) { c.box.event(ev) }

// notice acts on an event: it is a hint to look again, never a decision.
func (c *Controller) notice(ev report.Event, now time.Time) {
	if ev.Kind == report.EventAcceptFailed {
		if c.accepting.due(ev.Cause, now) {
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
	g.learned.noticed(ev.Kind, now)
	cause := ev.Cause
	switch ev.Kind {
	case report.EventLinkUp:
		g.trouble = ""
		return
	case report.EventResubscribed:
		c.log.Info("subscribed again", "pool", ev.Pool, "group", ev.Group, "master", ev.Master, "cause", ev.Cause)
		return
	case report.EventDialFailed:
		c.names.refresh(g.host, now)
	case report.EventTimeout:
		cause = "requests to it time out" // without the event's count, which would make each a snapshot of its own
	}
	if p.sentinels != nil {
		p.sentinels.Suspect(ev.Group, cause)
		return
	}
	c.countFailure(p, g, cause, now)
}
