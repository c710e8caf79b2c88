package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var origin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(ms int) time.Time { return origin.Add(time.Duration(ms) * time.Millisecond) }

// answered are successes every 10 ms that took 1 ms each, but for a gap.
func answered(from, gap, back, to int) (ops []op) {
	for ms := from; ms < to; ms += 10 {
		if ms < gap || ms >= back {
			ops = append(ops, op{began: at(ms - 1), ended: at(ms)})
		}
	}
	return ops
}

func TestOutage(t *testing.T) {
	ops := answered(-1000, -500, -200, 500) // a gap before the fault is none of it
	ops = slices.DeleteFunc(ops, func(o op) bool { return o.ended.After(at(100)) && o.ended.Before(at(300)) })
	ops = append(ops, op{began: at(100), ended: at(200), failure: timedOut}) // no success
	slices.SortFunc(ops, func(a, b op) int { return a.ended.Compare(b.ended) })
	from, to := outage(ops, origin)
	if !from.Equal(at(100)) || !to.Equal(at(300)) {
		t.Errorf("from %v to %v, want 100 ms to 300 ms after the fault", from.Sub(origin), to.Sub(origin))
	}
	if _, to := outage(nil, origin); !to.IsZero() {
		t.Errorf("no request, and an outage until %v", to)
	}
}

func TestGapAround(t *testing.T) {
	ops := answered(-1000, 0, 30, 500)
	ops = slices.DeleteFunc(ops, func(o op) bool { return o.ended.After(at(100)) && o.ended.Before(at(300)) }) // longer, and another one
	ops = append(ops, op{began: at(5), ended: at(20), failure: connectionLost})
	slices.SortFunc(ops, func(a, b op) int { return a.ended.Compare(b.ended) })
	from, to := gapAround(ops, at(10))
	if !from.Equal(at(-10)) || !to.Equal(at(30)) {
		t.Errorf("from %v to %v, want -10 ms to 30 ms", from.Sub(origin), to.Sub(origin))
	}
	if _, to := gapAround(ops, at(1000)); !to.IsZero() {
		t.Errorf("no request, and a gap until %v", to)
	}
}

func TestWaits(t *testing.T) {
	ops := answered(-100, 0, 0, 200)
	ops = append(ops, op{began: at(-50), ended: at(250)}, op{began: at(0), ended: at(1000), failure: timedOut})
	if got := slowest(ops, origin, false); got != 300*time.Millisecond {
		t.Errorf("slowest success: %v, want 300ms", got)
	}
	if got := slowest(ops, origin, true); got != time.Second {
		t.Errorf("slowest wait: %v, want 1s", got)
	}
	if got := percentile99(waits(ops, origin, at(240))); got != time.Millisecond {
		t.Errorf("p99: %v, want 1ms", got)
	}
	if diff := cmp.Diff(map[string]int{timedOut: 1}, failures(ops, origin)); diff != "" {
		t.Errorf("failures:\n%s", diff)
	}
}

