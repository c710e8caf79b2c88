package control

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"respgate/conf"
	"respgate/engine/topology"
	"respgate/sentinelclient"
)

// group is control's view of one group.
type group struct {
	name   string
	pool   *pool
	server *conf.Server // in a pool with a fixed list
	host   string       // of the master, for the resolver

	master    topology.Master
	heard     time.Time // when it was asked last and said that it is one
	source    string    // sentinel, operator or file: where master came from
	hold      string    // why requests wait, empty if they do not
	access    topology.Access
	reason    string // of access, empty with Serve
	switching *pause // an operator's switch is under way
	paused    *pause // it holds the group's requests

	state string // of PROXY MASTERS
	cause string
	since time.Time

	firstSign  time.Time // of trouble with the present master, zero if there is none
	switches   uint64
	switchedAt time.Time
	took       time.Duration
	told       told
	vouched    *time.Time // until when, as the data plane was told last; nil: nothing yet
	unvouched  time.Time  // since when nobody vouches for the master, zero if somebody does
	learned    learned
	past       past

	// Of a server in a fixed list:
	failures     int       // without an answer in between
	answered     uint64    // counter of answers at the last failure
	trouble      string    // the last failure, until it has answered or was connected to again
	lookAt       time.Time // when to look whether it has answered
	ejectedUntil time.Time // zero while it is in the ring
	ejectedFor   string
}

// pause is one operator's hold on a group, or the claim to one. Its identity tells it from a later one.
type pause struct {
	why      string
	finish   bool                   // transactions that were begun may go on
	promoted atomic.Pointer[string] // the master that it made, for the timeline
	failed   atomic.Pointer[string] // why it came to nothing
}

// told is what was logged of a group last, when every loop served it.
type told struct {
	generation uint64
	master     string
	state      string
	ejected    bool
}

func newGroup(p *pool, name string) *group {
	return &group{name: name, pool: p, state: "resolving", cause: "nothing is known of it yet", since: time.Now(), told: told{state: "resolving"}}
}

// applied reports whether every loop serves the group's master.
func (g *group) applied() bool { return g.told.generation == g.master.Generation }

// become is the only way to another state.
func (g *group) become(state, cause string, now time.Time) {
	if g.state != state {
		g.since = now
	}
	g.state, g.cause = state, cause
}

// relievedWithin is how long ago a master may have answered that counts as alive when it is left: it is asked once a second.
const relievedWithin = 1500 * time.Millisecond

// point gives the group its master. A new generation voids every link to the one before.
func (c *Controller) point(g *group, next topology.Master, source string, now time.Time) {
	old := g.master
	if old.Name == next.Name && old.Path == next.Path {
		g.master.Addrs, g.master.Epoch, g.source = next.Addrs, next.Epoch, source
		return
	}
	c.generation++
	next.Generation = c.generation
	next.Relieved = old.Known() && now.Sub(g.heard) < relievedWithin
	g.master, g.source = next, source
	if old.Name != "" {
		g.switches++
		g.switchedAt = now
	}
}

// forget takes the group's master away: its source does not name it any more.
func (c *Controller) forget(g *group) {
	if g.master.Name != "" {
		c.generation++
		g.master, g.source = topology.Master{Generation: c.generation}, ""
	}
}

// followSentinels is a group of a sentinel pool: what its sentinels say now becomes what is served.
func (c *Controller) followSentinels(g *group, now time.Time) {
	p := g.pool
	g.access, g.reason = topology.Serve, ""
	if p.view == nil {
		c.forget(g)
		g.hold = "its sentinels have not been asked yet"
		g.become("resolving", g.hold, now)
		return
	}
	v, known := p.view.Groups[g.name]
	if !known {
		c.forget(g)
		g.hold = "its sentinels have not been asked for it yet"
		g.become("resolving", g.hold, now)
		return
	}
	if v.Master.IsZero() {
		c.forget(g)
	} else {
		g.host = v.Master.Host
		addrs, err := c.names.addrs(v.Master.Host, v.Master.Port, now)
		if err != nil {
			g.wait(err.Error(), now)
			g.become("resolving", err.Error(), now)
			return
		}
		source := "sentinel"
		if v.Pinned {
			source = "operator"
		}
		c.point(g, topology.Master{Name: v.Master.String(), Addrs: addrs, Epoch: v.Epoch}, source, now)
		g.heard = v.VerifiedAt
	}
	g.judge(v, now)
}

