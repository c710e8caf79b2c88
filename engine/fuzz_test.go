package engine

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"respgate/engine/buffer"
	"respgate/engine/command"
	"respgate/engine/resp"
	"respgate/engine/topology"
)

// mergeInput is two array replies, in chunks of random sizes, to be merged by a random order of owners.
func mergeInput(l *loop, data, cuts []byte, owners []byte) (r *request, want []byte) {
	s := l.newSplit()
	r = l.newRequest()
	r.cmd, r.split, r.queued = command.Lookup([]byte("MGET")), s, inClient
	s.parts = make([]part, 2)
	arrays := [2][]byte{}
	elements := [2][][]byte{}
	for _, o := range owners {
		part := int(o & 1)
		n := int(o>>1) * int(o>>1) // up to 16 KB
		element := resp.AppendBulk(nil, bytes.Repeat(append(bytes.Clone(data), o), 1+n/(len(data)+1))[:n])
		if o>>1 == 0 {
			element = resp.AppendNull(nil, o&1 == 1)
		}
		elements[part] = append(elements[part], element)
		s.owner = append(s.owner, uint16(part))
	}
	want = resp.AppendArray(nil, len(owners))
	taken := [2]int{}
	for _, part := range s.owner {
		want = append(want, elements[part][taken[part]]...)
		taken[part]++
	}
	for part := range 2 {
		arrays[part] = resp.AppendArray(nil, len(elements[part]))
		for _, e := range elements[part] {
			arrays[part] = append(arrays[part], e...)
		}
		f := l.newFragment(r, int32(part))
		f.state = requestAnswered
		s.give(part, f, len(elements[part]))
		appendInPieces(&f.reply, &l.bufs, arrays[part], cuts)
	}
	return r, want
}

// give sets up a part of so many keys, behind those before it.
func (s *split) give(i int, f *request, keys int) {
	s.parts[i] = part{fragment: f, keys: int32(keys), element: len(s.sizes)}
	s.sizes = append(s.sizes, make([]int, keys)...)
}

// mergeAll measures the replies of all parts as if they had just come, and merges them; false if one is refused.
func (s *split) mergeAll(out *buffer.Chain, p *buffer.Pool) bool {
	for i := range s.parts {
		if !s.measure(&s.parts[i], &reply{lead: &s.parts[i].fragment.reply}) {
			return false
		}
	}
	s.merge(out, p)
	return true
}

// appendInPieces appends b in pieces of the sizes that cuts has, in turn. They refer to two copies alternately, so that no
// two become one.
func appendInPieces(c *buffer.Chain, p *buffer.Pool, b, cuts []byte) {
	copies := [2]*buffer.Chunk{p.Get(len(b)), p.Get(len(b))}
	for _, chunk := range copies {
		copy(chunk.Bytes(), b)
		defer chunk.Release()
	}
	for at, i := 0, 0; at < len(b); i++ {
		n := len(b) - at
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[i%len(cuts)])*int(cuts[i%len(cuts)]))
		}
		c.AppendRef(copies[i%2], uint32(at), uint32(at+n))
		at += n
	}
}

func gather(c *buffer.Chain) (b []byte) {
	for _, p := range c.Pieces() {
		b = append(b, p.Bytes()...)
	}
	return b
}

// FuzzMerge compares the merge of arrays that arrive in any pieces with putting their elements together by hand.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("one two three four"), []byte{}, []byte{4, 5, 6, 7})
	f.Add([]byte("0123456789abcdef\r\n$1"), []byte{1}, []byte{200, 201, 0, 1, 250, 3})
	f.Add([]byte("x"), []byte{64, 0, 255}, []byte{255, 254, 253, 252, 1, 0})
	f.Add([]byte{}, []byte{0}, []byte{0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, data, cuts, owners []byte) {
		if len(owners) == 0 || len(owners) > 64 || len(cuts) > 16 || len(data) > 1000 {
			return
		}
		l := &loop{}
		r, want := mergeInput(l, data, cuts, owners)
		if !r.split.mergeAll(&r.reply, &l.bufs) {
			t.Fatal("refused")
		}
		if got := gather(&r.reply); !bytes.Equal(got, want) {
			t.Fatalf("merged\n %q, want\n %q", clip(string(got), 300), clip(string(want), 300))
		}
		r.reply.Clear()
		for i := range r.split.parts {
			l.leave(r.split.parts[i].fragment, inClient)
		}
		l.early.Drop()
		if l.bufs.InUse() != 0 {
			t.Fatalf("%d bytes are still in use", l.bufs.InUse())
		}
	})
}

