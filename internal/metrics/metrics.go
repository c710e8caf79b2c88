// Package metrics shows the rows of internal/status to machines: Prometheus and the probes of an orchestrator over HTTP, and the statistics in
// twemproxy's JSON for the tools that read those.
//
//	Prometheus, kubelet ── Server ── Collector ──┐
//	telegraf, Datadog ──── TwemproxyStats ───────┴── Source (control)
//
// Nothing is counted here: every scrape reads the rows anew. The listeners are given by the caller and owned by the servers from then on. Labels are
// names from the configuration, addresses of servers, sentinels and managers, and names of commands: never the address of a client, never a key.
package metrics

import "respgate/internal/status"

// Source gives the rows. Its methods are called by many goroutines at once and must not block.
type Source interface {
	Pools(name string) []status.Pool // "" = all
	Masters(pool, group string) []status.Master
	Sentinels(pool string) []status.Sentinel
	Managers(pool string) []status.Manager
	Sessions(pool string) []status.Session
	Process() status.Process
	Commands() []status.Command
	Latencies() []status.Latency
	Totals() []status.Totals
}

// stateUp is the state of a pool or a group that serves.
const stateUp = "up"
