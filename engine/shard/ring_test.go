package shard

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"sort"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func mustNew(t testing.TB, c Config) *Ring {
	t.Helper()
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func equalNodes(n int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i] = Node{Name: fmt.Sprintf("10.0.%d.%d:6379", i/250, i%250), Weight: 1}
	}
	return nodes
}

// naive is the distribution of twemproxy as its source reads, with nothing made fast.
type naive struct {
	modula []int // node of each position
	ketama []naivePoint
}

type naivePoint struct {
	value uint32
	node  int
}

func newNaive(nodes []Node) naive {
	order, live, total := []int{}, 0, 0
	for i, n := range nodes {
		order = append(order, i)
		if !n.Ejected {
			live++
			total += n.Weight
		}
	}
	sort.Slice(order, func(a, b int) bool {
		x, y := nodes[order[a]].Name, nodes[order[b]].Name
		if len(x) != len(y) {
			return len(x) < len(y)
		}
		return x < y
	})
	var d naive
	for _, i := range order {
		n := nodes[i]
		if n.Ejected {
			continue
		}
		for range n.Weight {
			d.modula = append(d.modula, i)
		}
		pct := float32(n.Weight) / float32(total)
		pct *= 160
		pct /= 4
		pct *= float32(live)
		for k := range int(math.Floor(float64(float32(float64(pct) + 0.0000000001)))) {
			label := fmt.Sprintf("%s-%d", n.Name, k)
			if len(label) > 272 {
				label = label[:272]
			}
			sum := md5.Sum([]byte(label))
			for p := range 4 {
				d.ketama = append(d.ketama, naivePoint{binary.LittleEndian.Uint32(sum[4*p:]), i})
			}
		}
	}
	sort.SliceStable(d.ketama, func(a, b int) bool { return d.ketama[a].value < d.ketama[b].value })
	return d
}

func (d naive) index(dist Distribution, hash uint32) int {
	if dist == Modula {
		return d.modula[hash%uint32(len(d.modula))]
	}
	for _, p := range d.ketama {
		if p.value >= hash {
			return p.node
		}
	}
	return d.ketama[0].node
}

// indexOfHash is Index behind the hash, so that a test can ask for every position.
func (r *Ring) indexOfHash(hash uint32) int {
	switch {
	case len(r.live) <= 1:
		return r.fixed
	case r.config.Distribution == Modula:
		return r.continuum.owner(hash % r.total)
	}
	return r.continuum.owner(hash)
}

func drawNodes(t *rapid.T) []Node {
	names := rapid.SliceOfNDistinct(rapid.OneOf(
		rapid.StringMatching(`[a-z]{1,3}`),
		rapid.StringMatching(`10\.0\.[0-9]{1,2}\.[0-9]{1,2}:63[0-9]{2}`),
		rapid.StringMatching(`[\x{80}-\x{7ff}]{1,4}`),
		rapid.StringMatching(`long[a-z]{264,272}`),
	), 1, 24, rapid.ID[string]).Draw(t, "names")
	weight := rapid.OneOf(rapid.Just(1), rapid.IntRange(1, 9), rapid.IntRange(1, 5000))
	nodes := make([]Node, len(names))
	for i, name := range names {
		nodes[i] = Node{Name: name, Weight: weight.Draw(t, "weight"), Ejected: rapid.IntRange(0, 5).Draw(t, "ejected") == 0}
	}
	return nodes
}

func TestIndexEqualsNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawNodes(t)
		reference := newNaive(nodes)
		for _, dist := range []Distribution{Ketama, Modula} {
			r, err := New(Config{Distribution: dist, Nodes: nodes})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.live) == 0 {
				if got := r.Index([]byte("k")); got != -1 {
					t.Fatalf("%v: Index = %d with every node ejected, want -1", dist, got)
				}
				continue
			}
			hashes := append(rapid.SliceOfN(rapid.Uint32(), 30, 30).Draw(t, "hashes"), 0, 1, math.MaxUint32-1, math.MaxUint32)
			for range 20 { // at, just below and just above a point
				p := reference.ketama[rapid.IntRange(0, len(reference.ketama)-1).Draw(t, "point")].value
				hashes = append(hashes, p-1, p, p+1)
			}
			for _, hash := range hashes {
				if got, want := r.indexOfHash(hash), reference.index(dist, hash); got != want {
					t.Fatalf("%v: hash %#x is on node %d, want %d", dist, hash, got, want)
				}
			}
		}
	})
}

