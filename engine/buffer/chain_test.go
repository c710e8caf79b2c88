package buffer

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func content(c *Chain) []byte {
	var b []byte
	for _, p := range c.Pieces() {
		b = append(b, p.Bytes()...)
	}
	return b
}

func filled(p *Pool, b []byte) *Chunk {
	c := p.Get(len(b))
	copy(c.Bytes(), b)
	return c
}

func TestChainCoalesces(t *testing.T) {
	var p Pool
	var c Chain
	chunk := filled(&p, []byte("onetwothree"))
	c.AppendRef(chunk, 0, 3)
	c.AppendRef(chunk, 3, 6)
	if n := len(c.Pieces()); n != 1 {
		t.Errorf("two parts that lie together are %d pieces, want 1", n)
	}
	c.AppendRef(chunk, 8, 11)
	if n := len(c.Pieces()); n != 2 {
		t.Errorf("parts with a gap are %d pieces, want 2", n)
	}
	c.Append(&p, []byte("x"))
	c.Append(&p, []byte("y"))
	if n := len(c.Pieces()); n != 3 {
		t.Errorf("two copies are %d pieces, want 1 more", n)
	}
	if got := string(content(&c)); got != "onetworeexy" && got != "onetwo"+"ree"+"xy" {
		t.Errorf("content %q", got)
	}
	chunk.Release()
	c.Advance(c.Size())
	if p.InUse() != 0 {
		t.Errorf("%d bytes in use behind an empty chain", p.InUse())
	}
}

// TestChainOwnTailIsNotShared: a chain may write behind its own bytes only; bytes it refers to may be followed by others.
func TestChainOwnTailIsNotShared(t *testing.T) {
	var p Pool
	var a, b Chain
	a.Append(&p, []byte("mine"))
	piece := a.Pieces()[0]
	b.AppendRef(piece.Chunk, piece.Off, piece.End)
	b.Append(&p, []byte("B"))
	a.Append(&p, []byte("A"))
	if got := string(content(&a)); got != "mineA" {
		t.Errorf("a = %q", got)
	}
	if got := string(content(&b)); got != "mineB" {
		t.Errorf("b = %q", got)
	}
}

func TestChainLargeAppend(t *testing.T) {
	var p Pool
	var c Chain
	want := bytes.Repeat([]byte("0123456789abcdef"), 3*Small/16)
	c.Append(&p, want)
	if c.Size() != len(want) || !bytes.Equal(content(&c), want) {
		t.Error("a copy over several chunks differs")
	}
	c.Clear()
	if p.InUse() != 0 || c.Size() != 0 || len(c.Pieces()) != 0 {
		t.Errorf("after Clear: %d bytes in use, size %d", p.InUse(), c.Size())
	}
}

// TestChainModel compares a chain with a plain byte slice, whatever is done to it.
func TestChainModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Pool
		var c Chain
		var want []byte
		next := byte(0)
		bytesOf := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				next++
				b[i] = next
			}
			return b
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				b := bytesOf(rapid.IntRange(0, 3*Small).Draw(t, "n"))
				c.Append(&p, b)
				want = append(want, b...)
			},
			"reference": func(t *rapid.T) {
				chunk := filled(&p, bytesOf(rapid.IntRange(2, 5000).Draw(t, "n")))
				cut := uint32(rapid.IntRange(1, 2).Draw(t, "cut"))
				n := uint32(rapid.IntRange(int(cut), 200).Draw(t, "end"))
				c.AppendRef(chunk, 0, cut)
				want = append(want, chunk.Bytes()[:cut]...)
				if n > cut {
					c.AppendRef(chunk, cut, n)
					want = append(want, chunk.Bytes()[cut:n]...)
				}
				chunk.Release()
			},
			"chain": func(t *rapid.T) {
				var o Chain
				b := bytesOf(rapid.IntRange(0, 100).Draw(t, "n"))
				o.Append(&p, b)
				c.AppendChain(&o)
				o.Clear()
				want = append(want, b...)
			},
			"advance": func(t *rapid.T) {
				n := rapid.IntRange(0, c.Size()).Draw(t, "n")
				c.Advance(n)
				want = want[n:]
			},
			"truncate": func(t *rapid.T) {
				n := rapid.IntRange(0, c.Size()).Draw(t, "n")
				c.Truncate(n)
				want = want[:n]
			},
			"clear": func(*rapid.T) {
				c.Clear()
				want = nil
			},
			"": func(t *rapid.T) {
				if c.Size() != len(want) || !bytes.Equal(content(&c), want) {
					t.Fatalf("chain of %d bytes differs from the model's %d", c.Size(), len(want))
				}
				for _, piece := range c.Pieces() {
					if piece.Len() == 0 {
						t.Fatal("an empty piece, which a write cannot take")
					}
				}
				if len(want) == 0 && p.InUse() != 0 {
					t.Fatalf("%d bytes in use by an empty chain", p.InUse())
				}
			},
		})
	})
}

