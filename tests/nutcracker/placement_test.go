//go:build linux

package nutcracker_test

import (
	"fmt"
	"slices"
	"testing"

	"respgate/engine/shard"
)

const sampleSize = 10000

// TestPlacement puts 10,000 keys through nutcracker for each hash, distribution, hash tag, kind of names and kind of
// weights, and asks each redis-server which of them it got.
func TestPlacement(t *testing.T) {
	t.Parallel()
	backends := append(startBackends(t, 4), startMemcachedPort(t))
	keys := newSample(sampleKeys(sampleSize))

	weights := []struct {
		name string
		of   [5]int
	}{
		{"equal", [5]int{1, 1, 1, 1, 1}},
		{"unequal", [5]int{1, 300, 7, 100, 50}}, // the first has too little weight for a point of ketama's
	}
	names := []struct {
		name   string
		server func(i, weight int) server
	}{
		// Sorted by length and bytes, none stays in its place.
		{"aliases", func(i, weight int) server {
			return newServer(backends[i], weight, []string{"node10", "é", "zeta", "b", "node9"}[i])
		}},
		{"host and port", func(i, weight int) server { return newServer(backends[i%4], weight, "") }},
		{"port 11211", func(i, weight int) server { return newServer(backends[i], weight, "") }},
		{"unix sockets", func(i, weight int) server {
			return newSocketServer(backends[i], weight, []string{"", "", "with-alias", "", ""}[i])
		}},
	}
	for _, n := range names {
		for _, w := range weights {
			t.Run(n.name+", "+w.name, func(t *testing.T) {
				servers := make([]server, 0, len(backends))
				for i, weight := range w.of {
					if s := n.server(i, weight); !slices.ContainsFunc(servers, func(o server) bool { return o.node.Name == s.node.Name }) {
						servers = append(servers, s)
					}
				}
				var pools []pool
				for _, hash := range shard.Hashes() {
					for _, dist := range []string{"ketama", "modula"} {
						for _, tag := range []string{"", "{}"} {
							pools = append(pools, pool{name: fmt.Sprintf("p%d", len(pools)), hash: hash, dist: dist, tag: tag, servers: servers})
						}
					}
				}
				proxy := startProxy(t, pools)
				for _, p := range pools {
					compare(t, proxy, p, p.ring(t), keys)
				}
			})
		}
	}
}

// compare sets the keys through nutcracker and checks that each is where the ring says.
func compare(t *testing.T, proxy *proxy, p pool, ring *shard.Ring, keys sample) {
	t.Helper()
	for _, s := range p.servers {
		if s.backend.alive() {
			s.backend.flush(t)
		}
	}
	l := mustDial(t, "unix", proxy.socket(p.name))
	defer l.conn.Close()
	if refused, refusal, err := l.set(keys); err != nil || refused > 0 {
		t.Fatalf("%v: SET through nutcracker: %d refused (%v), %v", p, refused, refusal, err)
	}
	found, moved := 0, 0
	for i, s := range p.servers {
		if !s.backend.alive() {
			continue
		}
		for _, key := range s.backend.keys(t) {
			found++
			if got := ring.Index([]byte(key)); got != i {
				if moved++; moved <= 3 {
					t.Errorf("%v: key %q is on node %q, Index = %d", p, key, s.node.Name, got)
				}
			}
		}
	}
	if moved > 0 {
		t.Errorf("%v: %d of %d keys moved; nodes %v", p, moved, len(keys.keys), ring.Nodes())
	}
	if found != len(keys.keys) {
		t.Errorf("%v: the servers hold %d keys, %d were set", p, found, len(keys.keys))
	}
}

// TestPlacementOddTags has a tag of two equal characters, one that closes before it opens, and one of ordinary characters.
func TestPlacementOddTags(t *testing.T) {
	t.Parallel()
	backends := startBackends(t, 3)
	var pools []pool
	for i, tag := range []string{"$$", "}{", "a:"} {
		pools = append(pools, pool{name: fmt.Sprintf("p%d", i), hash: "murmur", dist: "ketama", tag: tag, servers: []server{
			newServer(backends[0], 1, "x"), newServer(backends[1], 1, "y"), newServer(backends[2], 1, "z"),
		}})
	}
	proxy := startProxy(t, pools)
	for _, p := range pools {
		compare(t, proxy, p, p.ring(t), newSample(sampleKeys(sampleSize)))
	}
}

// TestGroups is the promise to users of twemproxy-163: its ring over group names is nutcracker's over aliases of weight 1.
func TestGroups(t *testing.T) {
	t.Parallel()
	backends := startBackends(t, 4)
	groups := []string{"groups_helf_0", "groups_helf_10", "groups_helf_2", "g"}
	var pools []pool
	for _, hash := range []string{"murmur", "fnv1a_64", "crc16"} {
		for _, dist := range []string{"ketama", "modula"} {
			p := pool{name: fmt.Sprintf("p%d", len(pools)), hash: hash, dist: dist, tag: "{}"}
			for i, group := range groups {
				p.servers = append(p.servers, newServer(backends[i], 1, group))
			}
			pools = append(pools, p)
		}
	}
	proxy := startProxy(t, pools)
	for _, p := range pools {
		c := p.ring(t).Config()
		c.Nodes = nil
		for _, group := range groups {
			c.Nodes = append(c.Nodes, shard.Node{Name: group, Weight: 1})
		}
		ring, err := shard.New(c)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, proxy, p, ring, newSample(sampleKeys(sampleSize)))
	}
}

// TestOneServer covers the case that neither side hashes.
func TestOneServer(t *testing.T) {
	t.Parallel()
	servers := []server{newServer(startBackends(t, 1)[0], 5, "")}
	var pools []pool
	for _, dist := range shard.Distributions() {
		pools = append(pools, pool{name: dist, hash: "md5", dist: dist, servers: servers})
	}
	proxy := startProxy(t, pools)
	for _, p := range pools {
		compare(t, proxy, p, p.ring(t), newSample(sampleKeys(1000)))
	}
}

// TestRandom can only compare that every node gets keys, whatever its weight.
func TestRandom(t *testing.T) {
	t.Parallel()
	backends := startBackends(t, 3)
	p := pool{name: "p", hash: "fnv1a_64", dist: "random", servers: []server{
		newServer(backends[0], 1, ""), newServer(backends[1], 100, ""), newServer(backends[2], 1, ""),
	}}
	keys := newSample(sampleKeys(sampleSize))
	l := mustDial(t, "unix", startProxy(t, []pool{p}).socket(p.name))
	if refused, refusal, err := l.set(keys); err != nil || refused > 0 {
		t.Fatalf("SET through nutcracker: %d refused (%v), %v", refused, refusal, err)
	}
	ring, ours := p.ring(t), [3]int{}
	for _, key := range keys.keys {
		ours[ring.Index([]byte(key))]++
	}
	for i, s := range p.servers {
		theirs := len(s.backend.keys(t))
		for who, n := range map[string]int{"nutcracker": theirs, "shard": ours[i]} {
			if n < sampleSize/4 || n > sampleSize/2 { // a third each; a quarter is 17 standard deviations away
				t.Errorf("%s puts %d of %d keys on node %d, want a third", who, n, sampleSize, i)
			}
		}
	}
}
