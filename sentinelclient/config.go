package sentinelclient

import (
	"net/netip"
	"slices"
	"time"
)

// LeaseAuto lets each group's authority be computed from what the sentinels
// and the replicas say (lease.go).
const LeaseAuto time.Duration = -1

// Fixed pacing. Sources: the measured defaults of Sentinel's own timers (it
// asks INFO once a second and says hello every two).
const (
	connectTimeout  = 500 * time.Millisecond // one dial, sentinel or node
	dialAgain       = 50 * time.Millisecond  // before another one to a node is begun beside it
	fastPoll        = 100 * time.Millisecond // while something is wrong
	fastPollFor     = 30 * time.Second       // then back to Config.Poll
	roleInterval    = time.Second            // ROLE on the control link
	queryWindow     = time.Second            // at most queryBurst queries of a
	queryBurst      = 10                     // group in any window
	pinVouch        = 3 * time.Second        // how long an answer of a pinned master counts
	failoverBound   = 5 * time.Second        // an unfinished failover is forgotten
	olderHold       = 3 * time.Second        // an address that is not newer must stay this long: a hello takes 2 s
	refusedFor      = 5 * time.Second        // a refused candidate gives way to an equal one
	overdueAfter    = 10 * time.Second       // new sentinels should have replaced the old ones by then
	sentinelBackoff = 100 * time.Millisecond
	sentinelSlowest = 5 * time.Second
	sentinelUrgent  = 500 * time.Millisecond // slowest while no majority is watched
	authBackoff     = time.Second
	nodeBackoff     = 50 * time.Millisecond
	vetoBackoff     = 200 * time.Millisecond
	nodeSlowest     = time.Second
	causeLasts      = time.Second      // before a change of nothing but the cause is logged
	settledAfter    = 10 * time.Second // a link that lived this long starts its backoff anew
	unknownFor      = time.Minute      // a sentinel that does not know a group is not tried again for it
)

// Config is what a Monitor works with. Zero durations and counts take the
// defaults that are noted at the fields.
type Config struct {
	Pool      string
	Sentinels []Sentinel // in order of preference
	Groups    []string   // names of the masters in Sentinel, compared exactly

	Master Credentials // AUTH on the masters

	Heartbeat     time.Duration // between PINGs on the subscription; 1 s
	Missed        int           // unanswered PINGs that cost the link; 3
	Timeout       time.Duration // dial to the last answer, and each query; 2 s
	MasterTimeout time.Duration // dial, AUTH and ROLE of one node; 1 s
	Poll          time.Duration // reconciling queries, +-20 %, at most; 1 s. A short down-after makes them more (pace)

	// Links is how many sentinels have a link: 1 is one at a time with
	// rotation (the source design), anything else a link to every sentinel.
	Links int

	// Lease is how long a group's master may be served when the sentinels
	// cannot be heard: LeaseAuto (or any negative value) computes it, 0 means
	// not at all, a positive value counts from the last answer of a majority.
	Lease time.Duration

	// FollowEarly takes the replica that a failover has chosen as soon as it says
	// that it is a master, before the sentinels announce it.
	FollowEarly bool

	// Forbidden are the proxy's own listeners; no node at one of them is ever
	// accepted. An unspecified host (0.0.0.0, ::, "") means every address of
	// this machine.
	Forbidden []Address
}

// withDefaults returns a copy that shares no memory with c.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&c.Heartbeat, time.Second)
	set(&c.Timeout, 2*time.Second)
	set(&c.MasterTimeout, time.Second)
	set(&c.Poll, time.Second)
	if c.Missed <= 0 {
		c.Missed = 3
	}
	if c.Lease < 0 {
		c.Lease = LeaseAuto
	}
	if c.Links != 1 {
		c.Links = 0
	}
	c.Sentinels = unique(c.Sentinels, func(s Sentinel) Address { return s.Address })
	c.Groups = unique(c.Groups, func(g string) string { return g })
	c.Forbidden = slices.Clone(c.Forbidden)
	return c
}

// unique copies list without the later ones of equal keys: a sentinel that is
// written down twice must not have two votes.
func unique[T any, K comparable](list []T, key func(T) K) []T {
	seen := make(map[K]bool, len(list))
	out := make([]T, 0, len(list))
	for _, v := range list {
		if !seen[key(v)] {
			seen[key(v)] = true
			out = append(out, v)
		}
	}
	return out
}

func (c *Config) single() bool { return c.Links == 1 }

// forbids reports whether a is one of the proxy's own listeners, as far as the
// text tells; node.go checks the wildcard ones again against the connection.
func (c *Config) forbids(a Address) bool {
	for _, f := range c.Forbidden {
		if f.Port != a.Port {
			continue
		}
		if f.Host == a.Host || (unspecified(f.Host) || loopback(f.Host)) && (loopback(a.Host) || unspecified(a.Host)) {
			return true
		}
	}
	return false
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func unspecified(host string) bool {
	if host == "" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}
