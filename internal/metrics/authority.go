package metrics

import (
	"strconv"
	"time"

	"respgate/internal/status"
)

// master sends what is known of a group and its master.
func (s *scrape) master(m status.Master) {
	up := oneIf(m.State == stateUp)
	s.add(groupUp, up, m.Pool, m.Group)
	if m.Master != "" {
		s.add(serverUp, up, m.Pool, m.Group, m.Master, "master")
		s.add(masterInfo, 1, m.Pool, m.Group, m.Master)
	}
	s.add(masterEpoch, float64(m.Epoch), m.Pool, m.Group)
	s.add(verified, timestamp(m.VerifiedAt), m.Pool, m.Group)
	for _, source := range status.Sources() {
		s.add(switches, float64(m.SwitchesBy[source]), m.Pool, m.Group, source)
	}
	s.add(falseAlarms, float64(m.FalseAlarms), m.Pool, m.Group)
	s.add(switchTook, m.SwitchTook.Seconds(), m.Pool, m.Group)
	if m.Authority != "" && m.Authority != "none" { // a group that sentinels watch
		s.add(authorityOK, oneIf(m.Authority != "lost"), m.Pool, m.Group)
	}
	if !m.LeaseUntil.IsZero() {
		s.add(leaseEnd, max(0, m.LeaseUntil.Sub(s.now).Seconds()), m.Pool, m.Group)
	}
	s.add(held, float64(m.Held), m.Pool, m.Group)
	s.add(heldBytes, float64(m.HeldBytes), m.Pool, m.Group)
	s.add(oldestHeld, m.OldestHeld.Seconds(), m.Pool, m.Group)
	s.add(serverLinks, float64(m.Links), m.Pool, m.Group)
	s.add(serverInflight, float64(m.Inflight), m.Pool, m.Group)
	s.add(serverRequests, float64(m.Requests), m.Pool, m.Group)
	s.add(serverRetries, float64(m.Retried), m.Pool, m.Group)
	s.add(serverErrors, float64(m.Failed), m.Pool, m.Group)
	s.add(sessionLinks, float64(m.SessionLinks), m.Pool, m.Group, "used")
	s.add(sessionLinks, float64(m.SessionIdle), m.Pool, m.Group, "idle")
	s.add(sessionsRefused, float64(m.SessionsRefused), m.Pool, m.Group)
}

func (s *scrape) sentinel(m status.Sentinel) {
	s.add(sentinelUp, oneIf(m.State == "watching" || m.State == "resolving"), m.Pool, m.Address)
	s.add(sentinelUsed, oneIf(m.Active), m.Pool, m.Address)
	s.add(sentinelRTT, m.RTT.Seconds(), m.Pool, m.Address)
	s.add(sentinelTilt, oneIf(m.Tilt), m.Pool, m.Address)
	s.add(sentinelSaid, float64(m.Events), m.Pool, m.Address)
	s.add(rotations, float64(m.Rotations), m.Pool, m.Address)
}

func (s *scrape) manager(m status.Manager) {
	s.add(managerUsed, oneIf(m.Active), m.Pool, m.Address)
	s.add(managerVer, float64(m.Version), m.Pool, m.Address)
	s.add(managerDone, float64(m.Applied), m.Pool, m.Address)
	s.add(managerBeat, timestamp(m.LastHeartbeat), m.Pool, m.Address)
	s.add(managerBad, float64(m.Rejected), m.Pool, m.Address)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// timestamp is in seconds since 1970; 0 = never.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func formatInt(n int) string { return strconv.Itoa(n) }
