package managerclient

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"respgate/internal/respconn"
)

// state is what a manager's address is doing.
type state uint8

const (
	standby      state = iota // another manager is the active one
	dialing                   // connecting and authenticating
	heartbeating              // a heartbeat was sent, its answer is awaited
	connected                 // answered; the next heartbeat is due later
	backoff                   // failed or refused; not tried before retryAt
)

func (s state) String() string {
	switch s {
	case standby:
		return "standby"
	case dialing:
		return "dialing"
	case heartbeating:
		return "heartbeating"
	case connected:
		return "connected"
	case backoff:
		return "backoff"
	}
	return "unknown"
}

const (
	backoffFirst = 100 * time.Millisecond // facts: as for sentinels
	backoffMost  = 5 * time.Second
	alarmEvery   = time.Minute // per cause and address
	saveRetry    = 30 * time.Second
	urgentMost   = 2 // heartbeats out of turn within an interval
	unsettledMax = 4 // topologies delivered that control has not settled yet
)

// peer is what the machine knows of one address.
type peer struct {
	address   string
	state     state
	since     time.Time
	cause     string // why the last attempt failed or was refused; "" after a good answer
	told      uint64 // the version it told last
	heard     time.Time
	rejected  uint64
	failures  int // in a row
	retryAt   time.Time
	announced bool // its link was logged as up
}

// machine decides what the client of one pool does. It is pure: no I/O, no clock, no goroutine; Step is its only entry.
type machine struct {
	cfg     Config
	jitter  func(time.Duration) time.Duration
	peers   []peer
	active  int // index of the peer the link belongs to, or was tried last
	attempt uint64
	wake    time.Time // when evTick is wanted; zero: not at all
	sent    time.Time // when the last heartbeat went out
	urgent  bool      // something to report before the next regular heartbeat
	window  time.Time // reports counts the urgent heartbeats since then
	reports int

	have      *Topology  // the newest one delivered
	unsettled []Topology // delivered, of these one may still become the good one
	applied   uint64
	refused   evRefused // by control; counts while its version is have's
	good      *Topology // the newest one applied
	saved     uint64    // version on disk
	saving    bool
	saveAt    time.Time // when a failed save is tried again; zero: no failure

	alarms map[string]alarm
}

type alarm struct {
	last       time.Time
	suppressed int
}

func newMachine(cfg Config, jitter func(time.Duration) time.Duration) *machine {
	return &machine{cfg: cfg, jitter: jitter, alarms: map[string]alarm{}}
}

// Step takes one event and returns what is to be done about it.
func (m *machine) Step(now time.Time, ev event) (acts []action) {
	switch ev := ev.(type) {
	case evStart:
		acts = m.onStart(now, ev.stored)
	case evTick:
		acts = m.onTick(now)
	case evDialed:
		if ev.attempt == m.attempt && m.peer().state == dialing {
			acts = m.becomeHeartbeating(now)
		}
	case evReply:
		if ev.attempt == m.attempt && m.peer().state == heartbeating {
			acts = m.onReply(now, ev.v)
		}
	case evFailed:
		if ev.attempt == m.attempt && m.linked() {
			acts = m.onFailed(now, ev.err)
		}
	case evApplied:
		acts = m.onApplied(now, ev.version)
	case evRefused:
		acts = m.onRefused(now, ev)
	case evSaved:
		acts = m.onSaved(now, ev)
	case evReconfigure:
		acts = m.onReconfigure(now, ev)
	}
	m.setWake()
	return acts
}

func (m *machine) peer() *peer { return &m.peers[m.active] }

// linked says that the active peer has a link, or one on its way.
func (m *machine) linked() bool {
	switch m.peer().state {
	case dialing, heartbeating, connected:
		return true
	}
	return false
}

func (m *machine) onStart(now time.Time, stored loaded) []action {
	for _, address := range m.cfg.Addresses {
		m.peers = append(m.peers, peer{address: address, since: now})
	}
	return append(m.takeStored(now, stored), m.becomeDialing(now, 0)...)
}

// takeStored delivers the last good answer of an earlier run, if there is one.
func (m *machine) takeStored(now time.Time, stored loaded) []action {
	switch {
	case errors.Is(stored.err, errNothingStored):
		return nil
	case stored.err != nil:
		return m.alarm(now, "stored", slog.LevelError, "last good topology refused", slog.String("cause", stored.err.Error()))
	}
	t := *stored.topology
	m.saved = t.Version
	return m.deliver(t)
}

func (m *machine) deliver(t Topology) []action {
	m.have = &t
	if m.unsettled = append(m.unsettled, t); len(m.unsettled) > unsettledMax {
		m.unsettled = append(m.unsettled[:0], m.unsettled[1:]...)
	}
	return []action{actDeliver{topology: t}}
}

