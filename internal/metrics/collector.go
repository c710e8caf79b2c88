package metrics

import (
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"respgate/internal/status"
)

// metric is the description of one metric.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("respgate_"+name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("respgate_"+name, help, labels, nil), prometheus.CounterValue}
}

var (
	buildInfo      = gauge("build_info", "The version of the proxy and of Go; always 1.", "version", "goversion")
	configOK       = gauge("config_last_reload_successful", "1 if the configuration file was applied when it was read last, 0 if it was refused.")
	configTime     = gauge("config_last_reload_success_timestamp_seconds", "When a configuration was applied last.")
	snapshotSerial = gauge("snapshot_serial", "Number of the topology snapshot that every loop serves.")

	poolUp      = gauge("pool_up", "1 if the pool serves all its groups.", "pool")
	poolState   = gauge("pool_state", "The state of the pool; always 1.", "pool", "state")
	poolGroups  = gauge("pool_groups", "Groups of the pool.", "pool")
	poolReady   = gauge("pool_groups_up", "Groups of the pool that are served.", "pool")
	adopted     = gauge("adopted_commands", "Commands of the pool's servers that the proxy does not know itself.", "pool")
	lacking     = gauge("lacking_commands", "Commands that are refused because some group of the pool does not have them.", "pool")
	connections = gauge("client_connections", "Clients connected.", "pool")
	inflight    = gauge("inflight_requests", "Requests sent to servers and not answered.", "pool")
	held        = gauge("held_requests", "Requests that wait for a master.", "pool", "group")
	heldBytes   = gauge("held_bytes", "Bytes of the requests that wait for a master.", "pool", "group")
	oldestHeld  = gauge("oldest_held_request_seconds", "How long the oldest request waits for a master.", "pool", "group")
	requests    = counter("requests_total", "Requests of clients.", "pool")
	failures    = counter("errors_total", "Errors that the proxy itself answered, by code.", "pool", "code")
	accepted    = counter("client_connections_total", "Clients accepted.", "pool")
	rejected    = counter("client_connections_rejected_total", "Clients refused, by reason.", "pool", "reason")
	received    = counter("client_received_bytes_total", "Bytes from clients.", "pool")
	sent        = counter("client_sent_bytes_total", "Bytes to clients.", "pool")
	commands    = counter("commands_total", "Requests by command.", "pool", "command")
	badCommands = counter("command_errors_total", "Error replies by command, the servers' and the proxy's.", "pool", "command")
	duration    = prometheus.NewDesc("respgate_command_duration_seconds", "From a request to its reply.", []string{"pool"}, nil)

	sessions        = gauge("pinned_sessions", "Clients that have state of their own with the servers, by what needs it; one can be of several kinds.", "pool", "kind")
	sessionLinks    = gauge("session_connections", "Connections to the group's master that belong to one client at a time, by whether one has them.", "pool", "group", "state")
	sessionsRefused = counter("sessions_refused_total", "Clients that got no such connection, for the group had as many as it may have.", "pool", "group")

	serverUp         = gauge("server_up", "1 if the server is the verified master of its group.", "pool", "group", "server", "role")
	serverLinks      = gauge("server_connections", "Connections to the group's master that are up.", "pool", "group")
	serverInflight   = gauge("server_inflight_requests", "Requests sent to the group's master and not answered.", "pool", "group")
	serverRequests   = counter("server_requests_total", "Requests to the group.", "pool", "group")
	serverRetries    = counter("server_retried_requests_total", "Requests sent again after their connection was lost.", "pool", "group")
	serverErrors     = counter("server_failed_requests_total", "Requests to the group that the proxy answered with an error.", "pool", "group")
	serverReceived   = counter("server_received_bytes_total", "Bytes from servers.", "pool")
	serverSent       = counter("server_sent_bytes_total", "Bytes to servers.", "pool")
	serverDials      = counter("server_dials_total", "Connections to servers that were tried.", "pool")
	serverDialErrors = counter("server_dial_errors_total", "Connections to servers that failed.", "pool")
	lateReplies      = counter("late_replies_total", "Replies that came too late and were dropped.", "pool")

	groupUp      = gauge("group_up", "1 if the group has a verified master.", "pool", "group")
	masterInfo   = gauge("master_info", "The master of the group; always 1.", "pool", "group", "server")
	masterEpoch  = gauge("master_config_epoch", "Sentinel's configuration epoch of the group.", "pool", "group")
	verified     = gauge("master_role_verified_timestamp_seconds", "When ROLE last said that the master is one.", "pool", "group")
	switches     = counter("master_switches_total", "Changes of the group's master, by the source that PROXY EVENTS tells.", "pool", "group", "cause")
	falseAlarms  = counter("false_alarms_total", "Times that requests of the group waited, and went on to the same master.", "pool", "group")
	switchTook   = gauge("switch_duration_seconds", "How long the last change of the group's master took, from its first sign.", "pool", "group")
	authorityOK  = gauge("authority_held", "1 if the sentinels, or the replicas for them, vouch for the group's master.", "pool", "group")
	leaseEnd     = gauge("authority_lease_left_seconds", "Time left in which nobody can have been made master instead.", "pool", "group")
	sentinelUp   = gauge("sentinel_up", "1 if the link to the sentinel is subscribed and answers.", "pool", "sentinel")
	sentinelUsed = gauge("sentinel_active", "1 if the sentinel is the pool's active one.", "pool", "sentinel")
	sentinelRTT  = gauge("sentinel_rtt_seconds", "Time of the last PING to the sentinel.", "pool", "sentinel")
	sentinelSaid = counter("sentinel_events_total", "Events of the sentinel that named a group of the pool.", "pool", "sentinel")
	sentinelTilt = gauge("sentinel_tilt", "1 if the sentinel is in tilt mode and has no vote.", "pool", "sentinel")
	rotations    = counter("sentinel_rotations_total", "How often the pool turned away from the sentinel.", "pool", "sentinel")
	managerUsed  = gauge("manager_active", "1 if the pool's topology is asked of this manager.", "pool", "manager")
	managerVer   = gauge("manager_version", "Version of the topology that the manager told last.", "pool", "manager")
	managerDone  = gauge("manager_applied_version", "Version of the topology that every loop serves.", "pool", "manager")
	managerBeat  = gauge("manager_heartbeat_timestamp_seconds", "When the manager answered a heartbeat last.", "pool", "manager")
	managerBad   = counter("manager_rejected_total", "Answers of the manager that were refused.", "pool", "manager")

	limitUsed      = gauge("limit_used", "How much of a limit is used, in its unit.", "limit", "scope", "unit")
	limitMax       = gauge("limit_max", "The limit, in its unit; 0 means none.", "limit", "scope", "unit")
	limitHits      = counter("limit_hits_total", "How often the limit was reached.", "limit", "scope", "unit")
	loopClients    = gauge("loop_client_connections", "Clients of the event loop.", "loop")
	loopLinks      = gauge("loop_server_connections", "Connections of the event loop to servers.", "loop")
	loopIterations = counter("loop_iterations_total", "Iterations of the event loop.", "loop")
	loopRests      = counter("loop_rests_total", "Rests after iterations of a busy event loop, to gather events (see the key batch).", "loop")
	loopRequests   = counter("loop_requests_total", "Requests of the event loop.", "loop")
	loopBuffers    = gauge("loop_buffer_bytes", "Memory of the event loop's buffers, by whether they hold something.", "loop", "state")
)

