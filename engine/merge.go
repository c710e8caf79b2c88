package engine

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"

	"respgate/engine/buffer"
	"respgate/engine/command"
	"respgate/engine/resp"
)

// gatherWhole takes one group's reply to a fan-out. What it returns is the error that the request ends with, or nil.
func (l *loop) gatherWhole(r, f *request, rep *reply) []byte {
	s, c := r.split, r.client
	first := rep.first()
	failed := len(first) == 0 || isError(first[0])
	switch merge := r.cmd.Merge; {
	case merge == command.MergeFirstOK && failed:
		s.parts[f.part].omit = true
		switch idle := hasCode(first, "NOTBUSY"); { // which says least
		case !idle && (s.refusal == nil || hasCode(s.refusal, "NOTBUSY")):
			s.refusal = c.blamed(f, rep)
		case s.refusal == nil:
			s.refusal = resp.AppendError(nil, line(first))
		}
		return nil
	case merge == command.MergeInfo && failed:
		s.parts[f.part].omit = true
		return nil
	case failed:
		return c.blamed(f, rep)
	case merge == command.MergeOK:
		if string(first) != string(okReply) {
			return c.oddReply(f)
		}
		return nil
	}
	size := int64(rep.size())
	if c.swamped(size) {
		c.pool.count(errTooLarge)
		return resp.AppendError(nil, c.swampedText(size))
	}
	l.store(f, rep)
	s.stored += size
	c.stored += size
	return nil
}

// mergeWhole makes one reply of all groups'. It returns its text, or nil if it is to be joined when it is its turn.
func (l *loop) mergeWhole(r *request) []byte {
	s, c := r.split, r.client
	odd := -1 // part whose reply is not what it should be
	var text []byte
	switch r.cmd.Merge {
	case command.MergeOK:
		return okReply
	case command.MergeFirstOK:
		i := slices.IndexFunc(s.parts, func(pt part) bool { return !pt.omit })
		if i < 0 {
			return s.refusal
		}
		s.only(i)
	case command.MergeSame:
		s.only(0)
	case command.MergeRandom:
		s.only(s.random())
	case command.MergeSum:
		text, odd = s.combine(func(a, b int64) int64 { return a + b })
	case command.MergeMin:
		text, odd = s.combine(func(a, b int64) int64 { return min(a, b) })
	case command.MergeMax:
		text, odd = s.combine(func(a, b int64) int64 { return max(a, b) })
	case command.MergeConcat:
		odd = s.concat()
	case command.MergeUnion:
		text, odd = s.union()
	case command.MergeLog:
		text, odd = s.log()
	case command.MergeScan:
		if !s.onward() {
			odd = 0
		}
	case command.MergeInfo:
		text = c.infoReply(s)
	}
	if odd >= 0 {
		return c.oddReply(s.parts[odd].fragment)
	}
	return text
}

// join gives the client the replies of the parts that are not omitted, behind the head that stands for their headers.
func (s *split) join(out *buffer.Chain, p *buffer.Pool) {
	out.Append(p, s.head)
	for i := range s.parts {
		pt := &s.parts[i]
		if pt.omit {
			continue
		}
		rest := pt.fragment.reply.Size() - pt.header
		for pt.header > 0 {
			pt.header -= len(pt.take(pt.header))
		}
		pt.move(out, p, rest)
	}
}

// only omits all parts but one.
func (s *split) only(keep int) {
	for i := range s.parts {
		s.parts[i].omit = i != keep
	}
}

// whole is the part's reply in one piece.
func (pt *part) whole() []byte {
	pieces := pt.fragment.reply.Pieces()
	if len(pieces) == 1 {
		return pieces[0].Bytes()
	}
	b := make([]byte, 0, pt.fragment.reply.Size())
	for _, p := range pieces {
		b = append(b, p.Bytes()...)
	}
	return b
}

// random is a part whose reply is not null, if there is one.
func (s *split) random() int {
	chosen, seen := 0, 0
	for i := range s.parts {
		if b := s.parts[i].whole(); string(b) != "$-1\r\n" && string(b) != "_\r\n" {
			if seen++; rand.IntN(seen) == 0 {
				chosen = i
			}
		}
	}
	return chosen
}

// combine makes one integer of all, or one of each place in arrays of the same shape. odd is the part that does not fit, or -1.
func (s *split) combine(op func(a, b int64) int64) (text []byte, odd int) {
	var all []int64
	var like [][]byte
	var header []byte
	for i := range s.parts {
		b := s.parts[i].whole()
		values := [][]byte{b}
		n, size, ok := aggregate(b)
		if ok {
			if values, ok = elements(b[size:], n); !ok {
				return nil, i
			}
		} else if _, isInt := integer(b); !isInt {
			return nil, i
		}
		if i == 0 {
			header, like, all = b[:size], values, make([]int64, len(values))
		}
		if !bytes.Equal(b[:size], header) {
			return nil, i
		}
		for k, v := range values {
			n, isInt := integer(v)
			_, wantInt := integer(like[k])
			switch {
			case isInt != wantInt || !isInt && !bytes.Equal(v, like[k]):
				return nil, i
			case i == 0:
				all[k] = n
			default:
				all[k] = op(all[k], n)
			}
		}
	}
	text = append(text, header...)
	for k, v := range like {
		if _, isInt := integer(v); isInt {
			text = resp.AppendInt(text, all[k])
		} else {
			text = append(text, v...)
		}
	}
	return text, -1
}

