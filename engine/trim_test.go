package engine

import (
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"respgate/engine/topology"
)

// TestWeights bounds what there is one of for each client or each request in flight. Sizes of the allocator are 192, 208,
// 224, 240 bytes; 10,000 idle clients cost 0.15 MiB for each step.
func TestWeights(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		return // pointers of 4 bytes weigh less
	}
	for _, tc := range []struct {
		what        string
		bytes, most uintptr
	}{
		{"a client", unsafe.Sizeof(client{}), 240},
		{"its slot", unsafe.Sizeof(slot{}), 24},
		{"a request", unsafe.Sizeof(request{}), 160},
	} {
		if tc.bytes > tc.most {
			t.Errorf("%s weighs %d bytes, want %d at most: what few need belongs into a struct of its own", tc.what, tc.bytes, tc.most)
		}
	}
}

// TestTrimAfterBurst: what a burst of large replies, many requests and many clients took is let go by the second trim
// behind it, and whoever gives it back to the operating system is told how much.
func TestTrimAfterBurst(t *testing.T) {
	d := newDriven(t, 2, func(s *topology.Settings) { s.HoldRequests = 10000 })
	var told int64
	d.e.opts.Trimmed = func(n int64) { told += n }
	keys := d.keys(2)
	for range 20 {
		fd := d.client()
		d.value = []byte(strings.Repeat("x", 16<<10))
		large := bulk(string(d.value))
		d.round(fd, []byte(strings.Repeat(req("GET", keys[0])+req("GET", keys[1]), 8)), 16*len(large))
		d.value = []byte("x")
		d.round(fd, []byte(strings.Repeat(req("GET", keys[0])+req("GET", keys[1]), 2000)), 4000*len(bulk("x")))
	}
	d.l.trim(d.l.now)
	took := d.l.bufs.Idle()
	if took == 0 || d.l.freeCount <= keepFree {
		t.Fatalf("no burst: %d bytes of chunks and %d requests are free", took, d.l.freeCount)
	}
	told = 0
	d.l.trim(d.l.now)
	if n := d.l.bufs.InUse() + d.l.bufs.Idle(); n != 0 {
		t.Errorf("%d bytes of chunks are left", n)
	}
	if d.l.freeCount > keepFree {
		t.Errorf("%d free requests are left", d.l.freeCount)
	}
	if told < took {
		t.Errorf("%d bytes were told of, of %d in chunks", told, took)
	}
	for _, fd := range d.clients {
		unix.Close(fd)
	}
	d.clients = nil
	for d.l.clients > 0 {
		d.step()
	}
	told = 0
	d.l.trim(d.l.now)
	if most := 20 * int64(unsafe.Sizeof(client{})); told < most {
		t.Errorf("%d bytes were told of when 20 clients had gone, want %d", told, most)
	}
	told = 0
	d.l.trim(d.l.now)
	if told != 0 {
		t.Errorf("an idle loop told of %d bytes", told)
	}
}

// TestSlotsGrow: handles stay what they are while the table grows by pages, and one that was dropped finds nothing.
func TestSlotsGrow(t *testing.T) {
	var s slots
	handles := map[uint64]endpoint{}
	for range 3*pageSlots + 1 {
		c := &client{}
		handles[s.put(c)] = c
	}
	n := 0
	for h, ep := range handles {
		if s.get(h) != ep {
			t.Fatalf("handle %#x finds another", h)
		}
		if n++; n%2 == 0 {
			s.drop(h)
			if s.get(h) != nil {
				t.Fatalf("handle %#x was dropped and finds something", h)
			}
			delete(handles, h)
		}
	}
	left := 0
	s.each(func(ep endpoint) { left++ })
	if left != len(handles) {
		t.Errorf("%d endpoints are there, want %d", left, len(handles))
	}
	used := s.used
	for range 3 * pageSlots / 2 {
		s.put(&client{})
	}
	if s.used != used {
		t.Error("free slots were not used again")
	}
	if s.get(uint64(s.used)) != nil {
		t.Error("a handle that was never given out finds something")
	}
}
