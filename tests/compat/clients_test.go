package compat

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"

	"respgate/tests/compat/page"
	"respgate/tests/harness"
)

// The kinds of pool that suites run through.
const (
	oneGroup    = "one group"
	threeGroups = "three groups"
)

var only = flag.String("suite", "", "run this suite of a Go client only; docs/COMPATIBILITY.md is not checked")

// TestGoClients runs the own tests of Go clients on a plain server and through the proxy: what passes on the one has to
// pass through the other, unless it is argued why it cannot.
func TestGoClients(t *testing.T) {
	t.Parallel()
	all := suites(self(t))
	if *only != "" {
		all = slices.DeleteFunc(all, func(s suite) bool { return s.name != *only })
	}
	reports := make([]report, len(all))
	func() {
		var trials sync.WaitGroup
		defer trials.Wait()
		for i := range all {
			one := prepare(t, &all[i]) // the suites before it run while it is compiled
			trials.Go(func() {
				if err := one.run(t); err != nil {
					t.Error(err)
					return
				}
				reports[i] = one.judge(t)
			})
		}
	}()
	if *only != "" || slices.ContainsFunc(reports, func(r report) bool { return r.version == "" }) {
		return // not all of them have run
	}
	on := "| pass on Redis " + harness.ServerVersion(t) + " |"
	page.Section(t, "go-suites", render(all, reports, on), on)
}

// trial is a suite on its servers: the plain one first, then a pool of each kind.
type trial struct {
	*suite
	program, version string
	ports            []int
	found            []results
}

func prepare(t *testing.T, s *suite) *trial {
	t.Helper()
	one := &trial{suite: s, ports: []int{harness.StartRedis(t, harness.RedisOptions{}).Port}}
	for _, kind := range s.groups {
		one.ports = append(one.ports, startPool(t, kind))
	}
	one.found = make([]results, len(one.ports))
	one.program, one.version = s.build(t)
	return one
}

// run runs the suite everywhere at once, and then again what may have failed because the machine was busy: whatever the
// plain server does not pass, and what only a pool does not. What fails for a reason fails again.
func (o *trial) run(t *testing.T) error {
	var runs sync.WaitGroup
	errs := make([]error, len(o.ports))
	for i := range o.ports {
		runs.Go(func() { o.found[i], errs[i] = o.on(t, o.program, o.ports[i], nil) })
	}
	runs.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	failed := o.found[0].failures()
	for _, through := range o.found[1:] {
		for _, name := range through.passes() { // what a run that ended early did not come to is not among the failures
			if o.found[0][name].state == "" && !slices.Contains(failed, name) {
				failed = append(failed, name)
			}
		}
	}
	if err := o.again(t, 0, failed); err != nil {
		return err
	}
	for i, kind := range o.groups {
		failed = slices.DeleteFunc(o.found[0].passes(), func(name string) bool {
			return o.found[i+1][name].state == passed || differences.argued(o.name, kind, name)
		})
		if err := o.again(t, i+1, failed); err != nil {
			return err
		}
	}
	return nil
}

// again runs these tests a second time; it is enough if they pass once.
func (o *trial) again(t *testing.T, where int, names []string) error {
	if len(names) == 0 {
		return nil
	}
	second, err := o.on(t, o.program, o.ports[where], names)
	for _, name := range names {
		if second[name].state == passed {
			t.Logf("%s: %s passed at the second try on port %d, after: %s", o.name, name, o.ports[where], o.found[where][name].message)
			o.found[where][name] = second[name]
		}
	}
	return err
}

// report is what became of a suite: how many tests pass on the plain server, and which of them do not through a pool.
type report struct {
	version string
	plain   int
	differ  map[string][]string // by the kind of pool
}

func (o *trial) judge(t *testing.T) report {
	r := report{version: o.version, plain: len(o.found[0].passes()), differ: map[string][]string{}}
	for i, kind := range o.groups {
		r.differ[kind] = o.compare(t, kind, o.found[0], o.found[i+1])
	}
	return r
}

// compare fails the test for differences that nobody has argued for, and for those argued for that are not there.
func (s *suite) compare(t *testing.T, kind string, plain, through results) []string {
	t.Helper()
	var differ []string
	for _, name := range plain.passes() {
		argued := differences.argued(s.name, kind, name)
		switch got := through[name]; {
		case got.state != passed && !argued:
			t.Errorf("%s, %s: %s passes on plain Redis; through the proxy it is %q: %s", s.name, kind, name, got.state, got.message)
		case got.state == passed && argued:
			t.Errorf("%s, %s: %s passes now: take it off the list of differences", s.name, kind, name)
		case got.state != passed:
			differ = append(differ, name)
		}
	}
	return differ
}

// startPool starts servers and a proxy before them; the port is that of the pool.
func startPool(t *testing.T, kind string) int {
	t.Helper()
	n := 1
	if kind == threeGroups {
		n = 3
	}
	servers := make([]string, n)
	for i := range servers {
		servers[i] = fmt.Sprintf("%s:1 g%d", harness.StartRedis(t, harness.RedisOptions{}).Addr(), i+1)
	}
	c := harness.NewConfig(t)
	addr := c.ServersPool("suite", servers, "hash_tag: \"{}\"", "timeout: 10s") // a suite runs a script for as long as Redis lets it hold up everybody, 5 s
	harness.StartProxy(t, c).WaitUp("suite")
	return port(addr)
}
