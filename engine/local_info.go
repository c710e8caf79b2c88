package engine

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// ownInfo is INFO of a pool no group of which is up, as a stand-alone master would answer: clients look for redis_version,
// loading and role before they start. What only a server knows is left out.
func (c *client) ownInfo(asked *infoRequest) []byte {
	var b bytes.Buffer
	for _, s := range infoSections {
		if asked.wants(s.name) {
			if b.Len() > 0 {
				b.WriteString("\r\n")
			}
			fmt.Fprintf(&b, "# %s\r\n", s.title)
			s.write(c, &b)
		}
	}
	return b.Bytes()
}

type infoSection struct {
	name, title string
	write       func(*client, *bytes.Buffer)
}

var infoSections = []infoSection{
	{"server", "Server", (*client).infoServer},
	{"clients", "Clients", (*client).infoClients},
	{"memory", "Memory", (*client).infoMemory},
	{"persistence", "Persistence", (*client).infoPersistence},
	{"stats", "Stats", (*client).infoStats},
	{"replication", "Replication", (*client).infoReplication},
	{"cluster", "Cluster", func(_ *client, b *bytes.Buffer) { b.WriteString("cluster_enabled:0\r\n") }},
}

func (c *client) infoServer(b *bytes.Buffer) {
	uptime := (c.loop.now - c.loop.eng.clockStart()) / 1e9
	fmt.Fprintf(b, "redis_version:%s\r\nredis_mode:standalone\r\nos:%s %s\r\narch_bits:%d\r\nprocess_id:%d\r\nuptime_in_seconds:%d\r\nuptime_in_days:%d\r\ntcp_port:%s\r\n",
		c.pool.version(), runtime.GOOS, runtime.GOARCH, strconv.IntSize, os.Getpid(), uptime, uptime/86400, c.pool.port())
}

// port is where the pool listens; 0, as Redis says, for a unix socket.
func (p *pool) port() string {
	at := p.topo.Listen
	if at.Network != "tcp" {
		return "0"
	}
	return at.Address[strings.LastIndexByte(at.Address, ':')+1:]
}

func (c *client) infoClients(b *bytes.Buffer) {
	fmt.Fprintf(b, "connected_clients:%d\r\nmaxclients:%d\r\nblocked_clients:0\r\n", c.loop.eng.clients.Load(), c.loop.snap.Limits.MaxClients)
}

func (c *client) infoMemory(b *bytes.Buffer) {
	fmt.Fprintf(b, "used_memory:%d\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n", c.loop.eng.memory())
}

func (c *client) infoPersistence(b *bytes.Buffer) {
	b.WriteString("loading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\naof_enabled:0\r\n")
}

func (c *client) infoStats(b *bytes.Buffer) {
	p := c.pool
	var commands uint64
	for _, n := range p.commands {
		commands += n
	}
	fmt.Fprintf(b, "total_connections_received:%d\r\ntotal_commands_processed:%d\r\ntotal_net_input_bytes:%d\r\ntotal_net_output_bytes:%d\r\n",
		c.loop.eng.lastClient.Load(), commands, p.received, p.sentBytes)
}

func (c *client) infoReplication(b *bytes.Buffer) {
	b.WriteString("role:master\r\nconnected_slaves:0\r\n")
}

// oldestVersion is what the proxy says before any server has told its version: the one its own words are of.
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

// valkey8 reports whether a master is a Valkey from 8.0 on.
func (p *pool) valkey8() bool {
	return slices.ContainsFunc(p.groups, func(g *group) bool { return g.valkey != "" && !olderVersion(g.valkey, "8") })
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
