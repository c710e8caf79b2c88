package harness

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// A program has no way of its own to be told which DNS server to ask, and the machine's is not the tests' to change: the
// proxy is built once more, with a file laid over it that sets its resolver.
var overlaid struct {
	once sync.Once
	path string
	err  error
}

//go:embed testdata/resolver.txt
var resolverSource []byte

func buildOverlaid() (string, error) {
	dir, root := programs.dir, programs.root
	source, overlay, path := filepath.Join(dir, "resolver.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "respgate-dns")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "cmd", "respgate", "zz_resolver.go"): source}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(source, resolverSource, 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return "", err
	}
	args := []string{"build", "-buildvcs=false", "-overlay", overlay}
	if RaceBuilt() {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "-o", path, "./cmd/respgate")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a proxy with a resolver of its own: %w\n%s", err, out)
	}
	return path, nil
}

// StartProxyWithDNS starts a proxy that asks the DNS server at host:port, by UDP, and no other.
func StartProxyWithDNS(t testing.TB, c *Config, server string) *Proxy {
	t.Helper()
	Program(t, "respgate") // there is a directory then
	overlaid.once.Do(func() { overlaid.path, overlaid.err = buildOverlaid() })
	if overlaid.err != nil {
		t.Fatal(overlaid.err)
	}
	return startProxy(t, c, c.String(), "/usr/bin/env", "RESPGATE_TEST_DNS="+server, overlaid.path)
}
