package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The picture: a line for each thing that happened, at its time; under them, the requests that were answered.
const (
	timelineWidth = 960
	timelineLeft  = 330
	timelineRight = 30
	timelineTop   = 44
	timelineStep  = 20
	rateHeight    = 70
	rateBucket    = 20 * time.Millisecond
)

// phases is a list of what happened in the struck group.
func (d damage) phases() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| ms after the fault | |\n|---:|---|\n")
	for _, e := range d.told() {
		fmt.Fprintf(&b, "| %s | %s |\n", d.moment(e), e.what)
	}
	return b.String()
}

// moment is when something happened, in whole milliseconds after the fault.
func (d damage) moment(e sighting) string {
	return thousands(int(math.Round(millis(e.at.Sub(d.struck)))))
}

// told is the fault, all that was seen in the struck group, and the first reply.
func (d damage) told() []sighting {
	all := []sighting{{d.struck, d.row.title}}
	for _, g := range d.groups {
		if g.struck {
			all = append(all, g.seen...)
			if !g.restored.IsZero() {
				all = append(all, sighting{g.restored, "first reply"})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b sighting) int { return a.at.Compare(b.at) })
	return all
}

// picture draws it as SVG.
func (d damage) picture() string {
	told := d.told()
	from, to := d.struck.Add(-200*time.Millisecond), d.struck.Add(time.Second)
	for _, e := range told {
		from, to = earlier(from, e.at), later(to, e.at.Add(300*time.Millisecond))
	}
	right := float64(timelineWidth - timelineRight)
	x := func(at time.Time) float64 {
		return timelineLeft + (right-timelineLeft)*float64(at.Sub(from))/float64(to.Sub(from))
	}
	rates := timelineTop + len(told)*timelineStep + 18
	height := rates + len(d.groups)*(rateHeight+30) + 24
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", timelineWidth, height)
	fmt.Fprintf(&b, "<title>A failover, step by step, and the requests that were answered meanwhile</title>\n")
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	text(&b, 14, 22, "start", ink, `font-weight="bold"`, "What happened, ms after the fault")
	bottom := float64(height - 24)
	for ms := 0; ; ms += tickEvery(to.Sub(d.struck)) {
		at := d.struck.Add(time.Duration(ms) * time.Millisecond)
		if at.After(to) {
			break
		}
		line(&b, x(at), timelineTop-8, x(at), bottom, light)
		text(&b, x(at), bottom+14, "middle", grey, "", fmt.Sprint(ms))
	}
	for i, e := range told {
		y := float64(timelineTop + i*timelineStep)
		colour := grey
		switch {
		case i == 0 || e.what == "first reply":
			colour = red
		case strings.HasPrefix(e.what, "respgate"):
			colour = blue
		}
		text(&b, timelineLeft-60, y+4, "end", colour, "", e.what)
		text(&b, timelineLeft-14, y+4, "end", ink, "", d.moment(e))
		line(&b, timelineLeft, y, x(e.at), y, light)
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`+"\n", x(e.at), y, colour)
	}
	for i, g := range d.groups {
		d.rate(&b, g, from, to, x, float64(rates+i*(rateHeight+30)))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// rate draws how many requests of a group were answered in each bucket.
func (d damage) rate(b *strings.Builder, g groupDamage, from, to time.Time, x func(time.Time) float64, top float64) {
	counts := make([]int, to.Sub(from)/rateBucket+1)
	most := 1
	for _, p := range g.ops {
		if p.failure == "" && p.ended.After(from) && p.ended.Before(to) {
			i := p.ended.Sub(from) / rateBucket
			counts[i]++
			most = max(most, counts[i])
		}
	}
	what := "the other group"
	colour := grey
	if g.struck {
		what, colour = "the group", red
	}
	base := top + rateHeight + 14
	text(b, timelineLeft-14, top+rateHeight/2+14, "end", colour, "", fmt.Sprintf("%s (%s): replies in %v, at most %d", g.name, what, rateBucket, most))
	for i, n := range counts {
		if n > 0 {
			left, right := x(from.Add(time.Duration(i)*rateBucket)), x(from.Add(time.Duration(i+1)*rateBucket))
			h := rateHeight * float64(n) / float64(most)
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s" fill-opacity="0.6"/>`+"\n", left, base-h, right-left, h, colour)
		}
	}
	line(b, timelineLeft, base, timelineWidth-timelineRight, base, grey)
}

// tickEvery is a round number of milliseconds, such that there are some ten ticks.
func tickEvery(d time.Duration) int {
	for _, ms := range []int{50, 100, 200, 500, 1000, 2000} {
		if d.Milliseconds()/int64(ms) <= 14 {
			return ms
		}
	}
	return 5000
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