func (m *machine) onTick(now time.Time) []action {
	var acts []action
	if !m.saveAt.IsZero() && !now.Before(m.saveAt) {
		acts = m.save()
	}
	p := m.peer()
	switch {
	case p.state == connected && !now.Before(m.nextHeartbeat()):
		return append(acts, m.becomeHeartbeating(now)...)
	case (p.state == dialing || p.state == heartbeating) && !now.Before(m.deadline()):
		step := "no answer within"
		if p.state == dialing {
			step = "no connection within"
		}
		return append(acts, m.onFailed(now, fmt.Errorf("%s %s", step, m.cfg.Timeout))...)
	case !m.linked():
		return append(acts, m.rotate(now)...)
	}
	return acts
}

// deadline is the end of the step the link is in, dialing or heartbeating.
func (m *machine) deadline() time.Time { return m.peer().since.Add(m.cfg.Timeout) }

func (m *machine) nextHeartbeat() time.Time { return m.sent.Add(m.cfg.Heartbeat) }

func (m *machine) setWake() {
	switch m.peer().state {
	case dialing, heartbeating:
		m.wake = m.deadline()
	case connected:
		m.wake = m.nextHeartbeat()
	default:
		m.wake = m.peers[m.nextPeer()].retryAt
	}
	if !m.saveAt.IsZero() && m.saveAt.Before(m.wake) {
		m.wake = m.saveAt
	}
}

// becomeDialing makes peer i the active one and opens its link.
func (m *machine) becomeDialing(now time.Time, i int) []action {
	m.active = i
	m.attempt++
	m.enter(now, dialing)
	return []action{actDial{attempt: m.attempt, address: m.peer().address}}
}

// becomeHeartbeating sends one heartbeat with everything there is to report.
func (m *machine) becomeHeartbeating(now time.Time) []action {
	m.enter(now, heartbeating)
	m.sent, m.urgent = now, false
	var have uint64
	var fields []string
	switch {
	case m.have == nil:
		fields = []string{"state", "waiting"}
	case m.refused.version == m.have.Version:
		fields = []string{"content", m.have.Fingerprint(), "state", "refused", "cause", m.refused.cause}
	case m.applied == m.have.Version:
		fields = []string{"content", m.have.Fingerprint(), "state", "applied"}
	default:
		fields = []string{"content", m.have.Fingerprint(), "state", "pending"}
	}
	if m.have != nil {
		have = m.have.Version
	}
	args := heartbeat(m.cfg.Cluster, have, m.cfg.ProxyID, m.applied, append([]string{"pool", m.cfg.Pool}, fields...)...)
	return []action{actHeartbeat{attempt: m.attempt, args: args}}
}

func (m *machine) becomeConnected(now time.Time) []action {
	m.enter(now, connected)
	return m.reportUrgent(now)
}

// becomeBackoff gives the active link up, and goes to the next manager if one may be tried now.
func (m *machine) becomeBackoff(now time.Time, cause string) []action {
	p := m.peer()
	acts := []action{actClose{attempt: m.attempt}}
	m.attempt++ // whatever the link still tells is of the past
	delay := backoffMost
	if p.failures < 16 {
		delay = min(backoffMost, backoffFirst<<p.failures)
	}
	p.failures++
	p.cause, p.announced = cause, false
	p.retryAt = now.Add(m.jitter(delay))
	m.enter(now, backoff)
	return append(acts, m.rotate(now)...)
}

func (m *machine) enter(now time.Time, s state) {
	p := m.peer()
	p.state, p.since = s, now
}

// rotate dials the next manager whose backoff is over; without one it waits for the tick.
func (m *machine) rotate(now time.Time) []action {
	i := m.nextPeer()
	if now.Before(m.peers[i].retryAt) {
		return nil
	}
	return m.becomeDialing(now, i)
}

// nextPeer is the one to try next: the first behind the active one whose time has come earliest.
func (m *machine) nextPeer() int {
	next := (m.active + 1) % len(m.peers)
	for k := range m.peers {
		i := (m.active + 1 + k) % len(m.peers)
		if m.peers[i].retryAt.Before(m.peers[next].retryAt) {
			next = i
		}
	}
	return next
}

func (m *machine) onFailed(now time.Time, err error) []action {
	p := m.peer()
	cause := printable(err.Error())
	var protocol *respconn.ProtocolError
	kind := "link"
	if errors.As(err, &protocol) {
		p.rejected++
		kind = refusedMalformed.String()
	}
	acts := m.alarm(now, kind+" "+p.address, slog.LevelWarn, "manager link lost",
		slog.String("manager", p.address), slog.String("state", p.state.String()), slog.String("cause", cause))
	return append(acts, m.becomeBackoff(now, cause)...)
}

