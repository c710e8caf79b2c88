package sentinelclient

import (
	"fmt"
	"log/slog"
	"time"

	"respgate/internal/respconn"
)

// link is the pure state machine of the connection to one sentinel:
//
//	standby ── start ──> dialing ──> subscribing ──> resolving ──> watching
//	   ^                    ^             |              |            |
//	   └── park             └── backoff <─┴── failed ────┴────────────┘
//
// Subscribed first, asked afterwards: a switch between the two would be lost
// otherwise. One deadline stands over the whole way to watching.
//
// With RESP3 one wire carries everything. A sentinel that refuses HELLO 3 gets
// two: sub for the subscription and the PINGs, asking for the queries.
type link struct {
	id       linkID
	sentinel Sentinel
	cfg      *Config
	jitter   func() float64 // in [0, 1)
	out      actions
	nextWire *wireID

	state SentinelState
	since time.Time
	cause string

	sub, asking lane
	resp3       bool
	unconfirmed map[string]bool // patterns still to be confirmed
	groups      []string        // to be answered before watching, in this order
	wanted      map[string]bool // the same
	unanswered  map[string]bool // while resolving
	inFlight    map[string]bool // groups with a query on the wire
	again       map[string]bool // groups to be asked once more after it
	partial     map[string]answer

	dialed    time.Time // the last dial
	tried     time.Time // when it was last asked whether it knows every group
	deadline  time.Time // of the way to watching
	notBefore time.Time // of the next dial
	fails     int       // in a row
	urgent    bool      // no majority is watched: never wait long
	noInfo    bool      // INFO did not fit the caps once: tilt comes from events alone
	infoAsked bool      // INFO is on its way
	tilt      bool
	runID     string // of the process at the other end, as last told; two addresses may lead to one
	known     bool   // it was told on this connection

	nextPing  time.Time
	quiet     bool // nothing came on sub since the last PING
	lastPong  time.Time
	missed    int
	rtt       time.Duration
	rotations int
	events    uint64
	ignored   uint64
}

// lane is one wire and what is on its way on it, in order.
type lane struct {
	id      wireID // 0: none
	open    bool
	pending []request
}

type requestKind uint8

const (
	reqAuth requestKind = iota
	reqHello
	reqPing
	reqInfo
	reqAddress
	reqMaster
)

var requestNames = [...]string{"AUTH", "HELLO", "PING", "INFO", "SENTINEL GET-MASTER-ADDR-BY-NAME", "SENTINEL MASTER"}

type request struct {
	kind  requestKind
	group string
	sent  time.Time
}

func (r request) String() string {
	if r.group == "" {
		return requestNames[r.kind]
	}
	return requestNames[r.kind] + " " + r.group
}

// Events of a link.
type (
	evTick      struct{}
	evConnected struct{ wire wireID }
	evBroken    struct {
		wire wireID
		err  error
	}
	evValue struct {
		wire  wireID
		value respconn.Value
	}
	evQuery struct{ group string } // ask for one group now
	evStart struct{}               // dial, as soon as the backoff allows
	evPark  struct{ cause string } // hang up and stand by
)

func newLink(id linkID, s Sentinel, cfg *Config, jitter func() float64, wires *wireID, now time.Time) *link {
	return &link{id: id, sentinel: s, cfg: cfg, jitter: jitter, nextWire: wires, state: SentinelStandby, since: now}
}

// Step takes one event and returns what is to be done.
func (l *link) Step(now time.Time, ev any) []action {
	switch ev := ev.(type) {
	case evTick:
		l.onTick(now)
	case evConnected:
		l.onConnected(now, ev.wire)
	case evBroken:
		l.onBroken(now, ev.wire, ev.err)
	case evValue:
		l.onValue(now, ev.wire, ev.value)
	case evQuery:
		l.query(now, ev.group)
	case evStart:
		if l.state == SentinelStandby {
			l.start(now)
		}
	case evPark:
		l.becomeStandby(now, ev.cause)
	}
	return l.out.take()
}

