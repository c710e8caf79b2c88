package shard

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// MaxNodes bounds the nodes of a ring, and with it the memory of one: about 1.3 KiB for each node, and a table of 4 to
// 512 KiB.
const MaxNodes = 4096

// Errors of New. What New returns wraps one of them and says which node is meant.
var (
	ErrNoNodes       = errors.New("no nodes")
	ErrTooManyNodes  = fmt.Errorf("more than %d nodes", MaxNodes)
	ErrDuplicateName = errors.New("two nodes with the same name")
	ErrEmptyName     = errors.New("a node without a name")
	ErrWeight        = fmt.Errorf("weight not between 1 and %d", math.MaxInt32)
	ErrTotalWeight   = fmt.Errorf("the weights add up to more than %d", uint32(math.MaxUint32))
	ErrTag           = errors.New("a hash tag is exactly two bytes")
	ErrHash          = errors.New("unknown hash")
	ErrDistribution  = errors.New("unknown distribution")
)

// Node is one owner of keys.
type Node struct {
	// Name is what is hashed, and unique: NodeName or SocketName of a server, the name of a group.
	Name string
	// Weight is the node's share, at least 1. Random ignores it.
	Weight int
	// Ejected nodes own nothing; the others share their keys, as with auto_eject_hosts.
	Ejected bool
}

// Config says everything that decides where a key lives.
type Config struct {
	Hash         Hash
	Distribution Distribution
	// Tag is "", or an opening and a closing byte (they may be the same): see Ring.Tag.
	Tag string
	// Nodes in any order: twemproxy sorts them by length and bytes of the name, and so does New, on a copy.
	Nodes []Node
}

// Ring maps keys to nodes. It is immutable and safe for any number of goroutines; no method for a key allocates.
//
// 5 nodes of weight 1 take about 13 KiB, 512 take about 1.1 MiB (see TestRingMemory).
type Ring struct {
	config Config
	// fixed is the answer where no key is looked at: the only live node, or -1. It is unset (live > 1) otherwise.
	fixed     int
	live      []uint32 // indices into config.Nodes of the nodes that are not ejected, sorted as twemproxy sorts them
	total     uint32   // sum of the live weights
	continuum *continuum
}

// New builds the ring of a configuration. It keeps no reference to config.Nodes.
func New(config Config) (*Ring, error) {
	config.Nodes = slices.Clone(config.Nodes)
	if err := config.validate(); err != nil {
		return nil, err
	}
	r := &Ring{config: config, fixed: -1}
	live := make([]ranked, 0, len(config.Nodes))
	for i, n := range config.Nodes {
		if !n.Ejected {
			live = append(live, ranked{n.Name, n.Weight, uint32(i)})
			r.total += uint32(n.Weight)
		}
	}
	slices.SortFunc(live, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
	})
	r.live = nodesOf(live)
	switch {
	case len(live) == 0:
	case len(live) == 1:
		r.fixed = int(live[0].node)
	case config.Distribution == Ketama:
		r.continuum = newKetama(live, r.total)
	case config.Distribution == Modula:
		r.continuum = newModula(live, r.total)
	}
	return r, nil
}

func (c *Config) validate() error {
	switch {
	case len(c.Nodes) == 0:
		return ErrNoNodes
	case len(c.Nodes) > MaxNodes:
		return fmt.Errorf("%w: %d", ErrTooManyNodes, len(c.Nodes))
	case len(c.Tag) != 0 && len(c.Tag) != 2:
		return fmt.Errorf("%w, not %d", ErrTag, len(c.Tag))
	case int(c.Hash) >= len(hashNames):
		return fmt.Errorf("%w: %s", ErrHash, c.Hash)
	case int(c.Distribution) >= len(distributionNames):
		return fmt.Errorf("%w: %s", ErrDistribution, c.Distribution)
	}
	seen := make(map[string]struct{}, len(c.Nodes))
	total := uint64(0)
	for i, n := range c.Nodes {
		if n.Name == "" {
			return fmt.Errorf("node %d: %w", i, ErrEmptyName)
		}
		if n.Weight < 1 || n.Weight > math.MaxInt32 {
			return fmt.Errorf("node %q: %w: %d", n.Name, ErrWeight, n.Weight)
		}
		if _, ok := seen[n.Name]; ok {
			return fmt.Errorf("%w: %q", ErrDuplicateName, n.Name)
		}
		seen[n.Name] = struct{}{}
		total += uint64(n.Weight)
	}
	if total > math.MaxUint32 {
		return fmt.Errorf("%w: %d", ErrTotalWeight, total)
	}
	return nil
}

// Config returns what the ring was built from; the nodes are a copy, in the order given.
func (r *Ring) Config() Config {
	c := r.config
	c.Nodes = r.Nodes()
	return c
}

// Nodes returns a copy of the nodes in the order they were given, which is the order Index counts in.
func (r *Ring) Nodes() []Node { return slices.Clone(r.config.Nodes) }

// Index returns the index in Config.Nodes of the node that owns key, or -1 if every node is ejected. With one live node
// it looks at no key. With Random each call may answer differently.
func (r *Ring) Index(key []byte) int {
	if len(r.live) <= 1 {
		return r.fixed
	}
	switch r.config.Distribution {
	case Ketama:
		return r.continuum.owner(r.Hash(key))
	case Modula:
		return r.continuum.owner(r.Hash(key) % r.total)
	}
	return int(r.live[rand.IntN(len(r.live))]) // the top-level source is one for each thread: no lock
}

// Tag returns the part of key that is hashed: what stands between the first opening byte and the first closing byte
// after it, unless that is nothing; else, and without a tag, the whole key. The result is a part of key.
func (r *Ring) Tag(key []byte) []byte {
	if r.config.Tag == "" {
		return key
	}
	open := bytes.IndexByte(key, r.config.Tag[0])
	if open < 0 {
		return key
	}
	inner := key[open+1:]
	if end := bytes.IndexByte(inner, r.config.Tag[1]); end > 0 {
		return inner[:end]
	}
	return key
}

// Hash returns the hash of key's tag; an empty key has 0.
func (r *Ring) Hash(key []byte) uint32 {
	if key = r.Tag(key); len(key) == 0 {
		return 0
	}
	return r.config.Hash.Sum(key)
}
