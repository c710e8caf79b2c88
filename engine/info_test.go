package engine

import (
	"path/filepath"
	"strings"
	"testing"

	"respgate/engine/topology"
)

const infoOne = "# Server\r\nredis_version:7.2.4\r\nredis_mode:standalone\r\nuptime_in_seconds:100\r\ntcp_port:6379\r\nconfig_file:/a=b\r\n\r\n" +
	"# Clients\r\nconnected_clients:50\r\nmaxclients:10000\r\nblocked_clients:1\r\n\r\n" +
	"# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\nused_memory_peak_perc:80.00%\r\nmaxmemory_policy:allkeys-lru\r\nmem_fragmentation_ratio:1.20\r\nmem_allocator:jemalloc\r\n\r\n" +
	"# Persistence\r\nloading:0\r\nrdb_bgsave_in_progress:0\r\nrdb_last_save_time:900\r\nrdb_last_bgsave_status:ok\r\naof_current_size:5\r\n\r\n" +
	"# Stats\r\ntotal_commands_processed:1000\r\ninstantaneous_input_kbps:1.25\r\nlatest_fork_usec:30\r\npubsub_channels:2\r\n\r\n" +
	"# Replication\r\nrole:master\r\nconnected_slaves:1\r\nslave0:ip=10.0.0.1,port=1\r\nmaster_replid:aa\r\n\r\n" +
	"# CPU\r\nused_cpu_sys:0.500000\r\n\r\n# Modules\r\nmodule:name=a,ver=1\r\nmodule:name=b,ver=2\r\n\r\n" +
	"# Commandstats\r\ncmdstat_get:calls=3,usec=30,usec_per_call=10.00,rejected_calls=0\r\n\r\n# Errorstats\r\nerrorstat_ERR:count=1\r\n\r\n" +
	"# Latencystats\r\nlatency_percentiles_usec_get:p50=1.003,p99=5.023\r\n\r\n" +
	"# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys=10,expires=1,avg_ttl=1000\r\n"

const infoTwo = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nuptime_in_seconds:7\r\ntcp_port:6380\r\nconfig_file:/c\r\n\r\n" +
	"# Clients\r\nconnected_clients:60\r\nmaxclients:20000\r\nblocked_clients:2\r\n\r\n" +
	"# Memory\r\nused_memory:524288\r\nused_memory_human:512.00K\r\nused_memory_peak_perc:90.50%\r\nmaxmemory_policy:noeviction\r\nmem_fragmentation_ratio:1.10\r\nmem_allocator:libc\r\n\r\n" +
	"# Persistence\r\nloading:1\r\nrdb_bgsave_in_progress:1\r\nrdb_last_save_time:800\r\nrdb_last_bgsave_status:err\r\naof_current_size:6\r\n\r\n" +
	"# Stats\r\ntotal_commands_processed:500\r\ninstantaneous_input_kbps:2.50\r\nlatest_fork_usec:20\r\npubsub_channels:2\r\n\r\n" +
	"# Replication\r\nrole:master\r\nconnected_slaves:2\r\nslave0:ip=10.0.0.2,port=1\r\nslave1:ip=10.0.0.3,port=1\r\nmaster_replid:bb\r\n\r\n" +
	"# CPU\r\nused_cpu_sys:0.250000\r\n\r\n# Modules\r\nmodule:name=b,ver=2\r\n\r\n" +
	"# Commandstats\r\ncmdstat_get:calls=1,usec=50,usec_per_call=50.00,rejected_calls=2\r\ncmdstat_set:calls=1,usec=5,usec_per_call=5.00,rejected_calls=0\r\n\r\n# Errorstats\r\nerrorstat_ERR:count=4\r\n\r\n" +
	"# Latencystats\r\nlatency_percentiles_usec_get:p50=2.007,p99=3.007\r\n\r\n" +
	"# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys=20,expires=3,avg_ttl=2000\r\ndb3:keys=1,expires=0,avg_ttl=0\r\n"

const infoBoth = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nuptime_in_seconds:7\r\ntcp_port:6379\r\nconfig_file:/a=b\r\n\r\n" +
	"# Clients\r\nconnected_clients:110\r\nmaxclients:30000\r\nblocked_clients:3\r\n\r\n" +
	"# Memory\r\nused_memory:1572864\r\nused_memory_human:1.50M\r\nused_memory_peak_perc:90.50%\r\nmaxmemory_policy:allkeys-lru\r\nmem_fragmentation_ratio:1.20\r\nmem_allocator:jemalloc\r\n\r\n" +
	"# Persistence\r\nloading:1\r\nrdb_bgsave_in_progress:1\r\nrdb_last_save_time:800\r\nrdb_last_bgsave_status:err\r\naof_current_size:11\r\n\r\n" +
	"# Stats\r\ntotal_commands_processed:1500\r\ninstantaneous_input_kbps:3.75\r\nlatest_fork_usec:30\r\npubsub_channels:2\r\n\r\n" +
	"# Replication\r\nrole:master\r\nconnected_slaves:3\r\nmaster_replid:aa\r\n\r\n" +
	"# CPU\r\nused_cpu_sys:0.750000\r\n\r\n# Modules\r\nmodule:name=a,ver=1\r\nmodule:name=b,ver=2\r\n\r\n" +
	"# Commandstats\r\ncmdstat_get:calls=4,usec=80,usec_per_call=20.00,rejected_calls=2\r\ncmdstat_set:calls=1,usec=5,usec_per_call=5.00,rejected_calls=0\r\n\r\n# Errorstats\r\nerrorstat_ERR:count=5\r\n\r\n" +
	"# Latencystats\r\nlatency_percentiles_usec_get:p50=2.007,p99=5.023\r\n\r\n" +
	"# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys=30,expires=4,avg_ttl=1750\r\ndb3:keys=1,expires=0,avg_ttl=0\r\n"

