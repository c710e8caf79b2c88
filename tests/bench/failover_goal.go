package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// moment is what the time to be served again counts from.
type moment int

const (
	none moment = iota
	announced
	promoted
	healed
)

var moments = [...]string{announced: "announced", promoted: "promoted", healed: "its end"}

// goal is what a row has to reach; a zero field asks for nothing, but for failed.
type goal struct {
	since     moment
	within    time.Duration // from there until the group is served again
	failed    int           // requests that may fail; -1: any number
	lossless  bool
	slowest   time.Duration
	everyWait bool // slowest is that of failures too
}

// ratioGoal is how much p99 of the groups that are not struck may grow.
const ratioGoal = 1.2

// missed are the parts of its goal that a row has missed.
type missed struct{ late, failed, lost, broken, slow, others bool }

func (m measuredRow) missed() missed {
	g := m.goal
	return missed{
		late:   g.within > 0 && !(m.middleOf(damage.late) <= millis(g.within)),
		failed: g.failed >= 0 && m.failing().errors() > g.failed || m.worst(damage.refused) > 0,
		lost:   m.worst(damage.unexcused) > 0,
		broken: m.worst(damage.broken) > 0,
		slow:   g.slowest > 0 && m.middleOf(damage.slowest) > millis(g.slowest),
		others: others(m.rounds...) > ratioGoal,
	}
}

// failing is the round whose errors count: the worst where none may be, else the median one, for how many requests are in
// flight when the fault strikes is chance.
func (m measuredRow) failing() damage {
	sorted := slices.SortedStableFunc(slices.Values(m.rounds), func(a, b damage) int { return a.errors() - b.errors() })
	if m.goal.failed == 0 {
		return sorted[len(sorted)-1]
	}
	return sorted[len(sorted)/2]
}

// String names them.
func (m missed) String() string {
	var parts []string
	for _, p := range []struct {
		is   bool
		what string
	}{
		{m.lost, "lost writes"},
		{m.broken, "executed twice or answered to another"},
		{m.failed, "errors"},
		{m.late, "served late"},
		{m.slow, "slow"},
		{m.others, "others slowed down"},
	} {
		if p.is {
			parts = append(parts, p.what)
		}
	}
	return strings.Join(parts, ", ")
}

// judgement is an error that names the rows that have missed their goals: always those where what must never happen has
// happened; those with another miss, which a busy machine can cause, if it is strict.
func judgement(all []measuredRow, strict bool) error {
	var rows []string
	for _, m := range all {
		bad := m.missed()
		if !strict {
			bad = missed{lost: bad.lost, broken: bad.broken}
		}
		if bad != (missed{}) {
			rows = append(rows, fmt.Sprintf("%s (%v)", m.name, bad))
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return fmt.Errorf("goals were missed by %s", strings.Join(rows, "; "))
}

func (g goal) String() string {
	var parts []string
	if g.within > 0 {
		parts = append(parts, fmt.Sprintf("%s + %d ms", moments[g.since], g.within.Milliseconds()))
	}
	switch {
	case g.failed == 0:
		parts = append(parts, "no error")
	case g.failed > 0:
		parts = append(parts, fmt.Sprintf("at most %d errors", g.failed))
	}
	if g.lossless {
		parts = append(parts, "nothing lost")
	}
	if g.slowest > 0 {
		what := "slowest"
		if g.everyWait {
			what = "every wait"
		}
		parts = append(parts, fmt.Sprintf("%s at most %.1f s", what, g.slowest.Seconds()))
	}
	return strings.Join(parts, ", ")
}
