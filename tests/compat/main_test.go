// Package compat runs what others have written for Redis, the test suites of clients and programs in several languages,
// on a plain redis-server and through respgate, and compares. docs/COMPATIBILITY.md says what was found.
package compat

import (
	"testing"

	"respgate/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
