package sentinelclient

import (
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// pool is the pure core of a Monitor: the links to the sentinels, the groups,
// and which sentinel is the active one. It carries what links say to the groups
// and what groups want to the links; what is left for the monitor to do is I/O.
type pool struct {
	cfg    *Config // shared by links and groups; replaced in place
	jitter func() float64
	out    actions

	links   map[linkID]*link
	order   []linkID  // the configured ones
	retired []linkID  // replaced ones that stay until the new ones watch
	elected []linkID  // who may vote
	voting  []linkID  // the electorate: those of them that are not the same sentinel
	overdue time.Time // when it is time to complain that they still stay

	active linkID // 0: none

	groups  map[string]*group
	names   []string // as configured
	owner   map[nodeID]string
	touched map[string]bool // groups that took a step since the last look

	nextLink linkID
	nextWire wireID
	nextNode nodeID
	wires    map[wireID]linkID
}

func newPool(cfg Config, jitter func() float64, now time.Time) *pool {
	c := cfg.withDefaults()
	p := &pool{cfg: &c, jitter: jitter, links: make(map[linkID]*link), groups: make(map[string]*group),
		owner: make(map[nodeID]string), wires: make(map[wireID]linkID), touched: make(map[string]bool)}
	p.setGroups(now)
	p.setSentinels(now)
	p.elected, p.voting = slices.Clone(p.order), slices.Clone(p.order)
	p.arrange(now)
	return p
}

// next is when the pool wants a tick; zero if never.
func (p *pool) next(now time.Time) time.Time {
	var t time.Time
	for _, l := range p.links {
		t = earliest(t, l.next())
	}
	for _, g := range p.groups {
		t = earliest(t, g.next(now))
	}
	if l := p.links[p.active]; p.cfg.single() && l != nil && l.state == SentinelBackoff {
		for _, id := range p.order {
			if nb := p.links[id].notBefore; nb.After(now) {
				t = earliest(t, nb)
			}
		}
	}
	return earliest(t, p.overdue)
}

// tick lets everything act that wanted to by now.
func (p *pool) tick(now time.Time) []action {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	for _, id := range p.linkIDs() {
		if l := p.links[id]; due(l.next()) {
			p.route(now, l.Step(now, evTick{}))
		}
	}
	for _, name := range p.names {
		if g := p.groups[name]; due(g.next(now)) {
			p.route(now, p.tell(now, name, evTick{}))
		}
	}
	p.arrange(now)
	return p.out.take()
}

// onWire takes what happened on a connection to a sentinel.
func (p *pool) onWire(now time.Time, wire wireID, ev any) []action {
	if l := p.links[p.wires[wire]]; l != nil {
		p.route(now, l.Step(now, ev))
		p.arrange(now)
	}
	return p.out.take()
}

// onNode takes the report of a node.
func (p *pool) onNode(now time.Time, node nodeID, r report) []action {
	p.route(now, p.tell(now, p.owner[node], evReport{node: node, report: r}))
	p.arrange(now)
	return p.out.take()
}

// onGroup passes an event of the data plane or of the operator.
func (p *pool) onGroup(now time.Time, name string, ev any) ([]action, error) {
	if p.groups[name] == nil {
		return nil, fmt.Errorf("pool %s, group %s: %w", p.cfg.Pool, name, ErrUnknownGroup)
	}
	p.route(now, p.tell(now, name, ev))
	return p.out.take(), nil
}

// route gives every action to whom it is meant for. Machines only ever cause
// each other's next step through here, never inside their own.
func (p *pool) route(now time.Time, list []action) {
	for len(list) > 0 {
		a := list[0]
		list = list[1:]
		switch a := a.(type) {
		case dial:
			p.wires[a.wire] = a.link
			p.out.add(a)
		case hangUp:
			delete(p.wires, a.wire)
			p.out.add(a)
		case ask:
			p.owner[a.node] = a.group
			p.out.add(a)
		case send, note:
			p.out.add(a)
		case drop:
			delete(p.owner, a.node)
			p.out.add(a)
		case query:
			for _, id := range p.linkIDs() {
				list = append(list, p.links[id].Step(now, evQuery(a))...)
			}
		case answered:
			list = append(list, p.tell(now, a.answer.Group, evAnswer(a))...)
		case heard:
			list = append(list, p.tell(now, a.event.group, evHint(a))...)
		case identified:
			if voting := p.distinct(p.elected); !slices.Equal(voting, p.voting) {
				p.voting = voting
				list = append(list, p.tellAll(now, evElectorate{members: voting})...)
			}
		case tilted:
			list = append(list, p.tellAll(now, evVoterTilt(a))...)
			if p.cfg.single() && a.on && len(p.order) > 1 {
				l := p.links[a.link]
				l.notBefore = now.Add(sentinelSlowest)
				list = append(list, l.Step(now, evPark{cause: fmt.Sprintf("sentinel %v: it is in tilt mode", l.sentinel.Address)})...)
			}
		case lost:
			list = append(list, p.tellAll(now, evVoterLost{link: a.link})...)
		case watching:
			if p.cfg.single() {
				list = append(list, p.tellAll(now, evRecheck{since: p.links[a.link].dialed})...)
			}
		}
	}
}

func (p *pool) tell(now time.Time, name string, ev any) []action {
	g := p.groups[name]
	if g == nil {
		return nil
	}
	p.touched[name] = true
	return g.Step(now, ev)
}

func (p *pool) tellAll(now time.Time, ev any) []action {
	var list []action
	for _, name := range p.names {
		list = append(list, p.tell(now, name, ev)...)
	}
	return list
}

// linkIDs are all links, in the order in which they were made.
func (p *pool) linkIDs() []linkID {
	ids := make([]linkID, 0, len(p.links))
	ids = append(append(ids, p.retired...), p.order...)
	return ids
}

func (p *pool) watches(id linkID) bool {
	l := p.links[id]
	return l != nil && l.state == SentinelWatching
}

func (p *pool) watched(ids []linkID) int {
	n := 0
	for _, id := range ids {
		if p.watches(id) {
			n++
		}
	}
	return n
}

// arrange puts everything that concerns several links in order: which are
// linked, which vote, which one is active, how long they may wait.
func (p *pool) arrange(now time.Time) {
	p.release(now)
	if p.cfg.single() {
		p.arrangeOne(now)
	} else {
		p.arrangeAll(now)
	}
}

func (p *pool) arrangeAll(now time.Time) {
	urgent := p.watched(p.order) <= len(p.order)/2
	for _, id := range p.order {
		l := p.links[id]
		l.setUrgent(now, urgent)
		if l.state == SentinelStandby {
			p.route(now, l.Step(now, evStart{}))
		}
	}
	if !p.watches(p.active) {
		p.rotate(now, p.after(p.active, p.watches))
	}
}

// arrangeOne keeps one link at a time. When it fails, the next sentinel is
// dialed at once, or when its own backoff is over.
func (p *pool) arrangeOne(now time.Time) {
	for _, id := range p.order {
		p.links[id].setUrgent(now, true)
	}
	l := p.links[p.active]
	if p.watches(p.active) {
		p.lookElsewhere(now, l)
		return
	}
	if l != nil && l.state != SentinelBackoff && l.state != SentinelStandby {
		return
	}
	next := p.after(p.active, func(id linkID) bool { return !now.Before(p.links[id].notBefore) })
	switch {
	case next != 0:
		p.switchTo(now, next)
	case l != nil && l.state == SentinelStandby: // all of them wait: the first that may wakes the pool
		p.route(now, l.Step(now, evStart{}))
	}
}

// lookElsewhere rotates when the one sentinel does not know a group, to one
// that was not tried for a while: each is tried once, so this comes to an end.
func (p *pool) lookElsewhere(now time.Time, l *link) {
	if !l.tried.Before(l.dialed) {
		return
	}
	l.tried = now
	for _, name := range p.names {
		if !p.groups[name].ballot.unknown() {
			continue
		}
		next := p.after(p.active, func(id linkID) bool {
			o := p.links[id]
			return id != p.active && !now.Before(o.notBefore) && (o.tried.IsZero() || now.Sub(o.tried) >= unknownFor)
		})
		if next != 0 {
			l.cause = fmt.Sprintf("sentinel %v: unknown master name %q", l.sentinel.Address, name)
			p.switchTo(now, next)
		}
		return
	}
}

// switchTo makes id the one link that there is.
func (p *pool) switchTo(now time.Time, id linkID) {
	if old := p.links[p.active]; old != nil && p.active != id {
		p.route(now, old.Step(now, evPark{cause: old.cause}))
	}
	p.rotate(now, id)
	p.elect(now, []linkID{id})
	p.route(now, p.links[id].Step(now, evStart{}))
}

// after finds the next of the configured links for which ok holds, in their
// order and from id on; id itself comes last. 0 if there is none.
func (p *pool) after(id linkID, ok func(linkID) bool) linkID {
	at := slices.Index(p.order, id)
	for i := range p.order {
		if next := p.order[(at+1+i)%len(p.order)]; ok(next) {
			return next
		}
	}
	return 0
}

// rotate makes id the active sentinel.
func (p *pool) rotate(now time.Time, id linkID) {
	if id == p.active {
		return
	}
	from, to := "", ""
	if old := p.links[p.active]; old != nil {
		old.rotations++
		from = old.sentinel.Address.String()
	}
	if l := p.links[id]; l != nil {
		to = l.sentinel.Address.String()
	}
	p.active = id
	if to == "" {
		p.out.add(note{level: slog.LevelWarn, text: "no sentinel is being watched", attrs: []slog.Attr{slog.String("last", from)}})
		return
	}
	// With one link a search turns in circles while none answers: a complaint then.
	p.out.add(note{level: slog.LevelInfo, complaint: p.cfg.single(), text: "active sentinel changed", attrs: []slog.Attr{
		slog.String("from", from), slog.String("to", to)}})
}

// onRotate is the operator's rotation: to the next one that is watched, or to
// a given one. With one link, any configured sentinel can be next.
func (p *pool) onRotate(now time.Time, to *Address) ([]action, error) {
	usable := p.watches
	if p.cfg.single() {
		usable = func(linkID) bool { return true }
	}
	var id linkID
	if to == nil {
		id = p.after(p.active, func(id linkID) bool { return id != p.active && usable(id) })
		if id == 0 {
			return nil, fmt.Errorf("pool %s: no other %w", p.cfg.Pool, ErrNotWatching)
		}
	} else {
		i := slices.IndexFunc(p.order, func(id linkID) bool { return p.links[id].sentinel.Address == *to })
		if i < 0 {
			return nil, fmt.Errorf("pool %s, sentinel %v: %w", p.cfg.Pool, *to, ErrUnknownSentinel)
		}
		if id = p.order[i]; !usable(id) {
			return nil, fmt.Errorf("pool %s, sentinel %v: %w", p.cfg.Pool, *to, ErrNotWatching)
		}
	}
	switch {
	case id == p.active:
	case p.cfg.single():
		p.links[id].notBefore, p.links[id].tried = now, now
		p.switchTo(now, id)
	default:
		p.rotate(now, id)
	}
	return p.out.take(), nil
}

// elect says which links vote, and tells the groups.
func (p *pool) elect(now time.Time, ids []linkID) {
	p.elected, p.voting = slices.Clone(ids), p.distinct(ids)
	p.route(now, p.tellAll(now, evElectorate{members: p.voting}))
}

// distinct leaves out links that lead to a sentinel which an earlier one leads to: it
// has one vote, under however many addresses it is configured.
func (p *pool) distinct(ids []linkID) []linkID {
	seen := make(map[string]linkID)
	return slices.DeleteFunc(slices.Clone(ids), func(id linkID) bool {
		l := p.links[id]
		if l == nil || l.runID == "" {
			return false
		}
		first, ok := seen[l.runID]
		if !ok {
			seen[l.runID] = id
			return false
		}
		p.out.add(note{level: slog.LevelWarn, complaint: true, text: "two addresses lead to one sentinel, which has one vote: take one out of sentinels",
			attrs: []slog.Attr{slog.String("sentinel", p.addressOf(first).String()), slog.String("again", l.sentinel.Address.String())}})
		return true
	})
}

// ready says whether the pool hears its sentinels, as View.Ready has it, and
// why not.
func (p *pool) ready() (bool, string) {
	if !p.cfg.single() {
		if p.watched(p.voting) > 0 {
			return true, ""
		}
		return false, p.why(p.linkIDs())
	}
	if !p.watches(p.active) {
		return false, p.why(p.linkIDs())
	}
	for _, name := range p.names {
		g := p.groups[name]
		if (g.control != nil || g.probe != nil) && g.concluded.Before(p.links[p.active].dialed) {
			return false, fmt.Sprintf("sentinel %v: group %s: ROLE has not been answered yet", p.links[p.active].sentinel.Address, name)
		}
	}
	return true, ""
}

// why is the latest thing that went wrong on a link.
func (p *pool) why(ids []linkID) string {
	var last *link
	for _, id := range ids {
		if l := p.links[id]; l.cause != "" && (last == nil || l.since.After(last.since)) {
			last = l
		}
	}
	switch {
	case last != nil:
		return last.cause
	case len(p.order) == 0:
		return "no sentinel is configured"
	}
	return "no sentinel has answered yet"
}

// viewOf is one group as the monitor delivers it. ready is that of the pool:
// without a lease, and with one sentinel at a time, it is all the authority there
// is, and a sentinel's last word counts for as long as a link may be silent. A process
// that was stopped knows no better than that. With several the word of a majority is
// what counts.
func (p *pool) viewOf(now time.Time, name string, ready bool) GroupView {
	g := p.groups[name]
	v := g.view(now)
	switch {
	case p.cfg.Lease != 0 || v.Master.IsZero() || !ready:
	case !p.cfg.single():
		if until := g.contact(0); now.Before(until) {
			v.Authority, v.Vouched, v.LeaseUntil = true, "sentinels", until
		}
	default:
		v.Authority, v.Vouched = true, "sentinels"
		v.LeaseUntil = g.ballot.lastAsked(p.cfg.single()).Add(max(p.cfg.Heartbeat*time.Duration(p.cfg.Missed), 3*p.cfg.Poll))
	}
	return v
}

// activeAddress is the sentinel in use, zero if none is.
func (p *pool) activeAddress() Address { return p.addressOf(p.active) }

// addressOf is the sentinel at the other end of a link, zero if there is no such link.
func (p *pool) addressOf(id linkID) Address {
	if l := p.links[id]; l != nil {
		return l.sentinel.Address
	}
	return Address{}
}

// statuses are the sentinels in their configured order, replaced ones last.
func (p *pool) statuses() []SentinelStatus {
	var list []SentinelStatus
	for _, id := range slices.Concat(p.order, p.retired) {
		list = append(list, p.links[id].status(id == p.active))
	}
	return list
}

// refusal of an address as a master of a group: the proxy itself, or the
// master of another group.
func (p *pool) refusal(group string, a Address) string {
	if p.cfg.forbids(a) {
		return "it is the proxy itself"
	}
	for _, name := range p.names {
		if g := p.groups[name]; name != group && g != nil && g.master == a && g.state == GroupUp {
			return "it is the master of group " + name
		}
	}
	return ""
}
