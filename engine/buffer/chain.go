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
// While it is empty it holds nothing, its array neither: there are as many chains as clients, nearly all of them empty.
type Chain struct {
	pieces []Piece // an array of the pool's, or a longer one
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

// makeRoom lets one more element in: where others have left, or in an array borrowed until the chain is empty, a short one
// first. Longer ones, which a client gets to that does not read, are for the garbage collector.
func (c *Chain) makeRoom(p *Pool) {
	switch live := c.pieces[c.head:]; {
	case c.head > 0:
		n := copy(c.pieces, live)
		clear(c.pieces[n:])
		c.pieces, c.head = c.pieces[:n], 0
	case cap(c.pieces) == 0:
		c.pieces = p.few.take(fewPieces)
	case cap(c.pieces) == fewPieces:
		c.pieces = append(p.runs.take(runPieces), live...)
		clear(live)
		p.few.give(live)
	}
}

// Advance drops n bytes from the front and releases the chunks that are done with.
func (c *Chain) Advance(n int) {
	c.size -= n
	if c.size == 0 { // a reserved, empty tail goes as well
		c.Clear()
		return
	}
	for n > 0 {
		p := &c.pieces[c.head]
		l := p.Len()
		if n < l {
			p.Off += uint32(n)
			return
		}
		n -= l
		c.pop()
	}
}

// Truncate drops all but the first n bytes.
func (c *Chain) Truncate(n int) {
	if n <= 0 {
		c.Clear()
		return
	}
	for c.size > n {
		p := &c.pieces[len(c.pieces)-1]
		if l := p.Len(); c.size-l < n {
			p.End -= uint32(c.size - n)
			c.size = n
			return
		}
		c.size -= p.Len()
		p.Chunk.Release()
		*p = Piece{}
		c.pieces = c.pieces[:len(c.pieces)-1]
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
	if c.head == len(c.pieces) { // it has no array: the last piece takes it along
		return
	}
	p := c.pieces[c.head].Chunk.pool
	for c.head < len(c.pieces) {
		c.pop()
	}
	switch cap(c.pieces) {
	case fewPieces:
		p.few.give(c.pieces)
	case runPieces:
		p.runs.give(c.pieces)
	}
	*c = Chain{}
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
