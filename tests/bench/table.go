package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// column is a figure as the tables name it.
type column struct{ figure, title string }

// columns are the figures of a load, singles those of the other scenarios.
var (
	columns = []column{
		{"rps", "requests/s"}, {"p50_ms", "p50, ms"}, {"p99_ms", "p99, ms"}, {"cpu_us", "proxy CPU, us/request"},
		{"server_us", "servers' CPU, us/request"}, {"rss_mib", "RSS, MiB"},
	}
	singles = []column{
		{"kib_per_conn", "a connection used once, KiB"}, {"fresh_mib", "RSS fresh, MiB"}, {"peak_mib", "RSS under load, most, MiB"},
		{"after_mib", "RSS after the load, MiB"},
	}
)

// String is the row in the order of the columns, for programs to read as well: no commas.
func (r figures) String() string {
	var parts []string
	for _, c := range slices.Concat(columns, singles) {
		if v, ok := r[c.figure]; ok {
			parts = append(parts, c.figure+"="+strings.ReplaceAll(number(v), ",", ""))
		}
	}
	return strings.Join(parts, " ")
}

// number is a value with three digits that mean something, or whole.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case math.IsInf(v, 0):
		return "never"
	case a >= 1000:
		return thousands(int(math.Round(v)))
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.1 || a == 0:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
}

// middle is the median of a figure over the rounds; NaN if it was not measured.
func (m measured) middle(scenario, peer, figure string) float64 {
	var values []float64
	for _, row := range m[scenario][peer] {
		if v, ok := row[figure]; ok {
			values = append(values, v)
		}
	}
	return median(values)
}

// cell is the first proxy's figure, the other's, and the ratio.
func cell(first, other float64) string {
	if math.IsNaN(first) || math.IsNaN(other) {
		return "-"
	}
	if first == 0 {
		return fmt.Sprintf("%s → %s", number(first), number(other))
	}
	return fmt.Sprintf("%s → %s (**%.2f**)", number(first), number(other), other/first)
}

// markdown makes a table per proxy after the first one; of a single proxy, its figures.
func markdown(rows measured, peers, scenarios []string) string {
	var b strings.Builder
	others := peers[1:]
	if len(others) == 0 {
		others = peers
	}
	for _, other := range others {
		show := func(scenario, figure string) string {
			v := rows.middle(scenario, other, figure)
			if other == peers[0] {
				return number(v)
			}
			return cell(rows.middle(scenario, peers[0], figure), v)
		}
		if other == peers[0] {
			fmt.Fprintf(&b, "### %s\n\nMedians.\n\n", other)
		} else {
			fmt.Fprintf(&b, "### %s to %s\n\nMedians: %s → %s (**ratio**). More requests/s is better; of all else, less.\n\n", other, peers[0], peers[0], other)
		}
		loads := slices.DeleteFunc(slices.Clone(scenarios), func(s string) bool { return s == idleScenario || s == memoryScenario })
		if len(loads) > 0 {
			b.WriteString("| scenario |")
			for _, c := range columns {
				fmt.Fprintf(&b, " %s |", c.title)
			}
			b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
			for _, s := range loads {
				fmt.Fprintf(&b, "| %s |", s)
				for _, c := range columns {
					fmt.Fprintf(&b, " %s |", show(s, c.figure))
				}
				b.WriteString("\n")
			}
			b.WriteString("\n")
		}
		if len(loads) == len(scenarios) {
			continue
		}
		b.WriteString("| memory | |\n|---|---|\n")
		for _, c := range singles {
			scenario := memoryScenario
			if c.figure == "kib_per_conn" {
				scenario = idleScenario
			}
			if slices.Contains(scenarios, scenario) {
				fmt.Fprintf(&b, "| %s | %s |\n", c.title, show(scenario, c.figure))
			}
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
