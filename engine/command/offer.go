package command

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Row is what a server says of one of its commands: an element of the reply to COMMAND. All of it is the word of a stranger.
type Row struct {
	Name              string // of a subcommand with its container: "xinfo|stream"
	Arity             int
	Flags             []string
	First, Last, Step int
	Keys              []RowKeys // since Redis 7
	Subs              []Row     // since Redis 7; before, a server does not tell what subcommands it has
}

// RowKeys is a key specification of a row.
type RowKeys struct {
	Unknown   bool   // no specification says where these keys are, or only where some of them are
	Index     int    // the search begins here, ...
	Keyword   string // ... or after this word, ...
	StartFrom int    // ... looked for from here on
	KeyNum    bool   // a number of keys, and the keys behind it; else a range
	LastKey   int    // of a range, relative to the first key or, negative, to the end
	KeyStep   int
	Limit     int
	KeyNumIdx int // of a number, relative to the beginning
	FirstKey  int // behind it
}

// Bounds of what is taken from a server. Redis 7.2 with its modules has some 650 rows, and none with more than three specifications.
const (
	maxRows     = 4096
	maxAdopted  = 512 // of one server, and of all of a pool
	maxName     = 64
	maxRowKeys  = 8
	maxPosition = 1 << 16 // of keys
	maxDiffers  = 32
)

// ErrNoTable is the error of an answer that cannot be a server's table of commands.
var ErrNoTable = errors.New("its answer to COMMAND is no table of commands")

// Offer is what one server has: commands of the table, and others, which a Catalog can adopt. It is immutable, and all that is kept of the rows:
// servers of one version and configuration have offers with the same Digest, whatever the order of their rows.
type Offer struct {
	Digest  [sha256.Size]byte
	has     idSet
	adopted []*Command // that the table does not have, ordered by name
	differs []string
}

// idSet is a set of commands of the table.
type idSet [tableSize/64 + 1]uint64

func (s *idSet) add(id uint16)           { s[id/64] |= 1 << (id % 64) }
func (s *idSet) contains(id uint16) bool { return s[id/64]&(1<<(id%64)) != 0 }

// NewOffer reads the rows of one server. A row that cannot be one is left out; an answer that cannot be a table is an error: without GET it is
// that of something else, and says nothing about what is missing.
func NewOffer(rows []Row) (*Offer, error) {
	total := len(rows)
	for i := range rows {
		total += len(rows[i].Subs)
	}
	if total > maxRows {
		return nil, fmt.Errorf("%w: it has %d rows, and %d are taken at most", ErrNoTable, total, maxRows)
	}
	o := &Offer{}
	for i := range rows {
		if name := strings.ToLower(rows[i].Name); validName(name) && name != "post" { // POST ends a connection, against HTTP; older servers list it
			o.take(name, &rows[i])
		}
	}
	if !o.has.contains(Lookup([]byte("get")).ID) {
		return nil, fmt.Errorf("%w: GET is not in it", ErrNoTable)
	}
	slices.SortFunc(o.adopted, func(a, b *Command) int { return cmp.Compare(a.Name, b.Name) })
	o.adopted = slices.CompactFunc(o.adopted, func(a, b *Command) bool { return a.Name == b.Name })
	o.adopted = slices.Clone(o.adopted[:min(len(o.adopted), maxAdopted)])
	slices.Sort(o.differs)
	if n := len(o.differs); n > maxDiffers {
		o.differs = append(o.differs[:maxDiffers:maxDiffers], fmt.Sprintf("and %d more", n-maxDiffers))
	}
	o.Digest = o.digest()
	return o, nil
}

// take notes one command of the server with its subcommands.
func (o *Offer) take(name string, r *Row) {
	known := Lookup([]byte(name))
	if known == nil {
		o.adopted = append(o.adopted, adopt(name, r))
	} else {
		o.has.add(known.ID)
		o.compare(known, r)
		if len(r.Subs) == 0 {
			for id := known.firstSub; id != 0 && id <= known.lastSub; id++ {
				o.has.add(id)
			}
		}
	}
	for i := range r.Subs {
		sub := &r.Subs[i]
		own, ok := strings.CutPrefix(strings.ToLower(sub.Name), name+"|")
		if !ok || !validName(own) {
			continue
		}
		if known == nil {
			o.adopted = append(o.adopted, adopt(name+"|"+own, sub))
			continue
		}
		if c := known.Sub([]byte(own)); c != nil {
			o.has.add(c.ID)
			o.compare(c, sub)
		} else if c = adopt(name+"|"+own, sub); c.Route == RouteKeyed || c.Route == RouteBlocking {
			// One without keys is not: what its container is about may be the proxy's own (CLIENT, CONFIG).
			o.adopted = append(o.adopted, c)
		}
	}
}

// Differences are what the server says of commands of the table that is not what the table has, a line each.
func (o *Offer) Differences() []string { return o.differs }

