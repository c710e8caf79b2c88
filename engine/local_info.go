package engine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"respgate/engine/resp"
)

// info is INFO [section ...] of a pool, as a stand-alone master would answer: clients look for redis_version, loading and
// role before they start. What only a server knows is left out.
func (c *client) info(frame []byte, args []resp.Span) {
	want := map[string]bool{}
	for _, a := range args[1:] {
		want[strings.ToLower(string(arg(frame, a)))] = true
	}
	all := len(want) == 0 || want["all"] || want["everything"] || want["default"]
	var b strings.Builder
	for _, s := range infoSections {
		if all || want[s.name] {
			if b.Len() > 0 {
				b.WriteString("\r\n")
			}
			fmt.Fprintf(&b, "# %s\r\n", s.title)
			s.write(c, &b)
		}
	}
	c.respond(resp.AppendVerbatim(c.loop.scratch(), "txt", b.String(), c.proto3))
}

type infoSection struct {
	name, title string
	write       func(*client, *strings.Builder)
}

var infoSections = []infoSection{
	{"server", "Server", (*client).infoServer},
	{"clients", "Clients", (*client).infoClients},
	{"memory", "Memory", (*client).infoMemory},
	{"persistence", "Persistence", (*client).infoPersistence},
	{"stats", "Stats", (*client).infoStats},
	{"replication", "Replication", (*client).infoReplication},
	{"cluster", "Cluster", func(_ *client, b *strings.Builder) { b.WriteString("cluster_enabled:0\r\n") }},
}

func (c *client) infoServer(b *strings.Builder) {
	uptime := (c.loop.now - c.loop.eng.clockStart()) / 1e9
	fmt.Fprintf(b, "redis_version:%s\r\nredis_mode:standalone\r\nos:%s %s\r\narch_bits:%d\r\nprocess_id:%d\r\nuptime_in_seconds:%d\r\nuptime_in_days:%d\r\n",
		c.pool.version(), runtime.GOOS, runtime.GOARCH, strconv.IntSize, os.Getpid(), uptime, uptime/86400)
	if _, port, ok := strings.Cut(c.pool.topo.Listen.Address, ":"); ok && c.pool.topo.Listen.Network == "tcp" {
		fmt.Fprintf(b, "tcp_port:%s\r\n", port[strings.LastIndexByte(port, ':')+1:])
	}
	fmt.Fprintf(b, "respgate_version:%s\r\nrespgate_pool:%s\r\nrespgate_groups:%d\r\n", c.loop.eng.opts.Version, c.pool.name, len(c.pool.groups))
}

func (c *client) infoClients(b *strings.Builder) {
	fmt.Fprintf(b, "connected_clients:%d\r\nmaxclients:%d\r\nblocked_clients:0\r\n", c.loop.eng.clients.Load(), c.loop.snap.Limits.MaxClients)
}

func (c *client) infoMemory(b *strings.Builder) {
	fmt.Fprintf(b, "used_memory:%d\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n", c.loop.eng.memory())
}

func (c *client) infoPersistence(b *strings.Builder) {
	b.WriteString("loading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\naof_enabled:0\r\n")
}

func (c *client) infoStats(b *strings.Builder) {
	p := c.pool
	var commands uint64
	for _, n := range p.commands {
		commands += n
	}
	fmt.Fprintf(b, "total_connections_received:%d\r\ntotal_commands_processed:%d\r\ntotal_net_input_bytes:%d\r\ntotal_net_output_bytes:%d\r\n",
		c.loop.eng.lastClient.Load(), commands, p.received, p.sentBytes)
}

func (c *client) infoReplication(b *strings.Builder) {
	b.WriteString("role:master\r\nconnected_slaves:0\r\n")
}

// oldestVersion is what the proxy says before any server has told its version: the oldest it is tested with.
const oldestVersion = "7.0.15"

// version is the lowest redis_version of the pool's masters: what every one of them can do.
func (p *pool) version() string {
	lowest := ""
	for _, g := range p.groups {
		if g.version != "" && (lowest == "" || olderVersion(g.version, lowest)) {
			lowest = g.version
		}
	}
	if lowest == "" {
		return oldestVersion
	}
	return lowest
}

// olderVersion compares dotted numbers.
func olderVersion(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return m < n
		}
	}
	return len(x) < len(y)
}
