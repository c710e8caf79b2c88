package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const packageDir = "../.."

func TestTableIsGenerated(t *testing.T) {
	want, err := generate(packageDir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(packageDir, "table_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("table_gen.go is not what the data and the policy make: run go generate ./engine/command")
	}
}

// TestCapturedFileIsWritten holds commands.json to the form that -capture gives it, so that a new capture shows as a change of rows.
func TestCapturedFileIsWritten(t *testing.T) {
	for _, name := range []string{capturedFile, additionsFile} {
		data, err := os.ReadFile(filepath.Join(packageDir, name))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := decodeRows(name, data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := marshalRows(rows)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, again) {
			t.Errorf("%s is not in the form that the generator writes", name)
		}
	}
}

// TestTipsAreFollowed compares the routes with the request policies that the servers advertise: what concerns every shard must not be sent to one.
func TestTipsAreFollowed(t *testing.T) {
	rows, err := loadRows(packageDir)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := decide(rows)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, e := range entries {
		for tip := range strings.FieldsSeq(e.Tips) {
			policy, found := strings.CutPrefix(tip, "request_policy:")
			if !found {
				continue
			}
			seen++
			split := slices.Contains([]string{"RouteMGet", "RouteMSet", "RouteSum"}, e.route)
			switch {
			case policy == "multi_shard":
				allOrNothing := e.Name == "msetex" || e.Name == "msetnx" // so one group must have all their keys
				if split == allOrNothing {
					t.Errorf("%s: %s, but its route is %s", e.Name, tip, e.route)
				}
			case policy != "multi_shard" && (split || e.route == "RouteKeyed"):
				t.Errorf("%s: %s, but its route is %s", e.Name, tip, e.route)
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d request policies in the data", seen)
	}
}

func TestSimpleRange(t *testing.T) {
	at := func(pos, last, step int) *spec { return &spec{At: pos, Last: last, Step: step} }
	for _, c := range []struct {
		name              string
		specs             []*spec
		first, last, step int
		ok                bool
	}{
		{"none", nil, 0, 0, 0, false},
		{"one", []*spec{at(1, 0, 1)}, 1, 1, 1, true},
		{"to the end", []*spec{at(1, -1, 2)}, 1, -1, 2, true},
		{"side by side", []*spec{at(1, 0, 1), at(2, 0, 1)}, 1, 2, 1, true},
		{"side by side, to the end", []*spec{at(2, 0, 1), at(3, -1, 1)}, 2, -1, 1, true},
		{"apart", []*spec{at(1, 0, 1), at(3, 0, 1)}, 0, 0, 0, false},
		{"counted", []*spec{{At: 1, KeyNum: true, Step: 1}}, 0, 0, 0, false},
		{"after a word", []*spec{{Word: "STREAMS", From: 1, Last: -1, Limit: 2, Step: 1}}, 0, 0, 0, false},
	} {
		first, last, step, ok := simpleRange(c.specs)
		if ok != c.ok || ok && (first != c.first || last != c.last || step != c.step) {
			t.Errorf("%s: %d %d %d %v", c.name, first, last, step, ok)
		}
	}
}

func TestBadRowsAreRefused(t *testing.T) {
	good := row{Name: "x", Arity: 1, Group: "g", Since: "1", Summary: "s"}
	for name, spoil := range map[string]func(*row){
		"no arity":        func(r *row) { r.Arity = 0 },
		"no summary":      func(r *row) { r.Summary = "" },
		"capitals":        func(r *row) { r.Name = "X" },
		"no container":    func(r *row) { r.Name = "x|y" },
		"no begin":        func(r *row) { r.Keys = []*spec{{}} },
		"half of a range": func(r *row) { r.Keys = []*spec{{At: 1, Last: 3, Limit: 2}} },
		"word from where": func(r *row) { r.Keys = []*spec{{Word: "w"}} },
	} {
		bad := good
		spoil(&bad)
		if err := checkRows([]*row{&bad}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := checkRows([]*row{&good, &good}); err == nil {
		t.Error("listed twice: accepted")
	}
	if _, err := decide([]*row{&good}); err == nil || !strings.Contains(err.Error(), "no ruling") {
		t.Errorf("no keys and no ruling: %v", err)
	}
}
