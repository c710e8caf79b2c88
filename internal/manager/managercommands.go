package manager

import (
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"respgate/internal/respconn"
)

// maxFields bounds the extra fields of a heartbeat.
const maxFields = 16

func managerCommands() []command {
	cluster := argument{name: "cluster", kind: "string"}
	return []command{
		{name: "clusters", arity: 2, summary: "Lists the clusters, their versions and how many proxies have them.", run: cmdClusters},
		{name: "get", arity: 3, summary: "Returns what a cluster's proxies are told.", run: cmdGet, args: []argument{cluster}},
		{name: "set", arity: -5, summary: "Changes a cluster, or makes one, and rewrites the manager's file.", run: cmdSet, args: []argument{cluster,
			{name: "group", kind: "string", token: "GROUPS", optional: true, multiple: true},
			{name: "host:port", kind: "string", token: "SENTINELS", optional: true, multiple: true},
			{name: "name value", kind: "string", token: "SETTINGS", optional: true, multiple: true},
			{name: "version", kind: "integer", token: "VERSION", optional: true}}},
		{name: "proxies", arity: -2, summary: "Lists the proxies heard of, and which version each has applied.", run: cmdProxies,
			args: []argument{{name: "cluster", kind: "string", optional: true}}},
		{name: "heartbeat", arity: -5, summary: "What a proxy sends: returns the version of the cluster, and its content if the proxy has another one.",
			run: cmdHeartbeat, args: []argument{cluster, {name: "have-version", kind: "integer"}, {name: "proxy-id", kind: "string"},
				{name: "applied-version", kind: "integer", token: "applied", optional: true}, {name: "field value", kind: "string", optional: true, multiple: true}}},
		{name: "help", arity: 2, summary: "Returns the commands of the manager.", run: cmdManagerHelp},
	}
}

func cmdManagerHelp(*Server, *client, []string) respconn.Value {
	return respconn.Strings(
		"MANAGER <subcommand> [<arg> ...]. Subcommands are:",
		"CLUSTERS",
		"    List the clusters, their versions and how many proxies have them.",
		"GET <cluster>",
		"    Return what the proxies of a cluster are told.",
		"SET <cluster> [GROUPS <name>[:<weight>] ...] [SENTINELS <host>:<port> ...] [SETTINGS [<name> <value> ...]] [VERSION <n>]",
		"    Change a cluster, or make one, and rewrite the manager's file. What is not named stays. The version rises by itself.",
		"PROXIES [<cluster>]",
		"    List the proxies heard of, and which version each has applied.",
		"HEARTBEAT <cluster> <have-version> <proxy-id> [applied <version>] [<field> <value> ...]",
		"    What a proxy sends.",
		"HELP",
		"    Print this help.")
}

func noCluster(name string) respconn.Value {
	return respconn.Errorf("ERR no such cluster '%s'", quoted(name))
}

func cmdClusters(s *Server, _ *client, _ []string) respconn.Value {
	var list []respconn.Value
	for _, c := range s.store.Clusters() {
		proxies := s.proxies.List(c.Name)
		applied := 0
		for _, p := range proxies {
			if p.state(c) == "current" {
				applied++
			}
		}
		list = append(list, respconn.Fields("name", c.Name, "version", c.Version, "groups", len(c.Groups), "sentinels", len(c.Sentinels),
			"proxies", len(proxies), "applied", applied))
	}
	return respconn.List(list...)
}

func cmdGet(s *Server, _ *client, args []string) respconn.Value {
	c, found := s.store.Cluster(args[2])
	if !found {
		return noCluster(args[2])
	}
	return told(c, 0)
}

// told is the answer to a heartbeat of a proxy that has the version have.
func told(c Cluster, have uint64) respconn.Value {
	pairs := []any{"version", c.Version}
	if have == c.Version {
		return respconn.Fields(pairs...)
	}
	groups := make([]respconn.Value, len(c.Groups))
	var weights []respconn.Value
	for i, g := range c.Groups {
		groups[i] = respconn.Bulk(g.Name)
		if g.Weight != 1 {
			weights = append(weights, respconn.Bulk(g.Name), respconn.Int(int64(g.Weight)))
		}
	}
	sentinels := make([]respconn.Value, len(c.Sentinels))
	for i, s := range c.Sentinels {
		sentinels[i] = respconn.Strings(s.Host, strconv.Itoa(s.Port))
	}
	pairs = append(pairs, "groups", respconn.List(groups...), "sentinels", respconn.List(sentinels...))
	if weights != nil {
		pairs = append(pairs, "weights", respconn.List(weights...))
	}
	for _, name := range sortedKeys(c.Settings) {
		pairs = append(pairs, name, c.Settings[name])
	}
	return respconn.Fields(pairs...)
}

