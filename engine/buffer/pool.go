// Package buffer has the bytes of the data plane: reference-counted chunks, the pool they come from, and chains of pieces
// of them. One event loop owns a pool and everything that came out of it; nothing here is safe for two goroutines.
//
//	Chain ── Piece(chunk A, 10..74) ── Piece(chunk B, 0..16384) ── ...
//	             │ reference                 │ reference
//	          Chunk A (16 KiB)            Chunk B (64 KiB), read once, shared by several chains
package buffer

import "unsafe"

// Sizes of the chunks that are pooled. Requests and small replies are collected in small ones; servers' replies are read
// into large ones, so that one read system call takes many.
const (
	Small = 16 << 10
	Large = 64 << 10
)

// Chunk is a block of memory with a count of its users. Fresh from a pool it has one reference, the caller's.
type Chunk struct {
	buf  []byte
	refs int32
	used uint32 // append position of chunks that are filled by Chain.Append or Store
	pool *Pool
	next *Chunk // in the pool's free list
}

// Bytes is the whole block.
func (c *Chunk) Bytes() []byte { return c.buf }

// Cap is the size of the block in bytes.
func (c *Chunk) Cap() int { return len(c.buf) }

// Shared reports whether somebody besides one holder uses the chunk.
func (c *Chunk) Shared() bool { return c.refs > 1 }

// Retain adds a reference.
func (c *Chunk) Retain() { c.refs++ }

// Release gives a reference back; the last one returns the chunk to its pool.
func (c *Chunk) Release() {
	c.refs--
	if c.refs > 0 {
		return
	}
	if c.refs < 0 {
		panic("buffer: chunk released twice")
	}
	c.pool.put(c)
}

// freeList keeps chunks of one size for reuse, the most recently used first.
type freeList struct {
	head  *Chunk
	count int
	low   int // fewest free chunks since the last Trim: what nobody needed
}

// Pool hands out chunks and keeps the free ones until Trim.
type Pool struct {
	small, large freeList
	inUse        int64
	idle         int64
	few, runs    arrays // for chains
}

// Elements of the arrays that chains borrow: most have one piece, a long one as many as one vectored write takes.
const (
	fewPieces = 4
	runPieces = 64
)

// arrays keeps free ones of one length, their elements zero, the most recently used first.
type arrays struct {
	free [][]Piece
	low  int // as freeList.low
}

// take returns an empty array for n elements.
func (a *arrays) take(n int) []Piece {
	k := len(a.free) - 1
	if k < 0 {
		return make([]Piece, 0, n)
	}
	array := a.free[k]
	a.free[k] = nil
	a.free = a.free[:k]
	a.low = min(a.low, k)
	return array
}

func (a *arrays) give(array []Piece) { a.free = append(a.free, array[:0]) }

// trim drops those that were not needed since the last call and returns their bytes.
func (a *arrays) trim() (dropped int64) {
	if a.low > 0 {
		dropped = int64(a.low) * int64(cap(a.free[0])) * int64(unsafe.Sizeof(Piece{}))
		a.free = append([][]Piece(nil), a.free[a.low:]...) // what was used last is at the end
	}
	a.low = len(a.free)
	return dropped
}

// InUse is the number of bytes in chunks that somebody holds.
func (p *Pool) InUse() int64 { return p.inUse }

// Idle is the number of bytes in free chunks.
func (p *Pool) Idle() int64 { return p.idle }

// Get returns a chunk of at least n bytes: a pooled one up to Large, beyond that one of exactly n bytes that is not kept.
func (p *Pool) Get(n int) *Chunk {
	var list *freeList
	size := n
	switch {
	case n <= Small:
		list, size = &p.small, Small
	case n <= Large:
		list, size = &p.large, Large
	}
	p.inUse += int64(size)
	if list != nil && list.head != nil {
		c := list.head
		list.head, c.next = c.next, nil
		list.count--
		list.low = min(list.low, list.count)
		p.idle -= int64(size)
		c.refs, c.used = 1, 0
		return c
	}
	return &Chunk{buf: make([]byte, size), refs: 1, pool: p}
}

func (p *Pool) put(c *Chunk) {
	p.inUse -= int64(len(c.buf))
	var list *freeList
	switch len(c.buf) {
	case Small:
		list = &p.small
	case Large:
		list = &p.large
	default:
		return // an odd size: the garbage collector takes it
	}
	c.next, list.head = list.head, c
	list.count++
	p.idle += int64(len(c.buf))
}

// Trim drops the free chunks that were not needed since the last call and returns their bytes. Called every few seconds:
// buffers grow under load at once, and go when it has passed.
func (p *Pool) Trim() (dropped int64) {
	for _, list := range []*freeList{&p.small, &p.large} {
		for n := list.low; n > 0; n-- {
			c := list.head
			list.head, c.next = c.next, nil
			list.count--
			dropped += int64(len(c.buf))
		}
		list.low = list.count
	}
	p.idle -= dropped
	return dropped + p.few.trim() + p.runs.trim()
}
