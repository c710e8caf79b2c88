package control

import (
	"errors"
	"maps"
	"os"
	"slices"

	"respgate/conf"
	"respgate/engine/report"
	"respgate/engine/topology"
	"respgate/internal/status"
)

// view runs f on the control goroutine with the data plane's counters. The counters are taken first, on the caller's time.
func (c *Controller) view(f func(st *report.Stats)) {
	st := c.opts.Plane.Stats()
	_ = c.ask(func() { f(st) }) // without a control plane there are no rows
}

// each calls f for the named pool, or for all in the order of their names.
func (c *Controller) each(name string, f func(p *pool)) {
	for _, n := range slices.Sorted(maps.Keys(c.pools)) {
		if name == "" || n == name {
			f(c.pools[n])
		}
	}
}

// HasPool and HasGroup are for the console's errors.
func (c *Controller) HasPool(name string) (ok bool) {
	_ = c.ask(func() { ok = c.pools[name] != nil })
	return ok
}

func (c *Controller) HasGroup(pool, group string) (ok bool) {
	_ = c.ask(func() {
		if p := c.pools[pool]; p != nil {
			ok = p.groups[group] != nil
		}
	})
	return ok
}

// Pools are the rows of PROXY POOLS; "" = all.
func (c *Controller) Pools(name string) (rows []status.Pool) {
	c.view(func(st *report.Stats) {
		c.each(name, func(p *pool) {
			row := status.Pool{
				Name: p.name, Listen: p.conf.Listen.String(), State: p.state, Cause: p.cause, Since: p.since,
				Source: p.conf.Source().String(), Version: p.told.Version, Groups: len(p.order),
				Adopted: len(p.catalog.Adopted()), Lacking: len(p.catalog.Refused()),
			}
			for _, g := range p.order {
				if g.state == "up" && g.access == topology.Serve {
					row.GroupsUp++
				}
				row.Epoch = max(row.Epoch, g.master.Epoch)
			}
			if s := st.Pools[p.name]; s != nil {
				row.Clients, row.Requests, row.Errors = s.Clients, s.Requests, s.Failures
				for _, g := range s.Groups {
					row.Inflight += g.Inflight
					row.Held += g.Held
				}
			}
			rows = append(rows, row)
		})
	})
	return rows
}

// Masters are the rows of PROXY MASTERS.
func (c *Controller) Masters(poolName, group string) (rows []status.Master) {
	c.view(func(st *report.Stats) {
		c.each(poolName, func(p *pool) {
			for _, g := range p.order {
				if group == "" || group == g.name {
					rows = append(rows, p.masterRow(g, st))
				}
			}
		})
	})
	return rows
}

func (p *pool) masterRow(g *group, st *report.Stats) status.Master {
	row := status.Master{
		Pool: p.name, Group: g.name, Master: g.master.Name, State: g.state, Cause: g.cause, Since: g.since,
		Epoch: g.master.Epoch, Generation: g.master.Generation, Source: g.source,
		Switches: g.switches, LastSwitch: g.switchedAt, SwitchTook: g.took, Authority: "none",
		SessionLimit: p.conf.SessionLinks, SwitchesBy: maps.Clone(g.past.switches), FalseAlarms: g.past.falseAlarms,
	}
	if g.paused != nil {
		row.State, row.Cause = "holding", g.paused.why
	}
	if p.view != nil {
		if v, ok := p.view.Groups[g.name]; ok {
			row.VerifiedAt, row.LeaseUntil = v.VerifiedAt, v.LeaseUntil
			row.Authority = "lost"
			if v.Authority {
				row.Authority = v.Vouched
			}
		}
	}
	if s := st.Pools[p.name]; s != nil && s.Groups[g.name] != nil {
		gs := s.Groups[g.name]
		row.Held, row.HeldBytes, row.OldestHeld, row.Inflight, row.Links = gs.Held, gs.HeldBytes, gs.OldestHeld, gs.Inflight, gs.Links
		row.Requests, row.Retried, row.Failed = gs.Requests, gs.Retried, gs.Unknown+gs.Timeouts+gs.Overflows+gs.Expired
		row.SessionLinks, row.SessionIdle, row.SessionsRefused = gs.Sessions, gs.SessionsIdle, gs.SessionsRefused
	}
	return row
}

