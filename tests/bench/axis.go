package main

import (
	"fmt"
	"strconv"
	"strings"
)

// axis is a quantity that cost may grow with.
type axis struct {
	name   string // of -axes
	title  string
	unit   string // of a point; "" is a number
	points []int
	per    string            // what the picture divides the CPU time by: request, key or KiB
	share  func(int) float64 // how many of these a request has
	at     func(int) setting
}

// setting is a point of an axis: the load, and the proxy that it needs.
type setting struct {
	load    loadSpec // without address and duration
	value   int      // bytes of each value
	groups  int
	loops   int
	anyCPUs bool // the proxy may use all processors of the placement
}

const (
	usualConns = 50
	usualKeys  = 10000
	usualValue = 64
	usualGroup = 4
)

// usual is what each axis changes one thing of.
func usual() setting {
	return setting{load: loadSpec{Conns: usualConns, Pipeline: 1, Keys: usualKeys}, value: usualValue, groups: usualGroup, loops: 1}
}

func one(int) float64 { return 1 }

// axes in the order of the document.
func axes() []axis {
	return []axis{
		{name: "connections", title: "Connections", points: []int{1, 10, 100, 1000, 10000}, per: "request", share: one,
			at: func(x int) setting { s := usual(); s.load.Conns = x; return s }},
		{name: "pipeline", title: "Pipeline depth", points: []int{1, 10, 100, 1000}, per: "request", share: one,
			at: func(x int) setting { s := usual(); s.load.Conns, s.load.Pipeline = 10, x; return s }},
		{name: "value", title: "Value size", unit: "B", points: []int{16, 256, 4 << 10, 64 << 10, 1 << 20}, per: "KiB",
			share: func(x int) float64 { return float64(x) / 1024 },
			at: func(x int) setting {
				s := usual()
				s.load.Conns, s.value, s.load.Keys = 10, x, min(usualKeys, (32<<20)/x)
				return s
			}},
		{name: "groups", title: "Groups", points: []int{1, 2, 16, 128, 512}, per: "request", share: one,
			at: func(x int) setting { s := usual(); s.groups = x; return s }},
		{name: "loops", title: "Event loops", points: []int{1, 2}, per: "request", share: one,
			at: func(x int) setting { s := usual(); s.loops, s.anyCPUs = x, true; return s }},
		{name: "mget", title: "Keys of an MGET", points: []int{1, 10, 100, 1000}, per: "key",
			share: func(x int) float64 { return float64(x) },
			at:    func(x int) setting { s := usual(); s.load.Conns, s.load.Width = 10, x; return s }},
	}
}

// label is a point as tables and pictures name it: 10,000, 64 KiB.
func (a axis) label(x int) string {
	switch {
	case a.unit == "B" && x >= 1<<20:
		return strconv.Itoa(x>>20) + " MiB"
	case a.unit == "B" && x >= 1<<10:
		return strconv.Itoa(x>>10) + " KiB"
	case a.unit == "B":
		return strconv.Itoa(x) + " B"
	default:
		return thousands(x)
	}
}

// thousands is a number with commas; it is not negative.
func thousands(x int) string {
	text := strconv.Itoa(x)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// noun is the title within a sentence.
func (a axis) noun() string { return strings.ToLower(a.title[:1]) + a.title[1:] }

// point is what was measured at one point of an axis: a median of each figure over the repetitions.
type point struct {
	X        int
	Rate     float64 // requests/s
	P50, P99 float64 // us
	CPU      float64 // of the proxy, us per request
	Servers  float64 // CPU of the servers, us per request
	RSS      float64 // of the proxy, MiB
}

// growth are the exponents from the point before to this one; NaN at the first.
type growth struct{ cpu, p99 float64 }

func (a axis) growth(before, now point) growth {
	return growth{
		cpu: exponent(float64(before.X), before.CPU, float64(now.X), now.CPU),
		p99: exponent(float64(before.X), before.P99, float64(now.X), now.P99),
	}
}

// serverLines names as many groups as are asked for, spread over the servers: several groups may live on one.
func serverLines(servers []*server, groups int) []string {
	lines := make([]string, groups)
	for i := range lines {
		lines[i] = fmt.Sprintf("%s:1 g%d", servers[i%len(servers)].address(), i+1)
	}
	return lines
}
