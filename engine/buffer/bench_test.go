package buffer

import (
	"strconv"
	"testing"
)

var sizes = []int{16, 256, 4 << 10, 16 << 10}

// bySize runs f for values of several sizes.
func bySize(b *testing.B, f func(b *testing.B, value []byte)) {
	for _, n := range sizes {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			f(b, make([]byte, n))
		})
	}
}

// BenchmarkChainAppend copies a reply to a client's output, which leaves in batches of 16.
func BenchmarkChainAppend(b *testing.B) {
	bySize(b, func(b *testing.B, value []byte) {
		var p Pool
		var c Chain
		for i := 1; b.Loop(); i++ {
			c.Append(&p, value)
			if i%16 == 0 {
				c.Advance(c.Size())
			}
		}
		c.Clear()
	})
}

// BenchmarkChainAppendRef refers to replies of one chunk with something between them, as clients' replies are that came together.
func BenchmarkChainAppendRef(b *testing.B) {
	var p Pool
	var c Chain
	chunk := p.Get(Large)
	b.ReportAllocs()
	for i := 1; b.Loop(); i++ {
		at := uint32(i%16) * refStep
		c.AppendRef(chunk, at, at+refStep/2)
		if i%16 == 0 {
			c.Advance(c.Size())
		}
	}
	c.Clear()
	chunk.Release()
}

const refStep = Large / 16

// BenchmarkStorePut is a request on its way to a server: copied, queued by reference, written, and let go when its reply has come.
func BenchmarkStorePut(b *testing.B) {
	bySize(b, func(b *testing.B, value []byte) {
		var p Pool
		var s Store
		var out Chain
		var kept [16]Piece
		for i := 0; b.Loop(); i++ {
			piece := s.Put(&p, value)
			out.AppendRef(piece.Chunk, piece.Off, piece.End)
			if k := i % len(kept); k < len(kept)-1 {
				kept[k] = piece
				continue
			}
			piece.Chunk.Release()
			out.Advance(out.Size())
			for k := range kept[:len(kept)-1] {
				kept[k].Chunk.Release()
			}
		}
	})
}

// BenchmarkPool takes a chunk and gives it back.
func BenchmarkPool(b *testing.B) {
	for _, n := range []int{Small, Large} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var p Pool
			b.ReportAllocs()
			for b.Loop() {
				p.Get(n).Release()
			}
		})
	}
}
