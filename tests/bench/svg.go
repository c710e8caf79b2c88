package main

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// The picture: two panels for each axis, CPU and p99, in a grid.
const (
	panelWidth, panelHeight     = 300, 210
	panelLeft, panelRight       = 52, 14
	panelTop, panelBottom       = 38, 40
	panelsAcross                = 4
	blue, red, grey, light, ink = "#1f5fa8", "#b5402a", "#666", "#ddd", "#222"
)

// panel is one small diagram with logarithmic axes.
type panel struct {
	title  string
	y      string // what is drawn, with its unit
	x      string
	colour string
	xs     []float64
	ys     []float64
	labels []string // of the xs
}

// chart draws all axes.
func chart(runs []axisRun) string {
	var panels []panel
	for _, a := range runs {
		cpu := panel{title: a.title, y: "proxy CPU, us per " + a.per, x: a.noun(), colour: blue}
		p99 := panel{title: a.title, y: "p99 of a request, ms", x: a.noun(), colour: red}
		for _, p := range a.rows {
			cpu.add(a.label(p.X), float64(p.X), p.CPU/a.share(p.X))
			p99.add(a.label(p.X), float64(p.X), p.P99/1e3)
		}
		panels = append(panels, cpu, p99)
	}
	rows := (len(panels) + panelsAcross - 1) / panelsAcross
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n",
		panelsAcross*panelWidth, rows*panelHeight+8)
	fmt.Fprintf(&b, "<title>CPU time and p99 of the proxy over what they may grow with</title>\n")
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	for i, p := range panels {
		p.draw(&b, i%panelsAcross*panelWidth, i/panelsAcross*panelHeight)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p *panel) add(label string, x, y float64) {
	if y > 0 { // which a logarithm needs
		p.labels, p.xs, p.ys = append(p.labels, label), append(p.xs, x), append(p.ys, y)
	}
}

func (p *panel) draw(b *strings.Builder, left, top int) {
	fmt.Fprintf(b, `<g transform="translate(%d,%d)">`+"\n", left, top)
	defer b.WriteString("</g>\n")
	text(b, panelLeft, 18, "start", ink, `font-weight="bold"`, p.title)
	text(b, panelLeft, 32, "start", p.colour, "", p.y)
	if len(p.xs) == 0 {
		return
	}
	ticks := logTicks(p.ys)
	low, high := ticks[0], ticks[len(ticks)-1]
	right, bottom := float64(panelWidth-panelRight), float64(panelHeight-panelBottom)
	atX := func(x float64) float64 { return scaled(x, p.xs[0], p.xs[len(p.xs)-1], panelLeft+10, right-10) }
	atY := func(y float64) float64 { return scaled(y, low, high, bottom, panelTop+6) }
	for _, t := range ticks {
		line(b, panelLeft, atY(t), right, atY(t), light)
		text(b, panelLeft-6, atY(t)+4, "end", grey, "", tickLabel(t))
	}
	for i, x := range p.xs {
		line(b, atX(x), panelTop+6, atX(x), bottom, light)
		text(b, atX(x), bottom+14, "middle", grey, "", p.labels[i])
	}
	text(b, (panelLeft+right)/2, bottom+29, "middle", grey, "", p.x)
	var path []string
	for i, x := range p.xs {
		path = append(path, fmt.Sprintf("%.1f,%.1f", atX(x), atY(p.ys[i])))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.8"/>`+"\n", strings.Join(path, " "), p.colour)
	for i, x := range p.xs {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", atX(x), atY(p.ys[i]), p.colour)
		above := atY(p.ys[i]) - 7
		if above < panelTop+12 {
			above += 20
		}
		text(b, atX(x), above, "middle", ink, `font-size="9.5" stroke="#fff" stroke-width="2.5" paint-order="stroke"`, number(p.ys[i]))
	}
}

// scaled places v between from and to by its logarithm; in the middle if low and high are the same.
func scaled(v, low, high, from, to float64) float64 {
	if low == high {
		return (from + to) / 2
	}
	return from + (to-from)*math.Log(v/low)/math.Log(high/low)
}

// logTicks are 1, 2, 5 and their decades around the values, or the decades alone if there would be too many. The first is
// below all values and the last above, by a factor of 10 at least: what hardly changes must not look steep.
func logTicks(values []float64) []float64 {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	for _, steps := range [][]float64{{1, 2, 5}, {1}} {
		var all []float64
		for decade := math.Floor(math.Log10(low)) - 2; decade <= math.Ceil(math.Log10(high))+2; decade++ {
			for _, s := range steps {
				all = append(all, s*math.Pow(10, decade))
			}
		}
		first, last := 0, len(all)-1
		for first+1 < len(all) && all[first+1] <= low {
			first++
		}
		for last > 0 && all[last-1] >= high {
			last--
		}
		for up := true; all[last] < 9.99*all[first]; up = !up {
			if up {
				last++
			} else {
				first--
			}
		}
		if ticks := all[first : last+1]; len(ticks) <= 7 || len(steps) == 1 {
			return ticks
		}
	}
	return nil
}

func tickLabel(v float64) string {
	if v >= 1000 {
		return thousands(int(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func line(b *strings.Builder, x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, colour)
}

func text(b *strings.Builder, x, y float64, anchor, colour, attributes, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s" %s>%s</text>`+"\n", x, y, anchor, colour, attributes, html.EscapeString(s))
}
