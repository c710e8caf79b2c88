package control

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"respgate/conf"
	"respgate/engine/shard"
	"respgate/engine/topology"
	"respgate/managerclient"
	"respgate/sentinelclient"
)

// pool is control's view of one pool: where its groups come from and what is known of each.
type pool struct {
	name      string
	conf      *conf.Pool
	sentinels Sentinels // nil in a pool with a fixed list, and before a manager has told any
	manager   Manager   // nil unless the pool has one
	view      *sentinelclient.View
	told      managerclient.Topology // the manager's, in force; Version 0 before the first
	waiting   uint64                 // version that is to be reported when it has been applied
	groups    map[string]*group
	order     []*group // as the ring has them
	ring      *shard.Ring
	ringOf    shard.Config // that ring was built from

	patience time.Time // until then the sentinels may be expected to answer for the first time

	state string // of PROXY POOLS
	cause string
	since time.Time
}

// start begins whatever the pool learns its groups from. Called when its port is bound.
func (c *Controller) start(p *pool) {
	switch p.conf.Source() {
	case conf.SourceManager:
		p.manager = c.opts.StartManager(managerConfig(c.conf, p), func(t managerclient.Topology) { c.box.topology(p.name, t) })
	case conf.SourceFile:
		c.watch(p)
	}
}

// watch starts or re-configures the sentinel client.
func (c *Controller) watch(p *pool) {
	cfg := c.sentinelConfig(p)
	if p.sentinels != nil {
		p.sentinels.Reconfigure(cfg)
		return
	}
	p.patience = time.Now().Add(p.conf.SentinelTimeout)
	p.sentinels = c.opts.StartSentinels(cfg, c.box.view)
}

// stop ends the pool's clients. Its port and links are the data plane's.
func (p *pool) stop() {
	if p.manager != nil {
		p.manager.Close()
		p.manager = nil
	}
	if p.sentinels != nil {
		p.sentinels.Close()
		p.sentinels = nil
	}
}

func managerConfig(c *conf.Config, p *pool) managerclient.Config {
	m := p.conf.Manager
	return managerclient.Config{
		Pool: p.name, Cluster: m.Cluster, Addresses: m.Addresses, Heartbeat: m.Heartbeat, Timeout: m.Timeout,
		ProxyID: c.ProxyID, User: m.User, Password: m.Password.Reveal(), StateDir: c.StateDir,
	}
}

func (c *Controller) sentinelConfig(p *pool) sentinelclient.Config {
	cf := p.conf
	out := sentinelclient.Config{
		Pool:      p.name,
		Master:    sentinelclient.Credentials{User: cf.RedisUser, Password: cf.RedisAuth.Reveal()},
		Heartbeat: cf.SentinelHeartbeat, Missed: cf.SentinelMissed, Timeout: cf.SentinelTimeout,
		Links: cf.SentinelLinks, Lease: cf.AuthorityLease, FollowEarly: cf.FollowEarly,
		Forbidden: c.listeners(),
	}
	if cf.AuthorityLease == conf.LeaseAuto {
		out.Lease = sentinelclient.LeaseAuto
	}
	add := func(host string, port int) {
		out.Sentinels = append(out.Sentinels, sentinelclient.Sentinel{
			Address: sentinelclient.Address{Host: host, Port: port}, User: cf.SentinelUser, Password: cf.SentinelAuth.Reveal(),
		})
	}
	for _, s := range cf.Sentinels {
		add(s.Host, s.Port)
	}
	if p.manager != nil {
		for _, s := range p.told.Sentinels {
			if a, err := sentinelclient.ParseAddress(s); err == nil {
				add(a.Host, a.Port)
			}
		}
	}
	for _, g := range p.order {
		out.Groups = append(out.Groups, g.name)
	}
	return out
}

// listeners are the proxy's own ports: no master can be there.
func (c *Controller) listeners() (out []sentinelclient.Address) {
	add := func(address string) {
		host, port, err := net.SplitHostPort(address)
		if n, convErr := strconv.Atoi(port); err == nil && convErr == nil {
			out = append(out, sentinelclient.Address{Host: host, Port: n})
		}
	}
	for _, p := range c.conf.Pools {
		if p.Listen.Network == "tcp" {
			add(p.Listen.Address)
		}
	}
	add(c.conf.Admin.Listen)
	return out
}

// adopt takes a manager's topology: all of it, or none.
func (c *Controller) adopt(p *pool, t managerclient.Topology) {
	hash, tag, dist, err := sharding(p.conf, t.Settings)
	if err == nil {
		err = p.shape(groupsOf(t), hash, tag, dist, c)
	}
	if err != nil {
		c.log.Error("topology of the manager refused", "pool", p.name, "manager", t.Manager, "version", t.Version, "cause", err.Error())
		p.manager.Refused(t.Version, err.Error())
		return
	}
	c.log.Info("topology of the manager taken", "pool", p.name, "manager", t.Manager, "version", t.Version, "groups", len(t.Groups), "sentinels", len(t.Sentinels), "from-disk", t.FromDisk)
	p.told, p.waiting = t, t.Version
	c.watch(p)
}

