// Package managerclient keeps one pool in touch with its manager: it sends heartbeats, takes new topologies of the pool's cluster, refuses whatever is
// not newer and valid as a whole, and keeps the last good one on disk for a start without a manager. docs/MANAGER.md is the protocol.
//
//	Client.run, the only goroutine that touches the machine
//	   events: link, timer, Applied/Refused/Reconfigure -> machine.Step(now, event) -> actions: dial, heartbeat, close, deliver, save, log
//	link.run, one goroutine per connection: dial, AUTH, a heartbeat at a time, answers back as events
//
// The machine (machine.go) is pure; this file and link.go are its shell. Nothing here ever blocks the data plane: a manager that is gone, slow or wrong
// leaves the pool as it is.
package managerclient

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what the client of one pool is told.
type Config struct {
	Pool      string
	Cluster   string
	Addresses []string      // host:port of each manager, tried in order, rotated on a failure
	Heartbeat time.Duration // between two heartbeats; 0 is 1 s
	Timeout   time.Duration // of a dial with its AUTH, and of a heartbeat; 0 is 2 s
	ProxyID   string        // names this proxy to the manager; letters, digits and . _ - : @ /
	User      string        // "" authenticates with the password alone
	Password  string        // "" does not authenticate
	StateDir  string        // an existing directory for the last good topology; "" keeps nothing on disk
}

func (c Config) withDefaults() Config {
	if c.Heartbeat <= 0 {
		c.Heartbeat = time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 2 * time.Second
	}
	if c.ProxyID == "" {
		c.ProxyID = "respgate"
	}
	var unique []string
	for _, a := range c.Addresses {
		if !slices.Contains(unique, a) {
			unique = append(unique, a)
		}
	}
	if len(unique) == 0 {
		unique = []string{""} // its dial fails with "missing address", which the console shows
	}
	c.Addresses = unique
	return c
}

// Client is the manager client of one pool. Its methods may be called by any goroutine and do not block, but for Close.
type Client struct {
	log     *slog.Logger
	deliver func(Topology)
	cancel  context.CancelFunc
	done    chan struct{}
	status  atomic.Pointer[[]Status]

	mu    sync.Mutex
	inbox []event // of each kind of control's only the newest, of the link's one or two
	wake  chan struct{}
}