// concat makes one array of all, by reference.
func (s *split) concat() (odd int) {
	total := 0
	for i := range s.parts {
		pt := &s.parts[i]
		b := pt.fragment.reply.Pieces()[0].Bytes()
		n, size, ok := aggregate(b)
		if !ok || b[0] != '*' {
			return i
		}
		total += n
		pt.header = size
	}
	s.head = resp.AppendArray(s.head, total)
	return -1
}

// union makes one array of all, without repetitions.
func (s *split) union() (text []byte, odd int) {
	var all [][]byte
	seen := map[string]bool{}
	for i := range s.parts {
		values, ok := s.parts[i].array()
		if !ok {
			return nil, i
		}
		for _, v := range values {
			if !seen[string(v)] {
				seen[string(v)] = true
				all = append(all, v)
			}
		}
	}
	return appendElements(all), -1
}

// log makes one log of all: the newest entries first, as many as were asked for. An entry is an array of an identifier, a time and more.
func (s *split) log() (text []byte, odd int) {
	type entry struct {
		when int64
		text []byte
	}
	var all []entry
	for i := range s.parts {
		values, ok := s.parts[i].array()
		if !ok {
			return nil, i
		}
		for _, v := range values {
			n, size, isArray := aggregate(v)
			if !isArray || n < 2 {
				return nil, i
			}
			fields, _ := elements(v[size:], n)
			when, isInt := integer(fields[1])
			if !isInt {
				return nil, i
			}
			all = append(all, entry{when, v})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(b.when, a.when) })
	if s.limit >= 0 && int64(len(all)) > s.limit {
		all = all[:s.limit]
	}
	chosen := make([][]byte, len(all))
	for i, e := range all {
		chosen[i] = e.text
	}
	return appendElements(chosen), -1
}

// logLimit is how many entries SLOWLOG GET [count] asks for; negative: all.
func logLimit(frame []byte, args []resp.Span) int64 {
	if len(args) > 2 {
		if n, ok := resp.ParseInt(arg(frame, args[2])); ok {
			return n
		}
	}
	return 10
}

// array are the elements of the part's reply.
func (pt *part) array() ([][]byte, bool) {
	b := pt.whole()
	n, size, ok := aggregate(b)
	if !ok || b[0] != '*' {
		return nil, false
	}
	return elements(b[size:], n)
}

func appendElements(all [][]byte) []byte {
	text := resp.AppendArray(nil, len(all))
	for _, v := range all {
		text = append(text, v...)
	}
	return text
}

// aggregate reads the header of an array, a set or a map: how many values follow, and its size.
func aggregate(b []byte) (n, size int, ok bool) {
	end := bytes.IndexByte(b[:min(len(b), 32)], '\r')
	if end < 1 || end+2 > len(b) {
		return 0, 0, false
	}
	count, ok := resp.ParseInt(b[1:end])
	if !ok || count < 0 || count > 1<<30 {
		return 0, 0, false
	}
	switch b[0] {
	case '*', '~':
	case '%':
		count *= 2
	default:
		return 0, 0, false
	}
	return int(count), end + 2, true
}

// elements takes b apart into n replies, which it must be exactly.
func elements(b []byte, n int) ([][]byte, bool) {
	if n > len(b)/3 { // the shortest reply is "_\r\n"
		return nil, false
	}
	all := make([][]byte, 0, n)
	var scan resp.ReplyScanner
	for range n {
		size, done, err := scan.Feed(b)
		if err != nil || !done {
			return nil, false
		}
		all = append(all, b[:size])
		b = b[size:]
	}
	return all, len(b) == 0
}

// bulkString reads a bulk or verbatim string at the beginning of b: its text, without a verbatim one's format, and its size.
func bulkString(b []byte) (text []byte, size int, ok bool) {
	if len(b) == 0 || b[0] != '$' && b[0] != '=' {
		return nil, 0, false
	}
	end := bytes.IndexByte(b, '\r')
	if end < 0 {
		return nil, 0, false
	}
	n, ok := resp.ParseInt(b[1:end])
	if from := end + 2; ok && n >= 0 && n <= int64(len(b)-from-2) {
		text, size = b[from:from+int(n)], from+int(n)+2
		if b[0] == '=' {
			text = text[min(len("txt:"), len(text)):]
		}
		return text, size, true
	}
	return nil, 0, false
}
