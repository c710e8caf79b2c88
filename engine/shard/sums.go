package shard

import (
	"crypto/fips140"
	"crypto/md5"
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// signed widens a byte as C widens a signed char: bytes of 0x80 and more become 0xffffff80 and more.
func signed(b byte) uint32 { return uint32(int32(int8(b))) }

// Only the low 32 bits of FNV-64 are ever used, and they depend on nothing but the low 32 bits of its state and prime.
const (
	fnv64Offset = 0xcbf29ce484222325 & 0xffffffff
	fnv64Prime  = 0x100000001b3 & 0xffffffff
	fnv32Offset = 2166136261
	fnv32Prime  = 16777619
)

func fnv1a(state, prime uint32, key []byte) uint32 {
	for _, b := range key {
		state = (state ^ signed(b)) * prime
	}
	return state
}

func fnv1(state, prime uint32, key []byte) uint32 {
	for _, b := range key {
		state = state*prime ^ signed(b)
	}
	return state
}

func oneAtATime(key []byte) uint32 {
	var h uint32
	for _, b := range key {
		h += signed(b)
		h += h << 10
		h ^= h >> 6
	}
	h += h << 3
	h ^= h >> 11
	h += h << 15
	return h
}

// md5Sum is md5.Sum, and works in FIPS 140-only mode too: where a key lives is no secret.
func md5Sum(data []byte) [md5.Size]byte {
	if fips140.Enforced() {
		return md5Unenforced(data)
	}
	return md5.Sum(data)
}

func md5Unenforced(data []byte) (sum [md5.Size]byte) {
	data = append([]byte(nil), data...) // a copy, so that the closure does not make every caller's key escape
	fips140.WithoutEnforcement(func() { sum = md5.Sum(data) })
	return sum
}

func md5Low(key []byte) uint32 {
	sum := md5Sum(key)
	return binary.LittleEndian.Uint32(sum[:])
}

var crc16Table = makeCRC16Table()

func makeCRC16Table() (table [256]uint16) {
	const polynomial = 0x1021
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			carry := crc & 0x8000
			crc <<= 1
			if carry != 0 {
				crc ^= polynomial
			}
		}
		table[i] = crc
	}
	return table
}

// crc16 never cuts its state to 16 bits: the upper half holds what was shifted out, and twemproxy returns it.
func crc16(key []byte) uint32 {
	var crc uint32
	for _, b := range key {
		crc = crc<<8 ^ uint32(crc16Table[byte(crc>>8)^b])
	}
	return crc
}

func crc32IEEE(key []byte) uint32 { return crc32.ChecksumIEEE(key) }

func crc32Memcached(key []byte) uint32 { return crc32.ChecksumIEEE(key) >> 16 & 0x7fff }

func hsieh(key []byte) uint32 {
	if len(key) == 0 {
		return 0
	}
	var h uint32
	for ; len(key) >= 4; key = key[4:] {
		h += uint32(binary.LittleEndian.Uint16(key))
		h = h<<16 ^ uint32(binary.LittleEndian.Uint16(key[2:]))<<11 ^ h
		h += h >> 11
	}
	switch len(key) {
	case 3:
		h += uint32(binary.LittleEndian.Uint16(key))
		h ^= h << 16
		h ^= signed(key[2]) << 18 // the only byte of this hash that is read as signed
		h += h >> 11
	case 2:
		h += uint32(binary.LittleEndian.Uint16(key))
		h ^= h << 11
		h += h >> 17
	case 1:
		h += uint32(key[0])
		h ^= h << 10
		h += h >> 1
	}
	h ^= h << 3
	h += h >> 5
	h ^= h << 4
	h += h >> 17
	h ^= h << 25
	h += h >> 6
	return h
}

func murmur2(key []byte) uint32 {
	const m = 0x5bd1e995
	n := uint32(len(key))
	h := 0xdeadbeef*n ^ n
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * m
		k ^= k >> 24
		h = h*m ^ k*m
	}
	if len(key) > 0 {
		h = (h ^ tail(key)) * m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}

// tail reads up to 4 bytes, little endian; missing bytes are 0.
func tail(b []byte) uint32 {
	var v uint32
	for i := min(len(b), 4) - 1; i >= 0; i-- {
		v = v<<8 | uint32(b[i])
	}
	return v
}

// lookup3 is Bob Jenkins' hashlittle with initval 13.
func lookup3(key []byte) uint32 {
	a := 0xdeadbeef + uint32(len(key)) + 13
	b, c := a, a
	if len(key) == 0 {
		return c
	}
	for ; len(key) > 12; key = key[12:] {
		a += binary.LittleEndian.Uint32(key)
		b += binary.LittleEndian.Uint32(key[4:])
		c += binary.LittleEndian.Uint32(key[8:])
		a, b, c = lookup3Mix(a, b, c)
	}
	a += tail(key)
	if len(key) > 4 {
		b += tail(key[4:])
	}
	if len(key) > 8 {
		c += tail(key[8:])
	}
	return lookup3Final(a, b, c)
}

func lookup3Mix(a, b, c uint32) (uint32, uint32, uint32) {
	a = (a - c) ^ bits.RotateLeft32(c, 4)
	c += b
	b = (b - a) ^ bits.RotateLeft32(a, 6)
	a += c
	c = (c - b) ^ bits.RotateLeft32(b, 8)
	b += a
	a = (a - c) ^ bits.RotateLeft32(c, 16)
	c += b
	b = (b - a) ^ bits.RotateLeft32(a, 19)
	a += c
	c = (c - b) ^ bits.RotateLeft32(b, 4)
	b += a
	return a, b, c
}

func lookup3Final(a, b, c uint32) uint32 {
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	return (c ^ b) - bits.RotateLeft32(b, 24)
}
