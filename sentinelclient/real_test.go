package sentinelclient

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

func up(v *views, group string, at Address) func() bool {
	return func() bool {
		g := v.group(group)
		return g.State == GroupUp && g.Master == at && g.Authority
	}
}

func TestRealFailover(t *testing.T) {
	t.Parallel()
	s := startSetupWith(t, 3, 3000, "secret", "g1", "g2")
	cfg := s.config("g1", "g2")
	cfg.MasterTimeout = 10 * time.Second
	m, v := startMonitor(t, cfg)
	eventually(t, "both masters are found", func() bool {
		return up(v, "g1", s.masters["g1"].addr)() && up(v, "g2", s.masters["g2"].addr)()
	})
	if g := v.group("g1"); g.DownAfter != 3*time.Second || g.Quorum != 2 || g.RunID == "" {
		t.Errorf("group view: %+v", g)
	}
	eventually(t, "its replica is listed", func() bool {
		r := v.group("g1").Replicas
		return len(r) == 1 && r[0] == s.replicas["g1"].addr
	})
	eventually(t, "all sentinels are watched", func() bool {
		n := 0
		for _, st := range m.Sentinels() {
			if st.State == SentinelWatching && !st.LastPong.IsZero() {
				n++
			}
		}
		return n == 3
	})

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := m.Verify(ctx, s.masters["g1"].addr); err != nil {
		t.Errorf("verify a master: %v", err)
	}
	if err := m.Verify(ctx, s.replicas["g1"].addr); !errors.Is(err, ErrNotMaster) {
		t.Errorf("verify a replica: %v", err)
	}
	if _, err := m.Switchover(ctx, "nope"); !errors.Is(err, ErrUnknownGroup) {
		t.Errorf("switch of an unknown group: %v", err)
	}

	start := time.Now()
	eventually(t, "a planned switch is done", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := switchOver(ctx, m, "g1")
		var ce *CommandError
		if err != nil && !errors.As(err, &ce) {
			t.Fatalf("switch: %v", err)
		}
		return err == nil
	})
	eventually(t, "g1 follows the planned switch", up(v, "g1", s.replicas["g1"].addr))
	t.Logf("a planned switch followed after %v", time.Since(start))
	if !v.any(func(w *View) bool { return w.Groups["g1"].Failover != "" }) {
		t.Error("no view told of the failover before it was over")
	}
	eventually(t, "the failover is over, and not told any more", func() bool { return v.group("g1").Failover == "" })
	start = time.Now()
	s.masters["g2"].kill()
	m.Suspect("g2", "connection reset by peer")
	eventually(t, "g2 is suspect", func() bool { return v.group("g2").State == GroupSuspect })
	eventually(t, "g2 follows the death of its master", up(v, "g2", s.replicas["g2"].addr))
	t.Logf("kill -9 followed after %v", time.Since(start))
	if g := v.group("g1"); g.State != GroupUp {
		t.Errorf("g1 was touched: %+v", g)
	}
	eventually(t, "a switch is refused, for the only replica is dead", func() bool {
		var ce *CommandError
		return errors.As(m.Switchable(context.Background(), "g2"), &ce) && ce.Code == "NOREPLICA"
	})
}

// certain is a caller that has nothing against a failover.
func certain() error { return nil }

// switchOver does all steps of a planned switch of a group without requests.
func switchOver(ctx context.Context, m *Monitor, group string) (Address, error) {
	s, err := m.Switchover(ctx, group)
	if err != nil {
		return Address{}, err
	}
	defer s.Close()
	if err := s.Fence(ctx); err != nil {
		return Address{}, err
	}
	return s.Promote(ctx, certain)
}

func TestRealActiveSentinelStops(t *testing.T) {
	t.Parallel()
	s := startSetup(t, 3, 5000, "g1")
	cfg := s.config("g1")
	cfg.Heartbeat = 200 * time.Millisecond
	m, v := startMonitor(t, cfg)
	eventually(t, "the master is found", up(v, "g1", s.masters["g1"].addr))
	eventually(t, "all are watched", func() bool {
		for _, st := range m.Sentinels() {
			if st.State != SentinelWatching {
				return false
			}
		}
		return true
	})
	active := v.get().Active
	var stopped *server
	for _, sn := range s.sentinels {
		if sn.addr == active {
			stopped = sn
		}
	}
	stopped.signal(t, syscall.SIGSTOP)
	eventually(t, "another sentinel is active", func() bool {
		w := v.get()
		return w.Active != active && !w.Active.IsZero()
	})
	if v.any(func(w *View) bool {
		g := w.Groups["g1"]
		return !g.Master.IsZero() && (g.State != GroupUp || !g.Authority)
	}) {
		t.Error("the group was touched by the rotation")
	}
	stopped.signal(t, syscall.SIGCONT)
	eventually(t, "it is watched again", func() bool {
		for _, st := range m.Sentinels() {
			if st.Address == active && st.State == SentinelWatching {
				return st.Rotations > 0
			}
		}
		return false
	})

	// All sentinels die: the replica vouches for the master.
	for _, sn := range s.sentinels {
		sn.kill()
	}
	eventually(t, "the pool is not ready", func() bool { return !v.get().Ready })
	eventually(t, "the replica vouches", func() bool {
		g := v.group("g1")
		return g.Authority && g.Vouched == "replicas"
	})
	s.replicas["g1"].kill()
	eventually(t, "authority runs out", func() bool { return !v.group("g1").Authority })
	if g := v.group("g1"); g.Master != s.masters["g1"].addr {
		t.Errorf("the master was forgotten: %+v", g)
	}
}
