// Package harness starts what the end-to-end suites talk to: real redis-server and redis-sentinel processes, the built
// programs of this module, and between them TCP proxies that break things on demand.
//
// A test owns what it starts: everything is stopped, by pid, in t.Cleanup, and its log is printed only if the test
// failed. Ports are reserved across test processes, files live in t.TempDir. Nothing here waits for a time: see
// Eventually.
//
//	Ledger ──> Proxy (bin/respgate) ──> FaultProxy ──> Redis
//	             │        └──────────> FaultProxy ──> Sentinel ──> Redis
//	             └──> Manager (bin/respgate-manager)
package harness

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Patience is how long a condition may take that should hold at once. It is long because a busy machine is no failure;
// a test that measures how fast something is says so itself.
const Patience = 30 * time.Second

// Main runs the tests of a package, removes what they shared, and fails if one of them left a goroutine behind.
// A package's TestMain calls it.
func Main(m *testing.M) {
	flag.Parse()
	raiseParallel()
	code := m.Run()
	Release()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines left after all tests: %v\n", err)
		code = 1
	}
	os.Exit(code)
}

// Release gives back what all uses of the harness in the process share: Main does it for tests, others do it at their end.
func Release() {
	programs.remove()
	spawner.stop()
}

// raiseParallel lets more tests run at once than there are processors: they mostly wait for other processes.
func raiseParallel() {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(max(6, 2*runtime.GOMAXPROCS(0))))
	}
}

// Eventually polls cond until it returns nil, and fails the test with its last error after the time given.
func Eventually(t testing.TB, within time.Duration, what string, cond func() error) {
	t.Helper()
	if err := Poll(within, cond); err != nil {
		t.Fatalf("%s: not within %v: %v", what, within, err)
	}
}

// Poll calls cond every few milliseconds until it returns nil; its last error after the time given.
func Poll(within time.Duration, cond func() error) error {
	err := cond()
	if err == nil {
		return nil
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		select {
		case <-tick.C:
			if err = cond(); err == nil {
				return nil
			}
		case <-late.C:
			return err
		}
	}
}