func TestFailureKind(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("ERR respgate: group 'g1': connection to its master was lost after the request was sent; it may or may not have been executed"), unknownOutcome},
		{errors.New("ERR respgate: group 'g1': 127.0.0.1:7001 timed out after 3s"), timedOut},
		{errors.New("ERR respgate: group 'g1': timed out after 3000 ms waiting for a reply of 127.0.0.1:7001; it may or may not have been executed"), timedOut},
		{errors.New("ERR respgate: group 'g1' is on hold: requests to it timed out: no room"), waitedTooLong},
		{errors.New("connection: EOF"), connectionLost},
		{&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}, notConnected},
		{errors.New("READONLY You can't write against a read only replica."), readOnly},
		{errors.New("OOM at 127.0.0.1:7001"), "OOM at N.N.N.N:N"},
	} {
		if got := failureKind(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestWatchConcerns(t *testing.T) {
	w := &watch{group: "g1"}
	for payload, want := range map[string]bool{
		"master g1 127.0.0.1 7001":                                true,
		"master g10 127.0.0.1 7001":                               false,
		"slave 127.0.0.1:7002 127.0.0.1 7002 @ g1 127.0.0.1 7001": true,
		"slave 127.0.0.1:7002 127.0.0.1 7002 @ g2 127.0.0.1 7001": false,
		"sentinel abc 127.0.0.1 26379 @ g1 127.0.0.1 7001":        false,
		"g1 127.0.0.1 7001 127.0.0.1 7002":                        true,
		"g2 127.0.0.1 7001 127.0.0.1 7002":                        false,
		"":                                                        false,
	} {
		if got := w.concerns(payload); got != want {
			t.Errorf("%q: %v, want %v", payload, got, want)
		}
	}
}

// crash is a failover of g1 that was announced after 2 s and served again so many ms later; g2 noticed nothing.
func crash(late, failed int) damage {
	g1 := groupDamage{
		name: "g1", struck: true, promoted: at(1400), announced: at(2000), since: at(2000), restored: at(2000 + late), slowest: 2 * time.Second,
		failed: map[string]int{unknownOutcome: failed, notConnected: 7}, ops: answered(-1000, 0, 2000+late, 3000),
		seen: []sighting{{at(1050), "+sdown"}, {at(2010), "respgate: decided <&>"}},
	}
	g2 := groupDamage{name: "g2", before: []time.Duration{time.Millisecond}, during: []time.Duration{1100 * time.Microsecond}, ops: answered(-1000, 0, 0, 3000)}
	return damage{row: faultRows()[0], struck: origin, groups: []groupDamage{g1, g2}}
}

func TestDamage(t *testing.T) {
	d := crash(30, 2)
	got := []float64{d.promoted(), d.announced(), d.restored(), d.late(), d.slowest(), others(d), float64(d.errors())}
	if diff := cmp.Diff([]float64{1400, 2000, 2030, 30, 2000, 1.1, 2}, got); diff != "" {
		t.Errorf("figures:\n%s", diff)
	}
	slow := crash(30, 2)
	slow.groups = append(slow.groups, slow.groups[1])
	slow.groups[2].name, slow.groups[2].during = "g3", []time.Duration{2 * time.Millisecond}
	if got := others(d, slow); got != 2 {
		t.Errorf("the worst group waited %v times as long", got)
	}
	slow.groups[2].during = nil
	if got := others(d, slow); !math.IsInf(got, 1) {
		t.Errorf("a group that was not served waited %v times as long", got)
	}
	d.groups[0].announced = time.Time{}
	if !math.IsNaN(d.announced()) {
		t.Errorf("announced after %v ms, and nobody has seen it", d.announced())
	}
}

func TestGoals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rounds []damage
		want   missed
	}{
		{"reached", []damage{crash(30, 2), crash(90, 0), crash(10, 1)}, missed{}},
		{"the median is late", []damage{crash(60, 0), crash(90, 0), crash(10, 0)}, missed{late: true}},
		{"one round has too many errors", []damage{crash(30, 3), crash(30, 0), crash(30, 0)}, missed{}},
		{"most rounds have too many errors", []damage{crash(30, 3), crash(30, 0), crash(30, 4)}, missed{failed: true}},
		{"a read is too old, and a master died", []damage{spoilt(func(d *damage) { d.groups[0].lost, d.groups[0].stale = 1, 1 })}, missed{}},
		{"each connection has lost a write, and a master died", []damage{spoilt(func(d *damage) { d.groups[0].lost = connections / 2 })}, missed{}},
		{"one has lost two", []damage{spoilt(func(d *damage) { d.groups[0].lost = connections/2 + 1 })}, missed{lost: true}},
		{"more reads are too old than there are connections", []damage{spoilt(func(d *damage) { d.groups[0].stale = connections/2 + 1 })}, missed{lost: true}},
		{"a read is too old where nothing may be lost", []damage{spoilt(func(d *damage) { d.row.goal.lossless, d.groups[0].stale = true, 1 })}, missed{lost: true}},
		{"a group that nothing happened to has lost a write", []damage{spoilt(func(d *damage) { d.groups[1].lost = 1 })}, missed{lost: true}},
		{"executed twice", []damage{crash(30, 0), spoilt(func(d *damage) { d.groups[0].broken = 1 }), crash(30, 0)}, missed{broken: true}},
		{"a replica's answer", []damage{spoilt(func(d *damage) { d.groups[0].failed = map[string]int{readOnly: 1} })}, missed{failed: true}},
		{"never served again", []damage{{struck: origin, groups: []groupDamage{{struck: true}}}}, missed{late: true}},
	} {
		m := measuredRow{faultRow: faultRows()[0], rounds: tt.rounds}
		if got := m.missed(); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func spoilt(by func(*damage)) damage {
	d := crash(30, 0)
	by(&d)
	return d
}

func TestJudgement(t *testing.T) {
	row := func(name string, d damage) measuredRow {
		m := measuredRow{faultRow: faultRows()[0], rounds: []damage{d}}
		m.name = name
		return m
	}
	good, late := row("good", crash(30, 0)), row("late", crash(90, 3))
	twice := row("twice", spoilt(func(d *damage) { d.groups[0].broken = 1 }))
	for _, tt := range []struct {
		rows   []measuredRow
		strict bool
		want   string
	}{
		{[]measuredRow{good, late}, false, ""},
		{[]measuredRow{good}, true, ""},
		{[]measuredRow{good, late}, true, "goals were missed by late (errors, served late)"},
		{[]measuredRow{good, late, twice}, false, "goals were missed by twice (executed twice or answered to another)"},
		{[]measuredRow{late, twice}, true, "goals were missed by late (errors, served late); twice (executed twice or answered to another)"},
	} {
		got := ""
		if err := judgement(tt.rows, tt.strict); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("strict %v: %q, want %q", tt.strict, got, tt.want)
		}
	}
}

func TestFaultTable(t *testing.T) {
	m := measuredRow{faultRow: faultRows()[0], rounds: []damage{crash(60, 3)}}
	lines := strings.Split(strings.TrimSpace(faultTable([]measuredRow{m})), "\n")
	want := "| kill -9 of a master | 1,400 | 2,000 | 2,060 | 60.0 ⚠ | 3 outcome unknown, 7 not connected ⚠ | 0 | 2,000 | 1.10 | announced + 50 ms, at most 2 errors |"
	if len(lines) != 3 || lines[2] != want {
		t.Errorf("got\n%s\nwant\n%s", lines[len(lines)-1], want)
	}
	for _, l := range lines {
		if strings.Count(l, "|") != strings.Count(lines[0], "|") {
			t.Errorf("a line with other columns: %s", l)
		}
	}
}

func TestTimelineIsXML(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(crash(30, 2).picture()))
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
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if e.Name.Local == "circle" {
			circles++
		}
		for _, a := range e.Attr {
			if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
				t.Errorf("%s: %s=%s", e.Name.Local, a.Name.Local, a.Value)
			}
		}
	}
	if circles != 4 { // the fault, two sightings, the first reply
		t.Errorf("%d circles, want 4", circles)
	}
}