func TestStore(t *testing.T) {
	var p Pool
	var s Store
	var pieces []Piece
	want := []string{"a", "bc", string(bytes.Repeat([]byte{'x'}, Small)), "d", string(bytes.Repeat([]byte{'y'}, Large+5)), "e"}
	for _, w := range want {
		pieces = append(pieces, s.Put(&p, []byte(w)))
	}
	for i, piece := range pieces {
		if string(piece.Bytes()) != want[i] {
			t.Errorf("piece %d differs", i)
		}
	}
	if pieces[0].Chunk != pieces[1].Chunk {
		t.Error("small requests do not share a chunk")
	}
	s.Idle()
	if pieces[5].Chunk.Shared() == false {
		t.Error("Idle dropped a chunk that somebody uses")
	}
	for _, piece := range pieces {
		piece.Chunk.Release()
	}
	if p.InUse() == 0 {
		t.Error("the store gave up the chunk it is filling")
	}
	s.Idle()
	if p.InUse() != 0 {
		t.Errorf("%d bytes in use by an idle store", p.InUse())
	}
}

// TestSteadyStateAllocatesNothing: a request's bytes are stored, queued by reference, written and dropped.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	var p Pool
	var s Store
	var out Chain
	request := []byte("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n")
	round := func() {
		for range 16 {
			piece := s.Put(&p, request)
			out.AppendRef(piece.Chunk, piece.Off, piece.End)
			piece.Chunk.Release()
		}
		out.Append(&p, request)
		out.Advance(out.Size())
	}
	for range 100 {
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("%v allocations per round", n)
	}
}

// TestLongChains: chains of many pieces share arrays, which a pool that is trimmed lets go.
func TestLongChains(t *testing.T) {
	var p Pool
	chunk := p.Get(Large)
	var chains [3]Chain
	round := func() {
		for i := range chains {
			for j := range uint32(2 * runPieces) {
				chains[i].AppendRef(chunk, 2*j, 2*j+1) // with gaps: each is a piece
				if i > 0 && j == runPieces/2 {
					break
				}
			}
		}
		for i := range chains {
			chains[i].Advance(chains[i].Size() - 1)
			chains[i].Clear()
		}
	}
	round()
	if len(p.few.free) != 1 || len(p.runs.free) != 2 { // of the long ones the first chain outgrew its own
		t.Errorf("%d short and %d long arrays were given back, want 1 and 2", len(p.few.free), len(p.runs.free))
	}
	for _, array := range append(p.few.free, p.runs.free...) {
		for _, piece := range array[:cap(array)] {
			if piece != (Piece{}) {
				t.Error("an array that was given back still refers to a chunk")
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		for j := range uint32(runPieces) {
			chains[1].AppendRef(chunk, 2*j, 2*j+1)
		}
		chains[1].Advance(chains[1].Size())
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	p.Trim()
	p.Trim()
	if n := len(p.few.free) + len(p.runs.free); n != 0 {
		t.Errorf("%d arrays are kept by an idle pool", n)
	}
	chunk.Release()
	if p.InUse() != 0 {
		t.Errorf("%d bytes in use", p.InUse())
	}
}
