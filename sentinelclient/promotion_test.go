package sentinelclient

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"respgate/internal/respconn"
)

// TestPromoteLooksAgain: what has changed since the switch began, while requests
// drained and replicas caught up, ends it before Sentinel is asked, and the old
// master's writers may go on.
func TestPromoteLooksAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		happen func(t *testing.T, th *theatre, s *Switchover) error // asked as the last thing, if it comes to that
		want   string
	}{
		{"a sign of a failover", func(t *testing.T, th *theatre, _ *Switchover) error {
			th.always("sentinel2 SENTINEL MASTER", th.info("flags", "master,failover_in_progress")) // or it takes the sign back
			th.sentinels[1].publish("+elected-leader", "master g1 "+th.master.addr.Host+" "+strings.TrimPrefix(th.master.addr.String(), th.master.addr.Host+":"), 1)
			eventually(t, "the sign is seen", func() bool { return th.view.get().Groups["g1"].Failover != "" })
			return nil
		}, "INPROG failover: another one is under way: "},
		{"a failover of the sentinel", func(_ *testing.T, th *theatre, _ *Switchover) error {
			th.always("sentinel1 SENTINEL MASTER", th.info("flags", "master,failover_in_progress"))
			return nil
		}, "INPROG failover: sentinel "},
		{"another master", func(_ *testing.T, th *theatre, _ *Switchover) error {
			th.always("sentinel1 SENTINEL GET-MASTER-ADDR-BY-NAME", respconn.Strings("10.0.0.9", "6379"))
			return nil
		}, "NOTREADY failover: sentinel "},
		{"the lock is lost", func(_ *testing.T, _ *theatre, s *Switchover) error {
			return s.owner.conn.Close()
		}, "INPROG failover: the lock at master "},
		{"the caller has changed its mind", func(*testing.T, *theatre, *Switchover) error {
			return errors.New("not any more")
		}, "not any more"},
		{"no time is left", func(_ *testing.T, _ *theatre, s *Switchover) error {
			s.until = time.Now().Add(s.reserve())
			return nil
		}, "TIMEOUT failover: less than 625ms is left of the pause"},
		{"the group is gone", func(_ *testing.T, th *theatre, _ *Switchover) error {
			cfg := *th.monitor.pool.cfg
			cfg.Groups = []string{"g2"}
			th.monitor.Reconfigure(cfg)
			return nil
		}, "NOGROUP failover: group g1 was taken out of pool p"},
		{"the pool is gone", func(_ *testing.T, th *theatre, _ *Switchover) error {
			th.monitor.Close()
			return nil
		}, ErrClosed.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			th := openTheatre(t)
			s := th.begun(t)
			err := c.happen(t, th, s)
			_, err = s.Promote(t.Context(), func() error { return err })
			s.Close()
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			// without the lock the pause may be that of another proxy by now
			if th.did(agreed) || th.did("master CLIENT UNPAUSE") != (c.name != "the lock is lost") {
				t.Errorf("%q", th.script())
			}
		})
	}
}

// TestPromoteIsNotLate: whatever the caller's last look takes, the question is
// not asked when too little is left of the pause.
func TestPromoteIsNotLate(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	s := th.begun(t)
	_, err := s.Promote(t.Context(), func() error {
		s.until = time.Now().Add(s.reserve())
		return nil
	})
	if err == nil || !strings.HasPrefix(err.Error(), "TIMEOUT failover: ") || th.did(agreed) {
		t.Errorf("%v: %q", err, th.script())
	}
}

// TestPromoteByAnother: a sentinel that died since the check is not waited for.
func TestPromoteByAnother(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	s := th.begun(t)
	th.sentinels[0].deaf.Store(true)
	if to, err := s.Promote(t.Context(), certain); err != nil || to != th.replica.addr || s.agreed[0].Address == th.sentinels[0].addr || len(s.agreed) != 3 {
		t.Errorf("%v, %v by %v: %q", to, err, s.agreed, th.script())
	}
}

// TestPromoteDemotesAgain: an old master that refuses to become a replica is told
// again until it does.
func TestPromoteDemotesAgain(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	th.answer(agreed, func() respconn.Value { th.failing, th.promoted = true, true; return respconn.Simple("OK") })
	th.answer("master CLIENT UNPAUSE", func() respconn.Value { th.told = true; return respconn.Simple("OK") })
	refusals := 0
	th.answer("master REPLICAOF", func() respconn.Value {
		if refusals++; refusals < 3 {
			return respconn.Errorf("ERR REPLICAOF not allowed during failover")
		}
		return respconn.Simple("OK")
	})
	s := th.begun(t)
	if to, err := s.Promote(t.Context(), certain); err != nil || to != th.replica.addr || s.Standing() != nil {
		t.Fatalf("%v, %v, %v", to, err, s.Standing())
	}
	const again = "master REPLICAOF replica"
	if d := cmp.Diff([]string{agreed, again, again, again, "master CLIENT UNPAUSE", "master CONFIG REWRITE"}, th.script()[2:]); d != "" {
		t.Error(d)
	}
}

// TestPromoteForgone: the sentinel that agreed dies before it has promoted
// anybody. Nobody else knows of a failover, so that nothing comes of it any more.
func TestPromoteForgone(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	s := th.begun(t)
	th.answer(agreed, func() respconn.Value {
		th.sentinels[0].deaf.Store(true)
		return respconn.Simple("OK") // which is not sent any more
	})
	s.until = s.until.Add(time.Minute) // a pause that is over is not taken back
	_, err := s.Promote(t.Context(), certain)
	s.Close()
	if err == nil || !strings.HasPrefix(err.Error(), "NOREPLICA failover: sentinel "+th.sentinels[0].addr.String()+" agreed to it") {
		t.Error(err)
	}
	if !th.did("master CLIENT UNPAUSE") || th.did("master REPLICAOF replica") {
		t.Errorf("%q", th.script())
	}
}

// TestForgoneUnlessLed: the sentinel that agreed may have missed one answer. What
// it says when it is asked again counts more than all that do not know of it yet.
func TestForgoneUnlessLed(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	s := th.begun(t)
	defer s.Close()
	if !s.forgone(t.Context()) {
		t.Error("nobody leads a failover")
	}
	th.always("sentinel1 SENTINEL MASTER", th.info("flags", "master,failover_in_progress"))
	if s.forgone(t.Context()) {
		t.Error("its leader was outvoted")
	}
}