// judge decides whether the group's requests go out, wait, or are refused.
func (g *group) judge(v sentinelclient.GroupView, now time.Time) {
	p := g.pool
	if v.Authority {
		g.unvouched = time.Time{}
	}
	switch {
	case !g.master.Known():
		g.masterless(v, now)
		return
	case v.Failover != "":
		g.wait("a failover is under way: "+v.Failover, now)
		g.become("holding", g.hold, now)
		return
	case v.State == sentinelclient.GroupVerifying, v.State == sentinelclient.GroupSuspect:
		g.wait(v.Cause, now)
		g.become(v.State.String(), g.hold, now)
	case v.State == sentinelclient.GroupUp:
		g.hold, g.firstSign = "", g.keepSign()
		g.become("up", v.Cause, now)
	default:
		g.wait(v.Cause, now)
		g.become(v.State.String(), g.hold, now)
	}
	if v.Authority {
		return
	}
	if g.unvouched.IsZero() {
		g.unvouched = now
	}
	if p.conf.OnAuthorityLost != conf.AuthorityServe && now.Before(g.judgedAt()) {
		g.wait(fmt.Sprintf("nobody vouches for its master %s at the moment: its sentinels and replicas are being asked", g.master.Name), now)
		g.become("holding", g.hold, now)
		return
	}
	switch p.conf.OnAuthorityLost {
	case conf.AuthorityReject:
		g.access = topology.Reject
	case conf.AuthorityFence:
		g.access = topology.Fence
	default:
		return
	}
	g.reason = fmt.Sprintf("authority over its master %s was lost: no majority of its sentinels and none of its replicas vouches for it", g.master.Name)
	if p.view.Cause != "" {
		g.reason += ": " + p.view.Cause
	}
}

// judgedAt is when on_authority_lost takes effect: after one interaction's time, for a proxy that was stopped has heard from
// nobody and need only ask. Until then requests wait, but none so long that it would fail for it; where there is no lease
// there is no such time either.
func (g *group) judgedAt() time.Time {
	if g.unvouched.IsZero() || g.pool.conf.AuthorityLease == 0 {
		return g.unvouched
	}
	return g.unvouched.Add(min(g.pool.conf.SentinelTimeout, g.pool.holdTimeout()/2))
}

// masterless is a group without any master: requests wait while an answer may still come, and after one interaction's time
// they are refused at once when the sentinels are out of reach or say that there is none.
func (g *group) masterless(v sentinelclient.GroupView, now time.Time) {
	g.hold = cmp.Or(v.Cause, "its master is being looked for")
	g.become(v.State.String(), g.hold, now)
	switch {
	case now.Before(g.pool.patience):
	case !g.pool.view.Ready && g.pool.view.Cause != "":
		g.access, g.reason = topology.Reject, "sentinel unreachable: "+g.pool.view.Cause
	case v.State == sentinelclient.GroupNone:
		g.access, g.reason = topology.Reject, "no verified master: "+v.Cause
	}
}

// wait holds the group's requests and notes the first sign of trouble.
func (g *group) wait(why string, now time.Time) {
	g.hold = cmp.Or(why, "its master is being verified") // an empty one would let the requests go
	if g.firstSign.IsZero() {
		g.firstSign = now
	}
}

// keepSign keeps the first sign until the switch it led to has been applied.
func (g *group) keepSign() time.Time {
	if g.applied() {
		return time.Time{}
	}
	return g.firstSign
}
