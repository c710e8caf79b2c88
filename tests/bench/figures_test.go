package main

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseSchedstat(t *testing.T) {
	got, err := parseSchedstat("123456789 42 7\n")
	if err != nil || got != 123456789*time.Nanosecond {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "1 2", "x 2 3", "1 2 3 4"} {
		if _, err := parseSchedstat(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseRSS(t *testing.T) {
	got, err := parseRSS("Name:\tx\nVmPeak:\t  9000 kB\nVmRSS:\t    2560 kB\nThreads:\t1\n")
	if err != nil || got != 2.5 {
		t.Errorf("got %v, %v; want 2.5 MiB", got, err)
	}
	if _, err := parseRSS("Name:\tx\n"); err == nil {
		t.Error("a status without VmRSS was taken")
	}
}

func TestParseBenchmark(t *testing.T) {
	const head = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"` + "\n"
	tests := []struct{ name, text string }{
		{"a test of its own", head + `"GET","56000.50","0.8","0.1","0.631","1.2","1.503","9.0"` + "\n"},
		{"a warning before", "WARNING: Could not fetch server CONFIG\n" + head + `"MGET key:1","56000.50","0.8","0.1","0.631","1.2","1.503","9.0"` + "\n"},
	}
	for _, tt := range tests {
		got, err := parseBenchmark(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(figures{"rps": 56000.5, "p50_ms": 0.631, "p99_ms": 1.503}, got); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
	for _, bad := range []string{"", "Error from server\n", head, `"test","rps"` + "\n" + `"GET","1"` + "\n", head + `"GET","?","0","0","0","0","0","0"` + "\n"} {
		if _, err := parseBenchmark(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		in := slices.Clone(tt.in)
		if got := median(in); got != tt.want || !slices.Equal(in, tt.in) {
			t.Errorf("median(%v) = %v, leaves %v", tt.in, got, in)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestExponent(t *testing.T) {
	for _, tt := range []struct{ x1, y1, x2, y2, want float64 }{
		{1, 5, 10, 5, 0}, {1, 5, 10, 50, 1}, {2, 3, 4, 12, 2}, {1, 50, 10, 5, -1},
	} {
		if got := exponent(tt.x1, tt.y1, tt.x2, tt.y2); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("exponent(%v) = %v", tt, got)
		}
	}
	for _, bad := range [][4]float64{{1, 0, 2, 1}, {1, 1, 1, 2}, {0, 1, 1, 1}} {
		if got := exponent(bad[0], bad[1], bad[2], bad[3]); !math.IsNaN(got) {
			t.Errorf("exponent(%v) = %v, want NaN", bad, got)
		}
	}
	if marked(1.11) != "1.11 ⚠" || marked(1.1) != "1.10" || marked(math.NaN()) != "" {
		t.Errorf("marked: %q %q %q", marked(1.11), marked(1.1), marked(math.NaN()))
	}
}

func TestHistogram(t *testing.T) {
	for b := range bucketCount - 1 {
		if low := lowest(b); bucket(low) != b || lowest(b+1) <= low || bucket(lowest(b+1)-1) != b {
			t.Fatalf("bucket %d begins at %d, which is in %d; the next at %d", b, low, bucket(low), lowest(b+1))
		}
	}
	if bucket(math.MaxUint64) != bucketCount-1 {
		t.Errorf("the longest time is in bucket %d of %d", bucket(math.MaxUint64), bucketCount)
	}
	var h histogram
	if h.quantile(0.99) != 0 {
		t.Error("a quantile of nothing")
	}
	values := make([]float64, 10000)
	for i := range values {
		v := uint64(rand.ExpFloat64() * 5000)
		values[i] = float64(v)
		h.add(v)
	}
	slices.Sort(values)
	for _, q := range []float64{0, 0.5, 0.99, 1} {
		want := values[int(q*float64(len(values)-1))]
		if got := h.quantile(q); got > want || got < want*(1-1.0/128) {
			t.Errorf("quantile %v = %v, want %v less at most 1/128", q, got, want)
		}
	}
}

// TestOfItself reads the real files of this process, where there are any.
func TestOfItself(t *testing.T) {
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		return // not Linux
	}
	if got, err := cpuTime(os.Getpid()); err != nil || got <= 0 {
		t.Errorf("CPU time %v, %v", got, err)
	}
	if got, err := rss(os.Getpid()); err != nil || got < 1 {
		t.Errorf("RSS %v MiB, %v", got, err)
	}
}

func TestMarkdown(t *testing.T) {
	rows := measured{}
	rows.add("get_c50", "a", figures{"rps": 100, "cpu_us": 10})
	rows.add("get_c50", "a", figures{"rps": 300, "cpu_us": 20})
	rows.add("get_c50", "b", figures{"rps": 300, "cpu_us": 7.5})
	rows.add(idleScenario, "a", figures{"kib_per_conn": 0.5})
	rows.add(idleScenario, "b", figures{"kib_per_conn": 0.25})
	got := markdown(rows, []string{"a", "b"}, []string{"get_c50", idleScenario})
	for _, want := range []string{
		"### b to a\n", "| get_c50 | 200 → 300 (**1.50**) | - | - | 15.0 → 7.50 (**0.50**) | - | - |\n",
		"| a connection used once, KiB | 0.50 → 0.25 (**0.50**) |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	alone := markdown(rows, []string{"b"}, []string{"get_c50"})
	if !strings.Contains(alone, "| get_c50 | 300 | - | - | 7.50 | - | - |\n") || strings.Contains(alone, "→") {
		t.Errorf("of one proxy:\n%s", alone)
	}
}

func TestParsePeer(t *testing.T) {
	p, err := parsePeer("other=6400=/bin/other -c a=b.conf")
	if err != nil || p.name != "other" || p.port != 6400 || !slices.Equal(p.argv, []string{"/bin/other", "-c", "a=b.conf"}) {
		t.Errorf("got %+v, %v", p, err)
	}
	for _, bad := range []string{"", "a", "a=1", "a=x=y", "a=0=y", "=1=y", "a=70000=y", "a=1= "} {
		if _, err := parsePeer(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseAllowed(t *testing.T) {
	for list, want := range map[string][]int{"0-1": {0, 1}, "3": {3}, "0-2,5,8-9": {0, 1, 2, 5, 8, 9}, "": nil, "x": nil} {
		if got := parseAllowed("Name:\tx\nCpus_allowed:\t3\nCpus_allowed_list:\t" + list + "\nThreads:\t1\n"); !slices.Equal(got, want) {
			t.Errorf("%q: %v", list, got)
		}
	}
}

func TestCommandLine(t *testing.T) {
	if got := commandLine("bench compare", []string{"-rounds", "1", "-peer", "a=1=b c", "it's", ""}); got != `bench compare -rounds 1 -peer 'a=1=b c' 'it'\''s' ''` {
		t.Error(got)
	}
}

func TestRow(t *testing.T) {
	if got := (figures{"rps": 56789.4, "cpu_us": 1.25, "rss_mib": 14.06}).String(); got != "rps=56789 cpu_us=1.25 rss_mib=14.1" {
		t.Error(got)
	}
}