func cmdProxies(s *Server, _ *client, args []string) respconn.Value {
	cluster := ""
	if len(args) > 2 {
		if cluster = args[2]; len(args) > 3 {
			return respconn.Errorf("ERR wrong number of arguments for 'manager|proxies' command")
		}
		if _, found := s.store.Cluster(cluster); !found {
			return noCluster(cluster)
		}
	}
	var list []respconn.Value
	for _, p := range s.proxies.List(cluster) {
		state := "removed" // its cluster is
		if c, found := s.store.Cluster(p.Cluster); found {
			state = p.state(c)
		}
		list = append(list, respconn.Fields("cluster", p.Cluster, "proxy", p.Proxy, "pool", p.Fields["pool"], "address", p.Address, "state", state,
			"version", p.Have, "applied-version", p.Applied, "last-heartbeat-ms-ago", since(p.Last), "first-heartbeat-ms-ago", since(p.First),
			"cause", p.Fields["cause"]))
	}
	return respconn.List(list...)
}

func cmdHeartbeat(s *Server, c *client, args []string) respconn.Value {
	cluster, found := s.store.Cluster(args[2])
	if !found {
		return noCluster(args[2])
	}
	hb, fault := parseHeartbeat(args)
	if fault.IsError() {
		return fault
	}
	hb.Address, _, _ = net.SplitHostPort(c.conn.RemoteAddr().String())
	now := time.Now()
	before, known := s.proxies.Heard(now, hb)
	s.notice(cluster, Proxy{Heartbeat: hb, Last: now}, before, known)
	return told(cluster, hb.Have)
}

// parseHeartbeat reads MANAGER HEARTBEAT <cluster> <have-version> <proxy-id> [<field> <value> ...]; applied is one of the fields.
func parseHeartbeat(args []string) (hb Heartbeat, fault respconn.Value) {
	hb = Heartbeat{Cluster: args[2], Proxy: args[4], Fields: map[string]string{}}
	var err error
	if hb.Have, err = strconv.ParseUint(args[3], 10, 63); err != nil {
		return hb, respconn.Errorf("ERR the version a proxy has is an integer, 0 for none")
	}
	if len(hb.Proxy) < 1 || len(hb.Proxy) > 128 || strings.ContainsFunc(hb.Proxy, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return hb, respconn.Errorf("ERR a proxy's id has 1 to 128 printable characters and no space")
	}
	fields := args[5:]
	if len(fields)%2 != 0 || len(fields) > 2*maxFields {
		return hb, respconn.Errorf("ERR the fields of a heartbeat are at most %d pairs of name and value", maxFields)
	}
	for i := 0; i < len(fields); i += 2 {
		name, value := strings.ToLower(fields[i]), fields[i+1]
		if !validName(name) || len(value) > maxSetting || strings.ContainsFunc(value, unprintable) {
			return hb, respconn.Errorf("ERR a field of a heartbeat has a name like a group's and at most %d bytes of printable ASCII", maxSetting)
		}
		if name == "applied" {
			if hb.Applied, err = strconv.ParseUint(value, 10, 63); err != nil {
				return hb, respconn.Errorf("ERR the version a proxy has applied is an integer, 0 for none")
			}
			continue
		}
		hb.Fields[name] = value
	}
	return hb, respconn.Value{}
}

// notice logs what is new about a proxy: that it is there, and every change of its version or its state.
func (s *Server) notice(c Cluster, p, before Proxy, known bool) {
	state, was := p.state(c), before.state(c)
	if known && state == was && p.Applied == before.Applied {
		return
	}
	allowed, dropped := s.notices.take(p.Last)
	if !allowed {
		return
	}
	attrs := []any{slog.String("cluster", p.Cluster), slog.String("proxy", p.Proxy), slog.String("peer", p.Address), slog.String("state", state),
		slog.Uint64("version", p.Have), slog.Uint64("applied", p.Applied), slog.Uint64("cluster_version", c.Version)}
	if dropped > 0 {
		attrs = append(attrs, slog.Int("suppressed", dropped))
	}
	switch state {
	case "ahead", "differs":
		s.log.Error("proxy refuses what it is told: give the cluster a version above the proxy's", attrs...)
	case "refused":
		s.log.Error("proxy could not apply the version", append(attrs, slog.String("cause", p.Fields["cause"]))...)
	default:
		s.log.Info("proxy heard of", attrs...)
	}
}