// Sessions are the rows of PROXY SESSIONS.
func (c *Controller) Sessions(name string) (rows []status.Session) {
	c.view(func(st *report.Stats) {
		c.each(name, func(p *pool) {
			row := status.Session{Pool: p.name, Limit: p.conf.SessionLinks}
			s := st.Pools[p.name]
			if s == nil {
				rows = append(rows, row)
				return
			}
			row.Transactions, row.Blocked, row.Subscribers, row.Monitors, row.Tracking = s.Transactions, s.Blocked, s.Subscribers, s.Monitors, s.Tracking
			for _, g := range p.order {
				gs := s.Groups[g.name]
				if gs == nil {
					continue
				}
				row.Links += gs.Sessions
				row.Idle += gs.SessionsIdle
				row.Refused += gs.SessionsRefused
				if gs.Sessions > row.BusiestLinks {
					row.Busiest, row.BusiestLinks = g.name, gs.Sessions
				}
			}
			rows = append(rows, row)
		})
	})
	return rows
}

// Sentinels are the rows of PROXY SENTINELS.
func (c *Controller) Sentinels(name string) (rows []status.Sentinel) {
	_ = c.ask(func() {
		c.each(name, func(p *pool) {
			if p.sentinels == nil {
				return
			}
			for _, s := range p.sentinels.Sentinels() {
				rows = append(rows, status.Sentinel{
					Pool: p.name, Address: s.Address.String(), State: s.State.String(), Cause: s.Cause, Since: s.Since, Active: s.Active,
					LastPong: s.LastPong, Missed: s.Missed, RTT: s.RTT, Rotations: s.Rotations, Tilt: s.Tilt, Events: s.Events,
				})
			}
		})
	})
	return rows
}

// Managers are the rows of PROXY MANAGER.
func (c *Controller) Managers(name string) (rows []status.Manager) {
	_ = c.ask(func() {
		c.each(name, func(p *pool) {
			if p.manager == nil {
				return
			}
			for _, m := range p.manager.Status() {
				rows = append(rows, status.Manager{
					Pool: p.name, Address: m.Address, Cluster: m.Cluster, State: m.State, Cause: m.Cause, Since: m.Since, Active: m.Active,
					Version: m.Version, Applied: m.Applied, LastHeartbeat: m.LastHeartbeat, Rejected: m.Rejected,
				})
			}
		})
	})
	return rows
}

// Route says where keys go.
func (c *Controller) Route(name string, keys []string) (rows []status.Route, err error) {
	stopped := c.ask(func() {
		p := c.pools[name]
		switch {
		case p == nil:
			err = noPool(name)
			return
		case p.ring == nil:
			err = &Error{"NOTREADY", "pool '" + name + "' has " + p.cause}
			return
		}
		for _, k := range keys {
			key := []byte(k)
			row := status.Route{Key: k, Tag: string(p.ring.Tag(key)), Hash: p.ring.Hash(key)}
			if i := p.ring.Index(key); i >= 0 {
				row.Group, row.Master = p.order[i].name, p.order[i].master.Name
			}
			rows = append(rows, row)
		}
	})
	return rows, errors.Join(stopped, err)
}

// Process is what PROXY INFO says of the process.
func (c *Controller) Process() (row status.Process) {
	c.view(func(st *report.Stats) {
		row = status.Process{
			Version: c.opts.Version, ProxyID: c.conf.ProxyID, PID: os.Getpid(), Started: c.started,
			ConfigFile: c.conf.File, ConfigDigest: c.conf.Digest, ConfigLoaded: c.loaded, ConfigRefused: c.refusedAt,
			LogLevel: c.opts.Level.Level().String(), Serial: st.Serial, Limits: c.limits(st),
		}
		if c.refused != nil {
			row.ConfigError = c.refused.Error()
		}
		for _, l := range st.Loops {
			row.Loops = append(row.Loops, status.Loop(l))
		}
	})
	return row
}

