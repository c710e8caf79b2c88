package lab

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"respgate/internal/respconn"
)

// watcher looks at the console again and again, on one connection, and tells what is new.
type watcher struct {
	address string
	conn    *respconn.Conn
	last    *sight // nil before the first
	lost    bool   // that the console is out of reach was told
}

func newWatcher(address string) *watcher { return &watcher{address: address} }

func (w *watcher) close() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

// sight is what the console shows at one moment, of what the lab tells about.
type sight struct {
	pools   map[string]poolSight
	masters map[groupName]masterSight
	active  map[string]string // sentinel in use, by pool
	applied map[string]string // version of the manager's topology, by pool
}

type groupName struct{ pool, group string }

type poolSight struct{ state, cause string }

type masterSight struct {
	address, switches, tookMS string
}

// look takes one look and returns a line for each change. pids are the processes by address.
func (w *watcher) look(ctx context.Context, pids map[string]int) (lines []string) {
	now, err := w.see(ctx)
	if err != nil {
		w.close()
		if w.lost || ctx.Err() != nil {
			return nil
		}
		w.lost = true
		return []string{fmt.Sprintf("the console does not answer: %v", err)}
	}
	if w.lost {
		w.lost = false
		lines = append(lines, "the console answers again")
	}
	if w.last != nil {
		lines = append(lines, w.last.changes(now, pids)...)
	}
	w.last = now
	return lines
}

// see asks the console for everything at once.
func (w *watcher) see(ctx context.Context) (*sight, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if w.conn == nil {
		c, err := respconn.Dial(ctx, "tcp", w.address, respconn.Limits{})
		if err != nil {
			return nil, err
		}
		w.conn = c
	}
	deadline, _ := ctx.Deadline()
	if err := w.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	questions := []string{"POOLS", "MASTERS", "SENTINELS", "MANAGER"}
	for _, q := range questions {
		if err := w.conn.Send("PROXY", q); err != nil {
			return nil, err
		}
	}
	if err := w.conn.Flush(); err != nil {
		return nil, err
	}
	answers := make(map[string][]map[string]string, len(questions))
	for _, q := range questions {
		v, err := w.conn.Receive()
		if err != nil {
			return nil, err
		}
		if v.IsError() {
			return nil, fmt.Errorf("PROXY %s: %s", q, v.Str)
		}
		answers[q] = rows(v)
	}
	return newSight(answers), nil
}

func newSight(answers map[string][]map[string]string) *sight {
	s := &sight{pools: map[string]poolSight{}, masters: map[groupName]masterSight{}, active: map[string]string{}, applied: map[string]string{}}
	for _, r := range answers["POOLS"] {
		s.pools[r["name"]] = poolSight{r["state"], r["cause"]}
	}
	for _, r := range answers["MASTERS"] {
		s.masters[groupName{r["pool"], r["group"]}] = masterSight{r["master"], r["switches"], r["last-switch-took-ms"]}
	}
	for _, r := range answers["SENTINELS"] {
		if r["active"] == "1" {
			s.active[r["pool"]] = r["address"]
		}
	}
	for _, r := range answers["MANAGER"] {
		s.applied[r["pool"]] = r["applied-version"]
	}
	return s
}

// changes are the lines from one sight to the next.
func (s *sight) changes(next *sight, pids map[string]int) (lines []string) {
	for _, name := range both(s.pools, next.pools) {
		was, is := s.pools[name], next.pools[name]
		switch {
		case was.state == is.state:
		case is.state == "":
			lines = append(lines, fmt.Sprintf("pool %s: gone", name))
		case was.state == "":
			lines = append(lines, fmt.Sprintf("pool %s: new, %s%s", name, is.state, because(is.cause)))
		default:
			lines = append(lines, fmt.Sprintf("pool %s: %s -> %s%s", name, was.state, is.state, because(is.cause)))
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(next.masters), func(a, b groupName) int {
		return slices.Compare([]string{a.pool, a.group}, []string{b.pool, b.group})
	}) {
		was, is := s.masters[name], next.masters[name]
		if is.address == "" || was.address == is.address {
			continue
		}
		lines = append(lines, masterLine(name, was, is, pids))
	}
	for _, name := range both(s.active, next.active) {
		if was, is := s.active[name], next.active[name]; was != is {
			lines = append(lines, fmt.Sprintf("pool %s: active sentinel %s -> %s", name, orNone(was), orNone(is)))
		}
	}
	for _, name := range both(s.applied, next.applied) {
		if was, is := s.applied[name], next.applied[name]; was != is && is != "" {
			lines = append(lines, fmt.Sprintf("pool %s: version %s of the manager's topology is applied", name, is))
		}
	}
	return lines
}

func masterLine(name groupName, was, is masterSight, pids map[string]int) string {
	line := fmt.Sprintf("pool %s: master of %s: %s -> %s", name.pool, name.group, orNone(was.address), is.address)
	if pid := pids[is.address]; pid != 0 {
		line += fmt.Sprintf(" (pid %d)", pid)
	}
	if was.address != "" && is.switches != was.switches {
		line += ", took " + is.tookMS + " ms"
	}
	return line
}

// both are the keys of two maps, sorted.
func both[V any](a, b map[string]V) []string {
	keys := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, there := a[k]; !there {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func because(cause string) string {
	if cause == "" {
		return ""
	}
	return ": " + cause
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