// cmdSet is MANAGER SET <cluster> and any of GROUPS, SENTINELS, SETTINGS and VERSION, each with what follows it up to the next of these words.
func cmdSet(s *Server, c *client, args []string) respconn.Value {
	name := args[2]
	if !validName(name) {
		return respconn.Errorf("ERR a cluster's name has 1 to %d of the characters A-Z a-z 0-9 . _ -", maxName)
	}
	change, err := parseChange(args[3:])
	if err != nil {
		return respconn.Errorf("ERR %s", err)
	}
	cluster, err := s.store.Set(name, change)
	switch {
	case errors.Is(err, ErrRefused):
		return respconn.Errorf("ERR %s", err)
	case err != nil:
		s.log.Error("cluster not set", slog.String("cluster", name), slog.String("peer", c.conn.RemoteAddr().String()), slog.String("cause", err.Error()))
		return respconn.Errorf("ERR %s", err)
	}
	s.log.Info("cluster set", slog.String("cluster", name), slog.Uint64("version", cluster.Version), slog.String("peer", c.conn.RemoteAddr().String()))
	return respconn.Simple("OK " + strconv.FormatUint(cluster.Version, 10))
}

func parseChange(args []string) (change Change, err error) {
	for len(args) > 0 {
		word := strings.ToUpper(args[0])
		n := 1
		for n < len(args) && !changeWord(args[n]) {
			n++
		}
		list := args[1:n]
		args = args[n:]
		switch word {
		case "GROUPS":
			change.Groups, err = parseGroups(list, change.Groups)
		case "SENTINELS":
			change.Sentinels, err = parseSentinels(list, change.Sentinels)
		case "SETTINGS":
			change.Settings, err = parseSettings(list, change.Settings)
		case "VERSION":
			if len(list) == 1 {
				change.Version, err = strconv.ParseUint(list[0], 10, 63)
			}
			if err != nil || change.Version == 0 {
				err = errors.New("VERSION is one positive integer")
			}
		default:
			err = errors.New("syntax error: GROUPS, SENTINELS, SETTINGS or VERSION was expected")
		}
		if err != nil {
			return Change{}, err
		}
	}
	return change, nil
}

func changeWord(s string) bool {
	switch strings.ToUpper(s) {
	case "GROUPS", "SENTINELS", "SETTINGS", "VERSION":
		return true
	}
	return false
}

func parseGroups(list []string, groups []Group) ([]Group, error) {
	for _, s := range list {
		name, weight, weighted := strings.Cut(s, ":")
		g := Group{Name: name, Weight: 1}
		if weighted {
			n, err := strconv.ParseUint(weight, 10, 31)
			if err != nil {
				return nil, errors.New("a group is <name> or <name>:<weight>")
			}
			g.Weight = int(n)
		}
		if err := groupFault(g); err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	if len(groups) == 0 {
		return nil, errors.New("a cluster needs a group")
	}
	return groups, nil
}

func parseSentinels(list []string, sentinels []Sentinel) ([]Sentinel, error) {
	for _, s := range list {
		sentinel, err := parseSentinel(s)
		if err != nil {
			return nil, err
		}
		sentinels = append(sentinels, sentinel)
	}
	if len(sentinels) == 0 {
		return nil, errors.New("a cluster needs a sentinel")
	}
	return sentinels, nil
}

func parseSettings(list []string, settings map[string]string) (map[string]string, error) {
	if len(list)%2 != 0 {
		return nil, errors.New("SETTINGS are pairs of name and value")
	}
	if settings == nil {
		settings = map[string]string{}
	}
	for i := 0; i < len(list); i += 2 {
		if err := settingFault(list[i], list[i+1]); err != nil {
			return nil, err
		}
		settings[list[i]] = list[i+1]
	}
	return settings, nil
}