func TestFiguresInto(t *testing.T) {
	page, err := os.ReadFile("../../docs/FAILOVER.md")
	if err != nil {
		t.Fatal(err)
	}
	once, err := figuresInto(string(page), "\none\n")
	if err != nil {
		t.Fatal(err)
	}
	twice, err := figuresInto(once, "two")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(twice, "\none\n") || !strings.Contains(twice, figuresBegin+"\ntwo\n\n"+figuresEnd) {
		t.Error("the old figures were not replaced")
	}
	if _, err := figuresInto("a page without marks", "x"); err == nil {
		t.Error("a page without marks was taken")
	}
}

func TestChooseRows(t *testing.T) {
	names := map[string]bool{}
	for _, r := range faultRows() {
		if names[r.name] || r.strike == nil || r.title == "" {
			t.Errorf("row %q is there twice, or not whole", r.name)
		}
		names[r.name] = true
	}
	var o failover
	if err := o.choose("switch, kill9"); err != nil || len(o.rows) != 2 || o.rows[0].name != "switch" {
		t.Errorf("got %d rows, %v", len(o.rows), err)
	}
	if err := o.choose("kill8"); err == nil {
		t.Error("a row that is not there was taken")
	}
}

// TestRig: a row ends where it fails, and what it started is ended, the last first.
func TestRig(t *testing.T) {
	var order []string
	dir := ""
	err := onRig(context.Background(), "row", func(r *rig) {
		dir = r.TempDir()
		r.Cleanup(func() { order = append(order, "first") })
		r.Cleanup(func() { order = append(order, "second") })
		r.Fatalf("it broke at %d", 7)
		order = append(order, "went on")
	})
	if err == nil || err.Error() != "it broke at 7" {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"second", "first"}, order); diff != "" {
		t.Errorf("order:\n%s", diff)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory %s is left: %v", dir, err)
	}
}

// TestRigInterrupted: what a row has started is ended although the row itself still waits.
func TestRigInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cleaned := make(chan struct{})
	err := onRig(ctx, "row", func(r *rig) {
		r.Cleanup(func() { close(cleaned) })
		cancel()
		<-cleaned
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