// Small continuums are compared at every position there is, with any shape of points: doubled ones, ones at both ends,
// and many in one slice of the table.
func TestOwnerEqualsSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top := rapid.Uint32Range(1, 5000).Draw(t, "top")
		at := rapid.SliceOfN(rapid.Uint32Range(0, top), 1, 400).Draw(t, "points")
		const nodes = 5
		packed := make([]uint64, len(at))
		for i, a := range at {
			packed[i] = uint64(a)<<32 | uint64(rapid.IntRange(0, nodes-1).Draw(t, "rank"))
		}
		sorted := slices.Clone(packed)
		slices.Sort(sorted)
		c := newContinuum(packed, []uint32{4, 3, 2, 1, 0}, top)
		for h := range top + 1 {
			i := sort.Search(len(sorted), func(i int) bool { return uint32(sorted[i]>>32) >= h }) % len(sorted)
			if got, want := c.owner(h), 4-int(uint32(sorted[i])); got != want {
				t.Fatalf("position %d of %d is on node %d, want %d", h, top, got, want)
			}
		}
	})
}

func TestHugeModula(t *testing.T) {
	r := mustNew(t, Config{Distribution: Modula, Nodes: []Node{
		{Name: "a", Weight: math.MaxInt32}, {Name: "b", Weight: 1}, {Name: "c", Weight: math.MaxInt32},
	}})
	for hash, want := range map[uint32]int{
		0: 0, math.MaxInt32 - 1: 0, math.MaxInt32: 1, math.MaxInt32 + 1: 2, math.MaxUint32 - 1: 2, math.MaxUint32: 0,
	} {
		if got := r.indexOfHash(hash); got != want {
			t.Errorf("hash %d is on node %d, want %d", hash, got, want)
		}
	}
	if got := r.continuum.bytes(); got > 1<<20 {
		t.Errorf("%d bytes for three nodes", got)
	}
}

func TestKetamaSums(t *testing.T) {
	for _, tt := range []struct {
		weight      int
		total       uint32
		live, want  int
		explanation string
	}{
		{1, 1, 1, 40, "one node"},
		{1, 3, 3, 40, "a third is not exact"},
		{1, 512, 512, 40, "a power of two is"},
		{1, 1000, 2, 0, "too little weight for a point"},
		{999, 1000, 2, 79, "rounded down"},
	} {
		if got := ketamaSums(tt.weight, tt.total, tt.live); got != tt.want {
			t.Errorf("%s: ketamaSums(%d, %d, %d) = %d, want %d", tt.explanation, tt.weight, tt.total, tt.live, got, tt.want)
		}
	}
}

func TestTag(t *testing.T) {
	for _, tt := range []struct{ tag, key, want string }{
		{"", "a{b}c", "a{b}c"},
		{"{}", "abc", "abc"},
		{"{}", "a{b}c", "b"},
		{"{}", "{b}", "b"},
		{"{}", "{a}{b}", "a"},
		{"{}", "a{}c", "a{}c"},
		{"{}", "a{}{b}", "a{}{b}"}, // only the first opening character counts
		{"{}", "}{b", "}{b"},
		{"{}", "}x{b}", "b"},
		{"{}", "{{b}}", "{b"},
		{"{}", "a{", "a{"},
		{"{}", "", ""},
		{"$$", "a$b$c", "b"},
		{"$$", "a$$c", "a$$c"},
		{"$$", "a$", "a$"},
		{"\xff\x00", "a\xffb\x00", "b"},
	} {
		r := mustNew(t, Config{Tag: tt.tag, Nodes: equalNodes(3)})
		if got := string(r.Tag([]byte(tt.key))); got != tt.want {
			t.Errorf("tag %q of %q = %q, want %q", tt.tag, tt.key, got, tt.want)
		}
		if got, want := r.Hash([]byte(tt.key)), FNV1a64.Sum([]byte(tt.want)); tt.want != "" && got != want {
			t.Errorf("hash of %q with tag %q = %#x, want %#x", tt.key, tt.tag, got, want)
		}
	}
}

func TestEmptyKey(t *testing.T) {
	for h := range hashNames {
		r := mustNew(t, Config{Hash: Hash(h), Nodes: equalNodes(3)})
		if got := r.Hash(nil); got != 0 {
			t.Errorf("%v: an empty key hashes to %#x, want 0", Hash(h), got)
		}
		if got, want := r.Index(nil), r.indexOfHash(0); got != want {
			t.Errorf("%v: an empty key is on node %d, want %d", Hash(h), got, want)
		}
	}
}

func TestOneNode(t *testing.T) {
	for d := range distributionNames {
		one := Config{Distribution: Distribution(d), Nodes: []Node{{Name: "a", Weight: 7}}}
		if got := mustNew(t, one).Index([]byte("k")); got != 0 {
			t.Errorf("%v: Index = %d, want 0", Distribution(d), got)
		}
		one.Nodes[0].Ejected = true
		if got := mustNew(t, one).Index([]byte("k")); got != -1 {
			t.Errorf("%v: Index = %d with the only node ejected, want -1", Distribution(d), got)
		}
		two := Config{Distribution: Distribution(d), Nodes: []Node{{Name: "a", Weight: 1, Ejected: true}, {Name: "b", Weight: 1}}}
		if got := mustNew(t, two).Index([]byte("k")); got != 1 {
			t.Errorf("%v: Index = %d with one node left, want 1", Distribution(d), got)
		}
	}
}

