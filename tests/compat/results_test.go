package compat

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

const passed = "passed"

// result is how one test ended: passed, failed, skipped and what else the frameworks know, and why.
type result struct{ state, message string }

// results of a run, by the name of the test. Names that a suite uses twice are numbered.
type results map[string]result

func (r results) add(name string, what result) {
	unique := name
	for n := 2; ; n++ {
		if _, taken := r[unique]; !taken {
			break
		}
		unique = fmt.Sprintf("%s (%d)", name, n)
	}
	r[unique] = what
}

// passes are the names of the tests that passed, sorted.
func (r results) passes() []string {
	return r.where(func(state string) bool { return state == passed })
}

// failures are the names of those that were run and did not pass, however they ended.
func (r results) failures() []string {
	return r.where(func(state string) bool { return state != passed && state != "skipped" && state != "pending" })
}

func (r results) where(ended func(state string) bool) []string {
	var names []string
	for name, what := range r {
		if ended(what.state) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ginkgoResults reads Ginkgo's JSON report.
func ginkgoResults(data []byte) (results, error) {
	var reports []struct {
		SpecReports []struct {
			ContainerHierarchyTexts           []string
			LeafNodeType, LeafNodeText, State string
			Failure                           struct{ Message, ForwardedPanic string }
		}
	}
	if err := json.Unmarshal(data, &reports); err != nil {
		return nil, err
	}
	found := results{}
	for _, report := range reports {
		for _, s := range report.SpecReports {
			name := strings.Join(append(s.ContainerHierarchyTexts, s.LeafNodeText), " / ")
			if s.LeafNodeType != "It" {
				if s.State != passed {
					return nil, fmt.Errorf("%s of the suite %s: %s", s.LeafNodeType, s.State, s.Failure.Message)
				}
				continue
			}
			found.add(name, result{s.State, s.Failure.Message + s.Failure.ForwardedPanic})
		}
	}
	return found, nil
}

// specText is what -ginkgo.focus compares with, of a name.
func specText(name string) string {
	return strings.ReplaceAll(unnumbered(name), " / ", " ")
}

func unnumbered(name string) string {
	if i := strings.LastIndex(name, " ("); i >= 0 && len(name)-i == 4 && strings.HasSuffix(name, ")") {
		return name[:i]
	}
	return name
}

// goResults reads the events of test2json.
func goResults(text string) (results, error) {
	states := map[string]string{"pass": passed, "fail": "failed", "skip": "skipped"}
	output, found := map[string]string{}, results{}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct{ Action, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("test2json: %w: %s", err, lines.Text())
		}
		if e.Action == "output" {
			output[e.Test] += e.Output
		}
		if state, ok := states[e.Action]; ok && e.Test != "" {
			found.add(e.Test, result{state, output[e.Test]})
		}
	}
	return found, lines.Err()
}

// testPattern is what -test.run takes to run exactly these tests; parents of the named subtests run as well.
func testPattern(names []string) string {
	var tops []string
	for _, name := range names {
		top, _, _ := strings.Cut(unnumbered(name), "/")
		tops = append(tops, top)
	}
	slices.Sort(tops)
	return "^(" + strings.Join(slices.Compact(tops), "|") + ")$"
}

func TestResults(t *testing.T) {
	t.Parallel()
	specs, err := ginkgoResults([]byte(`[{"SpecReports": [
		{"LeafNodeType": "BeforeSuite", "State": "passed"},
		{"ContainerHierarchyTexts": ["a"], "LeafNodeType": "It", "LeafNodeText": "b", "State": "passed"},
		{"ContainerHierarchyTexts": ["a"], "LeafNodeType": "It", "LeafNodeText": "b", "State": "failed", "Failure": {"Message": "why"}},
		{"LeafNodeType": "It", "LeafNodeText": "c (x)", "State": "panicked", "Failure": {"ForwardedPanic": "p"}}]}]`))
	want := results{"a / b": {passed, ""}, "a / b (2)": {"failed", "why"}, "c (x)": {"panicked", "p"}}
	if err != nil || !maps.Equal(specs, want) {
		t.Errorf("a report of Ginkgo is %v, %v, want %v", specs, err, want)
	}
	if got, want := specs.passes(), []string{"a / b"}; !slices.Equal(got, want) {
		t.Errorf("%v have passed, want %v", got, want)
	}
	if got, want := specs.failures(), []string{"a / b (2)", "c (x)"}; !slices.Equal(got, want) {
		t.Errorf("%v have failed, want %v", got, want)
	}
	if _, err := ginkgoResults([]byte(`[{"SpecReports": [{"LeafNodeType": "BeforeSuite", "State": "failed"}]}]`)); err == nil {
		t.Error("a suite that could not be set up is not noticed")
	}
	tests, err := goResults(`{"Action":"output","Test":"TestA/b","Output":"x"}
		{"Action":"fail","Test":"TestA/b"}
		{"Action":"skip","Test":"TestB"}
		{"Action":"pass","Test":"TestC"}
		{"Action":"fail"}`)
	want = results{"TestA/b": {"failed", "x"}, "TestB": {"skipped", ""}, "TestC": {passed, ""}}
	if err != nil || !maps.Equal(tests, want) {
		t.Errorf("the output of test2json is %v, %v, want %v", tests, err, want)
	}
	if got, want := testPattern([]string{"TestB", "TestA/c", "TestA/b"}), "^(TestA|TestB)$"; got != want {
		t.Errorf("the pattern of three tests is %s, want %s", got, want)
	}
	if got, want := specText("a / b (2)"), "a b"; got != want {
		t.Errorf("the text of a spec is %q, want %q", got, want)
	}
}
