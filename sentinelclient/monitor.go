package sentinelclient

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"
)

// Monitor watches the sentinels of one pool. Its goroutine owns the pool's
// machines; every method may be called by any goroutine but the one that runs
// deliver.
type Monitor struct {
	poolName string
	deliver  func(*View)
	log      *slog.Logger
	now      func() time.Time

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // the monitor's goroutine has ended
	io     sync.WaitGroup

	events  chan wireEvent
	reports chan nodeReport
	calls   chan func()
	poke    chan struct{}

	mu       sync.Mutex
	suspects map[string]string // group -> cause

	// Of the monitor's goroutine alone:
	pool       *pool
	wires      map[wireID]*wire
	nodes      map[nodeID]nodeHandle
	complaints map[string]time.Time
	last       *View
	delivered  time.Time
	renewed    map[string]bool // groups whose times alone have changed
	urgent     bool            // one of them has little time left in what was delivered
	full       bool            // look at every group
}

// Start watches the sentinels of cfg.Pool until Close. deliver is called from
// the monitor's goroutine, never concurrently; it must not block and must not
// call the monitor. The first view comes at once and says that nothing is known.
func Start(cfg Config, deliver func(*View), log *slog.Logger) *Monitor {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Monitor{
		poolName: cfg.Pool, deliver: deliver, log: log.With(slog.String("pool", cfg.Pool)), now: time.Now,
		ctx: ctx, cancel: cancel, done: make(chan struct{}),
		events: make(chan wireEvent, 256), reports: make(chan nodeReport, 64),
		calls: make(chan func()), poke: make(chan struct{}, 1),
		suspects: make(map[string]string),
		wires:    make(map[wireID]*wire), nodes: make(map[nodeID]nodeHandle),
		complaints: make(map[string]time.Time), renewed: make(map[string]bool), full: true,
	}
	m.pool = newPool(cfg, rand.Float64, m.now())
	go m.run()
	return m
}

// Close ends the monitor and waits for its goroutines. It may be called twice.
func (m *Monitor) Close() {
	m.cancel()
	<-m.done
}

func (m *Monitor) run() {
	defer close(m.done)
	defer m.io.Wait()
	defer m.cancel()
	m.carryOut(m.pool.out.take())
	m.publish()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(m.untilNext())
		select {
		case <-m.ctx.Done():
			m.hangUpAll()
			return
		case ev := <-m.events:
			m.onEvent(ev)
		case r := <-m.reports:
			m.onReport(r)
		case f := <-m.calls:
			f()
		case <-m.poke:
			m.onSuspects()
		case <-timer.C:
		}
		// What has arrived comes before what time has made of it: after a stall
		// of this process nothing must expire that was answered long ago.
		m.drain()
		m.carryOut(m.pool.tick(m.now()))
		m.publish()
	}
}

// untilNext is how long nothing is due.
func (m *Monitor) untilNext() time.Duration {
	now := m.now()
	next := m.pool.next(now)
	if len(m.renewed) > 0 {
		next = earliest(next, m.delivered.Add(m.rest()))
	}
	if next.IsZero() {
		return time.Hour
	}
	return max(next.Sub(now), 0)
}

// drain takes what else is there, so much at a time that time goes on.
func (m *Monitor) drain() {
	for range cap(m.events) {
		select {
		case ev := <-m.events:
			m.onEvent(ev)
		case r := <-m.reports:
			m.onReport(r)
		default:
			return
		}
	}
}

func (m *Monitor) onEvent(ev wireEvent) {
	m.carryOut(m.pool.onWire(m.now(), ev.wire, ev.event))
}

func (m *Monitor) onReport(r nodeReport) {
	m.carryOut(m.pool.onNode(m.now(), r.node, r.report))
}

func (m *Monitor) onSuspects() {
	m.mu.Lock()
	suspects := m.suspects
	m.suspects = make(map[string]string)
	m.mu.Unlock()
	for group, cause := range suspects {
		if list, err := m.pool.onGroup(m.now(), group, evSuspect{cause: cause}); err == nil {
			m.carryOut(list)
		} // else the group was removed in the meantime
	}
}

// call runs f in the monitor's goroutine and waits for it.
func (m *Monitor) call(f func()) error {
	ran := make(chan struct{})
	select {
	case m.calls <- func() { f(); close(ran) }:
		<-ran
		return nil
	case <-m.ctx.Done():
		return ErrClosed
	}
}

