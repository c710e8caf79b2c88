package admin

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"respgate/internal/respconn"
	"respgate/internal/status"
)

// infoSection is a section of PROXY INFO.
type infoSection struct {
	name    string
	verbose bool // shown only by its name, and with all
	write   func(*session, *document)
}

// infoSections are in the order they are shown in.
func infoSections() []infoSection {
	return []infoSection{
		{"server", false, infoServer},
		{"config", false, infoConfig},
		{"loops", false, infoLoops},
		{"limits", false, infoLimits},
		{"pools", false, infoPools},
		{"masters", false, infoMasters},
		{"sentinels", false, infoSentinels},
		{"manager", false, infoManager},
		{"sessions", false, infoSessions},
		{"events", false, infoEvents},
		{"errors", false, infoErrors},
		{"commands", true, infoCommands},
		{"latency", true, infoLatency},
	}
}

func sectionNames() string {
	var names []string
	for _, s := range infoSections() {
		names = append(names, s.name)
	}
	return strings.Join(append(names, "all"), ", ")
}

// proxyInfo is PROXY INFO [section].
func proxyInfo(s *session, args []string) respconn.Value {
	wanted := ""
	if len(args) > 0 {
		wanted = strings.ToLower(args[0])
	}
	var d document
	known := wanted == "" || wanted == "all"
	for _, section := range infoSections() {
		if section.name == wanted || wanted == "all" || wanted == "" && !section.verbose {
			d.section(strings.ToUpper(section.name[:1]) + section.name[1:])
			section.write(s, &d)
			known = true
		}
	}
	if !known {
		return respconn.Errorf("ERR unknown section '%.64s': one of %s", args[0], sectionNames())
	}
	return d.value()
}

func infoServer(s *session, d *document) {
	p, now := s.server.status.Process(), s.server.now()
	d.line("version", p.Version)
	d.line("proxy_id", p.ProxyID)
	d.line("process_id", p.PID)
	d.line("uptime_in_seconds", uptime(p, now))
	d.line("log_level", p.LogLevel)
	d.line("snapshot_serial", p.Serial)
	d.line("loops", len(p.Loops))
}

// uptime is in whole seconds.
func uptime(p status.Process, now time.Time) int64 { return max(0, ago(p.Started, now)) / 1000 }

func infoConfig(s *session, d *document) {
	p, now := s.server.status.Process(), s.server.now()
	d.line("config_file", p.ConfigFile)
	d.line("config_digest", p.ConfigDigest)
	d.line("config_loaded_ms_ago", ago(p.ConfigLoaded, now))
	d.line("config_refused_ms_ago", ago(p.ConfigRefused, now))
	d.line("config_error", flatten(p.ConfigError))
}

func infoLoops(s *session, d *document) {
	var rows []row
	for _, l := range s.server.status.Process().Loops {
		rows = append(rows, row{
			{"loop", count(l.ID)},
			{"clients", count(l.Clients)},
			{"links", count(l.Links)},
			{"iterations", counter(l.Iterations)},
			{"requests", counter(l.Requests)},
			{"buffer-bytes", l.BufferBytes},
			{"buffer-idle-bytes", l.BufferIdle},
			{"rests", counter(l.Rests)},
		})
	}
	d.table(rows, "loop", "clients", "links", "iterations", "requests", "buffer-bytes", "buffer-idle-bytes", "rests")
}

func infoLimits(s *session, d *document) {
	var rows []row
	for _, l := range append(slices.Clone(s.server.status.Process().Limits), s.server.limit(), s.server.eventsLimit()) {
		rows = append(rows, row{
			{"limit", l.Name},
			{"scope", l.Scope},
			{"unit", l.Unit},
			{"used", l.Used},
			{"max", l.Max},
			{"hits", counter(l.Hits)},
		})
	}
	d.table(rows, "limit", "scope", "unit", "used", "max", "hits")
}

// limit is the server's own bound.
func (s *Server) limit() status.Limit {
	return status.Limit{
		Name: "admin_connections", Scope: "process", Unit: "connections",
		Used: int64(len(s.clients())), Max: int64(s.settings.Load().MaxClients), Hits: s.refusals.Load(),
	}
}