// Collector makes Prometheus' metrics of a Source's rows at each scrape.
type Collector struct {
	source Source
	now    func() time.Time
}

// NewCollector makes a collector to be registered.
func NewCollector(source Source) *Collector { return &Collector{source, time.Now} }

// Describe implements prometheus.Collector. Which label values there are is known at the scrape only, so nothing is described.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := scrape{ch: ch, seen: map[string]struct{}{}, now: c.now()}
	s.process(c.source.Process())
	for _, p := range c.source.Pools("") {
		s.pool(p)
	}
	for _, t := range c.source.Totals() {
		s.totals(t)
	}
	for _, m := range c.source.Masters("", "") {
		s.master(m)
	}
	for _, m := range c.source.Sentinels("") {
		s.sentinel(m)
	}
	for _, m := range c.source.Managers("") {
		s.manager(m)
	}
	for _, m := range c.source.Sessions("") {
		s.session(m)
	}
	for _, m := range c.source.Commands() {
		s.add(commands, float64(m.Calls), m.Pool, m.Command)
		s.add(badCommands, float64(m.Errors), m.Pool, m.Command)
	}
	for _, l := range c.source.Latencies() {
		s.latency(l)
	}
}

// scrape is one collection.
type scrape struct {
	ch   chan<- prometheus.Metric
	seen map[string]struct{} // names and labels that were sent
	now  time.Time
}

