package engine

import (
	"fmt"
	"strconv"
	"testing"

	"respgate/engine/report"
	"respgate/engine/topology"
)

// sized is a loop with pools of so many groups each, which all have the same server and are connected.
func sized(t testing.TB, pools, groups int) (*driven, *topology.Snapshot) {
	d := newDriven(t, 1, nil)
	first := d.l.pools["p"].topo
	snap := &topology.Snapshot{Serial: 2}
	for i := range pools {
		p := *first
		p.Name = fmt.Sprintf("p%03d", i)
		p.Groups = nil
		for j := range groups {
			p.Groups = append(p.Groups, &topology.Group{Name: "g" + strconv.Itoa(j), Master: first.Groups[0].Master})
		}
		snap.Pools = append(snap.Pools, &p)
	}
	d.l.swap(snap)
	for _, p := range d.l.pools {
		for _, g := range p.groups {
			g.server(false, poolDB)
		}
	}
	return d, snap
}

// TestSurveyInTurns: a look at the counters of many pools and groups stops a loop for a few of them at a time, and misses none.
func TestSurveyInTurns(t *testing.T) {
	for _, n := range [][2]int{{1, 1}, {1, surveyTurn}, {1, 5*surveyTurn + 1}, {40, 3}, {3, 2 * surveyTurn}} {
		d, snap := sized(t, n[0], n[1])
		for i, p := range snap.Pools {
			for j, g := range d.l.pools[p.Name].groups {
				g.requests = uint64(1000*i + j)
			}
		}
		v := survey{st: &report.Stats{Pools: map[string]*report.Pool{}}}
		turns, seen := 0, 0
		for more := true; more; turns++ {
			more = d.l.collect(&v)
			now := 0
			for _, p := range v.st.Pools {
				now += len(p.Groups)
			}
			if now-seen > surveyTurn {
				t.Errorf("%v: %d groups in one turn", n, now-seen)
			}
			seen = now
		}
		if least := n[0] * n[1] / surveyTurn; turns < least {
			t.Errorf("%v: %d turns, at least %d", n, turns, least)
		}
		for i, p := range snap.Pools {
			for j, g := range p.Groups {
				if got := v.st.Pools[p.Name].Groups[g.Name]; got == nil || got.Requests != uint64(1000*i+j) {
					t.Fatalf("%v: group %d of pool %d: %+v", n, j, i, got)
				}
			}
		}
		d.close()
		d.clients, d.servers = nil, nil
	}
}

// sizes are pools and groups in each.
var sizes = [][2]int{{1, 1}, {1, 16}, {1, 512}, {32, 16}, {512, 1}}

// BenchmarkCollect is what one look at the counters of a loop costs it: a command of the console, a part of a scrape.
func BenchmarkCollect(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("pools=%d/groups=%d", n[0], n[1]), func(b *testing.B) {
			d, _ := sized(b, n[0], n[1])
			b.ReportAllocs()
			turns := 0
			for b.Loop() {
				v := survey{st: &report.Stats{Pools: map[string]*report.Pool{}}}
				for more := true; more; turns++ {
					more = d.l.collect(&v)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(turns), "ns/turn")
		})
	}
}

// BenchmarkSwap is how long a loop is stopped by a snapshot in which one group of one pool has changed.
func BenchmarkSwap(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("pools=%d/groups=%d", n[0], n[1]), func(b *testing.B) {
			d, snap := sized(b, n[0], n[1])
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				next := *snap
				next.Pools = append([]*topology.Pool(nil), snap.Pools...)
				p := *next.Pools[0]
				p.Groups = append([]*topology.Group(nil), p.Groups...)
				g := *p.Groups[0]
				g.Hold = i%2 == 0
				p.Groups[0], next.Pools[0] = &g, &p
				d.l.swap(&next)
			}
		})
	}
}
