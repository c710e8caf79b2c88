package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestDropIn imports a twemproxy configuration and runs both side by side: what one writes, the other finds.
func TestDropIn(t *testing.T) {
	t.Parallel()
	var servers []string
	for i := range 3 {
		r := harness.StartRedis(t, harness.RedisOptions{})
		servers = append(servers, fmt.Sprintf("%s:%d server%d", r.Addr(), i+1, i))
	}
	listen := harness.Address(t)
	text := fmt.Sprintf("alpha:\n  listen: %s\n  hash: murmur\n  hash_tag: \"{}\"\n  distribution: ketama\n  redis: true\n  timeout: 4000\n  servers:\n", listen)
	for _, s := range servers {
		text += "   - " + s + "\n"
	}
	n := harness.StartNutcracker(t, text, listen)

	out := importFile(t, n.File)
	c := harness.NewConfig(t)
	ours := harness.Address(t)
	stats := harness.Address(t)
	imported := strings.Replace(out, listen, ours, 1)
	if !strings.Contains(imported, ours) {
		t.Fatalf("the imported file does not listen on %s:\n%s", listen, out)
	}
	imported += fmt.Sprintf("\nadmin: { listen: %q }\nmetrics: { listen: %q, twemproxy_stats: %q }\n", c.Admin, c.Metrics, stats)
	p := harness.StartProxyText(t, c, imported)
	p.WaitUp("alpha")

	theirs, mine := dial(t, listen), dial(t, ours)
	for i := range 1000 {
		key := fmt.Sprintf("k\xc3\xa4y:%d", i)
		if i%3 == 0 {
			key = fmt.Sprintf("{tag%d}:%d", i%7, i)
		}
		want(t, theirs, "OK", "SET", key, fmt.Sprint(i))
		want(t, mine, fmt.Sprint(i), "GET", key)
		want(t, mine, "OK", "SET", key, "mine")
		want(t, theirs, "mine", "GET", key)
	}
	// The stats port has twemproxy's shape.
	conn, err := net.DialTimeout("tcp", stats, harness.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(harness.Patience)); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatalf("stats: %v\n%s", err, data)
	}
	pool, ok := got["alpha"].(map[string]any)
	if !ok || got["uptime"] == nil || pool["server0"] == nil {
		t.Errorf("stats have not twemproxy's shape: %s", data)
	}
}

// TestImportFormer imports the file of the predecessor, with groups and sentinels.
func TestImportFormer(t *testing.T) {
	t.Parallel()
	f := fleet(t, harness.FleetOptions{})
	listen := harness.Address(t)
	file := filepath.Join(t.TempDir(), "nutcracker.yml")
	text := fmt.Sprintf("alpha:\n  listen: %s\n  hash: murmur\n  hash_tag: \"{}\"\n  distribution: ketama\n  timeout: 20000\n"+
		"  sentinel_heartbeat: 2000\n  groups:\n   - g1\n   - g2\n  sentinels:\n", listen)
	for i, s := range f.SentinelAddrs() {
		text += fmt.Sprintf("   - %s sentinel%d\n", s, i)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := importFile(t, file)
	c := harness.NewConfig(t)
	p := harness.StartProxyText(t, c, out+fmt.Sprintf("\nadmin: { listen: %q }\nmetrics: { listen: %q }\n", c.Admin, c.Metrics))
	p.WaitUp("alpha")
	want(t, dial(t, listen), "OK", "MSET", "a", "1", "b", "2", "c", "3", "d", "4")
}

func importFile(t *testing.T, file string) string {
	t.Helper()
	r := harness.Run(t, harness.Program(t, "respgate"), "import", file)
	if r.Code != 0 {
		t.Fatalf("respgate import: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}