// Start reads the last good topology and begins to send heartbeats. deliver is called from the client's goroutine and must not block; it may call the
// client's methods.
func Start(cfg Config, deliver func(Topology), log *slog.Logger) *Client {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{log: log, deliver: deliver, cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	cfg = cfg.withDefaults()
	s := newShell(c, cfg)
	c.status.Store(&[]Status{})
	go s.run(ctx, cfg)
	return c
}

// Applied says that every loop has the topology of that version: it is kept on disk and told to the manager.
func (c *Client) Applied(version uint64) { c.post(evApplied{version: version}) }

// Refused says that the topology of that version could not be applied, and why; the manager is told. A later Applied of the same version is taken, too.
func (c *Client) Refused(version uint64, cause string) {
	c.post(evRefused{version: version, cause: cause})
}

// Reconfigure takes a changed configuration; the pool's name stays. Another cluster starts from nothing, or from its last good topology.
func (c *Client) Reconfigure(cfg Config) { c.post(evReconfigure{cfg: cfg.withDefaults()}) }

// Close ends the heartbeats and waits for the client's goroutines, a write to the disk included. deliver is not called any more when it returns.
func (c *Client) Close() {
	c.cancel()
	<-c.done
}

// Status tells the state of every manager's address, in the order of the configuration.
func (c *Client) Status() []Status { return *c.status.Load() }

// Status is what the client knows of one manager.
type Status struct {
	Address       string
	Cluster       string
	State         string // standby, dialing, heartbeating, connected, backoff
	Active        bool   // the heartbeats go there
	Version       uint64 // of the topology this proxy has, whoever told it; 0 without one
	Told          uint64 // the version this manager told last
	Applied       uint64 // the version every loop has
	LastHeartbeat time.Time
	Rejected      uint64 // answers refused
	Cause         string // why the last attempt failed, or the last answer was refused; "" after a good one
	Since         time.Time
}

// post puts an event of control or of a link into the inbox. Of control's only the newest of a kind is kept, so that the inbox is bounded.
func (c *Client) post(ev event) {
	c.mu.Lock()
	c.inbox = slices.DeleteFunc(c.inbox, func(old event) bool { return supersedes(ev, old) })
	c.inbox = append(c.inbox, ev)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func supersedes(ev, old event) bool {
	switch ev.(type) {
	case evApplied:
		_, same := old.(evApplied)
		return same
	case evRefused:
		_, same := old.(evRefused)
		return same
	case evReconfigure:
		_, same := old.(evReconfigure)
		return same
	}
	return false
}

// take empties the inbox.
func (c *Client) take() []event {
	c.mu.Lock()
	defer c.mu.Unlock()
	evs := c.inbox
	c.inbox = nil
	return evs
}

// shell carries out what the machine decides; it belongs to the client's goroutine.
type shell struct {
	c     *Client
	m     *machine
	store store
	link  *link
	saves sync.WaitGroup
	links sync.WaitGroup
}

func newShell(c *Client, cfg Config) *shell {
	return &shell{
		c: c,
		m: newMachine(cfg, func(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }),
	}
}

func (s *shell) run(ctx context.Context, cfg Config) {
	defer close(s.c.done)
	defer s.links.Wait()
	defer s.saves.Wait()
	defer s.closeLink()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	s.step(evStart{stored: s.open(cfg)})
	for {
		timer.Reset(time.Until(s.m.wake))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			s.step(evTick{})
		case <-s.c.wake:
			for _, ev := range s.c.take() {
				if ctx.Err() != nil {
					return
				}
				s.step(ev)
			}
		}
	}
}

// open points the store at the configuration's file and reads it.
func (s *shell) open(cfg Config) loaded {
	s.store = newStore(cfg.StateDir, cfg.Pool, cfg.Cluster)
	t, err := s.store.load()
	return loaded{topology: &t, err: err}
}

func (s *shell) step(ev event) {
	if ev, ok := ev.(evReconfigure); ok {
		ev.stored = s.open(ev.cfg)
		s.carryOut(s.m.Step(time.Now(), ev))
		return
	}
	s.carryOut(s.m.Step(time.Now(), ev))
}

func (s *shell) carryOut(acts []action) {
	s.c.publish(s.m)
	for _, a := range acts {
		switch a := a.(type) {
		case actDial:
			s.closeLink()
			s.link = newLink(s.c, s.m.cfg, a)
			s.links.Go(s.link.run)
		case actHeartbeat:
			s.link.beat(a.args)
		case actClose:
			s.closeLink()
		case actDeliver:
			s.c.deliver(a.topology)
		case actSave:
			st, cluster := s.store, s.m.cfg.Cluster
			s.saves.Go(func() {
				s.c.post(evSaved{cluster: cluster, version: a.topology.Version, err: st.save(a.topology)})
			})
		case actLog:
			s.c.log.LogAttrs(context.Background(), a.level, a.msg, a.attrs...)
		}
	}
}

func (s *shell) closeLink() {
	if s.link != nil {
		s.link.close()
		s.link = nil
	}
}

// publish makes the machine's state readable for Status.
func (c *Client) publish(m *machine) {
	list := make([]Status, len(m.peers))
	for i, p := range m.peers {
		list[i] = Status{
			Address: p.address, Cluster: m.cfg.Cluster, State: p.state.String(), Active: i == m.active && m.linked(),
			Told: p.told, Applied: m.applied, LastHeartbeat: p.heard, Rejected: p.rejected, Cause: p.cause, Since: p.since,
		}
		if m.have != nil {
			list[i].Version = m.have.Version
		}
	}
	c.status.Store(&list)
}