// next is when the link wants a tick; zero if it waits for nothing.
func (l *link) next() time.Time {
	switch l.state {
	case SentinelBackoff:
		return l.notBefore
	case SentinelDialing, SentinelSubscribing, SentinelResolving:
		return l.deadline
	case SentinelWatching:
		return earliest(l.nextPing, l.queryDeadline())
	}
	return time.Time{}
}

func (l *link) setState(now time.Time, s SentinelState, cause string) {
	if s == l.state && cause == l.cause {
		return
	}
	if s != l.state {
		l.since = now
		level := slog.LevelDebug
		if s == SentinelWatching {
			level = slog.LevelInfo
		}
		if s != SentinelBackoff { // its note is a complaint, by fail
			l.out.add(note{level: level, text: "sentinel link changed", attrs: []slog.Attr{
				slog.String("sentinel", l.sentinel.Address.String()),
				slog.String("from", l.state.String()), slog.String("to", s.String())}})
		}
	}
	l.state, l.cause = s, cause
}

// start dials now, or when the last failure's backoff is over.
func (l *link) start(now time.Time) {
	if now.Before(l.notBefore) {
		l.setState(now, SentinelBackoff, l.cause)
		return
	}
	l.becomeDialing(now)
}

// becomeDialing opens the wire of the subscription and starts the clock of the
// whole interaction.
func (l *link) becomeDialing(now time.Time) {
	l.dialed, l.deadline = now, now.Add(l.cfg.Timeout)
	l.resp3, l.tilt, l.infoAsked, l.known, l.missed = false, false, false, false, 0
	l.unconfirmed, l.unanswered = nil, nil
	l.inFlight, l.again = make(map[string]bool), make(map[string]bool)
	l.partial = make(map[string]answer)
	l.setState(now, SentinelDialing, l.cause)
	l.open(&l.sub)
}

func (l *link) open(ln *lane) {
	*l.nextWire++
	*ln = lane{id: *l.nextWire}
	l.out.add(dial{link: l.id, wire: ln.id, to: l.sentinel.Address})
}

func (l *link) onConnected(now time.Time, id wireID) {
	switch {
	case id == 0:
	case id == l.sub.id:
		l.sub.open = true
		l.becomeSubscribing(now)
	case id == l.asking.id:
		l.asking.open = true
		if auth := l.sentinel.credentials().auth(); auth != nil {
			l.request(now, &l.asking, request{kind: reqAuth}, auth...)
		}
		l.ready(now)
	}
}

// becomeSubscribing logs in and asks for RESP3; the reply to HELLO decides how
// it goes on.
func (l *link) becomeSubscribing(now time.Time) {
	l.setState(now, SentinelSubscribing, l.cause)
	if auth := l.sentinel.credentials().auth(); auth != nil {
		l.request(now, &l.sub, request{kind: reqAuth}, auth...)
	}
	l.request(now, &l.sub, request{kind: reqHello}, "HELLO", "3")
}

func (l *link) subscribe() {
	l.unconfirmed = make(map[string]bool, len(patterns))
	for _, p := range patterns {
		l.unconfirmed[p] = true
	}
	l.out.add(send{wire: l.sub.id, args: append([]string{"PSUBSCRIBE"}, patterns...)})
	if !l.resp3 {
		l.open(&l.asking)
	}
}

// ready goes on to resolving when the subscription stands and the wire of the
// queries is open.
func (l *link) ready(now time.Time) {
	if l.state != SentinelSubscribing || l.unconfirmed == nil || len(l.unconfirmed) > 0 || !l.queries().open {
		return
	}
	l.becomeResolving(now)
}

// queries is the lane that carries them.
func (l *link) queries() *lane {
	if l.resp3 {
		return &l.sub
	}
	return &l.asking
}

func (l *link) becomeResolving(now time.Time) {
	l.setState(now, SentinelResolving, l.cause)
	l.askInfo(now)
	l.unanswered = make(map[string]bool, len(l.groups))
	for _, g := range l.groups {
		l.unanswered[g] = true
		l.query(now, g)
	}
	l.resolved(now)
}

