//go:build linux

package nutcracker_test

import (
	"fmt"
	"testing"
)

func (b *backend) alive() bool {
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

// TestAutoEject kills servers one after the other and compares what nutcracker has ejected with Ejected nodes.
func TestAutoEject(t *testing.T) {
	t.Parallel()
	backends := startBackends(t, 4)
	weights := [][]int{{1, 1, 1, 1}, {3, 1, 7, 2}}
	var pools []pool
	for _, dist := range []string{"ketama", "modula"} {
		for _, w := range weights {
			p := pool{
				name: fmt.Sprintf("p%d", len(pools)), hash: "fnv1a_64", dist: dist,
				// The retry is further away than the test is long.
				raw: "auto_eject_hosts: true\n  server_failure_limit: 1\n  server_retry_timeout: 3600000",
			}
			for i, b := range backends {
				p.servers = append(p.servers, newServer(b, w[i], fmt.Sprintf("node%d", i)))
			}
			pools = append(pools, p)
		}
	}
	proxy := startProxy(t, pools)
	keys := newSample(sampleKeys(sampleSize))
	for _, p := range pools {
		compare(t, proxy, p, p.ring(t), keys)
	}

	var ejected []int
	for _, victim := range []int{2, 0, 3} {
		backends[victim].kill()
		ejected = append(ejected, victim)
		for _, p := range pools {
			awaitEjected(t, proxy, p, keys)
			compare(t, proxy, p, p.ring(t, ejected...), keys)
		}
	}

	backends[1].kill()
	ejected = append(ejected, 1)
	hundred := newSample(keys.keys[:100])
	for _, p := range pools {
		l := mustDial(t, "unix", proxy.socket(p.name))
		if refused, _, err := l.set(hundred); err != nil || refused != 100 {
			t.Errorf("%v: with every server ejected nutcracker refused %d of 100 (%v)", p, refused, err)
		}
		if got := p.ring(t, ejected...).Index([]byte(hundred.keys[0])); got != -1 {
			t.Errorf("%v: with every node ejected Index = %d", p, got)
		}
	}
}

// awaitEjected sets the keys until none is refused: then nutcracker, which ejects at the first failure, has met every dead
// server, be it by a lost connection or by a refused one.
func awaitEjected(t *testing.T, proxy *proxy, p pool, keys sample) {
	t.Helper()
	l := mustDial(t, "unix", proxy.socket(p.name))
	for range 20 {
		refused, _, err := l.set(keys)
		if err != nil {
			t.Fatalf("%v: %v", p, err)
		}
		if refused == 0 {
			return
		}
	}
	t.Fatalf("%v: nutcracker has not ejected a dead server", p)
}
