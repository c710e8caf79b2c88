package control

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"respgate/conf"
	"respgate/engine/command"
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

	sentinelsID, managerID uint64 // of these clients in the inbox; 0 = there is none

	told    managerclient.Topology // the manager's, in force; Version 0 before the first
	waiting uint64                 // version that is to be reported when it has been applied
	groups  map[string]*group
	order   []*group // as the ring has them
	rolling bool     // an operator switches all of them
	ring    *shard.Ring
	ringOf  shard.Config // that ring was built from

	members     []command.Member // that catalog compares
	catalog     *command.Catalog
	toldCatalog *command.Catalog // that was logged last
	toldAdopted string
	toldRefused string

	timeline *timeline

	patience time.Time // until then the sentinels may be expected to answer for the first time

	state     string // of PROXY POOLS
	cause     string
	since     time.Time
	toldState string // that was logged last

	worded time.Time // when it was applied last
	reword time.Time // when words that changed since are due; zero if none did
}

// start begins whatever the pool learns its groups from. Called when its port is bound.
func (c *Controller) start(p *pool) {
	switch p.conf.Source() {
	case conf.SourceManager:
		c.clients++
		id := c.clients
		p.managerID = id
		p.manager = c.opts.StartManager(managerConfig(c.conf, p), func(t managerclient.Topology) { c.box.topology(id, t) })
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
	c.clients++
	id := c.clients
	p.sentinelsID = id
	p.sentinels = c.opts.StartSentinels(cfg, func(v *sentinelclient.View) { c.box.view(id, v) })
}

// stop ends the pool's clients. Its port and links are the data plane's.
func (p *pool) stop() {
	if p.manager != nil {
		p.manager.Close()
	}
	if p.sentinels != nil {
		p.sentinels.Close()
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
	add(c.conf.Metrics.Listen)
	add(c.conf.Metrics.TwemproxyStats)
	return out
}

// adopt takes a manager's topology: all of it, or none.
func (c *Controller) adopt(p *pool, t managerclient.Topology) {
	cfg, err := placement(p.conf, t)
	if err == nil {
		err = checkSentinels(t)
	}
	if err == nil {
		err = p.shape(cfg)
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

// checkSentinels holds that each can be watched: one that is left out would make a majority of the others.
func checkSentinels(t managerclient.Topology) error {
	for _, s := range t.Sentinels {
		if _, err := sentinelclient.ParseAddress(s); err != nil {
			return fmt.Errorf("sentinel %s: %w", s, err)
		}
	}
	return nil
}

// placement is how a manager's topology places keys: its groups, and the file's choices, which its settings may overrule so
// that a fleet shards alike.
func placement(p *conf.Pool, t managerclient.Topology) (shard.Config, error) {
	cfg := shard.Config{Hash: p.Hash, Tag: p.HashTag, Distribution: p.Distribution}
	for _, g := range t.Groups {
		cfg.Nodes = append(cfg.Nodes, shard.Node{Name: g.Name, Weight: max(g.Weight, 1)})
	}
	var err error
	for _, key := range slices.Sorted(maps.Keys(t.Settings)) {
		switch value := t.Settings[key]; key {
		case "hash":
			cfg.Hash, err = shard.ParseHash(value)
		case "distribution":
			cfg.Distribution, err = shard.ParseDistribution(value)
		case "hash_tag":
			cfg.Tag = value
		default:
			err = fmt.Errorf("unknown setting %q: hash, hash_tag and distribution can be set by a manager", key)
		}
		if err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// form makes the groups and the ring of a pool from its configuration and, if there is one, its manager's topology.
func (p *pool) form() error {
	cfg := shard.Config{Hash: p.conf.Hash, Tag: p.conf.HashTag, Distribution: p.conf.Distribution}
	switch p.conf.Source() {
	case conf.SourceServers:
		return p.shapeServers(cfg)
	case conf.SourceFile:
		for _, g := range p.conf.Groups {
			cfg.Nodes = append(cfg.Nodes, shard.Node{Name: g.Name, Weight: g.Weight})
		}
		return p.shape(cfg)
	}
	if p.told.Version == 0 {
		return nil
	}
	cfg, err := placement(p.conf, p.told)
	if err != nil {
		return err
	}
	return p.shape(cfg)
}

// shape makes the pool's groups and ring; groups that stay keep what is known of them, and so does a ring that would come out
// the same. On an error nothing changes.
func (p *pool) shape(cfg shard.Config) error {
	if p.ring == nil || !samePlacement(cfg, p.ringOf) {
		ring, err := shard.New(cfg)
		if err != nil {
			return err
		}
		p.ring, p.ringOf = ring, cfg
	}
	groups, order := make(map[string]*group, len(cfg.Nodes)), make([]*group, len(cfg.Nodes))
	for i, n := range cfg.Nodes {
		g := p.groups[n.Name]
		if g == nil {
			g = newGroup(p, n.Name)
		}
		groups[n.Name], order[i] = g, g
	}
	p.groups, p.order = groups, order
	return nil
}

// samePlacement reports whether two rings place keys alike as long as nobody is ejected.
func samePlacement(a, b shard.Config) bool {
	return a.Hash == b.Hash && a.Tag == b.Tag && a.Distribution == b.Distribution &&
		slices.EqualFunc(a.Nodes, b.Nodes, func(x, y shard.Node) bool { return x.Name == y.Name && x.Weight == y.Weight })
}

// shapeServers is shape for a fixed list: each server is a group of its own, named as twemproxy hashes it.
func (p *pool) shapeServers(cfg shard.Config) error {
	for _, s := range p.conf.Servers {
		cfg.Nodes = append(cfg.Nodes, shard.Node{Name: s.HashName(), Weight: s.Weight})
	}
	if err := p.shape(cfg); err != nil {
		return err
	}
	for i := range p.conf.Servers {
		s := &p.conf.Servers[i]
		p.order[i].server, p.order[i].host = s, s.Host
	}
	return nil
}

// settings are the pool's choices for the data plane.
func (p *pool) settings() topology.Settings {
	cf := p.conf
	return topology.Settings{
		Password: cf.Password.Reveal(), ServerUser: cf.RedisUser, ServerPassword: cf.RedisAuth.Reveal(), DB: cf.RedisDB,
		Timeout: cf.Timeout, ConnectTimeout: connectTimeout, HoldTimeout: p.holdTimeout(), HoldRequests: cf.Hold.Requests, HoldBytes: int64(cf.Hold.Bytes),
		ClientBuffer: int64(cf.ClientBuffer), Pipeline: int64(cf.Pipeline), ServerConnections: cf.ServerConnections,
		Preconnect: cf.Preconnect, TCPKeepalive: cf.TCPKeepalive, VerifyRole: cf.Source() != conf.SourceServers, Databases: max(cf.Databases, cf.RedisDB+1), SessionLinks: cf.SessionLinks, MovingEndpoint: cf.MovingEndpoint,
	}
}

const (
	connectTimeout = 500 * time.Millisecond // of a link to a server: "a few hundred ms", as Redis' client guide has it
	holdMargin     = 4 * time.Second        // a failover takes about 2.4 s beyond down-after-milliseconds
	holdLongest    = 10 * time.Second
	holdFixed      = time.Second // in a fixed list nobody fails over: only a restart is waited for
)

// holdTimeout is how long a request may wait.
func (p *pool) holdTimeout() time.Duration {
	if p.conf.Hold.Timeout == conf.HoldAuto {
		return p.autoHold()
	}
	return p.conf.Hold.Timeout
}

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
