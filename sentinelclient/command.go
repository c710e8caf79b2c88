package sentinelclient

import (
	"context"
	"fmt"
)

// Verify logs in to a node and asks for its role; nil means that it says master
// and takes commands. It is never one of the proxy's own listeners.
func (m *Monitor) Verify(ctx context.Context, a Address) error {
	var cfg Config
	if err := m.call(func() { cfg = *m.pool.cfg }); err != nil {
		return err
	}
	if cfg.forbids(a) {
		return fmt.Errorf("node %v: %w: %w", a, ErrNotMaster, errSelf)
	}
	n := &node{addr: a}
	defer n.close()
	r := n.ask(ctx, question{credentials: cfg.Master, forbidden: cfg.Forbidden, timeout: cfg.MasterTimeout})
	if r.Verdict != verdictMaster {
		return fmt.Errorf("node %v: %w: %s", a, ErrNotMaster, r.Cause)
	}
	return nil
}

// Pin makes a node the master of a group, by the operator's choice and after
// Verify, until a majority of the sentinels has a newer config-epoch than the
// one known now. The proxy itself and another group's master are refused.
func (m *Monitor) Pin(group string, a Address) error {
	var why string
	if err := m.call(func() { why = m.pool.refusal(group, a) }); err != nil {
		return err
	}
	if why != "" {
		return fmt.Errorf("pool %s, group %s, node %v: %w: %s", m.poolName, group, a, ErrNotMaster, why)
	}
	return m.group(group, evPin{to: a})
}

// Rotate makes the next watched sentinel (nil) or that one the active one.
func (m *Monitor) Rotate(to *Address) error {
	var err error
	if closed := m.call(func() {
		var list []action
		list, err = m.pool.onRotate(m.now(), to)
		m.carryOut(list)
	}); closed != nil {
		return closed
	}
	return err
}

// Sentinels are the pool's sentinels in their configured order.
func (m *Monitor) Sentinels() []SentinelStatus {
	var list []SentinelStatus
	if err := m.call(func() { list = m.pool.statuses() }); err != nil {
		return nil
	}
	return list
}

// Reconfigure takes a new configuration. Sentinels are made before they are
// broken, groups are added and removed, and those that stay are not touched. It
// returns when the change has begun.
func (m *Monitor) Reconfigure(cfg Config) {
	_ = m.call(func() { // a closed monitor has nothing to change
		m.carryOut(m.pool.reconfigure(m.now(), cfg))
		m.full = true
	})
}

// Suspect says that the data plane saw a sign that the group's master is none
// any more: ask again now. It never blocks and may be called often.
func (m *Monitor) Suspect(group, cause string) {
	m.mu.Lock()
	if len(m.suspects) < maxSuspects {
		m.suspects[group] = cause
	}
	m.mu.Unlock()
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// maxSuspects bounds the groups that wait to be asked about; there is one entry
// for each, so only names that are no groups can reach it.
const maxSuspects = 4096

func (m *Monitor) group(name string, ev any) error {
	var err error
	if closed := m.call(func() {
		var list []action
		list, err = m.pool.onGroup(m.now(), name, ev)
		m.carryOut(list)
	}); closed != nil {
		return closed
	}
	return err
}
