package engine

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"respgate/engine/buffer"
	"respgate/engine/resp"
)

// load is what the forward benchmarks send, and how much of it.
type load struct {
	name     string
	groups   int
	requests int // in one round
	value    int // bytes of the value that GET and MGET answer
	request  func(keys []string, value string) string
	reply    func(value string) string
}

// pipelineOf is a pipeline of n requests whose keys take turns.
func pipelineOf(n int, one func(key, value string) string) func([]string, string) string {
	return func(keys []string, value string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(one(keys[i%len(keys)], value))
		}
		return b.String()
	}
}

func getOf(key, _ string) string     { return req("GET", key) }
func setOf(key, value string) string { return req("SET", key, value) }

// mgetOf asks for n keys in one request, msetOf sets them, delOf removes them.
func mgetOf(n int) func([]string, string) string {
	return func(keys []string, _ string) string { return req(append([]string{"MGET"}, keys[:n]...)...) }
}

func msetOf(n int) func([]string, string) string {
	return func(keys []string, value string) string {
		args := []string{"MSET"}
		for _, k := range keys[:n] {
			args = append(args, k, value)
		}
		return req(args...)
	}
}

func delOf(n int) func([]string, string) string {
	return func(keys []string, _ string) string { return req(append([]string{"DEL"}, keys[:n]...)...) }
}

func values(n int) func(string) string {
	return func(value string) string { return strings.Repeat(bulk(value), n) }
}

func oks(n int) func(string) string {
	return func(string) string { return strings.Repeat("+OK\r\n", n) }
}

func arrays(n int) func(string) string {
	return func(value string) string { return fmt.Sprintf("*%d\r\n", n) + values(n)(value) }
}

var loads = []load{
	{"GET", 2, 1, 16, pipelineOf(1, getOf), values(1)},
	{"SET", 2, 1, 16, pipelineOf(1, setOf), oks(1)},
	{"GET-P16", 2, 16, 16, pipelineOf(16, getOf), values(16)},
	{"SET-P16", 2, 16, 16, pipelineOf(16, setOf), oks(16)},
	{"GET-P100", 2, 100, 16, pipelineOf(100, getOf), values(100)},
	{"GET-16KiB", 2, 1, 16 << 10, pipelineOf(1, getOf), values(1)},
	{"GET-16KiB-P16", 2, 16, 16 << 10, pipelineOf(16, getOf), values(16)},
	{"SET-16KiB", 2, 1, 16 << 10, pipelineOf(1, setOf), oks(1)},
	{"MGET10-2groups", 2, 1, 16, mgetOf(10), arrays(10)},
	{"MGET10-16groups", 16, 1, 16, mgetOf(10), arrays(10)},
	{"MGET10-P16-2groups", 2, 16, 16, func(k []string, v string) string { return strings.Repeat(mgetOf(10)(k, v), 16) }, func(v string) string { return strings.Repeat(arrays(10)(v), 16) }},
	{"MGET1000-2groups", 2, 1, 16, mgetOf(1000), arrays(1000)},
	{"MGET1000-16groups", 16, 1, 16, mgetOf(1000), arrays(1000)},
	{"MGET10-16KiB-2groups", 2, 1, 16 << 10, mgetOf(10), arrays(10)},
	{"MSET10-2groups", 2, 1, 16, msetOf(10), oks(1)},
	{"MSET10-16groups", 16, 1, 16, msetOf(10), oks(1)},
	{"DEL10-2groups", 2, 1, 16, delOf(10), func(string) string { return ":10\r\n" }},
}

// start connects what a load needs and returns the request of a round and the size of its reply.
func (w *load) start(b *testing.B) (d *driven, fd int, request []byte, reply int) {
	d = newDriven(b, w.groups, nil)
	d.value = []byte(strings.Repeat("v", w.value))
	fd = d.client()
	request = []byte(w.request(d.keys(1000), string(d.value)))
	want := w.reply(string(d.value))
	for range 50 {
		if got := d.round(fd, request, len(want)); len(want) < len(d.in)/2 && string(got) != want {
			b.Fatalf("reply %q, want %q", clip(string(got), 300), clip(want, 300))
		}
	}
	return d, fd, request, len(want)
}

