package resp

import (
	"encoding/binary"
	"math"
)

// ParseInt reads a signed decimal integer as strictly as Redis does
// (string2ll): an optional '-', then digits without a leading zero; no "-0", no
// '+', no space, nothing outside of 64 bits. ok is false for all else.
func ParseInt(b []byte) (n int64, ok bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	if b[0] == '0' {
		return 0, len(b) == 1 && !neg
	}
	// 19 digits fit into 64 bits unsigned, so one check at the end is enough.
	var u uint64
	for _, c := range b {
		d := c - '0'
		if d > 9 {
			return 0, false
		}
		u = u*10 + uint64(d)
	}
	if neg {
		return -int64(u), u <= -math.MinInt64
	}
	return int64(u), u <= math.MaxInt64
}

// shortLength reads a header with a length of one or two digits from b, which
// holds 5 bytes or more; it does not look at the type. size is 0 when that is
// not what is there.
func shortLength(b []byte) (n, size uint32) {
	w := binary.LittleEndian.Uint32(b)
	n = w>>8&0xff - '0'
	if w>>16 == crlf && n <= 9 {
		return n, 4
	}
	d := w>>16&0xff - '0'
	if w>>24 == '\r' && b[4] == '\n' && n-1 <= 8 && d <= 9 {
		return n*10 + d, 5
	}
	return 0, 0
}
