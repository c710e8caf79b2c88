// Package compat runs what others have written for Redis, the test suites of clients and programs in several languages,
// on a plain redis-server and through respgate, and compares. docs/COMPATIBILITY.md says what was found.
package compat

import (
	"os"
	"testing"

	"respgate/tests/harness"
)

func TestMain(m *testing.M) {
	if os.Getenv(standInVar) != "" {
		os.Exit(standIn(os.Args[1:]))
	}
	harness.Main(m)
}
