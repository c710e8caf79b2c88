package shard

import "strconv"

// Moved counts how many of n sample keys have another node, by name, in b than in a. The keys are the same in every
// call: of each four, one carries the hash tag of a and one that of b (if they have one), so that a changed tag shows.
//
// No key has a home in a random ring: between two of them only the set of live nodes can change, and none is counted as
// moved.
func Moved(a, b *Ring, n int) int {
	if a.config.Distribution == Random && b.config.Distribution == Random {
		return 0
	}
	moved := 0
	var key []byte
	for i := range n {
		key = appendSample(key[:0], i, a.config.Tag, b.config.Tag)
		if a.ownerName(key) != b.ownerName(key) {
			moved++
		}
	}
	return moved
}

func appendSample(key []byte, i int, tagA, tagB string) []byte {
	tag := [4]string{2: tagA, 3: tagB}[i%4]
	key = append(key, "sample:"...)
	if tag != "" {
		key = append(key, tag[0])
	}
	key = strconv.AppendInt(key, int64(i), 10)
	if tag != "" {
		key = append(key, tag[1])
	}
	return append(key, ":value"...)
}

// ownerName is "" if every node is ejected.
func (r *Ring) ownerName(key []byte) string {
	if i := r.Index(key); i >= 0 {
		return r.config.Nodes[i].Name
	}
	return ""
}
