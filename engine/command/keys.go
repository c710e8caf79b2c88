package command

import (
	"respgate/engine/command/internal/namehash"
	"respgate/engine/resp"
)

// keySpec finds keys as Redis' key specifications do (redis.io/docs/latest/develop/reference/key-specs): where the search begins, and which
// arguments from there on are keys.
type keySpec struct {
	word   string // in lower case: begin after this word, looked for from position at; "": begin at position at
	at     int
	keyNum bool // the argument at the beginning is the number of keys, which follow it
	last   int  // without keyNum: last key, relative to the first one, or, negative, to the end
	step   int  // from one key to the next
	limit  int  // 2: only the first half of what remains are keys
}

// finder finds the keys of a command for which specifications do not suffice. It has Keys' contract.
type finder func(dst []int32, frame []byte, args []resp.Span) (keys []int32, ok bool)

// Keys appends the argv positions of the request's keys to dst, in the order in which Redis lists them. Argument 0 is the command's name. Shard
// channels count as keys. ok is false when the request is malformed: a number of keys that is no number, negative, or higher than what
// follows; a key without its value; a word missing. Nothing is appended then, and the engine answers Redis' own error or has the server do it.
// A request may have no keys and be fine (EVAL ... 0).
//
// Keys reads frame and args only during the call, and allocates only if dst must grow.
func (c *Command) Keys(dst []int32, frame []byte, args []resp.Span) (keys []int32, ok bool) {
	switch {
	case c.First > 0:
		return appendRange(dst, c.First, c.Last, c.Step, len(args))
	case c.finder != nil:
		return c.finder(dst, frame, args)
	}
	keys = dst
	for i := range c.specs {
		if keys, ok = c.specs[i].find(keys, frame, args); !ok {
			return dst, false
		}
	}
	return keys, true
}

// appendRange appends first, first+step, ... up to last. A negative last counts from argc, and pairs (or triples) up to the end must be whole.
func appendRange(dst []int32, first, last, step, argc int) ([]int32, bool) {
	if last < 0 {
		if step > 1 && (argc+last+1-first)%step != 0 {
			return dst, false
		}
		last += argc
	}
	if first > argc || last >= argc {
		return dst, false
	}
	for i := first; i <= last; i += step {
		dst = append(dst, int32(i))
	}
	return dst, true
}

func (s *keySpec) find(dst []int32, frame []byte, args []resp.Span) ([]int32, bool) {
	first := s.at
	if s.word != "" {
		if first = wordAt(frame, args, s.at, s.word) + 1; first == 0 {
			return dst, false
		}
	}
	if first >= len(args) {
		return dst, false
	}
	if s.keyNum {
		return appendCounted(dst, frame, args, first, s.step)
	}
	if s.limit <= 1 {
		last := s.last
		if last >= 0 {
			last += first
		}
		return appendRange(dst, first, last, s.step, len(args))
	}
	rest := len(args) - first
	if rest%s.limit != 0 {
		return dst, false
	}
	return appendRange(dst, first, first+rest/s.limit-1, s.step, len(args))
}

// appendCounted appends as many keys as the argument at says, which follow it, each with step-1 arguments of its own.
func appendCounted(dst []int32, frame []byte, args []resp.Span, at, step int) ([]int32, bool) {
	n, ok := parseCount(args[at].Of(frame))
	rest := len(args) - at - 1
	if !ok || n > rest/step {
		return dst, false
	}
	return appendRange(dst, at+1, at+n*step, step, len(args))
}

// wordAt returns the position of word, from position from on, -1 if it is not there.
func wordAt(frame []byte, args []resp.Span, from int, word string) int {
	for i := from; i < len(args); i++ {
		if namehash.EqualFold(args[i].Of(frame), word) {
			return i
		}
	}
	return -1
}

// parseCount reads a number of keys as strictly as Redis does: digits only, no leading zero, no sign. More than nine digits are more keys than
// a request can have.
func parseCount(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 9 || (b[0] == '0' && len(b) > 1) {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// Blocks reports whether this request may keep a server connection waiting: always for BLPOP and its kind, for XREAD and XREADGROUP with the
// option BLOCK. It does not allocate.
func (c *Command) Blocks(frame []byte, args []resp.Span) bool {
	if c.Flags&FlagMaybeBlocking == 0 {
		return c.Flags&FlagBlocking != 0
	}
	for i := 1; i < len(args); i++ {
		arg := args[i].Of(frame)
		switch {
		case namehash.EqualFold(arg, "streams"):
			return false
		case namehash.EqualFold(arg, "block"):
			return true
		case namehash.EqualFold(arg, "group"):
			i += 2 // the group's and the consumer's names are no options
		case namehash.EqualFold(arg, "noack"):
		default:
			i++ // the value of COUNT, CLAIM and the like
		}
	}
	return false
}
