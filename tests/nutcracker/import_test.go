//go:build linux

package nutcracker_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"respgate/conf"
	"respgate/conf/importer"
	"respgate/engine/shard"
)

const importerData = "../../conf/importer/testdata/"

// accepts asks nutcracker -t about a file.
func accepts(t *testing.T, content string) (ok bool, said string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "nutcracker.yml")
	writeFile(t, path, content)
	out, err := exec.CommandContext(t.Context(), binary(t, "nutcracker", "nutcracker"),
		"-t", "-c", path, "-o", filepath.Join(dir, "log"), "-p", filepath.Join(dir, "pid")).CombinedOutput()
	return err == nil, string(out)
}

// TestImporterAgrees holds that the importer takes what nutcracker takes, and that what it refuses nutcracker refuses, but for
// the cases that say otherwise. Files for twemproxy-163 are left out: nutcracker has no groups.
func TestImporterAgrees(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(importerData + "twemproxy.yml")
	if err != nil {
		t.Fatal(err)
	}
	content := strings.ReplaceAll(string(good), "  reuseport: true\n", "") // it came after the release 0.5.0
	if ok, said := accepts(t, content); !ok {
		t.Errorf("nutcracker -t refuses twemproxy.yml, which the importer takes: %s", said)
	}
	datadriven.RunTest(t, importerData+"mistakes", func(t *testing.T, d *datadriven.TestData) string {
		if strings.Contains(d.Input, "groups:") || strings.Contains(d.Input, "sentinels:") {
			return d.Expected
		}
		if ok, said := accepts(t, d.Input); ok != d.HasArg("nutcracker") {
			t.Errorf("%s: nutcracker -t accepts: %v, want %v\n%s", d.Pos, ok, d.HasArg("nutcracker"), said)
		}
		return d.Expected
	})
}

// TestImportedPlacement runs nutcracker on a file and compares its placement with the ring of the imported file.
func TestImportedPlacement(t *testing.T) {
	t.Parallel()
	backends := append(startBackends(t, 3), startMemcachedPort(t))
	lines := []string{
		fmt.Sprintf("127.0.0.1:0%d:02", backends[0].port), // a leading zero is hashed
		fmt.Sprintf("127.0.0.1:%d:1 named:like:this", backends[1].port),
		backends[2].socket + ":3",
		fmt.Sprintf("%s:11211:1", backends[3].host),
	}
	var pools []pool
	for _, extra := range []string{"", "hash: hsieh\n  hash_tag: '[]'\n  distribution: modula", "hash: crc32"} {
		p := pool{name: fmt.Sprintf("p%d", len(pools)), raw: extra}
		for i, line := range lines {
			p.servers = append(p.servers, server{backend: backends[i], raw: line})
		}
		pools = append(pools, p)
	}
	proxy := startProxy(t, pools)
	file, err := os.ReadFile(filepath.Join(proxy.dir, "nutcracker.yml"))
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := importer.Import(file, "nutcracker.yml")
	if err != nil {
		t.Fatal(err)
	}
	imported, err := conf.Parse("respgate.yml", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pools {
		to := imported.Pools[p.name]
		if to == nil || len(to.Servers) != len(p.servers) {
			t.Fatalf("pool %s was not imported with its servers:\n%s", p.name, out)
		}
		c := shard.Config{Hash: to.Hash, Distribution: to.Distribution, Tag: to.HashTag}
		for _, s := range to.Servers {
			c.Nodes = append(c.Nodes, shard.Node{Name: s.HashName(), Weight: s.Weight})
		}
		ring, err := shard.New(c)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, proxy, p, ring, newSample(sampleKeys(sampleSize)))
	}
}
