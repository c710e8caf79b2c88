package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// page is docs/SCALING.md.
func (r *scalingRun) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Written by `make scaling`. -->\n# How the cost grows\n\n")
	fmt.Fprintf(&b, "What a request costs the proxy, and how long it takes, over each quantity that either could grow with. Nothing may grow faster than linearly.\n\n")
	fmt.Fprintf(&b, "%s\n\n", r.verdict())
	fmt.Fprintf(&b, "![CPU time and p99 over connections, pipeline depth, value size, groups, loops and keys of an MGET](scaling.svg)\n\n")
	fmt.Fprintf(&b, "To repeat it: `make scaling` (`bin/%s`).\n\n", r.command)
	fmt.Fprintf(&b, "- %s; %s; %s; %s.\n", time.Now().UTC().Format("2006-01-02"), machine(), r.version, firstLine("redis-server", "--version"))
	fmt.Fprintf(&b, "- The proxy runs on cpu %s; the load, and %d servers, on cpu %s. Over loops, the proxy may use both.\n", orAny(r.place.proxy), serverCount, orAny(r.place.rest))
	fmt.Fprintf(&b, "- The usual load is GET of %d-byte values from %d connections, each with one request under way, over %d groups and one loop; an axis changes one thing of it. "+
		"Pipelines, value sizes and MGET come from 10 connections. More groups than servers means several groups on a server, with links of their own.\n", usualValue, usualConns, usualGroup)
	fmt.Fprintf(&b, "- Each point is the median of %d runs of %v with a fresh proxy, taken in turn with all other points. Every answer is checked to be a value.\n", r.repeat, r.duration)
	fmt.Fprintf(&b, "- CPU is the time of all threads of the proxy by the kernel's schedstat. The connections send as fast as they are answered, so p99 of many of them is their queue.\n")
	fmt.Fprintf(&b, "- Growth is the exponent e from the point before to this one: the cost of a request grows with the axis to the power of e. 0 is no growth, 1 is linear; "+
		"above %.1f it is marked with ⚠. Between 1 and 2, a difference of 7 %% is 0.1.\n", growthLimit)
	for _, a := range r.axes {
		a.table(&b)
	}
	r.groups(&b)
	return b.String()
}

// verdict is a sentence about what grows faster than linearly.
func (r *scalingRun) verdict() string {
	var over []string
	for _, a := range r.axes {
		for i := 1; i < len(a.rows); i++ {
			g := a.growth(a.rows[i-1], a.rows[i])
			step := fmt.Sprintf("over %s from %s to %s", a.noun(), a.label(a.rows[i-1].X), a.label(a.rows[i].X))
			if g.cpu > growthLimit {
				over = append(over, fmt.Sprintf("CPU %s (%.2f)", step, g.cpu))
			}
			if g.p99 > growthLimit {
				over = append(over, fmt.Sprintf("p99 %s (%.2f)", step, g.p99))
			}
		}
	}
	if len(over) == 0 {
		return fmt.Sprintf("In this run nothing did: no exponent of growth is above %.1f.", growthLimit)
	}
	return fmt.Sprintf("In this run, with an exponent of growth above %.1f: %s.", growthLimit, strings.Join(over, "; "))
}

func (a axisRun) table(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n", a.title)
	each := a.per != "request"
	fmt.Fprintf(b, "| %s | requests/s | p50, ms | p99, ms | proxy CPU, us/request |", a.noun())
	if each {
		fmt.Fprintf(b, " us/%s |", a.per)
	}
	b.WriteString(" servers' CPU, us/request | RSS, MiB | growth of CPU | growth of p99 |\n|---:|---:|---:|---:|---:|")
	if each {
		b.WriteString("---:|")
	}
	b.WriteString("---:|---:|---:|---:|\n")
	for i, p := range a.rows {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |", a.label(p.X), number(p.Rate), number(p.P50/1e3), number(p.P99/1e3), number(p.CPU))
		if each {
			fmt.Fprintf(b, " %s |", number(p.CPU/a.share(p.X)))
		}
		g := growth{cpu: math.NaN(), p99: math.NaN()}
		if i > 0 {
			g = a.growth(a.rows[i-1], p)
		}
		fmt.Fprintf(b, " %s | %s | %s | %s |\n", number(p.Servers), number(p.RSS), marked(g.cpu), marked(g.p99))
	}
}

// marked is an exponent, with a sign if it is too large.
func marked(e float64) string {
	if math.IsNaN(e) {
		return ""
	}
	text := fmt.Sprintf("%.2f", e)
	if e > growthLimit {
		text += " ⚠"
	}
	return text
}

// groups writes what was measured beside the axes.
func (r *scalingRun) groups(b *strings.Builder) {
	if r.idle != nil {
		fmt.Fprintf(b, "\n## Idle with %d groups\n\n", r.idle.groups)
		fmt.Fprintf(b, "A fixed list of %d servers, links open and used once, a loop for each processor, watched for %v without a client.\n\n", r.idle.groups, r.idle.over)
		fmt.Fprintf(b, "| | measured | limit |\n|---|---:|---:|\n")
		fmt.Fprintf(b, "| RSS, MiB | %s | %s |\n", within(r.idle.rss, idleRSS), number(idleRSS))
		fmt.Fprintf(b, "| CPU, %% of one | %s | %s |\n", within(r.idle.share, idleCPU), number(idleCPU))
	}
	if r.slow != nil {
		fmt.Fprintf(b, "\n## A slow group\n\n")
		fmt.Fprintf(b, "One of %d servers is stopped (SIGSTOP) for %v, %d times, with as long between with all of them. %d connections ask for keys of the three healthy groups, %d requests/s; "+
			"%d other connections ask for keys of the stopped one, up to %d requests/s, whose time-out is %v. %d of theirs got an error.\n\n",
			serverCount, slowPhase, len(r.slow.during), healthyConns, healthyRate, slowConns, slowRate, slowTimeout, r.slow.timeouts)
		fmt.Fprintf(b, "| p99 of the healthy groups | ms, by round | median |\n|---|---|---:|\n")
		fmt.Fprintf(b, "| all servers run | %s | %s |\n", milliseconds(r.slow.before), number(median(r.slow.before)/1e3))
		fmt.Fprintf(b, "| one is stopped | %s | %s |\n", milliseconds(r.slow.during), number(median(r.slow.during)/1e3))
		fmt.Fprintf(b, "| ratio, at most %.1f | | %s |\n", slowLimit, within(r.slow.ratio(), slowLimit))
	}
}

// within is a figure, with a sign if it is above its limit.
func within(v, limit float64) string {
	if v > limit {
		return number(v) + " ⚠"
	}
	return number(v)
}

func milliseconds(us []float64) string {
	parts := make([]string, len(us))
	for i, v := range us {
		parts[i] = number(v / 1e3)
	}
	return strings.Join(parts, ", ")
}