// compare notes where the proxy would treat a command otherwise than its server means.
func (o *Offer) compare(c *Command, r *Row) {
	if c.Container() || len(r.Subs) > 0 {
		return
	}
	note := func(format string, args ...any) {
		o.differs = append(o.differs, c.Name+": "+fmt.Sprintf(format, args...))
	}
	movable := c.Flags&(FlagMovableKeys|FlagPubSub) != 0 || slices.Contains(r.Flags, "movablekeys") // a channel is a key here only
	if theirs := [3]int{r.First, r.Last, r.Step}; !movable && theirs != [3]int{c.First, c.Last, c.Step} && theirs[0]|c.First != 0 {
		note("its keys are at %d %d %d, and the proxy takes them from %d %d %d", r.First, r.Last, r.Step, c.First, c.Last, c.Step)
	}
	switch writes, reads := slices.Contains(r.Flags, "write"), slices.Contains(r.Flags, "readonly"); {
	case writes && c.Flags&FlagReadOnly != 0:
		note("it writes, and the proxy takes it for a read")
	case reads && c.Flags&FlagWrite != 0:
		note("it reads, and the proxy takes it for a write")
	}
	if slices.Contains(r.Flags, "blocking") && c.Flags&(FlagBlocking|FlagMaybeBlocking) == 0 {
		note("it blocks, and the proxy does not expect it")
	}
}

// Why an adopted command is not for a pool of several groups, or for none.
const (
	adoptKeyless = "it names no key, and the pool has more than one group"
	adoptUnclear = "its server does not tell where all its keys are, and the pool has more than one group"
	adoptServer  = "it concerns a server, not a pool: connect to the server itself"
)

// adopt makes a command of a row of which the table knows nothing. It is sent again when its outcome is unknown only if its server calls it a read.
func adopt(name string, r *Row) *Command {
	c := &Command{Name: name, Arity: r.Arity, Group: "module"}
	if c.Arity == 0 || max(c.Arity, -c.Arity) > maxPosition {
		c.Arity = -1
	}
	for i, flag := range flagNames {
		if flag != "" && slices.Contains(r.Flags, flag) {
			c.Flags |= 1 << i
		}
	}
	c.Flags &^= FlagNoAuth // who may do what before AUTH is the proxy's own matter
	told := c.placeRowKeys(r)
	switch {
	case c.Flags&FlagAdmin != 0:
		c.Route, c.Reason = RouteRefused, adoptServer
	case !told:
		c.Route, c.Reason = RouteFanout, adoptUnclear
	case c.First == 0 && len(c.specs) == 0:
		c.Route, c.Reason = RouteFanout, adoptKeyless
	case c.Flags&FlagBlocking != 0:
		c.Route = RouteBlocking
	default:
		c.Route = RouteKeyed
		c.Retry = c.Flags&FlagReadOnly != 0
	}
	return c
}

// placeRowKeys decides how the keys are found; told is false when nobody says where all of them are.
func (c *Command) placeRowKeys(r *Row) (told bool) {
	movable := c.Flags&FlagMovableKeys != 0
	if len(r.Keys) == 0 {
		if movable || r.First == 0 {
			return !movable
		}
		c.First, c.Last, c.Step = r.First, r.Last, max(r.Step, 1)
		if !validRange(c.First, c.Last, c.Step) {
			c.First, c.Last, c.Step = 0, 0, 0
			return false
		}
		return true
	}
	if len(r.Keys) > maxRowKeys {
		return false
	}
	specs, plain := make([]keySpec, 0, len(r.Keys)), true
	for i := range r.Keys {
		s, ok := r.Keys[i].spec()
		if !ok {
			return false
		}
		plain = plain && s.word == "" && !s.keyNum && s.limit <= 1
		specs = append(specs, s)
	}
	if movable && plain {
		return false // then it is code of the server's that finds the rest
	}
	if s := &specs[0]; plain && len(specs) == 1 {
		if c.First, c.Last, c.Step = s.at, s.last, s.step; s.last >= 0 {
			c.Last += s.at
		}
		return true
	}
	c.specs = specs
	c.Flags |= FlagMovableKeys
	return true
}

// spec is the specification as the table has it, for those that find can follow.
func (k *RowKeys) spec() (s keySpec, ok bool) {
	s = keySpec{word: strings.ToLower(k.Keyword), at: k.Index, last: k.LastKey, step: max(k.KeyStep, 1), limit: k.Limit}
	if s.word != "" {
		s.at = k.StartFrom
	}
	switch {
	case k.Unknown, len(s.word) > maxName, s.at < 1, s.at > maxPosition, s.step > maxPosition:
		return s, false
	case k.KeyNum:
		s.keyNum, s.last, s.limit = true, 0, 0
		return s, k.KeyNumIdx == 0 && k.FirstKey == 1
	case s.limit > 1:
		return s, s.last == -1 && s.step == 1 && s.limit <= maxPosition
	}
	return s, s.limit >= 0 && max(s.last, -s.last) <= maxPosition
}

func validRange(first, last, step int) bool {
	return first > 0 && first <= maxPosition && step <= maxPosition && max(last, -last) <= maxPosition && (last < 0 || last >= first)
}

// validName keeps out what no command is called: a client can type every name, and it is shown in errors and logs.
func validName(name string) bool {
	return name != "" && len(name) <= maxName && strings.IndexFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-')
	}) < 0
}

// digest is over all that is kept.
func (o *Offer) digest() (d [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%x %q", o.has, o.differs)
	for _, c := range o.adopted {
		fmt.Fprintf(h, "\n%s %d %d %d %d %d %+v", c.Name, c.Arity, c.Flags, c.First, c.Last, c.Step, c.specs)
		fmt.Fprintf(h, " %d %s", c.Route, c.Reason)
	}
	h.Sum(d[:0])
	return d
}
