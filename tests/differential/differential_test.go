package differential

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"respgate/tests/compat/page"
	"respgate/tests/harness"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "compare only from this seed on; 0 is a fixed list, and with -soak random ones behind it")
	countFlag = flag.Int("count", 1, "with -seed: how many sequences")
	shownFlag = flag.Int("shown", 12, "stop after differences of so many commands")
	soakFlag  = flag.Duration("soak", 0, "compare for so long; a rule that has not applied in 5000 sequences fails then")
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	fixed   = 300 // sequences that are the same in each run
	workers = 3
	enough  = 5000 // sequences, after which each rule must have applied
)

// TestDifferential sends generated commands to a plain server and through the proxy.
func TestDifferential(t *testing.T) {
	t.Parallel()
	rules := newRulebook()
	h := &hunt{t: t, rules: rules, found: map[string]bool{}}
	h.random = rand.Uint64()>>16 | 1<<40
	if *seedFlag == 0 && *soakFlag > 0 {
		t.Logf("random sequences begin with seed %d", h.random)
	}
	var wg sync.WaitGroup
	all := stages(t, workers, rules)
	h.until = time.Now().Add(*soakFlag)
	for _, s := range all {
		wg.Go(func() { h.work(s) })
	}
	wg.Wait()
	t.Logf("%d sequences, %d requests", h.sequences.Load(), h.requests.Load())
	if h.failed != nil {
		t.Fatal(h.failed)
	}
	for _, r := range rules.rules {
		if n := r.applied.Load(); n == 0 && h.sequences.Load() >= enough {
			t.Errorf("the rule for %s has never applied: %s", r.commands, r.why)
		}
	}
}

// TestPage holds that docs/COMPATIBILITY.md tells of the rules.
func TestPage(t *testing.T) {
	t.Parallel()
	page.Section(t, "differential", newRulebook().page())
}

// hunt hands out seeds and collects differences.
type hunt struct {
	t                   *testing.T
	rules               *rulebook
	random              uint64
	until               time.Time
	next                atomic.Uint64
	sequences, requests atomic.Int64

	mu     sync.Mutex
	found  map[string]bool
	failed error // the test itself is at fault
}

// seed is the next one; false at the end.
func (h *hunt) seed() (uint64, bool) {
	n := h.next.Add(1) - 1
	switch {
	case h.over():
		return 0, false
	case *seedFlag != 0:
		return *seedFlag + n, n < uint64(*countFlag)
	case n < fixed:
		return n + 1, true
	}
	return h.random + n, *soakFlag > 0 && time.Now().Before(h.until)
}

func (h *hunt) over() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed != nil || len(h.found) >= *shownFlag
}

func (h *hunt) work(s *stage) {
	for seed, ok := h.seed(); ok; seed, ok = h.seed() {
		q := build(seed, s.grammar, s.payloads, groupsOf(seed))
		h.sequences.Add(1)
		h.requests.Add(int64(q.size()))
		d, err := s.verdict(q)
		switch {
		case err != nil:
			h.fail(fmt.Errorf("seed %d: %w", seed, err))
		case d != nil && h.first(d):
			short, d := s.shrink(q, d, 10*time.Second)
			h.t.Errorf("seed %d, %d groups: %s\n%s", seed, q.groups, d, indent(short.String()))
		}
	}
}

// groupsOf is how many groups the pool of a seed's sequence has.
func groupsOf(seed uint64) int {
	if seed%4 == 3 {
		return 3
	}
	return 1
}

// first reports whether no difference of this command was shown yet.
func (h *hunt) first(d *difference) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.found[d.name] {
		return false
	}
	h.found[d.name] = true
	return true
}

func (h *hunt) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil {
		h.failed = err
	}
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}
