package buffer

import "testing"

func TestPoolSizes(t *testing.T) {
	var p Pool
	for _, tc := range []struct{ ask, size, idleAfter int }{
		{0, Small, Small}, {1, Small, Small}, {Small, Small, Small},
		{Small + 1, Large, Large}, {Large, Large, Large},
		{Large + 1, Large + 1, 0}, {1 << 20, 1 << 20, 0}, // odd sizes are not kept
	} {
		p = Pool{}
		c := p.Get(tc.ask)
		if c.Cap() != tc.size || p.InUse() != int64(tc.size) || p.Idle() != 0 {
			t.Errorf("Get(%d): %d bytes, %d in use, %d idle; want %d bytes", tc.ask, c.Cap(), p.InUse(), p.Idle(), tc.size)
		}
		c.Release()
		if p.InUse() != 0 || p.Idle() != int64(tc.idleAfter) {
			t.Errorf("Get(%d) released: %d in use, %d idle; want 0 and %d", tc.ask, p.InUse(), p.Idle(), tc.idleAfter)
		}
	}
}

func TestPoolReusesTheLatest(t *testing.T) {
	var p Pool
	a, b := p.Get(1), p.Get(1)
	a.used = 7
	a.Release()
	b.Release()
	if got := p.Get(1); got != b {
		t.Error("the chunk that is warm in the cache was not handed out first")
	}
	if got := p.Get(1); got != a || got.used != 0 {
		t.Errorf("a reused chunk begins at %d", got.used)
	}
}

func TestChunkReferences(t *testing.T) {
	var p Pool
	c := p.Get(1)
	c.Retain()
	if !c.Shared() {
		t.Error("a chunk with two holders is not shared")
	}
	c.Release()
	if c.Shared() || p.InUse() == 0 {
		t.Error("the first Release gave the chunk back")
	}
	c.Release()
	if p.InUse() != 0 {
		t.Error("the last Release did not")
	}
	defer func() {
		if recover() == nil {
			t.Error("a chunk was released twice and nobody noticed")
		}
	}()
	c.Release()
}

// TestTrim: what was needed since the last Trim stays, the rest goes.
func TestTrim(t *testing.T) {
	var p Pool
	hold := func(n int) {
		var chunks []*Chunk
		for range n {
			chunks = append(chunks, p.Get(Small))
		}
		for _, c := range chunks {
			c.Release()
		}
	}
	hold(10)
	if got := p.Trim(); got != 0 {
		t.Errorf("Trim after a burst of 10 dropped %d bytes that were needed just now", got)
	}
	hold(3)
	if got := p.Trim(); got != 7*Small || p.Idle() != 3*Small {
		t.Errorf("Trim after 3 of 10 were used dropped %d, %d idle; want %d and %d", got, p.Idle(), 7*Small, 3*Small)
	}
	if got := p.Trim(); got != 3*Small || p.Idle() != 0 {
		t.Errorf("Trim of an idle pool dropped %d, %d idle", got, p.Idle())
	}
	hold(1)
	if p.Idle() != Small {
		t.Errorf("%d idle after a trimmed pool was used again", p.Idle())
	}
}

func TestPoolAllocatesNothingWhenWarm(t *testing.T) {
	var p Pool
	p.Get(Large).Release()
	if n := testing.AllocsPerRun(100, func() { p.Get(Large).Release() }); n != 0 {
		t.Errorf("%v allocations for a chunk that was there", n)
	}
}
