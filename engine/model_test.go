package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pipeline is a random sequence of requests, with the reply that each must get.
type pipeline struct {
	requests []string
	replies  []string
}

// drawPipeline draws requests whose replies name them: a reply that is not the request's own cannot pass.
func drawPipeline(t *rapid.T, r *rig, groups []string, tag string) (p pipeline) {
	key := func(label string) string {
		return r.key(rapid.SampledFrom(groups).Draw(t, label), rapid.IntRange(0, 3).Draw(t, label))
	}
	n := rapid.IntRange(1, 30).Draw(t, "requests")
	for i := range n {
		id := fmt.Sprint(tag, "-", i)
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			p.add(req("ECHO", id), bulk(id))
		case 1:
			p.add("ECHO "+id+"\r\n", bulk(id))
		case 2: // the fakes answer every key with itself
			args, want := []string{"MGET"}, []string{}
			for range rapid.IntRange(1, 8).Draw(t, "keys") {
				k := key("key")
				args, want = append(args, k), append(want, bulk("value of "+k))
			}
			p.add(req(args...), array(want...))
		case 3:
			args := []string{"DEL"}
			for range rapid.IntRange(1, 8).Draw(t, "keys") {
				args = append(args, key("key"))
			}
			p.add(req(args...), fmt.Sprintf(":%d\r\n", len(args)-1))
		default:
			k := key("key")
			value := id + strings.Repeat("x", rapid.SampledFrom([]int{0, 1, 100, 5000}).Draw(t, "size"))
			p.add(req("APPEND", k, value), bulk("APPEND "+k+" "+value))
		}
	}
	return p
}

func (p *pipeline) add(request, reply string) {
	p.requests = append(p.requests, request)
	p.replies = append(p.replies, reply)
}

// modelServer answers so that every reply says what it was asked for.
func modelServer(_ *fakeConn, args []string) (string, bool) {
	switch args[0] {
	case "MGET":
		var elements []string
		for _, k := range args[1:] {
			elements = append(elements, bulk("value of "+k))
		}
		return array(elements...), true
	case "DEL":
		return fmt.Sprintf(":%d\r\n", len(args)-1), true
	}
	return "", false
}

// TestRepliesKeepTheirOrder is the model of the data plane: several clients, several groups; bytes arrive in random pieces in
// both directions; servers answer when they are allowed to, in any order among each other. Each client reads exactly the
// replies of its requests, in their order.
func TestRepliesKeepTheirOrder(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		groups := []string{"g1", "g2", "g3"}
		r := newRig(t, v, groups)
		round := 0
		rapid.Check(t, func(t *rapid.T) {
			round++
			for _, s := range r.servers {
				cuts := rapid.SliceOfN(rapid.SampledFrom([]int{1, 2, 7, 100, 4096, 10000}), 0, 4).Draw(t, "cuts")
				s.on(modelServer)
				s.change(func() { s.cuts = cuts })
				s.hold()
			}
			clients := rapid.IntRange(1, 3).Draw(t, "clients")
			conns := make([]net.Conn, clients)
			readers := make([]chan error, clients)
			pipelines := make([]pipeline, clients)
			unsent := make([]string, clients)
			network, address := r.address("p")
			for i := range clients {
				conn, err := net.Dial(network, address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conns[i] = newApp(r.t, conn).conn
				pipelines[i] = drawPipeline(t, r, groups, fmt.Sprint(round, ".", i))
				unsent[i] = strings.Join(pipelines[i].requests, "")
				readers[i] = make(chan error, 1)
				go func() { readers[i] <- readAll(conn, pipelines[i].replies) }()
			}
			for left := true; left; {
				left = false
				for i := range clients {
					if unsent[i] == "" {
						continue
					}
					n := min(len(unsent[i]), rapid.SampledFrom([]int{1, 5, 30, 500, 20000}).Draw(t, "piece"))
					if _, err := io.WriteString(conns[i], unsent[i][:n]); err != nil {
						t.Fatal(err)
					}
					unsent[i] = unsent[i][n:]
					left = left || unsent[i] != ""
				}
				r.servers[rapid.SampledFrom(groups).Draw(t, "server")].let(rapid.IntRange(0, 5).Draw(t, "replies"))
			}
			for _, name := range rapid.Permutation(groups).Draw(t, "opened") {
				r.servers[name].open()
			}
			for i := range clients {
				if err := <-readers[i]; err != nil {
					t.Fatalf("client %d: %v\nrequests %q", i, err, pipelines[i].requests)
				}
			}
		})
		r.idleLinks()
	})
}

// idleLinks wants nothing in flight and nothing held.
func (r *rig) idleLinks() {
	r.t.Helper()
	for name, g := range r.pool().Groups {
		if g.Inflight != 0 || g.Held != 0 || g.HeldBytes != 0 || g.Late != 0 || g.Unknown != 0 {
			r.t.Errorf("group %s at the end: %+v", name, g)
		}
	}
}

// readAll reads the replies and compares each.
func readAll(conn net.Conn, replies []string) error {
	in := bufio.NewReader(conn)
	for i, want := range replies {
		b := make([]byte, len(want))
		if n, err := io.ReadFull(in, b); err != nil || string(b) != want {
			return fmt.Errorf("reply %d is %q (%v), want %q", i, clip(string(b[:n]), 200), err, clip(want, 200))
		}
	}
	return nil
}
