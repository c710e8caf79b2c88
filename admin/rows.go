package admin

import (
	"math"
	"time"

	"respgate/internal/status"
)

// row is what a map of the console is made of; its keys are a promise to scripts: new ones go behind the others. A value is a string, an int64 or rows.
type row []field

type field struct {
	name  string
	value any
}

// never is the age of what has not happened, and the rest of a time that was not given.
const never int64 = -1

// ago is the age of t in milliseconds.
func ago(t, now time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return max(0, now.Sub(t).Milliseconds())
}

// left is the time to t in milliseconds, 0 when it has passed.
func left(t, now time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return max(0, t.Sub(now).Milliseconds())
}

func count[T int | int64](n T) int64 { return int64(n) }

// counter fits a counter into RESP's signed integer.
func counter(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

func yesNo(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func poolRow(p status.Pool, now time.Time) row {
	return row{
		{"name", p.Name},
		{"listen", p.Listen},
		{"state", p.State},
		{"source", p.Source},
		{"version", counter(p.Version)},
		{"groups", count(p.Groups)},
		{"groups-up", count(p.GroupsUp)},
		{"clients", count(p.Clients)},
		{"inflight", count(p.Inflight)},
		{"held", count(p.Held)},
		{"requests", counter(p.Requests)},
		{"errors", counter(p.Errors)},
		{"epoch", counter(p.Epoch)},
		{"state-since-ms", ago(p.Since, now)},
		{"cause", p.Cause},
		{"commands-adopted", count(p.Adopted)},
		{"commands-lacking", count(p.Lacking)},
	}
}

func masterRow(m status.Master, now time.Time) row {
	return row{
		{"pool", m.Pool},
		{"group", m.Group},
		{"master", m.Master},
		{"state", m.State},
		{"role-verified-ms-ago", ago(m.VerifiedAt, now)},
		{"config-epoch", counter(m.Epoch)},
		{"generation", counter(m.Generation)},
		{"source", m.Source},
		{"switches", counter(m.Switches)},
		{"last-switch-ms-ago", ago(m.LastSwitch, now)},
		{"last-switch-took-ms", m.SwitchTook.Milliseconds()},
		{"authority", m.Authority},
		{"lease-left-ms", left(m.LeaseUntil, now)},
		{"held", count(m.Held)},
		{"held-bytes", m.HeldBytes},
		{"oldest-held-ms", m.OldestHeld.Milliseconds()},
		{"inflight", count(m.Inflight)},
		{"links", count(m.Links)},
		{"requests", counter(m.Requests)},
		{"retried", counter(m.Retried)},
		{"failed", counter(m.Failed)},
		{"state-since-ms", ago(m.Since, now)},
		{"cause", m.Cause},
		{"session-links", count(m.SessionLinks)},
		{"session-links-idle", count(m.SessionIdle)},
		{"session-links-max", count(m.SessionLimit)},
		{"sessions-refused", counter(m.SessionsRefused)},
	}
}

func sessionRow(s status.Session, _ time.Time) row {
	return row{
		{"pool", s.Pool},
		{"transactions", count(s.Transactions)},
		{"blocked", count(s.Blocked)},
		{"subscribers", count(s.Subscribers)},
		{"monitors", count(s.Monitors)},
		{"tracking", count(s.Tracking)},
		{"links", count(s.Links)},
		{"links-idle", count(s.Idle)},
		{"busiest-group", s.Busiest},
		{"busiest-links", count(s.BusiestLinks)},
		{"group-links-max", count(s.Limit)},
		{"refused", counter(s.Refused)},
	}
}

func sentinelRow(s status.Sentinel, now time.Time) row {
	return row{
		{"pool", s.Pool},
		{"address", s.Address},
		{"state", s.State},
		{"active", yesNo(s.Active)},
		{"last-pong-ms-ago", ago(s.LastPong, now)},
		{"missed", count(s.Missed)},
		{"rtt-us", s.RTT.Microseconds()},
		{"rotations", count(s.Rotations)},
		{"tilt", yesNo(s.Tilt)},
		{"state-since-ms", ago(s.Since, now)},
		{"cause", s.Cause},
	}
}

func managerRow(m status.Manager, now time.Time) row {
	return row{
		{"pool", m.Pool},
		{"address", m.Address},
		{"cluster", m.Cluster},
		{"state", m.State},
		{"version", counter(m.Version)},
		{"applied-version", counter(m.Applied)},
		{"last-heartbeat-ms-ago", ago(m.LastHeartbeat, now)},
		{"rejected", counter(m.Rejected)},
		{"active", yesNo(m.Active)},
		{"state-since-ms", ago(m.Since, now)},
		{"cause", m.Cause},
	}
}

func routeRow(r status.Route, _ time.Time) row {
	return row{
		{"key", r.Key},
		{"tag", r.Tag},
		{"hash", int64(r.Hash)},
		{"group", r.Group},
		{"master", r.Master},
	}
}

// rowsOf makes the rows of a list.
func rowsOf[T any](list []T, one func(T, time.Time) row, now time.Time) []row {
	rows := make([]row, len(list))
	for i, e := range list {
		rows[i] = one(e, now)
	}
	return rows
}