// carryOut does what the machines want.
func (m *Monitor) carryOut(list []action) {
	for _, a := range list {
		switch a := a.(type) {
		case dial:
			w := newWire(m.ctx, a)
			m.wires[a.wire] = w
			m.io.Go(func() { w.run(m.events) })
		case send:
			if w := m.wires[a.wire]; w != nil {
				w.send(a.args)
			}
		case hangUp:
			if w := m.wires[a.wire]; w != nil {
				w.hangUp()
				delete(m.wires, a.wire)
			}
		case ask:
			m.ask(a)
		case drop:
			if n, ok := m.nodes[a.node]; ok {
				n.stop()
				delete(m.nodes, a.node)
			}
		case note:
			m.tell(a)
		}
	}
}

// ask passes a question to a node's goroutine and starts that if need be. The
// machine has one question on its way at most, so there is room for it.
func (m *Monitor) ask(a ask) {
	n, ok := m.nodes[a.node]
	if !ok {
		ctx, stop := context.WithCancel(m.ctx)
		n = nodeHandle{asks: make(chan question, 1), stop: stop}
		m.nodes[a.node] = n
		m.io.Go(func() { runNode(ctx, a.node, a.to, n.asks, m.reports) })
	}
	cfg := m.pool.cfg
	n.asks <- question{credentials: cfg.Master, forbidden: cfg.Forbidden, timeout: cfg.MasterTimeout, hasty: a.hasty, acks: a.acks}
}

func (m *Monitor) hangUpAll() {
	for _, w := range m.wires {
		w.hangUp()
	}
	for _, n := range m.nodes {
		n.stop()
	}
}

// publish delivers a view if there is something new in it: at once if anything
// but the times of the last poll has changed, else four times per poll: the
// data plane sends nothing beyond LeaseUntil, which two polls may renew only
// just in time.
func (m *Monitor) publish() {
	now := m.now()
	ready, cause := m.pool.ready()
	active := m.pool.activeAddress()
	whole := m.last == nil || m.full || m.last.Ready != ready
	changed := whole || m.last.Cause != cause || m.last.Active != active
	if whole {
		for _, name := range m.pool.names {
			m.pool.touched[name] = true
		}
	}
	fresh := make(map[string]GroupView)
	for name := range m.pool.touched {
		if m.pool.groups[name] == nil {
			continue
		}
		v := m.pool.viewOf(now, name, ready)
		var old GroupView
		if m.last != nil {
			old = m.last.Groups[name]
		}
		switch {
		case !old.alike(v):
			changed = true
			fresh[name] = v
		case old.renewed(v):
			m.renewed[name] = true
			m.urgent = m.urgent || !old.LeaseUntil.IsZero() && old.LeaseUntil.Sub(now) < m.pool.cfg.Poll/2
		}
	}
	clear(m.pool.touched)
	if !changed && (len(m.renewed) == 0 || now.Sub(m.delivered) < m.rest()) {
		return
	}
	v := &View{Pool: m.pool.cfg.Pool, Serial: 1, Active: active, Ready: ready, Cause: cause}
	if m.last != nil {
		v.Serial = m.last.Serial + 1
		v.Groups = maps.Clone(m.last.Groups)
	} else {
		v.Groups = make(map[string]GroupView, len(fresh))
	}
	maps.Copy(v.Groups, fresh)
	for name := range m.renewed {
		if m.pool.groups[name] != nil {
			v.Groups[name] = m.pool.viewOf(now, name, ready)
		}
	}
	maps.DeleteFunc(v.Groups, func(name string, _ GroupView) bool { return m.pool.groups[name] == nil })
	m.full = false
	clear(m.renewed)
	m.urgent = false
	m.last, m.delivered = v, now
	m.deliver(v)
}

// rest is the time between two deliveries of nothing but times.
func (m *Monitor) rest() time.Duration {
	if m.urgent {
		return urgentRest
	}
	return m.pool.cfg.Poll / 4
}

// urgentRest bounds what a group with a short down-after costs the others.
const urgentRest = 50 * time.Millisecond

// complainEvery is how often the same complaint is logged; maxComplaints bounds
// what is remembered for it.
const (
	complainEvery = time.Minute
	maxComplaints = 1024
)

func (m *Monitor) tell(n note) {
	if n.complaint {
		now, key := m.now(), n.String()
		if last, ok := m.complaints[key]; ok && now.Sub(last) < complainEvery {
			return
		}
		if len(m.complaints) >= maxComplaints {
			maps.DeleteFunc(m.complaints, func(_ string, t time.Time) bool { return now.Sub(t) >= complainEvery })
		}
		if len(m.complaints) >= maxComplaints {
			return // so many different ones within a minute tell nobody anything
		}
		m.complaints[key] = now
	}
	m.log.LogAttrs(m.ctx, n.level, n.text, n.attrs...)
}