func groupsOf(t managerclient.Topology) []conf.Group {
	out := make([]conf.Group, len(t.Groups))
	for i, g := range t.Groups {
		out[i] = conf.Group{Name: g.Name, Weight: max(g.Weight, 1)}
	}
	return out
}

// sharding is how keys are placed: the file's choice, which the manager's settings may overrule so that a fleet shards alike.
func sharding(p *conf.Pool, settings map[string]string) (shard.Hash, string, shard.Distribution, error) {
	hash, tag, dist := p.Hash, p.HashTag, p.Distribution
	var err error
	for key, value := range settings {
		switch key {
		case "hash":
			hash, err = shard.ParseHash(value)
		case "distribution":
			dist, err = shard.ParseDistribution(value)
		case "hash_tag":
			tag = value
		default:
			err = fmt.Errorf("unknown setting %q: hash, hash_tag and distribution can be set by a manager", key)
		}
		if err != nil {
			return 0, "", 0, err
		}
	}
	return hash, tag, dist, nil
}

// shape makes the pool's groups and ring; groups that stay keep what is known of them. On an error nothing changes.
func (p *pool) shape(list []conf.Group, hash shard.Hash, tag string, dist shard.Distribution, c *Controller) error {
	nodes := make([]shard.Node, len(list))
	for i, g := range list {
		nodes[i] = shard.Node{Name: g.Name, Weight: g.Weight}
	}
	cfg := shard.Config{Hash: hash, Tag: tag, Distribution: dist, Nodes: nodes}
	ring, err := shard.New(cfg)
	if err != nil {
		return err
	}
	groups, order := make(map[string]*group, len(list)), make([]*group, len(list))
	for i, g := range list {
		old := p.groups[g.Name]
		if old == nil {
			old = newGroup(p, g.Name)
		}
		groups[g.Name], order[i] = old, old
	}
	p.groups, p.order, p.ring, p.ringOf = groups, order, ring, cfg
	return nil
}

// shapeServers is shape for a fixed list: each server is a group of its own, named as twemproxy hashes it.
func (p *pool) shapeServers(c *Controller) error {
	list := make([]conf.Group, len(p.conf.Servers))
	for i, s := range p.conf.Servers {
		list[i] = conf.Group{Name: s.HashName(), Weight: s.Weight}
	}
	if err := p.shape(list, p.conf.Hash, p.conf.HashTag, p.conf.Distribution, c); err != nil {
		return err
	}
	for i, s := range p.conf.Servers {
		p.order[i].server = &p.conf.Servers[i]
		p.order[i].host = s.Host
	}
	return nil
}

// eject rebuilds the ring when a server went out of it or came back.
func (p *pool) eject() {
	changed := false
	nodes := slices.Clone(p.ringOf.Nodes)
	for i, g := range p.order {
		out := !g.ejectedUntil.IsZero()
		changed = changed || nodes[i].Ejected != out
		nodes[i].Ejected = out
	}
	if !changed {
		return
	}
	cfg := p.ringOf
	cfg.Nodes = nodes
	ring, err := shard.New(cfg)
	if err != nil {
		return // the same nodes made a ring before
	}
	p.ring, p.ringOf = ring, cfg
}

// settings are the pool's choices for the data plane.
func (p *pool) settings() topology.Settings {
	cf := p.conf
	s := topology.Settings{
		Password: cf.Password.Reveal(), ServerUser: cf.RedisUser, ServerPassword: cf.RedisAuth.Reveal(), DB: cf.RedisDB,
		Timeout: cf.Timeout, ConnectTimeout: connectTimeout, HoldTimeout: cf.Hold.Timeout, HoldRequests: cf.Hold.Requests, HoldBytes: int64(cf.Hold.Bytes),
		ClientBuffer: int64(cf.ClientBuffer), Pipeline: int64(cf.Pipeline), ServerConnections: cf.ServerConnections,
		Preconnect: cf.Preconnect, TCPKeepalive: cf.TCPKeepalive, VerifyRole: cf.Source() != conf.SourceServers, Databases: max(databases, cf.RedisDB+1),
	}
	if cf.Hold.Timeout == conf.HoldAuto {
		s.HoldTimeout = p.autoHold()
	}
	return s
}

const (
	connectTimeout = 500 * time.Millisecond // of a link to a server: "a few hundred ms", as Redis' client guide has it
	databases      = 16                     // what a Redis server has by default
	holdMargin     = 4 * time.Second        // a failover takes about 2.4 s beyond down-after-milliseconds
	holdLongest    = 10 * time.Second
	holdFixed      = time.Second // in a fixed list nobody fails over: only a restart is waited for
)

// autoHold is down-after-milliseconds of the slowest group plus a margin, at most 10 s.
func (p *pool) autoHold() time.Duration {
	if p.conf.Source() == conf.SourceServers {
		return holdFixed
	}
	var slowest time.Duration
	if p.view != nil {
		for _, g := range p.view.Groups {
			slowest = max(slowest, g.DownAfter)
		}
	}
	if slowest == 0 {
		return holdLongest
	}
	return min(slowest+holdMargin, holdLongest)
}
