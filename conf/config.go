package conf

import (
	"log/slog"
	"time"

	"respgate/engine/shard"
)

// Config is one configuration file, complete and valid. The meaning, default and range of each key are in the key tables, and
// from there in docs/CONFIGURATION.md.
type Config struct {
	File   string // as it was given to Load
	Digest string // SHA-256 of the file's bytes, in hex

	Admin    Admin         `mapstructure:"admin"`
	Log      Log           `mapstructure:"log"`
	Metrics  Metrics       `mapstructure:"metrics"`
	Limits   Limits        `mapstructure:"limits"`
	Loops    int           `mapstructure:"loops"`     // 0: one for each CPU
	Batch    time.Duration `mapstructure:"batch"`     // the longest rest of a busy loop; 0: none
	StateDir string        `mapstructure:"state_dir"` // "": nothing is kept on disk
	ProxyID  string        `mapstructure:"proxy_id"`

	Pools map[string]*Pool `mapstructure:"pools"` // by name; at least one

	idFromHost bool // ProxyID is not from the file
	warnings   []*Error
}

// Warnings returns what the file may not mean as it stands, each as "file:line:col: key: message".
func (c *Config) Warnings() []string {
	out := make([]string, len(c.warnings))
	for i, w := range c.warnings {
		out[i] = w.Error()
	}
	return out
}

// Admin is the admin port.
type Admin struct {
	Listen        string `mapstructure:"listen"` // "host:port"; "": none
	Password      Secret `mapstructure:"password"`
	StatsPassword Secret `mapstructure:"stats_password"` // lets in for reading only
}

// Log says what is logged to stderr, and how.
type Log struct {
	Level  slog.Level `mapstructure:"level"`
	Format string     `mapstructure:"format"` // auto, text or json
}

// Metrics are the HTTP port of Prometheus and twemproxy's stats port.
type Metrics struct {
	Listen         string `mapstructure:"listen"`          // "host:port"; "": none
	TwemproxyStats string `mapstructure:"twemproxy_stats"` // "host:port"; "": none
}

// Limits bound the process as a whole.
type Limits struct {
	MaxClients int   `mapstructure:"max_clients"`
	Memory     Bytes `mapstructure:"memory"` // for requests, replies and their buffers
}

// Pool is one pool. Exactly one of Servers, Groups (with Sentinels) and Manager is given; Source tells which.
type Pool struct {
	Name   string
	Listen Listen `mapstructure:"listen"`

	Servers   []Server      `mapstructure:"servers"`
	Groups    []Group       `mapstructure:"groups"`
	Sentinels []SentinelRef `mapstructure:"sentinels"`
	Manager   *Manager      `mapstructure:"manager"`

	Hash         shard.Hash         `mapstructure:"hash"`
	HashTag      string             `mapstructure:"hash_tag"` // "" or two characters
	Distribution shard.Distribution `mapstructure:"distribution"`

	Timeout  time.Duration `mapstructure:"timeout"` // 0: none
	Hold     Hold          `mapstructure:"hold"`
	Password Secret        `mapstructure:"password"` // asked of clients; "": none

	MovingEndpoint string `mapstructure:"moving_endpoint"` // "": where a client is connected

	RedisUser    string `mapstructure:"redis_user"`
	RedisAuth    Secret `mapstructure:"redis_auth"`
	RedisDB      int    `mapstructure:"redis_db"`
	Databases    int    `mapstructure:"databases"`
	SessionLinks int    `mapstructure:"session_links"`
	SentinelUser string `mapstructure:"sentinel_user"`
	SentinelAuth Secret `mapstructure:"sentinel_auth"`

	SentinelHeartbeat time.Duration   `mapstructure:"sentinel_heartbeat"`
	SentinelMissed    int             `mapstructure:"sentinel_missed"`
	SentinelTimeout   time.Duration   `mapstructure:"sentinel_timeout"`
	SentinelLinks     int             `mapstructure:"sentinel_links"`  // 0: one to each sentinel
	AuthorityLease    time.Duration   `mapstructure:"authority_lease"` // LeaseAuto, or as long as is said; 0: none
	OnAuthorityLost   AuthorityPolicy `mapstructure:"on_authority_lost"`
	FollowEarly       bool            `mapstructure:"follow"`

	Backlog           int   `mapstructure:"backlog"`
	ReusePort         bool  `mapstructure:"reuseport"`
	TCPKeepalive      bool  `mapstructure:"tcpkeepalive"`
	Preconnect        bool  `mapstructure:"preconnect"`
	ServerConnections int   `mapstructure:"server_connections"`
	ClientBuffer      Bytes `mapstructure:"client_buffer"`
	Pipeline          Bytes `mapstructure:"pipeline"`

	AutoEjectHosts     bool          `mapstructure:"auto_eject_hosts"`
	ServerRetryTimeout time.Duration `mapstructure:"server_retry_timeout"`
	ServerFailureLimit int           `mapstructure:"server_failure_limit"`
}

// Manager tells a pool its groups and sentinels.
type Manager struct {
	Addresses []string      `mapstructure:"addresses"` // "host:port", at least one
	Cluster   string        `mapstructure:"cluster"`
	User      string        `mapstructure:"user"`
	Password  Secret        `mapstructure:"password"`
	Heartbeat time.Duration `mapstructure:"heartbeat"`
	Timeout   time.Duration `mapstructure:"timeout"`
}

// Hold bounds the requests of one group that wait while it has no verified master.
type Hold struct {
	Timeout  time.Duration `mapstructure:"timeout"`  // HoldAuto, or as long as is said
	Requests int           `mapstructure:"requests"` // 0: nothing is held
	Bytes    Bytes         `mapstructure:"bytes"`
}

const (
	// LeaseAuto as Pool.AuthorityLease: as long as sentinels or replicas vouch for.
	LeaseAuto time.Duration = -1
	// HoldAuto as Hold.Timeout: down-after-milliseconds of the group plus 4 s, at most 10 s.
	HoldAuto time.Duration = 0
)

// AuthorityPolicy is what a group does when nobody vouches any longer for its master.
type AuthorityPolicy uint8

// The policies of on_authority_lost.
const (
	AuthorityReject AuthorityPolicy = iota // new connections and requests get an error
	AuthorityFence                         // writes get an error, reads are served
	AuthorityServe                         // everything is served
)

var authorityPolicies = []string{"reject", "fence", "serve"}

// String returns the word of the file.
func (p AuthorityPolicy) String() string {
	if int(p) < len(authorityPolicies) {
		return authorityPolicies[p]
	}
	return "unknown"
}

// Source tells where a pool's groups come from.
type Source uint8

// The sources, as PROXY POOLS names them.
const (
	SourceServers Source = iota // a fixed list
	SourceFile                  // groups and sentinels of the file
	SourceManager               // groups and sentinels of a manager
)

// String returns servers, file or manager.
func (s Source) String() string {
	switch s {
	case SourceServers:
		return "servers"
	case SourceFile:
		return "file"
	case SourceManager:
		return "manager"
	}
	return "unknown"
}

// Source tells where the pool's groups come from.
func (p *Pool) Source() Source {
	switch {
	case p.Manager != nil:
		return SourceManager
	case len(p.Groups) > 0:
		return SourceFile
	}
	return SourceServers
}
