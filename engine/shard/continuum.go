package shard

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
)

const (
	ketamaPoints = 160 // of each node, at equal weights
	pointsPerSum = 4   // one MD5 gives four of them
	// twemproxy writes a label into a buffer of 273 bytes, so it hashes the first 272 of a longer one.
	ketamaLabelMax = 272

	// The table's size in bits, whatever the number of points: at least 4 KiB, at most 512 KiB.
	tableBitsMin, tableBitsMax = 10, 17
)

// continuum finds the owner of the first point at or above a position, wrapping to the lowest point. It is what both
// ketama (points of MD5s) and modula (a point at the end of each node's stretch of weight) look up in.
//
// The upper bits of a position select a table entry. Where no point lies inside that slice of the continuum, which is
// the common case, the entry is the owner and the look-up has touched one cache line; else it says at which point to
// start scanning, and there are one or two to pass.
type continuum struct {
	table  []uint32 // owner; or scan | index of the slice's first point
	points []point  // ascending; the last one is at the highest position that can be asked
	shift  uint
}

type point struct{ at, node uint32 }

const scan = 1 << 31

// newContinuum takes the points (position in the upper 32 bits, rank of the owner in the lower), the node of each rank,
// and the highest position that will be asked. It sorts packed in place.
//
// Where two points share a position the lower rank owns it: twemproxy's qsort is a stable merge sort (glibc), and its
// search stops at the first of equals.
func newContinuum(packed []uint64, nodes []uint32, top uint32) *continuum {
	slices.Sort(packed)
	c := &continuum{points: make([]point, 0, len(packed)+1)}
	for i, p := range packed {
		at, node := uint32(p>>32), nodes[uint32(p)]
		if i > 0 && at == uint32(packed[i-1]>>32) {
			continue
		}
		if n := len(c.points); n > 0 && c.points[n-1].node == node {
			c.points[n-1].at = at // a point followed by one of its own node decides nothing
			continue
		}
		c.points = append(c.points, point{at, node})
	}
	if last := c.points[len(c.points)-1]; last.at != top {
		c.points = append(c.points, point{top, c.points[0].node})
	}
	c.points = slices.Clone(c.points) // without the room of the points that decided nothing
	c.index(top)
	return c
}

func (c *continuum) index(top uint32) {
	width := min(max(bits.Len(uint(len(c.points)))+1, tableBitsMin), tableBitsMax)
	c.shift = uint(max(bits.Len32(top)-width, 0))
	c.table = make([]uint32, top>>c.shift+1)
	i := uint32(0)
	for slot := range c.table {
		low := uint32(slot) << c.shift
		high := min(low|(1<<c.shift-1), top)
		for c.points[i].at < low {
			i++
		}
		if c.points[i].at >= high {
			c.table[slot] = c.points[i].node
		} else {
			c.table[slot] = scan | i
		}
	}
}

// owner needs position <= top.
func (c *continuum) owner(position uint32) int {
	entry := c.table[position>>c.shift]
	if entry < scan {
		return int(entry)
	}
	for i := entry &^ scan; ; i++ {
		if p := c.points[i]; p.at >= position {
			return int(p.node)
		}
	}
}

// bytes is what the continuum keeps in memory.
func (c *continuum) bytes() int { return 4*cap(c.table) + 8*cap(c.points) }

// ranked is a node that is not ejected, in the order of twemproxy's servers.
type ranked struct {
	name   string
	weight int
	node   uint32 // index into Config.Nodes
}

func nodesOf(live []ranked) []uint32 {
	nodes := make([]uint32, len(live))
	for i, n := range live {
		nodes[i] = n.node
	}
	return nodes
}

// newKetama lays the points of libmemcached's weighted ketama, with the roundings of twemproxy. total is the sum of the
// weights of live.
func newKetama(live []ranked, total uint32) *continuum {
	packed := make([]uint64, 0, len(live)*ketamaPoints)
	var label []byte
	for rank, n := range live {
		for i := range ketamaSums(n.weight, total, len(live)) {
			label = append(label[:0], n.name...)
			label = append(label, '-')
			label = strconv.AppendInt(label, int64(i), 10)
			sum := md5Sum(label[:min(len(label), ketamaLabelMax)])
			for p := range pointsPerSum {
				b := sum[4*p : 4*p+4 : 4*p+4]
				at := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24
				packed = append(packed, at<<32|uint64(rank))
			}
		}
	}
	return newContinuum(packed, nodesOf(live), math.MaxUint32)
}

// ketamaSums is how many MD5s a node has a point set from: a quarter of its points. Every step is rounded to float32, as
// C rounds it on amd64; the explicit conversions keep the compiler from fusing them. A node of very little weight
// may get none, and then owns no key.
func ketamaSums(weight int, total uint32, live int) int {
	share := float32(weight) / float32(total)
	sums := float32(float32(share*ketamaPoints)/pointsPerSum) * float32(live)
	return int(math.Floor(float64(float32(float64(float32(sums)) + 1e-10))))
}

// newModula gives each node a stretch of as many positions as it has weight.
func newModula(live []ranked, total uint32) *continuum {
	packed := make([]uint64, 0, len(live))
	end := uint64(0)
	for rank, n := range live {
		end += uint64(n.weight)
		packed = append(packed, (end-1)<<32|uint64(rank))
	}
	return newContinuum(packed, nodesOf(live), total-1)
}
