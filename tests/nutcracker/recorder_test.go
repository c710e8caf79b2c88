//go:build linux

package nutcracker_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"respgate/engine/shard"
)

// recorder stands for many servers at once: it listens on a unix socket for each, answers every request with +OK and
// writes down which keys came in where. A redis-server for each node would be too many of them.
type recorder struct {
	sockets []string
	wg      sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	keys  []map[string]bool // by node
	err   error
}

func startRecorder(t *testing.T, nodes int) *recorder {
	t.Helper()
	r := &recorder{keys: make([]map[string]bool, nodes)}
	dir := socketDir(t)
	var listeners []net.Listener
	t.Cleanup(func() {
		for _, l := range listeners {
			_ = l.Close() // ends its accept loop
		}
		r.mu.Lock()
		for _, c := range r.conns {
			_ = c.Close() // ends its serve loop
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	for i := range nodes {
		r.keys[i] = map[string]bool{}
		socket := filepath.Join(dir, fmt.Sprint(i))
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		listeners, r.sockets = append(listeners, l), append(r.sockets, socket)
		r.wg.Go(func() { r.accept(l, i) })
	}
	return r
}

func (r *recorder) accept(l net.Listener, node int) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.conns = append(r.conns, conn)
		r.mu.Unlock()
		r.wg.Go(func() { r.serve(newLink(conn), node) })
	}
}

func (r *recorder) serve(l *link, node int) {
	for {
		request, err := l.reply() // a request is a flat array of bulks, and those are read like a reply
		if err != nil {
			return
		}
		r.mu.Lock()
		if len(request) == 3 {
			r.keys[node][request[1]] = true
		} else {
			r.err = errors.Join(r.err, fmt.Errorf("node %d: a request of %d words", node, len(request)))
		}
		r.mu.Unlock()
		if _, err := l.conn.Write([]byte("+OK\r\n")); err != nil {
			return
		}
	}
}

// TestManyNodes compares rings of up to 100 nodes with random weights: the points of a node are rounded in float32, so that
// each number of nodes and each sum of weights is a case of its own.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	const most = 100
	recorder := startRecorder(t, most)
	random := rand.New(rand.NewPCG(4, 2))
	var pools []pool
	for _, n := range []int{2, 3, 7, 11, 24, 49, most} {
		for _, heaviest := range []int{1, 10, 10000} {
			for _, dist := range []string{"ketama", "modula"} {
				p := pool{name: fmt.Sprintf("p%d", len(pools)), hash: "murmur", dist: dist}
				for i := range n {
					weight, alias := 1+random.IntN(heaviest), fmt.Sprintf("node%d", i)
					raw := fmt.Sprintf("%s:%d %s", recorder.sockets[i], weight, alias)
					p.servers = append(p.servers, server{raw: raw, node: shard.Node{Name: alias, Weight: weight}})
				}
				pools = append(pools, p)
			}
		}
	}
	proxy := startProxy(t, pools)
	keys := newSample(sampleKeys(5000))
	for _, p := range pools {
		l := mustDial(t, "unix", proxy.socket(p.name))
		if refused, refusal, err := l.set(keys); err != nil || refused > 0 {
			t.Fatalf("%d nodes: SET through nutcracker: %d refused (%v), %v", len(p.servers), refused, refusal, err)
		}
		recorder.compare(t, p, p.ring(t), len(keys.keys))
	}
}

// compare checks what was recorded since the last time, and forgets it.
func (r *recorder) compare(t *testing.T, p pool, ring *shard.Ring, want int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		t.Fatal(r.err)
	}
	found, moved := 0, 0
	for i, keys := range r.keys {
		found += len(keys)
		for key := range keys {
			if ring.Index([]byte(key)) != i {
				moved++
			}
		}
		clear(keys)
	}
	if found != want || moved > 0 {
		t.Errorf("%s, %d nodes: %d of %d keys were recorded, %d of them on another node than Index says; nodes %v",
			p.dist, len(p.servers), found, want, moved, ring.Nodes())
	}
}
