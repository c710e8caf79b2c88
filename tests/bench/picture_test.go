package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// example is a run with a point for every axis, made of nothing.
func example() *scalingRun {
	r := &scalingRun{
		idle: &idleRun{groups: 512, rss: 65, share: 0.1, over: 20 * time.Second},
		slow: &slowRun{before: []float64{1000, 1100, 900}, during: []float64{1100, 1000, 1200}, timeouts: 7},
	}
	for _, a := range axes() {
		run := axisRun{axis: a}
		for i, x := range a.points {
			run.rows = append(run.rows, point{X: x, Rate: 1e4, P50: 300, P99: 500 * float64(i+1), CPU: float64(x) / 3, Servers: 2, RSS: 9})
		}
		r.axes = append(r.axes, run)
	}
	return r
}

func TestChartIsXML(t *testing.T) {
	for _, runs := range [][]axisRun{nil, example().axes, {{axis: axes()[0], rows: []point{{X: 1}}}}} {
		d := xml.NewDecoder(strings.NewReader(chart(runs)))
		d.Strict = true
		circles := 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
				circles++
				for _, a := range e.Attr {
					if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
						t.Errorf("a circle at %s", a.Value)
					}
				}
			}
		}
		want := 0
		for _, a := range runs {
			for _, p := range a.rows {
				if p.CPU > 0 {
					want += 2 // CPU and p99
				}
			}
		}
		if circles != want {
			t.Errorf("%d circles, want %d", circles, want)
		}
	}
}

func TestLogTicks(t *testing.T) {
	for _, values := range [][]float64{{1}, {0.3, 40}, {14.2, 15.1}, {1, 10}, {0.0007, 900000}, {5}} {
		ticks := logTicks(values)
		if len(ticks) < 2 {
			t.Fatalf("%v: ticks %v", values, ticks)
		}
		for _, v := range values {
			if v < ticks[0] || v > ticks[len(ticks)-1] {
				t.Errorf("%v is outside of its ticks %v", v, ticks)
			}
		}
		if ticks[len(ticks)-1] < 9.99*ticks[0] {
			t.Errorf("%v: ticks %v are less than a decade", values, ticks)
		}
		if len(ticks) > 12 {
			t.Errorf("%v: %d ticks", values, len(ticks))
		}
	}
	if got := scaled(10, 1, 100, 0, 200); math.Abs(got-100) > 1e-9 {
		t.Errorf("10 between 1 and 100 is at %v of 200", got)
	}
}

func TestPage(t *testing.T) {
	page := example().page()
	for _, want := range []string{
		"## Connections\n", "## Keys of an MGET\n", "| 1,000 |", "| 64 KiB |", "us/KiB", "us/key", // each axis in its units
		"| RSS, MiB | 65.0 ⚠ | 64.0 |", "| CPU, % of one | 0.10 | 1.00 |", "| ratio, at most 1.2 | | 1.10 |", "| all servers run | 1.00, 1.10, 0.90 | 1.00 |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}

func TestAxes(t *testing.T) {
	for _, a := range axes() {
		for _, x := range a.points {
			s := a.at(x)
			s.load.Address, s.load.Duration = "127.0.0.1:1", time.Second
			if err := s.load.check(); err != nil || s.groups < 1 || s.loops < 1 || s.value < 1 || a.share(x) <= 0 {
				t.Errorf("%s at %d: %+v, %v", a.name, x, s, err)
			}
		}
	}
	var s scaling
	if err := s.choose("mget,idle"); err != nil || len(s.axes) != 1 || len(s.parts) != 1 {
		t.Errorf("chose %+v, %v", s, err)
	}
	if err := s.choose("colour"); err == nil {
		t.Error("an axis that does not exist was chosen")
	}
}

func TestVerdict(t *testing.T) {
	r := &scalingRun{axes: []axisRun{{axis: axes()[0], rows: []point{{X: 1, CPU: 1, P99: 100}, {X: 10, CPU: 10, P99: 100}, {X: 1000, CPU: 9, P99: 1e6}}}}}
	if got := r.verdict(); !strings.HasSuffix(got, ": p99 over connections from 10 to 1,000 (2.00).") {
		t.Error(got)
	}
	r.axes[0].rows = r.axes[0].rows[:2]
	if got := r.verdict(); !strings.Contains(got, "nothing did") {
		t.Error(got)
	}
}

func TestThousands(t *testing.T) {
	for x, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 10000: "10,000", 1234567: "1,234,567"} {
		if got := thousands(x); got != want {
			t.Errorf("%d is %q", x, got)
		}
	}
}