// fresh makes labels valid and says whether the metric was not sent yet. A row that is there twice (a sentinel that a manager names twice) must
// not cost the whole scrape.
func (s *scrape) fresh(desc *prometheus.Desc, labels []string) bool {
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "?")
	}
	id := desc.String() + "\xff" + strings.Join(labels, "\xff")
	if _, twice := s.seen[id]; twice {
		return false
	}
	s.seen[id] = struct{}{}
	return true
}

func (s *scrape) add(m metric, value float64, labels ...string) {
	if s.fresh(m.desc, labels) {
		sample, err := prometheus.NewConstMetric(m.desc, m.kind, value, labels...)
		s.send(m.desc, sample, err)
	}
}

func (s *scrape) send(desc *prometheus.Desc, sample prometheus.Metric, err error) {
	if err != nil {
		sample = prometheus.NewInvalidMetric(desc, err)
	}
	s.ch <- sample
}

func (s *scrape) process(p status.Process) {
	s.add(buildInfo, 1, p.Version, runtime.Version())
	s.add(configOK, oneIf(p.ConfigError == ""))
	s.add(configTime, timestamp(p.ConfigLoaded))
	s.add(snapshotSerial, float64(p.Serial))
	for _, l := range p.Limits {
		s.add(limitUsed, float64(l.Used), l.Name, l.Scope, l.Unit)
		s.add(limitMax, float64(l.Max), l.Name, l.Scope, l.Unit)
		s.add(limitHits, float64(l.Hits), l.Name, l.Scope, l.Unit)
	}
	for _, l := range p.Loops {
		s.loop(l)
	}
}

func (s *scrape) pool(p status.Pool) {
	s.add(poolUp, oneIf(p.State == stateUp), p.Name)
	s.add(poolState, 1, p.Name, p.State)
	s.add(poolGroups, float64(p.Groups), p.Name)
	s.add(poolReady, float64(p.GroupsUp), p.Name)
	s.add(adopted, float64(p.Adopted), p.Name)
	s.add(lacking, float64(p.Lacking), p.Name)
	s.add(connections, float64(p.Clients), p.Name)
	s.add(inflight, float64(p.Inflight), p.Name)
	s.add(requests, float64(p.Requests), p.Name)
}

func (s *scrape) session(m status.Session) {
	s.add(sessions, float64(m.Transactions), m.Pool, "transaction")
	s.add(sessions, float64(m.Blocked), m.Pool, "blocked")
	s.add(sessions, float64(m.Subscribers), m.Pool, "subscriber")
	s.add(sessions, float64(m.Monitors), m.Pool, "monitor")
	s.add(sessions, float64(m.Tracking), m.Pool, "tracking")
}

func (s *scrape) totals(t status.Totals) {
	s.add(accepted, float64(t.Accepted), t.Pool)
	for reason, n := range t.Rejected {
		s.add(rejected, float64(n), t.Pool, reason)
	}
	for code, n := range t.Errors {
		s.add(failures, float64(n), t.Pool, code)
	}
	s.add(received, float64(t.ReceivedBytes), t.Pool)
	s.add(sent, float64(t.SentBytes), t.Pool)
	s.add(serverReceived, float64(t.ServerReceivedBytes), t.Pool)
	s.add(serverSent, float64(t.ServerSentBytes), t.Pool)
	s.add(serverDials, float64(t.Dials), t.Pool)
	s.add(serverDialErrors, float64(t.DialErrors), t.Pool)
	s.add(lateReplies, float64(t.LateReplies), t.Pool)
}

// latency sends a histogram. Its count is that of the buckets, so that the two agree though the loops go on counting.
func (s *scrape) latency(l status.Latency) {
	cumulative := make(map[float64]uint64, len(l.Bounds))
	var total uint64
	for i, n := range l.Buckets {
		total += n
		if i < len(l.Bounds) {
			cumulative[l.Bounds[i].Seconds()] = total
		}
	}
	labels := []string{l.Pool}
	if s.fresh(duration, labels) {
		sample, err := prometheus.NewConstHistogram(duration, total, l.Sum.Seconds(), cumulative, labels...)
		s.send(duration, sample, err)
	}
}

func (s *scrape) loop(l status.Loop) {
	id := formatInt(l.ID)
	s.add(loopClients, float64(l.Clients), id)
	s.add(loopLinks, float64(l.Links), id)
	s.add(loopIterations, float64(l.Iterations), id)
	s.add(loopRests, float64(l.Rests), id)
	s.add(loopRequests, float64(l.Requests), id)
	s.add(loopBuffers, float64(l.BufferBytes), id, "used")
	s.add(loopBuffers, float64(l.BufferIdle), id, "idle")
}