// limits are the bounds of the process and of each pool, with what is used of them.
func (c *Controller) limits(st *report.Stats) []status.Limit {
	var buffers int64
	for _, l := range st.Loops {
		buffers += l.BufferBytes
	}
	rows := []status.Limit{
		{Name: "client_connections", Unit: "connections", Scope: "process", Used: int64(st.Clients), Max: int64(c.conf.Limits.MaxClients), Hits: st.ClientHits},
		{Name: "memory", Unit: "bytes", Scope: "process", Used: buffers, Max: int64(c.conf.Limits.Memory), Hits: st.MemoryHits},
		{Name: "batch", Unit: "us", Scope: "process each loop", Max: c.conf.Batch.Microseconds()},
	}
	c.each("", func(p *pool) {
		set := p.settings()
		s := st.Pools[p.name]
		if s == nil {
			return
		}
		scope := "pool '" + p.name + "'"
		rows = append(rows,
			status.Limit{Name: "client_buffer", Unit: "bytes", Scope: scope + " each client", Max: set.ClientBuffer, Hits: s.Errors["too-large"]},
			status.Limit{Name: "pipeline", Unit: "bytes", Scope: scope + " each client", Max: set.Pipeline, Hits: s.Stalls},
			status.Limit{Name: "databases", Unit: "databases", Scope: scope, Max: int64(set.Databases)},
		)
		if p.conf.Source() != conf.SourceServers {
			rows = append(rows, p.timeline.limit(scope))
		}
		for _, g := range p.order {
			gs := s.Groups[g.name]
			if gs == nil {
				continue
			}
			rows = append(rows,
				status.Limit{Name: "hold_requests", Unit: "requests", Scope: scope + " group '" + g.name + "'", Used: int64(gs.Held), Max: int64(set.HoldRequests), Hits: gs.Overflows},
				status.Limit{Name: "hold_bytes", Unit: "bytes", Scope: scope + " group '" + g.name + "'", Used: gs.HeldBytes, Max: set.HoldBytes, Hits: gs.Overflows},
				status.Limit{Name: "hold_timeout", Unit: "ms", Scope: scope + " group '" + g.name + "'", Used: gs.OldestHeld.Milliseconds(), Max: set.HoldTimeout.Milliseconds(), Hits: gs.Expired},
				status.Limit{Name: "session_links", Unit: "connections", Scope: scope + " group '" + g.name + "'", Used: int64(gs.Sessions), Max: int64(set.SessionLinks), Hits: gs.SessionsRefused},
			)
		}
	})
	return rows
}

// Commands count the calls per pool and command.
func (c *Controller) Commands() (rows []status.Command) {
	st := c.opts.Plane.Stats()
	for _, name := range slices.Sorted(maps.Keys(st.Pools)) {
		p := st.Pools[name]
		for id, calls := range p.Commands {
			if calls > 0 && id < len(c.opts.Commands) {
				rows = append(rows, status.Command{Pool: name, Command: c.opts.Commands[id], Calls: calls, Errors: p.CommandErrors[id]})
			}
		}
	}
	return rows
}

// Latencies are the histograms of request durations.
func (c *Controller) Latencies() (rows []status.Latency) {
	st := c.opts.Plane.Stats()
	bounds := report.LatencyBounds()
	for _, name := range slices.Sorted(maps.Keys(st.Pools)) {
		p := st.Pools[name]
		rows = append(rows, status.Latency{Pool: name, Bounds: bounds, Buckets: p.Latency, Sum: p.LatencySum, Count: p.LatencyCount})
	}
	return rows
}

// Totals are the other counters per pool.
func (c *Controller) Totals() (rows []status.Totals) {
	st := c.opts.Plane.Stats()
	for _, name := range slices.Sorted(maps.Keys(st.Pools)) {
		p := st.Pools[name]
		row := status.Totals{
			Pool: name, Accepted: p.Accepted, Rejected: p.Rejected, ReceivedBytes: p.Received, SentBytes: p.Sent,
			ServerReceivedBytes: p.ServerReceived, ServerSentBytes: p.ServerSent, Errors: p.Errors, Dials: p.Dials, DialErrors: p.DialErrors,
		}
		for _, g := range p.Groups {
			row.LateReplies += g.Late
			row.Retried += g.Retried
		}
		rows = append(rows, row)
	}
	return rows
}

// Ready says whether every pool serves, and if not why, a line each; for /readyz and the service manager. A pool that an
// operator has paused serves in a moment.
func (c *Controller) Ready() (causes []string) {
	if stopped := c.ask(func() {
		c.each("", func(p *pool) {
			switch p.state {
			case "up", "degraded", "paused":
			default:
				causes = append(causes, "pool '"+p.name+"' is "+p.state+": "+p.cause)
			}
		})
	}); stopped != nil {
		return []string{stopped.Error()}
	}
	return causes
}

// Config is the configuration in force.
func (c *Controller) Config() (cf *conf.Config) {
	_ = c.ask(func() { cf = c.conf })
	return cf
}