// The order of the nodes in the file decides nothing: only names do.
func TestOrderDoesNotMatter(t *testing.T) {
	nodes := []Node{{Name: "bb", Weight: 2}, {Name: "b", Weight: 1}, {Name: "aaa", Weight: 3}, {Name: "é", Weight: 1}}
	backwards := slices.Clone(nodes)
	slices.Reverse(backwards)
	for _, d := range []Distribution{Ketama, Modula} {
		a, b := mustNew(t, Config{Distribution: d, Nodes: nodes}), mustNew(t, Config{Distribution: d, Nodes: backwards})
		if got := Moved(a, b, 10000); got != 0 {
			t.Errorf("%v: %d of 10000 keys moved with the order of the nodes", d, got)
		}
	}
}

func TestRandom(t *testing.T) {
	r := mustNew(t, Config{Distribution: Random, Nodes: []Node{
		{Name: "a", Weight: 1}, {Name: "b", Weight: 1, Ejected: true}, {Name: "c", Weight: 1000}, {Name: "d", Weight: 1},
	}})
	var mu sync.Mutex
	var counts [4]int
	var loops sync.WaitGroup
	for range 4 {
		loops.Go(func() {
			var own [4]int
			for range 3000 {
				own[r.Index([]byte("the same key"))]++
			}
			mu.Lock()
			defer mu.Unlock()
			for i, n := range own {
				counts[i] += n
			}
		})
	}
	loops.Wait()
	for i, n := range counts {
		if r.config.Nodes[i].Ejected {
			if n != 0 {
				t.Errorf("an ejected node got %d requests", n)
			}
		} else if n < 3000 || n > 5000 { // 4000 of 12000 each; 3000 is 19 standard deviations away
			t.Errorf("node %d got %d of 12000 requests, want about 4000", i, n)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := func() Config { return Config{Nodes: []Node{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}} }
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   error
	}{
		{"no nodes", func(c *Config) { c.Nodes = nil }, ErrNoNodes},
		{"too many nodes", func(c *Config) { c.Nodes = make([]Node, MaxNodes+1) }, ErrTooManyNodes},
		{"the same name", func(c *Config) { c.Nodes[1].Name = "a" }, ErrDuplicateName},
		{"the same name, ejected", func(c *Config) { c.Nodes[1] = Node{Name: "a", Weight: 1, Ejected: true} }, ErrDuplicateName},
		{"no name", func(c *Config) { c.Nodes[1].Name = "" }, ErrEmptyName},
		{"weight 0", func(c *Config) { c.Nodes[1].Weight = 0 }, ErrWeight},
		{"weight below 0", func(c *Config) { c.Nodes[1].Weight = -1 }, ErrWeight},
		{"weight too large", func(c *Config) { c.Nodes[1].Weight = math.MaxInt32 + 1 }, ErrWeight},
		{"total weight", func(c *Config) {
			c.Nodes = []Node{{Name: "a", Weight: math.MaxInt32}, {Name: "b", Weight: math.MaxInt32}, {Name: "c", Weight: 2}}
		}, ErrTotalWeight},
		{"tag of one byte", func(c *Config) { c.Tag = "{" }, ErrTag},
		{"tag of three bytes", func(c *Config) { c.Tag = "{}}" }, ErrTag},
		{"hash", func(c *Config) { c.Hash = 12 }, ErrHash},
		{"distribution", func(c *Config) { c.Distribution = 3 }, ErrDistribution},
	} {
		c := good()
		tt.change(&c)
		if r, err := New(c); !errors.Is(err, tt.want) || r != nil {
			t.Errorf("%s: New = %v, %v; want %v", tt.name, r, err, tt.want)
		}
	}
	if _, err := New(good()); err != nil {
		t.Error(err)
	}
}

func TestConfigIsACopy(t *testing.T) {
	given := Config{Hash: Murmur, Distribution: Modula, Tag: "{}", Nodes: []Node{{Name: "bb", Weight: 2}, {Name: "a", Weight: 1}}}
	r := mustNew(t, given)
	want := r.Config()
	given.Nodes[0].Name = "changed"
	r.Nodes()[0].Name = "changed"
	r.Config().Nodes[0].Name = "changed"
	if diff := cmp.Diff(want, r.Config()); diff != "" {
		t.Errorf("the ring changed (-before +after):\n%s", diff)
	}
	if want.Nodes[0].Name != "bb" {
		t.Errorf("the nodes are not in the order given: %v", want.Nodes)
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		host  string
		port  int
		alias string
		want  string
	}{
		{"10.0.0.1", 6379, "", "10.0.0.1:6379"},
		{"10.0.0.1", 6379, "alpha", "alpha"},
		{"10.0.0.1", 11211, "", "10.0.0.1"},
		{"10.0.0.1", 11211, "alpha", "alpha"},
		{"::1", 6379, "", "::1:6379"},
		{"[::1]", 6379, "", "::1:6379"},
		{"[::1]", 11211, "", "::1"},
	} {
		if got := NodeName(tt.host, tt.port, tt.alias); got != tt.want {
			t.Errorf("NodeName(%q, %d, %q) = %q, want %q", tt.host, tt.port, tt.alias, got, tt.want)
		}
	}
	if got := SocketName("/run/redis.sock", ""); got != "/run/redis.sock:" {
		t.Errorf("SocketName = %q", got)
	}
	if got := SocketName("/run/redis.sock", "alpha"); got != "alpha" {
		t.Errorf("SocketName = %q", got)
	}
}

func TestMoved(t *testing.T) {
	base := Config{Nodes: equalNodes(4)}
	a := mustNew(t, base)
	check := func(what string, changed Config, low, high int) {
		t.Helper()
		if got := Moved(a, mustNew(t, changed), 10000); got < low || got > high {
			t.Errorf("%s: %d of 10000 keys moved, want %d to %d", what, got, low, high)
		}
	}
	check("nothing changed", base, 0, 0)

	more := base
	more.Nodes = equalNodes(5)
	check("a fifth node", more, 1000, 3000)

	ejected := base
	ejected.Nodes = slices.Clone(base.Nodes)
	ejected.Nodes[2].Ejected = true
	check("a node ejected", ejected, 1500, 3500)

	for i := range ejected.Nodes {
		ejected.Nodes[i].Ejected = true
	}
	check("all ejected", ejected, 10000, 10000)

	tagged := base
	tagged.Tag = "{}"
	check("a tag: a quarter of the samples has one", tagged, 1500, 2500)

	modula := base
	modula.Distribution = Modula
	check("another distribution", modula, 6500, 8500)

	renamed := base
	renamed.Nodes = slices.Clone(base.Nodes)
	renamed.Nodes[0].Name = "new"
	check("a node renamed", renamed, 2000, 6500)

	random := base
	random.Distribution = Random
	r := mustNew(t, random)
	if got := Moved(r, r, 10000); got != 0 {
		t.Errorf("%d keys moved from a random ring to itself", got)
	}
}

func TestNoAllocations(t *testing.T) {
	key := []byte("user:{\xff0123456789}:profile")
	for h := range hashNames {
		for d := range distributionNames {
			r := mustNew(t, Config{Hash: Hash(h), Distribution: Distribution(d), Tag: "{}", Nodes: equalNodes(7)})
			if n := testing.AllocsPerRun(100, func() { r.Index(key); r.Hash(key); r.Tag(key) }); n != 0 {
				t.Errorf("%v, %v: %v allocations for a key", Hash(h), Distribution(d), n)
			}
		}
	}
}

func TestRingMemory(t *testing.T) {
	for _, tt := range []struct{ nodes, limit int }{{2, 8 << 10}, {5, 14 << 10}, {64, 210 << 10}, {512, 1200 << 10}, {MaxNodes, 6 << 20}} {
		r := mustNew(t, Config{Nodes: equalNodes(tt.nodes)})
		if got := r.continuum.bytes(); got > tt.limit {
			t.Errorf("%d nodes take %d bytes, want at most %d", tt.nodes, got, tt.limit)
		} else {
			t.Logf("%d nodes: %d points, %d bytes", tt.nodes, len(r.continuum.points), got)
		}
	}
}

// In FIPS 140-only mode md5.Sum panics unless told that its use is no matter of security.
func TestFIPSOnly(t *testing.T) {
	if os.Getenv("SHARD_TEST_FIPS") != "" {
		r := mustNew(t, Config{Hash: MD5, Nodes: equalNodes(3)})
		if got, want := r.Hash([]byte("apple")), uint32(0xbe70381f); got != want {
			t.Errorf("md5 = %#x, want %#x", got, want)
		}
		return
	}
	self := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFIPSOnly$")
	self.Env = append(os.Environ(), "SHARD_TEST_FIPS=1", "GODEBUG=fips140=only")
	if out, err := self.CombinedOutput(); err != nil {
		t.Errorf("in FIPS 140-only mode: %v\n%s", err, out)
	}
}
