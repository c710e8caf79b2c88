package sentinelclient

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"respgate/internal/respconn"
)

// lists lets all sentinels know these replicas.
func (th *theatre) lists(replicas ...respconn.Value) {
	for i := range th.sentinels {
		th.listsAt(i+1, replicas...)
	}
}

func (th *theatre) listsAt(sentinel int, replicas ...respconn.Value) {
	th.always(fmt.Sprintf("sentinel%d SENTINEL REPLICAS", sentinel), respconn.List(replicas...))
}

// second adds a replica that no sentinel lists yet, and gives how one lists it
// beside the first.
func (th *theatre) second(t *testing.T) (a Address, both []respconn.Value) {
	t.Helper()
	f := startFake(t, func(c net.Conn) { th.node(c, "second") })
	for _, a := range []Address{th.replica.addr, f.addr} {
		both = append(both, respconn.Fields("ip", a.Host, "port", fmt.Sprint(a.Port), "flags", "slave", "slave-priority", "100"))
	}
	return f.addr, both
}

// TestSwitchableAsksAllReplicas: the sentinel that is asked for the failover may
// be any of those who agree, and may promote a replica that the others call dead.
// That is looked at as well.
func TestSwitchableAsksAllReplicas(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	second, both := th.second(t)
	th.listsAt(2, both...)
	th.always("second ROLE", th.following("connecting", 1000))
	want := fmt.Sprintf("NOREPLICA replica %v: its link to its master %v is %q: it must be connected (sentinel %v could promote it)", second, th.master.addr, "connecting", th.sentinels[1].addr)
	if _, err := th.monitor.Switchover(t.Context(), "g1"); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}

	th.always("second ROLE", th.following("connected", 940))
	s, err := th.monitor.Switchover(t.Context(), "g1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Fence(t.Context()); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("NOREPLICA catch-up: replica %v lacks 60 bytes", second)) {
		t.Errorf("%v: it was not waited for", err)
	}
}

// TestSwitchableLeavesOthers: what only a sentinel could promote that does not
// agree does not matter, for it is not asked.
func TestSwitchableLeavesOthers(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	_, both := th.second(t)
	th.listsAt(3, both...)
	th.always("sentinel3 SENTINEL CKQUORUM", respconn.Errorf("NOQUORUM 1 usable Sentinels"))
	if s := th.begun(t); !slices.Equal(s.replicas, []Address{th.replica.addr}) {
		t.Errorf("%v", s.replicas)
	}
}

// TestPromoteNoStranger: a replica that a sentinel sees as sound only since the
// check has not been waited for.
func TestPromoteNoStranger(t *testing.T) {
	t.Parallel()
	for _, dead := range []int{0, 1} {
		t.Run(fmt.Sprint(dead, " dead"), func(t *testing.T) {
			t.Parallel()
			th := openTheatre(t)
			second, both := th.second(t)
			s := th.begun(t)
			if dead > 0 {
				th.sentinels[0].deaf.Store(true)
				th.listsAt(2, both...)
				th.listsAt(3, both...)
			} else {
				th.listsAt(1, both...)
			}
			_, err := s.Promote(t.Context(), certain)
			s.Close()
			if err == nil || !strings.HasPrefix(err.Error(), "NOREPLICA failover: sentinel ") || !strings.Contains(err.Error(), fmt.Sprintf("could promote replica %v by now", second)) {
				t.Error(err)
			}
			if did := strings.Join(th.script(), "; "); strings.Contains(did, "SENTINEL FAILOVER") || !th.did("master CLIENT UNPAUSE") {
				t.Error(did)
			}
		})
	}
}