func (l *link) resolved(now time.Time) {
	if l.state == SentinelResolving && len(l.unanswered) == 0 {
		l.becomeWatching(now)
	}
}

func (l *link) becomeWatching(now time.Time) {
	l.setState(now, SentinelWatching, "")
	l.quiet, l.missed = false, 0
	l.out.add(watching{link: l.id})
	l.heartbeat(now)
}

// query asks for one group; while an answer is on its way it is asked once more
// after it, however often it is wanted.
func (l *link) query(now time.Time, group string) {
	if l.state != SentinelResolving && l.state != SentinelWatching {
		return
	}
	if l.inFlight[group] {
		l.again[group] = true
		return
	}
	l.inFlight[group] = true
	ln := l.queries()
	l.request(now, ln, request{kind: reqAddress, group: group}, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", group)
	l.request(now, ln, request{kind: reqMaster, group: group}, "SENTINEL", "MASTER", group)
	if l.tilt {
		l.askInfo(now)
	}
}

// askInfo asks whether it is in tilt: one that began before the subscription has
// no event, and the end of one should not depend on an event alone. The first time
// it asks for everything, for a sentinel of Redis 6 takes one section at most.
func (l *link) askInfo(now time.Time) {
	if l.noInfo || l.infoAsked {
		return
	}
	l.infoAsked = true
	if !l.known {
		l.request(now, l.queries(), request{kind: reqInfo}, "INFO")
		return
	}
	l.request(now, l.queries(), request{kind: reqInfo}, "INFO", "sentinel")
}

// onInfo takes what it says of itself. NOPERM: tilt comes from events alone.
func (l *link) onInfo(v respconn.Value) {
	l.infoAsked = false
	text, ok := v.Text()
	if v.IsError() || !ok {
		return
	}
	fields := infoFields(text)
	l.setTilt(fields["sentinel_tilt"] == "1")
	if id := fields["run_id"]; !l.known && id != l.runID {
		l.runID = clip(id)
		l.out.add(identified{link: l.id})
	}
	l.known = true
}

func (l *link) request(now time.Time, ln *lane, r request, args ...string) {
	r.sent = now
	ln.pending = append(ln.pending, r)
	l.out.add(send{wire: ln.id, args: args})
}

func (l *link) onTick(now time.Time) {
	switch l.state {
	case SentinelBackoff:
		if !now.Before(l.notBefore) {
			l.becomeDialing(now)
		}
	case SentinelDialing, SentinelSubscribing, SentinelResolving:
		if !now.Before(l.deadline) {
			l.fail(now, fmt.Errorf("not through within %v", l.cfg.Timeout))
		}
	case SentinelWatching:
		if d := l.queryDeadline(); !d.IsZero() && !now.Before(d) {
			l.fail(now, fmt.Errorf("no answer to %v within %v", l.oldestQuery(), l.cfg.Timeout))
			return
		}
		if !now.Before(l.nextPing) {
			l.heartbeat(now)
		}
	}
}

// heartbeat counts the interval that passed without a byte, and sends a PING.
func (l *link) heartbeat(now time.Time) {
	if l.quiet {
		l.missed++
		if l.missed >= l.cfg.Missed {
			l.fail(now, fmt.Errorf("%d heartbeats missed", l.missed))
			return
		}
	}
	l.quiet = true
	l.nextPing = now.Add(l.cfg.Heartbeat)
	l.request(now, &l.sub, request{kind: reqPing}, "PING")
}

// oldestQuery is the first request on its way that is no PING: those have the
// count of missed ones over them.
func (l *link) oldestQuery() *request {
	for i := range l.queries().pending {
		if r := &l.queries().pending[i]; r.kind != reqPing {
			return r
		}
	}
	return nil
}

func (l *link) queryDeadline() time.Time {
	if r := l.oldestQuery(); r != nil {
		return r.sent.Add(l.cfg.Timeout)
	}
	return time.Time{}
}

func (l *link) onBroken(now time.Time, id wireID, err error) {
	if id != 0 && (id == l.sub.id || id == l.asking.id) {
		if r := l.oldestQuery(); r != nil && r.kind == reqInfo && isProtocolError(err) {
			l.noInfo = true
		}
		l.fail(now, err)
	}
}

var phases = [...]string{"standby", "dial", "subscribe", "resolve", "watch", "backoff"}

// fail hangs up and waits before the next dial: 100 ms doubled up to 5 s, all
// of it jittered, and never long while no majority is watched.
func (l *link) fail(now time.Time, err error) {
	if l.state == SentinelWatching && now.Sub(l.since) >= settledAfter {
		l.fails = 0
	}
	cause := fmt.Sprintf("sentinel %v: %s: %v", l.sentinel.Address, phases[l.state], err)
	first, slowest := sentinelBackoff, sentinelSlowest
	if l.urgent {
		slowest = sentinelUrgent
	}
	if isAuthError(err) {
		first, slowest = authBackoff, sentinelSlowest
	}
	l.notBefore = now.Add(backoff(l.fails, first, slowest, l.jitter()))
	l.fails = min(l.fails+1, 16)
	l.becomeBackoff(now, cause)
}

func (l *link) becomeBackoff(now time.Time, cause string) {
	l.hangUp()
	l.setState(now, SentinelBackoff, cause)
	l.out.add(note{level: slog.LevelWarn, text: "sentinel link lost", complaint: true, attrs: []slog.Attr{
		slog.String("sentinel", l.sentinel.Address.String()), slog.String("cause", cause)}})
	l.out.add(lost{link: l.id, cause: cause})
}

// becomeStandby hangs up without another dial; what was waited for stays due.
func (l *link) becomeStandby(now time.Time, cause string) {
	if l.state == SentinelStandby {
		return
	}
	l.hangUp()
	l.setState(now, SentinelStandby, cause)
	l.out.add(lost{link: l.id, cause: cause})
}

func (l *link) hangUp() {
	for _, ln := range []*lane{&l.sub, &l.asking} {
		if ln.id != 0 {
			l.out.add(hangUp{wire: ln.id})
		}
		*ln = lane{}
	}
	l.missed = 0
	l.nextPing = time.Time{}
}

// setUrgent shortens or lengthens the waits; a running one is only shortened.
func (l *link) setUrgent(now time.Time, urgent bool) {
	if l.urgent == urgent {
		return
	}
	l.urgent = urgent
	if soonest := now.Add(time.Duration(l.jitter() * float64(sentinelUrgent))); urgent &&
		l.state == SentinelBackoff && !isAuthCause(l.cause) && soonest.Before(l.notBefore) {
		l.notBefore = soonest
	}
}

// setGroups changes what is asked for; new groups are asked for at once.
func (l *link) setGroups(now time.Time, groups []string) []action {
	had := l.wanted
	l.groups, l.wanted = groups, make(map[string]bool, len(groups))
	for _, g := range groups {
		l.wanted[g] = true
		if !had[g] {
			l.query(now, g)
		}
	}
	for g := range l.unanswered {
		if !l.wanted[g] {
			delete(l.unanswered, g)
		}
	}
	l.resolved(now)
	return l.out.take()
}

func (l *link) status(active bool) SentinelStatus {
	return SentinelStatus{Address: l.sentinel.Address, State: l.state, Active: active, LastPong: l.lastPong,
		Missed: l.missed, RTT: l.rtt, Rotations: l.rotations, Tilt: l.tilt, Cause: l.cause, Since: l.since,
		Events: l.events, Ignored: l.ignored}
}

// backoff is first doubled n times, at most slowest, with full jitter r in
// [0, 1); a tenth of it is always waited.
func backoff(n int, first, slowest time.Duration, r float64) time.Duration {
	d := slowest
	if n < 16 && first<<n < slowest {
		d = first << n
	}
	return d/10 + time.Duration(r*float64(d-d/10))
}

// earliest is the earlier of two times; zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
