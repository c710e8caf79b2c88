// Package namehash folds command names to words and places them in a perfect hash table. The generator of package command chooses the
// table with it and the look-up reads the table with it, so both always agree.
package namehash

import (
	"encoding/binary"
	"math/bits"
)

// Slots is the size of the table: with some 440 names about one seed in 130,000 leaves no collision, which the generator finds in a second. A
// look-up touches one cache line of it.
const (
	slotBits = 13
	Slots    = 1 << slotBits
)

// WordsMax is the longest name that its length and its two words tell apart from every other; a longer match is compared byte by byte.
const WordsMax = 16

// Words returns name's first and last eight bytes in lower case (ASCII); shorter names are packed into the first word.
func Words(name []byte) (a, b uint64) {
	n := len(name)
	switch {
	case n >= 8:
		return fold(binary.LittleEndian.Uint64(name)), fold(binary.LittleEndian.Uint64(name[n-8:]))
	case n >= 4:
		lo, hi := binary.LittleEndian.Uint32(name), binary.LittleEndian.Uint32(name[n-4:])
		return fold(uint64(lo) | uint64(hi)<<32), 0
	case n > 0:
		return fold(uint64(name[0]) | uint64(name[n/2])<<8 | uint64(name[n-1])<<16), 0
	}
	return 0, 0
}

// Slot places the name of n bytes with these words.
func Slot(a, b uint64, n int, seed uint64) uint {
	return uint((a ^ bits.RotateLeft64(b, 27) ^ uint64(n)<<59) * seed >> (64 - slotBits))
}

// EqualFold reports whether b is lower, which is in lower case, in any letter case (ASCII).
func EqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

const (
	each = 0x0101010101010101
	high = 0x80 * each
)

// fold lower-cases eight ASCII letters at once and leaves every other byte alone.
func fold(w uint64) uint64 {
	low := w &^ high
	fromA := low + (0x80-'A')*each
	aboveZ := low + (0x80-'Z'-1)*each
	upper := (fromA &^ aboveZ) &^ w & high
	return w | upper>>2
}
