package e2e

import (
	"slices"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// The suite runs on any version of Redis or Valkey that is on PATH. What the proxy says itself it says in the words of Redis 7.0; what
// the servers cannot do yet is not tried.

// known are the scripts for play that a server before 7.0 has all commands of.
func known(w *spy, scripts map[string]string) map[string]string {
	if harness.ServerHas7(w.t) {
		return scripts
	}
	has := map[string]bool{"NOSUCH": true}
	knows := func(name string) bool {
		if _, asked := has[name]; !asked {
			has[name] = w.do("COMMAND", "INFO", name).Text() != "[(nil)]"
		}
		return has[name]
	}
	found := map[string]string{}
	for name, script := range scripts {
		if !slices.ContainsFunc(strings.Split(script, "\n"), func(line string) bool {
			args := split(line)
			return len(args) > 1 && !knows(args[1])
		}) {
			found[name] = script
		}
	}
	return found
}

// agrees reports whether the proxy's reply is that of the server. Errors of other versions than 7.0 are worded otherwise: their codes
// have to be the same. Valkey 8.0, alone among all, calls it an error to unsubscribe from what nobody has subscribed to.
func agrees(t *testing.T, got, server string) bool {
	t.Helper()
	got = blamed.ReplaceAllString(got, "")
	if got == server || strings.HasPrefix(harness.ServerVersion(t), "7.0.") {
		return got == server
	}
	if strings.HasPrefix(server, "-NOSUB ") {
		_, rest, ok := strings.Cut(got, "unsubscribe\r\n")
		return ok && strings.HasSuffix(rest, "\r\n:0\r\n")
	}
	code := func(reply string) string { first, _, _ := strings.Cut(reply, " "); return first }
	return strings.HasPrefix(server, "-") && code(got) == code(server)
}

// modeIn is the field of INFO that says whether the server is of a cluster: Valkey has renamed it.
func modeIn(fields map[string]string) string {
	if mode, ok := fields["server_mode"]; ok {
		return mode
	}
	return fields["redis_mode"]
}