// eventsLimit is that of the events which a subscriber has not read.
func (s *Server) eventsLimit() status.Limit {
	return status.Limit{Name: "admin_events", Scope: "process each subscriber", Unit: "events", Used: int64(s.waiting()), Max: backlog, Hits: s.cut.Load()}
}

func infoPools(s *session, d *document) {
	d.table(rowsOf(s.server.status.Pools(""), poolRow, s.server.now()),
		"name", "state", "listen", "source", "version", "groups", "groups-up", "clients", "inflight", "held", "requests", "errors", "epoch", "cause")
}

func infoMasters(s *session, d *document) {
	d.table(rowsOf(s.server.status.Masters("", ""), masterRow, s.server.now()),
		"pool", "group", "master", "state", "authority", "config-epoch", "generation", "source", "switches", "last-switch-ms-ago", "role-verified-ms-ago", "inflight", "held", "cause")
}

func infoSentinels(s *session, d *document) {
	d.table(rowsOf(s.server.status.Sentinels(""), sentinelRow, s.server.now()),
		"pool", "address", "state", "active", "last-pong-ms-ago", "missed", "rtt-us", "rotations", "tilt", "cause")
}

func infoManager(s *session, d *document) {
	d.table(rowsOf(s.server.status.Managers(""), managerRow, s.server.now()),
		"pool", "address", "cluster", "state", "active", "version", "applied-version", "last-heartbeat-ms-ago", "rejected", "cause")
}

// infoSessions shows who needs connections of his own, and below it where these are.
func infoSessions(s *session, d *document) {
	now := s.server.now()
	d.table(rowsOf(s.server.status.Sessions(""), sessionRow, now),
		"pool", "transactions", "blocked", "subscribers", "monitors", "tracking", "links", "links-idle", "refused")
	d.gap()
	d.table(rowsOf(s.server.status.Masters("", ""), masterRow, now),
		"pool", "group", "master", "session-links", "session-links-idle", "session-links-max", "sessions-refused")
}

// infoErrors shows what was refused or failed, by reason.
func infoErrors(s *session, d *document) {
	for _, t := range s.server.status.Totals() {
		d.details("errors_"+t.Pool, pairsOf(t.Errors)...)
		d.details("rejected_connections_"+t.Pool, pairsOf(t.Rejected)...)
		d.details("servers_"+t.Pool, "retried", t.Retried, "late_replies", t.LateReplies, "dials", t.Dials, "dial_errors", t.DialErrors)
	}
}

// pairsOf is a map in the order of its keys.
func pairsOf(m map[string]uint64) []any {
	var pairs []any
	for _, k := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, k, m[k])
	}
	return pairs
}

func infoCommands(s *session, d *document) {
	list := slices.SortedFunc(slices.Values(s.server.status.Commands()), func(a, b status.Command) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Command, b.Command))
	})
	for _, c := range list {
		d.details("cmdstat_"+c.Pool+"_"+c.Command, "calls", c.Calls, "failed_calls", c.Errors)
	}
}

func infoLatency(s *session, d *document) {
	for _, l := range s.server.status.Latencies() {
		mean := int64(0)
		if l.Count > 0 {
			mean = l.Sum.Microseconds() / counter(l.Count)
		}
		d.details("latency_usec_"+l.Pool, "calls", l.Count, "mean", mean,
			"p50", quantile(l, 500), "p99", quantile(l, 990), "p99.9", quantile(l, 999))
	}
}

// quantile is the bound of the bucket, in microseconds, that the given part in a thousand of the requests does not exceed; beyond the last bound
// it is ">" and that bound.
func quantile(l status.Latency, perMille uint64) string {
	var total, sum uint64
	for _, n := range l.Buckets {
		total += n
	}
	if total == 0 || len(l.Bounds) == 0 {
		return "0"
	}
	rank := max(1, (total/1000)*perMille+(total%1000*perMille+999)/1000)
	for i, n := range l.Buckets {
		if sum += n; sum >= rank && i < len(l.Bounds) {
			return formatMicros(l.Bounds[i])
		}
	}
	return ">" + formatMicros(l.Bounds[len(l.Bounds)-1])
}
