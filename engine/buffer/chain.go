package buffer

// Piece is a part of a chunk, with a reference to it.
type Piece struct {
	Chunk    *Chunk
	Off, End uint32
	tail     bool // the chain filled it itself and may append to it
}

// Bytes is the piece itself, valid while the reference is held.
func (p Piece) Bytes() []byte { return p.Chunk.buf[p.Off:p.End] }

// Len is its size in bytes.
func (p Piece) Len() int { return int(p.End - p.Off) }

// Chain is a queue of bytes: appended at the end by copy or by reference, consumed from the front. The zero value is empty.
type Chain struct {
	pieces []Piece
	small  []Piece // what pieces was before it became a run of the pool's; nil unless it is one now
	head   int
	size   int
}

// Size is the number of bytes in the chain.
func (c *Chain) Size() int { return c.size }

// Pieces are what is in the chain, in order; valid until the next call that changes it.
func (c *Chain) Pieces() []Piece { return c.pieces[c.head:] }

// Append copies b to the end.
func (c *Chain) Append(p *Pool, b []byte) {
	for len(b) > 0 {
		dst := c.Reserve(p, 1)
		n := copy(dst, b)
		c.Commit(n)
		b = b[n:]
	}
}

// Reserve returns free space of at least n bytes at the end, to be filled and then announced with Commit.
func (c *Chain) Reserve(p *Pool, n int) []byte {
	if k := len(c.pieces); k > c.head {
		t := &c.pieces[k-1]
		if t.tail && t.Chunk.Cap()-int(t.End) >= n {
			return t.Chunk.buf[t.End:]
		}
	}
	chunk := p.Get(n)
	c.push(Piece{Chunk: chunk, tail: true})
	return chunk.buf
}

// Commit takes n bytes of what Reserve returned into the chain.
func (c *Chain) Commit(n int) {
	c.pieces[len(c.pieces)-1].End += uint32(n)
	c.size += n
}

// AppendRef appends chunk[off:end] without copying and takes a reference. Bytes that follow the last piece in the same
// chunk extend it, so that a run of requests is one element of a vectored write.
func (c *Chain) AppendRef(chunk *Chunk, off, end uint32) {
	c.size += int(end - off)
	if k := len(c.pieces); k > c.head {
		t := &c.pieces[k-1]
		if t.Chunk == chunk && t.End == off && !t.tail {
			t.End = end
			return
		}
	}
	chunk.Retain()
	c.push(Piece{Chunk: chunk, Off: off, End: end})
}

// AppendChain appends what is in o, by reference.
func (c *Chain) AppendChain(o *Chain) {
	for _, p := range o.Pieces() {
		c.AppendRef(p.Chunk, p.Off, p.End)
	}
}

func (c *Chain) push(p Piece) {
	if len(c.pieces) == cap(c.pieces) {
		c.makeRoom(p.Chunk.pool)
	}
	c.pieces = append(c.pieces, p)
}

// keepPieces is how many elements a chain keeps room for while it is empty.
const keepPieces = 4

// makeRoom lets one more element in: where others have left, in a small array of the chain's own, or in a run borrowed
// until the chain is empty. Longer ones, which a client gets to that does not read, are for the garbage collector.
func (c *Chain) makeRoom(p *Pool) {
	switch live := c.pieces[c.head:]; {
	case c.head > 0:
		n := copy(c.pieces, live)
		clear(c.pieces[n:])
		c.pieces, c.head = c.pieces[:n], 0
	case cap(c.pieces) == 0:
		c.pieces = make([]Piece, 0, keepPieces)
	case cap(c.pieces) == keepPieces:
		c.small = c.pieces[:0]
		c.pieces = append(p.takeRun(), live...)
		clear(live)
	}
}

// Advance drops n bytes from the front and releases the chunks that are done with.
func (c *Chain) Advance(n int) {
	c.size -= n
	var pool *Pool
	for n > 0 {
		p := &c.pieces[c.head]
		if l := p.Len(); n < l {
			p.Off += uint32(n)
			return
		} else {
			n -= l
		}
		pool = p.Chunk.pool
		c.pop()
	}
	if c.size == 0 {
		for c.head < len(c.pieces) { // a reserved, empty tail goes as well
			c.pop()
		}
		c.emptied(pool)
	}
}

func (c *Chain) pop() {
	p := &c.pieces[c.head]
	p.Chunk.Release()
	*p = Piece{}
	c.head++
}

// Clear drops everything.
func (c *Chain) Clear() {
	var p *Pool
	for c.head < len(c.pieces) {
		p = c.pieces[c.head].Chunk.pool
		c.pop()
	}
	c.emptied(p)
}

// emptied gives a run back to the pool that its last element came from.
func (c *Chain) emptied(p *Pool) {
	if c.small != nil {
		if p != nil {
			p.giveRun(c.pieces)
		}
		c.pieces, c.small = c.small, nil
	}
	c.pieces = c.pieces[:0]
	c.head, c.size = 0, 0
}

// Store copies requests one after the other into chunks and hands out references to the copies: what is sent to a server
// is kept in one place until its reply has come, in case it has to be sent again.
type Store struct{ chunk *Chunk }

// Put copies b, contiguously, and returns the piece; the caller owns its reference.
func (s *Store) Put(p *Pool, b []byte) Piece {
	c := s.chunk
	if c == nil || c.Cap()-int(c.used) < len(b) {
		s.Drop()
		c = p.Get(len(b))
		s.chunk = c
	}
	off := c.used
	c.used += uint32(copy(c.buf[off:], b))
	c.Retain()
	return Piece{Chunk: c, Off: off, End: c.used}
}

// Idle drops the chunk being filled when nobody else uses it any more.
func (s *Store) Idle() {
	if s.chunk != nil && !s.chunk.Shared() {
		s.Drop()
	}
}

// Drop gives up the chunk being filled.
func (s *Store) Drop() {
	if s.chunk != nil {
		s.chunk.Release()
		s.chunk = nil
	}
}
