package harness

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// serverVersion is what the redis-server on PATH says of itself, asked once: its version, of Redis or of Valkey.
var serverVersion = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("redis-server", "--version").Output()
	if err != nil {
		return "", err
	}
	_, rest, _ := bytes.Cut(out, []byte("v="))
	version, _, _ := bytes.Cut(rest, []byte(" "))
	return string(version), nil
})

// ServerVersion is the version of the servers that tests start: of redis-server on PATH, which may be Valkey's.
func ServerVersion(t testing.TB) string {
	t.Helper()
	version, err := serverVersion()
	if err != nil {
		t.Fatalf("redis-server --version: %v", err)
	}
	return version
}

// ServerHas7 reports whether the servers know what came with Redis 7.0: functions, sharded Pub/Sub, ACL selectors, and
// settings that say what an operator may do. Older ones are tested without.
func ServerHas7(t testing.TB) bool {
	t.Helper()
	major, _, _ := strings.Cut(ServerVersion(t), ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		t.Fatalf("redis-server --version tells no number: %q", ServerVersion(t))
	}
	return n >= 7
}
