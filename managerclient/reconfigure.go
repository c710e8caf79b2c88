package managerclient

import (
	"slices"
	"time"
)

// onReconfigure takes a changed configuration. The link stays if its manager does; the topology stays unless the cluster is another one, whose versions
// are not comparable.
func (m *machine) onReconfigure(now time.Time, ev evReconfigure) []action {
	old := m.cfg
	m.cfg = ev.cfg
	var acts []action
	sameCluster := old.Cluster == m.cfg.Cluster
	switch {
	case !sameCluster:
		m.have, m.good, m.unsettled = nil, nil, nil
		m.applied, m.refused = 0, evRefused{}
		m.saved, m.saveAt = 0, time.Time{}
		acts = m.takeStored(now, ev.stored)
	case old.StateDir != m.cfg.StateDir:
		m.saved = 0
		acts = m.save()
	}
	keep := m.linked() && sameCluster && old.User == m.cfg.User && old.Password == m.cfg.Password
	return append(acts, m.replacePeers(now, keep)...)
}

// replacePeers makes the peers those of the configuration. What is known of an address that stays is kept, and so is the link, if keep says so and its
// address stays.
func (m *machine) replacePeers(now time.Time, keep bool) []action {
	linked, address := m.linked(), m.peer().address
	old := m.peers
	m.peers = make([]peer, len(m.cfg.Addresses))
	for i, a := range m.cfg.Addresses {
		m.peers[i] = peer{address: a, since: now}
		if k := slices.IndexFunc(old, func(p peer) bool { return p.address == a }); k >= 0 {
			m.peers[i] = old[k]
		}
	}
	clear(m.alarms) // their keys hold addresses that may be gone
	i := slices.Index(m.cfg.Addresses, address)
	if keep && i >= 0 {
		m.active = i
		return m.report(now)
	}
	var acts []action
	if linked {
		acts = append(acts, actClose{attempt: m.attempt})
	}
	for k := range m.peers {
		p := &m.peers[k]
		p.state, p.since, p.retryAt, p.failures, p.announced = standby, now, time.Time{}, 0, false
	}
	return append(acts, m.becomeDialing(now, 0)...)
}