func TestMergeInfo(t *testing.T) {
	for _, tc := range []struct {
		texts []string
		want  string
	}{
		{[]string{infoOne, infoTwo}, infoBoth},
		{[]string{infoOne}, strings.Replace(infoOne, "slave0:ip=10.0.0.1,port=1\r\n", "", 1)},
		{[]string{"", "# Memory\r\nused_memory:5000000000000\r\nused_memory_human:4.55T\r\n"}, "# Memory\r\nused_memory:5000000000000\r\nused_memory_human:4.55T\r\n"},
		{[]string{"# Memory\r\nused_memory:5\r\nused_memory_human:5B\r\n", "# Memory\r\nused_memory:lies\r\nused_memory_human:x\r\n"}, "# Memory\r\nused_memory:5\r\nused_memory_human:5B\r\n"},
		{[]string{"nonsense\r\n:\r\na:1\r\n# Keyspace\r\ndb0:=,,keys\r\n", "# keyspace\r\ndb0:keys=1\n"}, "# Server\r\n:\r\na:1\r\n\r\n# Keyspace\r\ndb0:=,keys=\r\n"},
	} {
		var texts [][]byte
		for _, text := range tc.texts {
			texts = append(texts, []byte(text))
		}
		if got := string(mergeInfo(texts).appendTo(nil)); got != tc.want {
			t.Errorf("merged\n%s\nwant\n%s", got, tc.want)
		}
	}
}

// saysInfo makes a server answer INFO of clients; the handshake's goes on as before.
func (s *fake) saysInfo(reply string) {
	s.on(func(_ *fakeConn, args []string) (string, bool) {
		return reply, strings.EqualFold(args[0], "INFO") && (len(args) == 1 || args[1] != "server")
	})
}

const respgateSection = "# Respgate\r\nrespgate_version:1.2.3\r\nrespgate_pool:p\r\n"

func TestInfo(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2", "g3"}, change("g3", onHold), func(s *topology.Snapshot) { s.Limits.MaxClients = 99 })
		r.servers["g1"].saysInfo(bulk(infoOne))
		r.servers["g2"].saysInfo(bulk(infoTwo))
		want := strings.NewReplacer("tcp_port:6379", "tcp_port:0", "connected_clients:110", "connected_clients:1", "maxclients:30000", "maxclients:99").Replace(infoBoth) +
			"\r\n" + respgateSection + "respgate_groups:3\r\nrespgate_groups_answered:2\r\n"
		a := r.dial()
		for _, args := range [][]string{{"INFO"}, {"info", "ALL"}, {"INFO", "Respgate", "memory"}} {
			a.send(req(args...))
			if got := a.text(); got != want {
				t.Errorf("%v:\n%s\nwant\n%s", args, got, want)
			}
		}
		r.servers["g2"].saysInfo("=" + bulk("txt:" + infoTwo)[1:]) // as on a RESP3 link
		a.send(req("INFO"))
		if got := a.text(); got != want {
			t.Errorf("a verbatim string:\n%s", got)
		}
		// One that refuses, or says something else, is left out; with none it is the proxy's own.
		r.servers["g1"].saysInfo("-NOPERM no\r\n")
		a.send(req("INFO", "keyspace", "replication"))
		if got := a.text(); !strings.Contains(got, "db3:keys=1,") || !strings.Contains(got, "db0:keys=20,expires=3,avg_ttl=2000\r\n") || strings.Contains(got, "# Respgate") {
			t.Errorf("INFO of one of the groups:\n%s", got)
		}
		r.servers["g2"].saysInfo(":1\r\n")
		a.send(req("INFO", "replication"))
		if got := a.text(); got != "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n" {
			t.Errorf("INFO without a group:\n%s", got)
		}
		r.idle()
	})
}

func TestInfoOfOneGroup(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		r.servers["g1"].saysInfo(bulk(infoTwo))
		a := r.dial()
		a.do(bulk(infoTwo), "INFO", "keyspace")
		a.do(bulk(infoTwo+"\r\n"+respgateSection+"respgate_groups:1\r\nrespgate_groups_answered:1\r\n"), "INFO")
		r.servers["g1"].saysInfo(bulk(""))
		a.do(bulk(respgateSection+"respgate_groups:1\r\nrespgate_groups_answered:1\r\n"), "INFO", "respgate")
	})
}

// TestInfoDoesNotHang: a group that does not answer, or cannot be reached, is left out after a moment, and then at once.
func TestInfoDoesNotHang(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		nowhere := filepath.Join(t.TempDir(), "nobody")
		r := newRig(t, v, []string{"g1", "g2", "g3"}, change("g3", func(g *topology.Group) { g.Master = topology.Master{Name: nowhere, Path: nowhere, Generation: 1} }))
		r.servers["g1"].saysInfo("") // takes the request and says nothing
		r.servers["g2"].saysInfo(bulk("# Memory\r\nused_memory:7\r\n"))
		a := r.dial()
		a.do("$-1\r\n", "GET", r.key("g2", 0)) // its link is up
		for range 2 {
			a.send(req("INFO", "memory") + req("PING"))
			a.want(bulk("# Memory\r\nused_memory:7\r\n") + "+PONG\r\n")
		}
		a.send(req("INFO"))
		a.vanish() // and one whose client does not wait for it
		until(t, "the client is gone", func() bool { return r.pool().Clients == 0 })
	})
}
