package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/conf"
	"respgate/internal/manager"
)

// plain is a layout with the documented ports.
func plain(dir string) layout {
	return layout{
		dir:    dir,
		groups: []group{{"g1", 7001, 7002}, {"g2", 7003, 7004}}, sentinels: []int{7011, 7012, 7013},
		ids:     []string{strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)},
		manager: 7078, admin: 7079, metrics: 9179, lab: 6401, cache: 6402,
	}
}

// TestFilesAreValid reads what the lab writes with the readers of the programs it is for.
func TestFilesAreValid(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), `a "blank" and 'quotes'`)
	l := plain(dir)
	if err := l.write(); err != nil {
		t.Fatal(err)
	}
	cf, err := conf.Load(l.proxyFile())
	if err != nil {
		t.Fatal(err)
	}
	if w := cf.Warnings(); len(w) > 0 {
		t.Errorf("warnings: %q", w)
	}
	pools := map[string][]string{}
	for name, p := range cf.Pools {
		pools[name] = []string{p.Listen.Address, p.Source().String()}
	}
	want := map[string][]string{"lab": {"127.0.0.1:6401", "manager"}, "cache": {"127.0.0.1:6402", "file"}}
	if d := cmp.Diff(want, pools); d != "" {
		t.Errorf("pools (-want +got):\n%s", d)
	}
	if cf.StateDir != filepath.Join(dir, "state") || cf.Admin.Listen != "127.0.0.1:7079" || cf.Metrics.Listen != "127.0.0.1:9179" {
		t.Errorf("state %s, admin %s, metrics %s", cf.StateDir, cf.Admin.Listen, cf.Metrics.Listen)
	}
	mf, err := manager.ReadFile(l.managerFile())
	if err != nil {
		t.Fatal(err)
	}
	if len(mf.Clusters) != 1 || mf.Clusters[0].Name != "lab" || len(mf.Clusters[0].Groups) != 2 || len(mf.Clusters[0].Sentinels) != 3 {
		t.Errorf("manager: %+v", mf.Clusters)
	}
}

func TestRedisFiles(t *testing.T) {
	t.Parallel()
	l := plain("/tmp/lab")
	replica := l.redisConf(7002, 7001)
	for _, line := range []string{"port 7002", `dir "/tmp/lab/redis-7002"`, "replicaof 127.0.0.1 7001", "bind 127.0.0.1"} {
		if !slices.Contains(strings.Split(replica, "\n"), line) {
			t.Errorf("no line %q in\n%s", line, replica)
		}
	}
	if strings.Contains(l.redisConf(7001, 0), "replicaof") {
		t.Error("a master has a master")
	}
	sentinel := strings.Split(l.sentinelConf(1), "\n")
	for _, line := range []string{
		"port 7012", "sentinel myid " + l.ids[1], "sentinel monitor g1 127.0.0.1 7001 2", "sentinel down-after-milliseconds g2 1000",
		"sentinel known-replica g2 127.0.0.1 7004", "sentinel known-sentinel g1 127.0.0.1 7011 " + l.ids[0], "sentinel known-sentinel g2 127.0.0.1 7013 " + l.ids[2],
	} {
		if !slices.Contains(sentinel, line) {
			t.Errorf("no line %q in\n%s", line, strings.Join(sentinel, "\n"))
		}
	}
	if strings.Contains(strings.Join(sentinel, "\n"), "known-sentinel g1 127.0.0.1 7012") {
		t.Error("a sentinel knows itself")
	}
}

func TestNewLayout(t *testing.T) {
	t.Parallel()
	var p ports
	defer p.release()
	l, err := newLayout(t.TempDir(), &p)
	if err != nil {
		t.Fatal(err)
	}
	all := append([]int{l.manager, l.admin, l.metrics, l.lab, l.cache}, l.sentinels...)
	for _, g := range l.groups {
		all = append(all, g.master, g.replica)
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != 12 {
		t.Errorf("ports %v", all)
	}
	if l.ids[0] == l.ids[1] || len(l.ids[0]) != 40 {
		t.Errorf("ids %v", l.ids)
	}
	if _, err := os.Stat(l.dir); err != nil {
		t.Error(err)
	}
}
