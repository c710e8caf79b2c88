package main

import "math/bits"

// histogram counts times in microseconds in buckets that are at most 1/128 of the time wide.
type histogram struct {
	buckets [bucketCount]uint64
	count   uint64
	most    uint64
}

const (
	fineBits    = 7 // buckets per power of two, as a power of two
	bucketCount = (65 - fineBits) << fineBits
)

// bucket is exact below 256 us.
func bucket(us uint64) int {
	shift := max(bits.Len64(us)-fineBits-1, 0)
	return shift<<fineBits + int(us>>shift)
}

// lowest is the least time of a bucket.
func lowest(b int) uint64 {
	shift := max(b>>fineBits-1, 0)
	return uint64(b-shift<<fineBits) << shift
}

func (h *histogram) add(us uint64) {
	h.buckets[bucket(us)]++
	h.count++
	h.most = max(h.most, us)
}

// quantile is the time, in us, that the share q of all did not exceed; 0 if there are none.
func (h *histogram) quantile(q float64) float64 {
	if h.count == 0 {
		return 0
	}
	rank := uint64(q*float64(h.count-1)) + 1
	var seen uint64
	for b, n := range h.buckets {
		if seen += n; seen >= rank {
			return float64(lowest(b))
		}
	}
	return float64(h.most)
}
