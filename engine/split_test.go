package engine

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"respgate/engine/buffer"
	"respgate/engine/resp"
	"respgate/engine/topology"
)

// TestPartsOfRequest compares the requests that a split writes with ones put together argument by argument.
func TestPartsOfRequest(t *testing.T) {
	d := newDriven(t, 5, nil)
	p := d.l.pools["p"]
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.IntRange(1, 2).Draw(t, "step")
		args := []string{rapid.SampledFrom([]string{"MGET", "mset", "a command of any length at all"}).Draw(t, "name")}
		for range rapid.IntRange(1, 40).Draw(t, "keys") * step {
			args = append(args, rapid.OneOf(rapid.StringN(0, 120, -1), rapid.Just("")).Draw(t, "arg"))
		}
		frame := []byte(req(args...))
		var scan resp.RequestScanner
		var f resp.Frame
		if done, err := scan.Scan(frame, nil, &f); !done || err != nil {
			t.Fatal(done, err)
		}
		s := d.l.newSplit()
		defer d.l.freeSplit(s)
		if !s.place(p, step, frame, &f) {
			t.Fatal("no place")
		}
		want := make([][]string, len(p.groups))
		for i := 1; i < len(args); i += step {
			g := p.route([]byte(args[i]))
			if want[g] == nil {
				want[g] = []string{args[0]}
			}
			want[g] = append(want[g], args[i:i+step]...)
		}
		bodies, at := s.write([]byte("before"), step, frame, &f), len("before")
		for _, pt := range s.parts {
			if got := string(bodies[at:pt.at]); got != req(want[pt.group]...) {
				t.Fatalf("group %d gets\n %q, want\n %q", pt.group, got, req(want[pt.group]...))
			}
			at = pt.at
			want[pt.group] = nil
		}
		for g, w := range want {
			if w != nil {
				t.Errorf("group %d gets nothing of %q", g, w)
			}
		}
		if at != len(bodies) || slices.Max(s.slot) != 0 {
			t.Errorf("%d bytes of %d written; slots %v are not cleared", at, len(bodies), s.slot)
		}
	})
}

// TestMergeCopiesLittle: a merge copies small elements once and large ones never, and what it refers to is no more than that.
func TestMergeCopiesLittle(t *testing.T) {
	for _, tc := range []struct {
		name         string
		keys, value  int
		most, chunks int // bytes of buffers that the merged reply holds, in chunks of its own and in all
	}{
		{"small", 100, 100, buffer.Small, 1},
		{"large", 4, 8 << 10, 2*buffer.Large + 2*buffer.Small, 12},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDriven(t, 2, nil)
			d.value = bytes.Repeat([]byte("v"), tc.value)
			fd := d.client()
			request := []byte(mgetOf(tc.keys)(d.keys(tc.keys), ""))
			want := arrays(tc.keys)(string(d.value))
			if got := d.round(fd, request, len(want)); string(got) != want {
				t.Fatalf("reply %q", clip(string(got), 300))
			}
			h := newHandled(d, request)
			before := d.l.bufs.InUse()
			h.c.consume(request)
			h.answer()
			if got := string(gather(&h.c.out)); got != want {
				t.Fatalf("reply %q", clip(got, 300))
			}
			if used := d.l.bufs.InUse() - before; used > int64(tc.most) {
				t.Errorf("%d bytes of buffers for a reply of %d, want %d at most", used, len(want), tc.most)
			}
			if n := len(h.c.out.Pieces()); n > tc.chunks {
				t.Errorf("%d pieces, want %d at most", n, tc.chunks)
			}
			if h.c.stored != 0 {
				t.Errorf("%d bytes are counted as stored behind an empty queue", h.c.stored)
			}
		})
	}
}

// TestMergeWaitsForItsTurn: what waits behind an older request is counted as the client's, and merged when it is its turn.
func TestMergeWaitsForItsTurn(t *testing.T) {
	d := newDriven(t, 3, func(s *topology.Settings) { s.ClientBuffer = 1 << 20 })
	fd, k := d.client(), d.keys(3)
	v := bulk(string(d.value))
	first, second := req("GET", k[2]), req("MGET", k[0], k[1])+req("DEL", k[0], k[1])+req("MSET", k[0], "1", k[1], "2")
	want := v + array(v, v) + ":2\r\n+OK\r\n"
	d.round(fd, []byte(first+second), len(want))
	h := newHandled(d, []byte(first+second))
	h.c.consume(h.request)
	slow := h.links[len(h.links)-1]
	replies := h.replies[len(h.links)-1]
	h.links, h.replies = h.links[:len(h.links)-1], h.replies[:len(h.links)-1]
	h.answer()
	if n := h.c.out.Size(); n != 0 {
		t.Fatalf("%d bytes left before their turn", n)
	}
	if atLeast := int64(2*len(v) + len(":2\r\n+OK\r\n")); h.c.stored < atLeast || h.c.stored > atLeast+20 {
		t.Errorf("%d bytes stored, want about %d", h.c.stored, atLeast)
	}
	h.links, h.replies = append(h.links[:0], slow), append(h.replies[:0], replies)
	h.answer()
	if got := string(gather(&h.c.out)); got != want {
		t.Errorf("replies %q, want %q", got, want)
	}
	if h.c.stored != 0 || h.c.queue.count != 0 {
		t.Errorf("%d bytes stored, %d requests when all are answered", h.c.stored, h.c.queue.count)
	}
}
