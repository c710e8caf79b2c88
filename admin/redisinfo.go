package admin

import (
	"runtime"
	rtmetrics "runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"respgate/internal/respconn"
	"respgate/internal/status"
)

// redisVersion is the version of Redis whose commands this port speaks like; tools parse it.
const redisVersion = "7.0.0"

// redisSection is a section of INFO: Redis' own names and words, as far as they mean something for a proxy.
type redisSection struct {
	name  string
	write func(*session, *document)
}

func redisSections() []redisSection {
	return []redisSection{
		{"server", redisServer},
		{"clients", redisClients},
		{"memory", redisMemory},
		{"stats", redisStats},
		{"replication", redisReplication},
		{"cluster", redisCluster},
	}
}

// redisInfo is INFO [section ...]. An unknown section is empty, as in Redis.
func redisInfo(s *session, args []string) respconn.Value {
	var wanted []string
	for _, a := range args {
		wanted = append(wanted, strings.ToLower(a[:min(len(a), longestName)]))
	}
	all := len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return w == "all" || w == "everything" || w == "default" })
	var d document
	for _, section := range redisSections() {
		if all || slices.Contains(wanted, section.name) {
			d.section(strings.ToUpper(section.name[:1]) + section.name[1:])
			section.write(s, &d)
		}
	}
	return d.value()
}

func redisServer(s *session, d *document) {
	p, now := s.server.status.Process(), s.server.now()
	d.line("redis_version", redisVersion)
	d.line("respgate_version", p.Version)
	d.line("redis_mode", "standalone")
	d.line("os", runtime.GOOS)
	d.line("arch_bits", strconv.IntSize)
	d.line("process_id", p.PID)
	d.line("run_id", p.ProxyID)
	d.line("server_time_usec", now.UnixMicro())
	d.line("uptime_in_seconds", uptime(p, now))
	d.line("uptime_in_days", uptime(p, now)/(24*60*60))
	d.line("config_file", p.ConfigFile)
}

func redisClients(s *session, d *document) {
	clients := 0
	for _, p := range s.server.status.Pools("") {
		clients += p.Clients
	}
	d.line("connected_clients", clients)
	if l, ok := limitNamed(s.server.status.Process().Limits, "client_connections"); ok {
		d.line("maxclients", l.Max)
	}
}

func redisMemory(s *session, d *document) {
	p := s.server.status.Process()
	var buffers int64
	for _, l := range p.Loops {
		buffers += l.BufferBytes + l.BufferIdle
	}
	d.line("used_memory", goMemory())
	d.line("mem_clients_normal", buffers)
	if l, ok := limitNamed(p.Limits, "memory"); ok {
		d.line("maxmemory", l.Max)
	}
	d.line("maxmemory_policy", "noeviction")
}

func limitNamed(limits []status.Limit, name string) (status.Limit, bool) {
	i := slices.IndexFunc(limits, func(l status.Limit) bool { return l.Name == name })
	if i < 0 {
		return status.Limit{}, false
	}
	return limits[i], true
}

// goMemory is what the Go runtime has from the operating system and has not given back, in bytes.
func goMemory() uint64 {
	samples := []rtmetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	rtmetrics.Read(samples)
	if samples[0].Value.Kind() != rtmetrics.KindUint64 || samples[1].Value.Kind() != rtmetrics.KindUint64 {
		return 0
	}
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

func redisStats(s *session, d *document) {
	var requests, errors uint64
	for _, p := range s.server.status.Pools("") {
		requests += p.Requests
		errors += p.Errors
	}
	var accepted, refused, received, sent uint64
	for _, t := range s.server.status.Totals() {
		accepted += t.Accepted
		received += t.ReceivedBytes
		sent += t.SentBytes
		for _, n := range t.Rejected {
			refused += n
		}
	}
	d.line("total_connections_received", accepted)
	d.line("total_commands_processed", requests)
	d.line("total_net_input_bytes", received)
	d.line("total_net_output_bytes", sent)
	d.line("rejected_connections", refused)
	d.line("total_error_replies", errors)
}

func redisReplication(_ *session, d *document) {
	d.line("role", "master")
	d.line("connected_slaves", 0)
}

func redisCluster(_ *session, d *document) { d.line("cluster_enabled", 0) }

func formatMicros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }
