package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"respgate/tests/harness"
)

// lookEvery is between two looks at a replica's role and at a sentinel's answer: what the times of a row are exact to.
const lookEvery = 3 * time.Millisecond

// watch sees what happens to a group without asking the proxy.
type watch struct {
	group string
	old   string // the master's address before

	mu       sync.Mutex
	promoted time.Time            // a replica says master
	named    map[string]time.Time // when each sentinel named another master
	signs    []sighting           // events of the sentinels
	stop     chan struct{}
	wg       sync.WaitGroup
}

// sighting is an event of a sentinel when it was seen first.
type sighting struct {
	at   time.Time
	what string
}

// shown are the events that a failover is told by.
var shown = []string{"+sdown", "+odown", "+try-failover", "+elected-leader", "+selected-slave", "+promoted-slave", "+switch-master"}

// startWatch looks at the group's replicas, and at the sentinels, until the rig is cleaned up.
func startWatch(r *rig, f *harness.Fleet, g *harness.Group) *watch {
	w := &watch{group: g.Name, old: g.Master.Addr(), named: map[string]time.Time{}, stop: make(chan struct{})}
	r.Cleanup(func() { // runs behind those that close the subscriptions
		close(w.stop)
		w.wg.Wait()
	})
	for _, n := range g.Replicas {
		w.follow(n.Addr(), func(c *harness.Conn) (bool, error) {
			got, err := c.Do("ROLE")
			return err == nil && len(got.Elems) > 0 && got.Elems[0].Str == "master" && w.once(&w.promoted), err
		})
	}
	for _, s := range f.Sentinels {
		addr := s.Addr()
		w.follow(addr, func(c *harness.Conn) (bool, error) {
			got, err := c.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", w.group)
			if err != nil || len(got.Elems) != 2 || got.Elems[0].Str+":"+got.Elems[1].Str == w.old {
				return false, err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.named[addr] = time.Now()
			return true, nil
		})
		w.listen(r, addr)
	}
	return w
}

// follow asks again and again until look has seen what it looks for. A connection that is lost is replaced: Sentinel
// itself closes those of the node that it promotes.
func (w *watch) follow(addr string, look func(*harness.Conn) (bool, error)) {
	w.wg.Go(func() {
		var c *harness.Conn
		drop := func() {
			if c != nil {
				c.Close()
				c = nil
			}
		}
		defer drop()
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-w.stop:
				return
			}
			if c == nil {
				var err error
				if c, err = harness.Dial(addr); err != nil {
					continue
				}
				c.Timeout = time.Second // a stopped server accepts, and is silent
			}
			seen, err := look(c)
			if seen {
				return
			}
			if err != nil {
				drop()
			}
		}
	})
}

// listen notes the sentinel's events about the group.
func (w *watch) listen(r *rig, addr string) {
	c, err := harness.Dial(addr)
	if err != nil {
		r.Fatal(err)
	}
	c.Timeout = time.Hour // between two events
	if _, err := c.Do("PSUBSCRIBE", "*"); err != nil {
		r.Fatalf("sentinel %s: PSUBSCRIBE: %v", addr, err)
	}
	r.Cleanup(c.Close)
	w.wg.Go(func() {
		for {
			got, err := c.Receive()
			if err != nil {
				return
			}
			if len(got.Elems) == 4 && slices.Contains(shown, got.Elems[2].Str) && w.concerns(got.Elems[3].Str) {
				w.sign(got.Elems[2].Str)
			}
		}
	})
}

// concerns is whether an event is about the group's master, or the replica that replaces it: "master g1 host port ...",
// "slave name host port @ g1 host port", "g1 host port host port".
func (w *watch) concerns(payload string) bool {
	f := strings.Fields(payload)
	at := slices.Index(f, "@")
	switch {
	case len(f) > 1 && f[0] == "master":
		return f[1] == w.group
	case at >= 0 && at+1 < len(f):
		return f[0] == "slave" && f[at+1] == w.group
	}
	return len(f) > 0 && f[0] == w.group
}

func (w *watch) once(at *time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at.IsZero() {
		*at = time.Now()
	}
	return true
}

func (w *watch) sign(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.signs, func(s sighting) bool { return s.what == what }) {
		w.signs = append(w.signs, sighting{time.Now(), what})
	}
}

// announced is when two sentinels named another master, the zero time if they did not.
func (w *watch) announced() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []time.Time
	for _, at := range w.named {
		all = append(all, at)
	}
	slices.SortFunc(all, time.Time.Compare)
	if len(all) < 2 {
		return time.Time{}
	}
	return all[1]
}

// sightings are the events, and what was seen by looking, in their order.
func (w *watch) sightings() []sighting {
	announced := w.announced()
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Clone(w.signs)
	if !w.promoted.IsZero() {
		all = append(all, sighting{w.promoted, "promoted: the replica says master"})
	}
	if !announced.IsZero() {
		all = append(all, sighting{announced, "announced: two sentinels name it"})
	}
	slices.SortStableFunc(all, func(a, b sighting) int { return a.at.Compare(b.at) })
	return all
}

// steps are what the proxy tells of the group's last switch; none if it tells nothing.
func steps(p *harness.Proxy, pool, group string) ([]sighting, error) {
	got, err := harness.Ask(p.Config.Admin, "PROXY", "EVENTS", pool, group)
	if err != nil || got.Err() != nil || len(got.Elems) == 0 {
		return nil, err
	}
	for _, row := range got.Rows() {
		if row["event"] != "switched" {
			continue
		}
		at, err := time.Parse(time.RFC3339, row["at"])
		if err != nil {
			return nil, fmt.Errorf("PROXY EVENTS: %w", err)
		}
		all := []sighting{{at, "respgate: first sign (" + row["cause"] + ")"}}
		for _, step := range []struct{ field, what string }{
			{"decided-ms", "decided"}, {"verified-ms", "verified by ROLE"}, {"applied-ms", "applied by every loop"}, {"released-ms", "requests released"},
		} {
			var ms int64
			if _, err := fmt.Sscan(row[step.field], &ms); err == nil && ms >= 0 {
				all = append(all, sighting{at.Add(time.Duration(ms) * time.Millisecond), "respgate: " + step.what})
			}
		}
		return all, nil
	}
	return nil, nil
}