// FuzzMergeOdd gives the merge fragments that are not what was asked for: it must refuse or take them, and not fail.
func FuzzMergeOdd(f *testing.F) {
	f.Add([]byte("*1\r\n$1\r\na\r\n"), []byte("*1\r\n$1\r\nb\r\n"), uint8(1), uint8(1))
	f.Add([]byte("*2\r\n*1\r\n:1\r\n%1\r\n+a\r\n+b\r\n"), []byte("*0\r\n"), uint8(2), uint8(0))
	f.Add([]byte("*1\r\n$5\r\nab"), []byte("-ERR\r\n"), uint8(1), uint8(2))
	f.Add([]byte(""), []byte("*1\r\n"), uint8(3), uint8(1))
	f.Fuzz(func(t *testing.T, a, b []byte, na, nb uint8) {
		l := &loop{}
		s := l.newSplit()
		r := l.newRequest()
		r.cmd, r.split, r.queued = command.Lookup([]byte("MGET")), s, inClient
		s.parts = make([]part, 2)
		for part, text := range [][]byte{a, b} {
			fr := l.newFragment(r, int32(part))
			fr.reply.Append(&l.bufs, text)
			n := int([]uint8{na, nb}[part])
			s.give(part, fr, n)
			for range n {
				s.owner = append(s.owner, uint16(part))
			}
		}
		if s.mergeAll(&r.reply, &l.bufs) {
			var scan resp.ReplyScanner
			got := gather(&r.reply)
			if n, done, err := scan.Feed(got); err != nil || !done || n != len(got) {
				t.Fatalf("%q and %q were merged to %q, which is no reply: %v", a, b, got, err)
			}
		}
	})
}

// FuzzClientBytes sends anything to a client's connection of a loop: nothing fails, memory stays within its bounds, and what
// comes out is a sequence of replies.
func FuzzClientBytes(f *testing.F) {
	for _, seed := range []string{
		req("GET", "k"), req("SET", "k", "v") + "PING\r\n", req("MGET", "a", "b", "c") + req("DEL", "a", "b"), req("HELLO", "3") + req("GET", "x"),
		"*0\r\n\r\n*-1\r\n", "*1048577\r\n", "*1\r\n$536870913\r\n", "*2\r\n$3\r\nGET\r\n$100000\r\n" + strings.Repeat("x", 3000), "GET / HTTP/1.1\r\n\r\n",
		"ECHO \"\\x00\r\n", req("EVAL", "s", "2", "a", "b"), req("COMMAND", "GETKEYS", "MSET", "a"), req("CONFIG", "GET", "*?*"), req("AUTH", "x") + req("RESET") + req("QUIT"),
		req("CLIENT", "SETNAME", "x") + req("CLIENT", "INFO") + req("INFO") + req("XREAD", "BLOCK", "0", "STREAMS", "s", "0"), req("", "\r\n"), req("SORT", "a", "STORE"),
	} {
		f.Add([]byte(seed), uint16(7), false)
		f.Add([]byte(seed), uint16(1), true)
	}
	d := newDriven(f, 2, func(s *topology.Settings) { s.ClientBuffer, s.Pipeline = 64<<10, 4<<10 })
	f.Fuzz(func(t *testing.T, data []byte, cut uint16, password bool) {
		d.t = t
		d.l.pools["p"].topo.Settings.Password = ""
		if password {
			d.l.pools["p"].topo.Settings.Password = "x"
		}
		fd := d.client()
		defer func() {
			unix.Close(fd)
			d.clients = d.clients[:0]
			for d.l.clients > 0 || d.inflight() > 0 {
				d.step()
			}
			d.l.trim(d.l.now)
			if used := d.l.bufs.InUse(); used != 0 {
				t.Errorf("%d bytes are in use when the client is gone", used)
			}
		}()
		var out resp.ReplyScanner
		drain := func() (open bool) {
			for {
				n, err := unix.Read(fd, d.in)
				if err != nil {
					return err == unix.EAGAIN
				}
				if n == 0 {
					return false
				}
				for at := 0; at < n; {
					m, _, err := out.Feed(d.in[at:n])
					if err != nil {
						t.Fatalf("what came out is no reply: %v in %q", err, clip(string(d.in[:n]), 300))
					}
					at += m
				}
			}
		}
		for len(data) > 0 {
			n, err := unix.Write(fd, data[:min(len(data), 1+int(cut))])
			if err != nil && err != unix.EAGAIN {
				break
			}
			data = data[max(n, 0):]
			d.step()
			if !drain() {
				break
			}
			if used := d.l.bufs.InUse(); used > 2<<20 {
				t.Fatalf("%d bytes in use for one client", used)
			}
		}
	})
}

// inflight is the number of requests that servers have not answered yet.
func (d *driven) inflight() (n int) {
	for _, g := range d.l.pools["p"].groups {
		for _, s := range g.servers {
			if s == nil {
				continue
			}
			n += s.pending.count
			for _, k := range s.links {
				if k != nil {
					n += k.inflight.count
				}
			}
		}
	}
	return n
}
