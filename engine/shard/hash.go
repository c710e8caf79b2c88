// Package shard decides which node of a pool owns a key, bit for bit as twemproxy 0.5.0 (nutcracker) does, so that a
// pool can be taken over without a moved key.
//
//	key --Tag--> the hashed part --Hash--> uint32 --distribution--> index into Config.Nodes
//
// A Ring is built by control for each topology snapshot and is immutable from then on: every event loop reads the same
// one, without locks, and nothing is allocated per key. What is hashed for a node is its name (NodeName, SocketName; the
// group's name in a sentinel pool), never its address, so a failover moves no key.
//
// The source of every rule is twemproxy at 60aaf85: src/hashkit, src/nc_server.c and src/nc_conf.c. It reads keys as
// `const char`, which is signed where it is deployed (x86): bytes of 0x80 and more are sign-extended by some hashes.
package shard

import (
	"fmt"
	"strings"
)

// Hash is one of twemproxy's key hashes. The zero value is its default, FNV1a64.
type Hash uint8

// The hashes, as the pool key `hash` names them (see Hashes).
const (
	FNV1a64    Hash = iota // fnv1a_64: the low 32 bits of it
	OneAtATime             // one_at_a_time: Bob Jenkins' one-at-a-time
	MD5                    // md5: the first 4 bytes, little endian
	CRC16                  // crc16: CCITT (XMODEM), but with 32 bits of state, all of them returned
	CRC32                  // crc32: libmemcached's, bits 16 to 30 of the real one
	CRC32a                 // crc32a: CRC-32 (IEEE 802.3)
	FNV1_64                // fnv1_64: the low 32 bits of it
	FNV1_32                // fnv1_32
	FNV1a32                // fnv1a_32
	Hsieh                  // hsieh: Paul Hsieh's SuperFastHash
	Murmur                 // murmur: MurmurHash2, seeded with 0xdeadbeef * length
	Jenkins                // jenkins: Bob Jenkins' lookup3, seeded with 13
)

var hashNames = [...]string{
	FNV1a64:    "fnv1a_64",
	OneAtATime: "one_at_a_time",
	MD5:        "md5",
	CRC16:      "crc16",
	CRC32:      "crc32",
	CRC32a:     "crc32a",
	FNV1_64:    "fnv1_64",
	FNV1_32:    "fnv1_32",
	FNV1a32:    "fnv1a_32",
	Hsieh:      "hsieh",
	Murmur:     "murmur",
	Jenkins:    "jenkins",
}

// Hashes returns the names of all hashes in the order of the constants; the default comes first.
func Hashes() []string { return append([]string(nil), hashNames[:]...) }

// ParseHash returns the hash with twemproxy's name for it. Names are matched exactly, as twemproxy matches them.
func ParseHash(name string) (Hash, error) {
	for i, known := range hashNames {
		if name == known {
			return Hash(i), nil
		}
	}
	return 0, fmt.Errorf("unknown hash %q: use one of %s", name, strings.Join(hashNames[:], ", "))
}

// String returns twemproxy's name of the hash.
func (h Hash) String() string {
	if int(h) < len(hashNames) {
		return hashNames[h]
	}
	return fmt.Sprintf("hash(%d)", uint8(h))
}

// Sum hashes key. It does not allocate and keeps nothing of key. A Hash that is not one of the constants sums to 0
// (New refuses it). A Ring hashes an empty key to 0 whatever the hash; Sum does not make that exception.
func (h Hash) Sum(key []byte) uint32 {
	switch h {
	case FNV1a64:
		return fnv1a(fnv64Offset, fnv64Prime, key)
	case OneAtATime:
		return oneAtATime(key)
	case MD5:
		return md5Low(key)
	case CRC16:
		return crc16(key)
	case CRC32:
		return crc32Memcached(key)
	case CRC32a:
		return crc32IEEE(key)
	case FNV1_64:
		return fnv1(fnv64Offset, fnv64Prime, key)
	case FNV1_32:
		return fnv1(fnv32Offset, fnv32Prime, key)
	case FNV1a32:
		return fnv1a(fnv32Offset, fnv32Prime, key)
	case Hsieh:
		return hsieh(key)
	case Murmur:
		return murmur2(key)
	case Jenkins:
		return lookup3(key)
	}
	return 0
}
