package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"respgate/tests/harness"
)

const failoverAbout = `Does to real servers and sentinels what is to be survived, under a load that keeps books, and measures what its clients
notice. The time to beat is Sentinel's own: pollers of its own look when the replica says that it is a master (promoted) and
when two sentinels name it (announced). With -out, and all rows, the figures go into FAILOVER.md, with failover.svg.
Exits 1 if an acknowledged write is gone that no crash excuses, if something was executed twice, or if a reply was another's.
Takes about half an hour, and a machine that has nothing else to do.

rows:
`

// failover is what bench failover was asked for.
type failover struct {
	rows     []faultRow
	rounds   int
	switches int // planned ones in a row
	command  string
}

func failoverMain(ctx context.Context, args []string) error {
	o := failover{command: commandLine("bench failover", args)}
	about := failoverAbout
	for _, r := range faultRows() {
		about += fmt.Sprintf("  %-12s %s\n", r.name, r.title)
	}
	f := newFlags("failover", strings.TrimRight(about, "\n"))
	list := f.String("rows", "", "which rows, with commas; all by default")
	f.IntVar(&o.rounds, "rounds", 3, "how often each row is run; times are medians")
	f.IntVar(&o.switches, "switches", 20, "planned switches in a row, in one round")
	strict := f.Bool("strict", false, "exit 1 if a row misses a goal of time or errors; lost and wrong replies always do")
	out := f.String("out", "", `directory of FAILOVER.md and failover.svg; "" only prints`)
	if err := parse(f, args); err != nil {
		return err
	}
	if o.rounds < 1 || o.switches < 1 {
		return errors.New("-rounds and -switches must be positive")
	}
	if err := o.choose(*list); err != nil {
		return err
	}
	if *out != "" && len(o.rows) < len(faultRows()) {
		return errors.New("-out takes all rows: a page of some of them would hide the others")
	}
	defer harness.Release()
	all, err := o.run(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s", faultTable(all))
	for _, m := range all {
		if m.pictured {
			fmt.Printf("\n%s:\n\n%s", m.title, m.typical().phases())
		}
	}
	if *out != "" {
		if err := o.write(*out, all); err != nil {
			return err
		}
	}
	return judgement(all, *strict)
}

// choose takes the rows of the list.
func (o *failover) choose(list string) error {
	rows := faultRows()
	if list == "" {
		o.rows = rows
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(rows, func(r faultRow) bool { return r.name == strings.TrimSpace(name) })
		if i < 0 {
			return fmt.Errorf("no row %q: -h lists them", name)
		}
		o.rows = append(o.rows, rows[i])
	}
	return nil
}

// measuredRow is a row with what its rounds gave.
type measuredRow struct {
	faultRow
	rounds []damage
}

// run does the rows round by round, so that what the machine does meanwhile hits all of them.
func (o *failover) run(ctx context.Context) ([]measuredRow, error) {
	all := make([]measuredRow, len(o.rows))
	for round := range o.rounds {
		for i, row := range o.rows {
			all[i].faultRow = row
			if row.once && round > 0 {
				continue
			}
			var got damage
			err := onRig(ctx, "failover "+row.name, func(r *rig) { got = o.measure(r, row) })
			if err != nil {
				return nil, fmt.Errorf("row %s: %w", row.name, err)
			}
			fmt.Printf("%-12s %s\n", row.name, got)
			all[i].rounds = append(all[i].rounds, got)
		}
	}
	return all, nil
}

// measure runs a row once.
func (o *failover) measure(r *rig, row faultRow) damage {
	s := newScene(r, row)
	s.switches = o.switches
	row.strike(s)
	return s.damage()
}

// middleOf is the median over the rounds.
func (m measuredRow) middleOf(figure func(damage) float64) float64 {
	var values []float64
	for _, r := range m.rounds {
		if v := figure(r); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return median(values)
}

// worst is the largest value of the rounds.
func (m measuredRow) worst(figure func(damage) int) int {
	most := 0
	for _, r := range m.rounds {
		most = max(most, figure(r))
	}
	return most
}

// typical is the round whose outage is the median one.
func (m measuredRow) typical() damage {
	sorted := slices.SortedFunc(slices.Values(m.rounds), func(a, b damage) int { return int(a.outage() - b.outage()) })
	return sorted[len(sorted)/2]
}

// write puts figures and picture into the page.
func (o *failover) write(dir string, all []measuredRow) error {
	file := filepath.Join(dir, "FAILOVER.md")
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(m measuredRow) bool { return m.pictured })
	shown := all[i].typical()
	text, err := figuresInto(string(page), o.section(all, shown))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	// The picture first: a page without its picture would be worse than a picture of another run.
	if err := os.WriteFile(filepath.Join(dir, "failover.svg"), []byte(shown.picture()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// section is the generated part of the page.
func (o *failover) section(all []measuredRow, shown damage) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- %s; %s; respgate %s; %s.\n", time.Now().UTC().Format("2006-01-02"), machine(),
		strings.TrimPrefix(firstLine("bin/respgate", "-version"), "respgate "), firstLine("redis-server", "--version"))
	fmt.Fprintf(&b, "- By `bin/%s`. Times are medians of %d rounds, and so are errors where some may be; losses, and errors where none may be, are those of the worst. `⚠` marks what is beyond its goal, and a `-READONLY` that reached a client is beyond every goal.\n", o.command, o.rounds)
	fmt.Fprintf(&b, "- *Served again* is the end of the longest time without a success in the group, *after it* how long that is after the moment which the goal names. *Others* is p99 from the fault on in units of that before, of all requests of all rounds to groups that must not notice.\n")
	fmt.Fprintf(&b, "- *Lost* are acknowledged writes that were not there in the end. Of a master that was killed they are what it had not sent to its replica yet.\n\n")
	b.WriteString(faultTable(all))
	fmt.Fprintf(&b, "\n![What happened when, from kill -9 to the first reply, and how many requests were answered meanwhile](failover.svg)\n\n")
	b.WriteString(shown.phases())
	return b.String()
}

const figuresBegin, figuresEnd = "<!-- figures:begin -->\n", "<!-- figures:end -->"

// figuresInto replaces what is between the marks of the page.
func figuresInto(page, text string) (string, error) {
	head, rest, ok := strings.Cut(page, figuresBegin)
	_, tail, ok2 := strings.Cut(rest, figuresEnd)
	if !ok || !ok2 {
		return "", fmt.Errorf("no %q ... %q", strings.TrimSpace(figuresBegin), figuresEnd)
	}
	return head + figuresBegin + "\n" + strings.TrimSpace(text) + "\n\n" + figuresEnd + tail, nil
}
