package programs

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// outcome is what a program has said about a target.
type outcome struct {
	client   string            // its name and version
	features []string          // in the order in which they were tried
	failed   map[string]string // feature to reason
}

// parse reads a program's output. One that ends early, or tries nothing, is an error.
func parse(output string) (outcome, error) {
	o := outcome{failed: map[string]string{}}
	for line := range strings.Lines(output) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		feature, reason, _ := strings.Cut(rest, ": ")
		switch kind {
		case "client":
			o.client = rest
			continue
		case "ok":
			feature = rest
		case "fail":
			o.failed[feature] = reason
		default:
			return o, fmt.Errorf("line %q is none of client, ok and fail", line)
		}
		if slices.Contains(o.features, feature) {
			return o, fmt.Errorf("feature %q was tried twice", feature)
		}
		o.features = append(o.features, feature)
	}
	if o.client == "" || len(o.features) == 0 {
		return o, fmt.Errorf("no client or no feature in %q", output)
	}
	return o, nil
}

func (o outcome) ok(feature string) bool {
	_, failed := o.failed[feature]
	return !failed && slices.Contains(o.features, feature)
}

// passed counts the features that are ok.
func (o outcome) passed() int { return len(o.features) - len(o.failed) }

// difference is a feature of a program that is ok on plain Redis and not through respgate, on purpose.
type difference struct {
	program, feature string
	targets          []string
	reason           string
}

// judge compares what a program has said about plain Redis and about a target, and gives each thing that is wrong.
func judge(program, target string, plain, through outcome, known []difference) []string {
	var wrong []string
	for _, feature := range plain.features {
		listed := slices.ContainsFunc(known, func(d difference) bool {
			return d.program == program && d.feature == feature && slices.Contains(d.targets, target)
		})
		reason := through.failed[feature]
		if !slices.Contains(through.features, feature) {
			reason = "it was not tried"
		}
		switch {
		case !plain.ok(feature):
			wrong = append(wrong, fmt.Sprintf("%s: %s fails on plain Redis: %s", program, feature, plain.failed[feature]))
		case through.ok(feature) && listed:
			wrong = append(wrong, fmt.Sprintf("%s: %s is ok %s, and listed as a difference", program, feature, target))
		case !through.ok(feature) && !listed:
			wrong = append(wrong, fmt.Sprintf("%s: %s is ok on plain Redis, and fails %s: %s", program, feature, target, reason))
		}
	}
	return wrong
}

func TestParse(t *testing.T) {
	t.Parallel()
	o, err := parse("client c 1.0\nok one: two\nfail pub/sub: no end: none\n")
	if err != nil || o.client != "c 1.0" || !slices.Equal(o.features, []string{"one: two", "pub/sub"}) || o.failed["pub/sub"] != "no end: none" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []string{"", "client c 1.0\n", "ok one\n", "client c 1.0\nok one\nok one\n", "client c 1.0\nTraceback\n"} {
		if o, err := parse(bad); err == nil {
			t.Errorf("%q is taken: %+v", bad, o)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	parsed := func(s string) outcome {
		o, err := parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	plain := parsed("client c 1.0\nok a\nok b\nfail c: broken\n")
	known := []difference{{"p", "b", []string{"through it"}, "why"}}
	for through, want := range map[string][]string{
		"client c 1.0\nok a\nfail b: refused\nok c\n":       {"p: c fails on plain Redis: broken"},
		"client c 1.0\nfail a: lost\nfail b: refused\nok c": {"p: a is ok on plain Redis, and fails through it: lost", "p: c fails on plain Redis: broken"},
		"client c 1.0\nok a\nok b\nok c":                    {"p: b is ok through it, and listed as a difference", "p: c fails on plain Redis: broken"},
		"client c 1.0\nok b":                                {"p: a is ok on plain Redis, and fails through it: it was not tried", "p: b is ok through it, and listed as a difference", "p: c fails on plain Redis: broken"},
	} {
		if got := judge("p", "through it", plain, parsed(through), known); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", through, got, want)
		}
	}
}