// measure runs rounds and reports what a request took, and what of that was CPU time: only the latter is worth comparing on a
// machine that does something else as well.
func (w *load) measure(b *testing.B, round func()) {
	b.ReportAllocs()
	b.ResetTimer()
	start := cpuTime(b)
	for range b.N {
		round()
	}
	used := cpuTime(b) - start
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*w.requests), "ns/request")
	b.ReportMetric(float64(used)/float64(b.N*w.requests), "cpu-ns/request")
}

// cpuTime is what the process has used, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkForward is a loop between a client and servers of this process, over sockets: what the system calls cost included,
// and those of the other two ends.
func BenchmarkForward(b *testing.B) {
	for _, w := range loads {
		b.Run(w.name, func(b *testing.B) {
			d, fd, request, reply := w.start(b)
			w.measure(b, func() { d.round(fd, request, reply) })
		})
	}
}

// BenchmarkHandle is the same without a single system call: requests are handed to the client, replies to the links, as if they
// had just been read, and what would be written is dropped. It is what the proxy's own code costs.
func BenchmarkHandle(b *testing.B) {
	for _, w := range loads {
		b.Run(w.name, func(b *testing.B) {
			d, _, request, reply := w.start(b)
			h := newHandled(d, request)
			if got := h.round(); got != reply {
				b.Fatalf("%d bytes of reply, want %d", got, reply)
			}
			w.measure(b, func() { h.round() })
		})
	}
}

// handled repeats one round of a client, and answers its servers' links with what they answered once.
type handled struct {
	l       *loop
	c       *client
	request []byte
	links   []*link
	replies [][]byte // of a round, by link
}

func newHandled(d *driven, request []byte) *handled {
	h := &handled{l: d.l, c: d.l.pools["p"].clients, request: request}
	h.c.consume(request)
	for i, g := range d.l.pools["p"].groups {
		if g.servers[0] == nil || g.servers[0].links[0].inflight.count == 0 {
			continue
		}
		k, s := g.servers[0].links[0], d.servers[i]
		var frame resp.Frame
		var scan resp.RequestScanner
		s.out = s.out[:0]
		for text := gather(&k.out); len(text) > 0; text = text[frame.Size:] {
			if done, err := scan.Scan(text, nil, &frame); !done || err != nil {
				d.t.Fatalf("a server was sent nonsense: %v", err)
			}
			s.answer(text[:frame.Size], &frame)
		}
		h.links = append(h.links, k)
		h.replies = append(h.replies, append([]byte(nil), s.out...))
	}
	h.finish()
	return h
}

func (h *handled) round() int {
	h.c.consume(h.request)
	return h.finish()
}

// finish answers, and returns the size of what the client would get.
func (h *handled) finish() int {
	h.answer()
	h.l.dirtyLinks, h.l.dirtyClients, h.c.dirty = h.l.dirtyLinks[:0], h.l.dirtyClients[:0], false
	n := h.c.out.Size()
	h.c.out.Advance(n)
	return n
}

// answer lets the links' bytes go and hands them their replies.
func (h *handled) answer() {
	for i, k := range h.links {
		k.dirty = false
		k.written += uint64(k.out.Size())
		k.out.Advance(k.out.Size())
		for reply := h.replies[i]; len(reply) > 0; {
			if k.chunk == nil {
				k.chunk, k.start, k.fill = h.l.bufs.Get(buffer.Large), 0, 0
			}
			n := copy(k.chunk.Bytes()[k.fill:], reply)
			reply = reply[n:]
			k.take(n)
		}
	}
}

// TestHandled: what the benchmark without system calls does comes to the same replies.
func TestHandled(t *testing.T) {
	d := newDriven(t, 2, nil)
	fd, keys := d.client(), d.keys(10)
	request := req(append([]string{"MGET"}, keys...)...) + req("GET", keys[0])
	want := arrays(10)(string(d.value)) + bulk(string(d.value))
	d.round(fd, []byte(request), len(want))
	h := newHandled(d, []byte(request))
	for range 3 {
		if got := h.round(); got != len(want) {
			t.Fatalf("%d bytes of reply, want "+strconv.Itoa(len(want)), got)
		}
	}
	if h.c.queue.count+len(h.links[0].lead.Pieces())+h.links[0].inflight.count != 0 {
		t.Error("something was left of a round")
	}
}