func (m *machine) onReply(now time.Time, v respconn.Value) []action {
	p := m.peer()
	p.heard = now
	a, err := parseAnswer(v)
	var fresh *Topology
	if err == nil {
		p.told = a.version
		fresh, err = a.judge(m.have, p.address)
	}
	var r *refusal
	if errors.As(err, &r) {
		return m.onRefusal(now, r)
	}
	p.failures, p.cause, p.retryAt = 0, "", time.Time{}
	var acts []action
	if !p.announced {
		p.announced = true
		acts = m.alarm(now, "up "+p.address, slog.LevelInfo, "manager link up", slog.String("manager", p.address), slog.Uint64("version", a.version))
	}
	if fresh != nil {
		acts = append(acts, m.log(slog.LevelInfo, "new topology from manager", slog.String("manager", p.address), slog.Uint64("version", fresh.Version),
			slog.Int("groups", len(fresh.Groups)), slog.Int("sentinels", len(fresh.Sentinels))))
		acts = append(acts, m.deliver(*fresh)...)
	}
	return append(acts, m.becomeConnected(now)...)
}

// onRefusal takes nothing of the answer. With other managers to ask it goes to the next; the only one keeps its link and is asked again.
func (m *machine) onRefusal(now time.Time, r *refusal) []action {
	p := m.peer()
	if r.kind != refusedByManager {
		p.rejected++
	}
	attrs := []slog.Attr{slog.String("manager", p.address), slog.String("kind", r.kind.String()), slog.String("cause", r.text)}
	if r.kind == refusedLower || r.kind == refusedOtherContent {
		attrs = append(attrs, slog.String("remedy", "raise the version of the cluster on the manager above the one this proxy has"))
	}
	acts := m.alarm(now, r.kind.String()+" "+p.address, slog.LevelError, "manager answer refused", attrs...)
	if len(m.peers) > 1 {
		return append(acts, m.becomeBackoff(now, r.Error())...)
	}
	p.cause, p.announced = r.Error(), false
	return append(acts, m.becomeConnected(now)...)
}

func (m *machine) onApplied(now time.Time, version uint64) []action {
	for i, t := range m.unsettled {
		if t.Version != version {
			continue
		}
		m.unsettled = append(m.unsettled[:0], m.unsettled[i+1:]...)
		m.applied, m.good = version, &t
		if m.refused.version <= version {
			m.refused = evRefused{}
		}
		return append(m.save(), m.report(now)...)
	}
	return nil
}

func (m *machine) onRefused(now time.Time, ev evRefused) []action {
	if m.have == nil || ev.version != m.have.Version || ev.version <= m.applied {
		return nil
	}
	ev.cause = printable(strings.TrimSpace(ev.cause))
	m.refused = ev
	acts := m.alarm(now, "control", slog.LevelError, "topology of manager could not be applied",
		slog.Uint64("version", ev.version), slog.Uint64("applied", m.applied), slog.String("cause", ev.cause))
	return append(acts, m.report(now)...)
}

// report sends a heartbeat at once, or as soon as the answer to the one in flight is there. Above urgentMost within an interval it leaves the report to
// the next regular one: a manager that has a new version in every answer would keep proxy and manager busy otherwise.
func (m *machine) report(now time.Time) []action {
	m.urgent = true
	if m.peer().state == connected {
		return m.reportUrgent(now)
	}
	return nil
}

func (m *machine) reportUrgent(now time.Time) []action {
	if !m.urgent {
		return nil
	}
	if now.Sub(m.window) >= m.cfg.Heartbeat {
		m.window, m.reports = now, 0
	}
	if m.reports++; m.reports > urgentMost {
		return nil
	}
	return m.becomeHeartbeating(now)
}

// save writes the good topology if it is not on disk; one save runs at a time.
func (m *machine) save() []action {
	m.saveAt = time.Time{}
	if m.cfg.StateDir == "" || m.saving || m.good == nil || m.good.Version == m.saved {
		return nil
	}
	m.saving = true
	return []action{actSave{topology: *m.good}}
}

func (m *machine) onSaved(now time.Time, ev evSaved) []action {
	m.saving = false
	if ev.cluster != m.cfg.Cluster {
		return m.save() // of the cluster this pool had before
	}
	if ev.err == nil {
		m.saved = ev.version
		return m.save() // a newer one may have come meanwhile
	}
	m.saveAt = now.Add(saveRetry)
	return m.alarm(now, "save", slog.LevelError, "last good topology not kept on disk", slog.Uint64("version", ev.version),
		slog.String("cause", ev.err.Error()))
}

func (m *machine) log(level slog.Level, msg string, attrs ...slog.Attr) action {
	return actLog{level: level, msg: msg, attrs: append([]slog.Attr{slog.String("pool", m.cfg.Pool), slog.String("cluster", m.cfg.Cluster)}, attrs...)}
}

// alarm logs at most once a minute for each key. The keys are a handful for each address, so that the map stays small.
func (m *machine) alarm(now time.Time, key string, level slog.Level, msg string, attrs ...slog.Attr) []action {
	a, known := m.alarms[key]
	if known && now.Sub(a.last) < alarmEvery {
		a.suppressed++
		m.alarms[key] = a
		return nil
	}
	if a.suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", a.suppressed))
	}
	m.alarms[key] = alarm{last: now}
	return []action{m.log(level, msg, attrs...)}
}
