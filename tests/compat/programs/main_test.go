// Package programs runs what is written for Redis in other languages, on a plain redis-server, through respgate and
// through twemproxy, and compares feature by feature. The programs are in the directories beside; each is run with
//
//	REDIS_HOST, REDIS_PORT, REDIS_PASSWORD
//	KEYS      what its keys, channels and patterns begin with: as a hash tag where they have to share a group
//	LIMIT_MS  how long a feature may take
//
// and prints `client NAME VERSION`, then `ok FEATURE` or `fail FEATURE: REASON` for each feature it tries.
package programs

import (
	"testing"

	"respgate/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
