package sentinelclient

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRealNamesAndPasswords: a sentinel with a password that tells host names,
// and nodes with another one. Wrong passwords are told apart and put right by a
// new configuration.
func TestRealNamesAndPasswords(t *testing.T) {
	t.Parallel()
	redis := "save \"\"\nrequirepass nodes\nmasterauth nodes\nreplica-announce-ip localhost\n"
	master := startServer(t, "redis-server", func(int) string { return redis })
	replica := startServer(t, "redis-server", func(int) string {
		return redis + fmt.Sprintf("replicaof localhost %d\n", master.addr.Port)
	})
	sentinel := startServer(t, "redis-sentinel", func(int) string {
		return fmt.Sprintf("sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\nsentinel monitor g1 localhost %d 1\n"+
			"sentinel auth-pass g1 nodes\nsentinel down-after-milliseconds g1 1000\n"+
			"user default off\nuser proxy on >watch &* -@all +ping +hello +psubscribe +info +sentinel\n", master.addr.Port)
	})
	cfg := Config{Pool: "p", Groups: []string{"g1"}, Lease: LeaseAuto, Sentinels: []Sentinel{{Address: sentinel.addr, User: "proxy", Password: "wrong"}}}
	m, v := startMonitor(t, cfg)
	eventually(t, "the sentinel's password is refused", func() bool {
		w := v.get()
		return !w.Ready && strings.Contains(w.Cause, "AUTH: WRONGPASS")
	})
	cfg.Sentinels = []Sentinel{{Address: sentinel.addr, User: "proxy", Password: "watch"}}
	m.Reconfigure(cfg)
	eventually(t, "the node's password is wanted", func() bool {
		g := v.group("g1")
		return g.State == GroupNone && strings.Contains(g.Cause, "NOAUTH")
	})
	cfg.Master = Credentials{Password: "nodes"}
	m.Reconfigure(cfg)
	named := Address{"localhost", master.addr.Port}
	eventually(t, "the master is found by its name", up(v, "g1", named))
	promoted := Address{"localhost", replica.addr.Port}
	eventually(t, "its replica has a name, too", func() bool {
		r := v.group("g1").Replicas
		return len(r) == 1 && r[0] == promoted
	})
	eventually(t, "the sentinel knows the replica", func() bool {
		_, err := switchOver(t.Context(), m, "g1")
		return err == nil
	})
	eventually(t, "the replica is master", up(v, "g1", promoted))
}

// TestViewsInRest: while nothing changes, one view per poll renews the times.
func TestViewsInRest(t *testing.T) {
	t.Parallel()
	a := startFakeNode(t)
	cfg := Config{Pool: "p", Groups: []string{"g1"}, Lease: LeaseAuto, Poll: 200 * time.Millisecond}
	for range 3 {
		s := startFakeSentinel(t, false, map[string]candidate{"g1": {Address: a.addr, Epoch: 1}})
		cfg.Sentinels = append(cfg.Sentinels, Sentinel{Address: s.addr})
	}
	_, v := startMonitor(t, cfg)
	eventually(t, "the master is found", up(v, "g1", a.addr))
	eventually(t, "its role was asked five times more", func() bool {
		asked := map[time.Time]bool{}
		v.any(func(w *View) bool { asked[w.Groups["g1"].VerifiedAt] = true; return false })
		return len(asked) > 6 // the zero time is one
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, w := range v.all {
		if w.Serial != uint64(i+1) {
			t.Fatalf("view %d has serial %d", i+1, w.Serial)
		}
	}
	first, last := time.Time{}, v.all[len(v.all)-1].Groups["g1"].VerifiedAt
	resting := 0
	for i, w := range v.all[1:] {
		if before := v.all[i].Groups["g1"]; before.alike(w.Groups["g1"]) && before.State == GroupUp {
			if resting++; first.IsZero() {
				first = before.VerifiedAt
			}
		}
	}
	if most := int(last.Sub(first)/cfg.Poll) + 8; resting > most {
		t.Errorf("%d views in %v of rest", resting, last.Sub(first))
	}
}
