//go:build linux

package nutcracker_test

import (
	"fmt"
	"math/rand/v2"
)

// sampleKeys returns n different keys, the same ones in each run: the empty one, plain ones, with hash tags of every shape, UTF-8, and binary
// ones of all lengths, so that each hash meets each of its tails with bytes of 0x80 and more in them.
func sampleKeys(n int) []string {
	random := rand.New(rand.NewPCG(163, 11211))
	binary := func(length int) string {
		b := make([]byte, length)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	letters := func(length int) string {
		const alphabet = "aé{}$бzя世0"
		runes := []rune(alphabet)
		r := make([]rune, length)
		for i := range r {
			r[i] = runes[random.IntN(len(runes))]
		}
		return string(r)
	}
	shapes := []func(i int) string{
		func(i int) string { return fmt.Sprintf("user:%d", i) },
		func(i int) string { return fmt.Sprintf("{tenant%d}:item:%d", i%977, i) },
		func(i int) string { return fmt.Sprintf("ключ:%d:clé", i) },
		func(i int) string { return fmt.Sprintf("a$%s$%d", binary(3), i) },
		func(i int) string { return fmt.Sprintf("%d{%s}%s", i, binary(1+random.IntN(20)), binary(4)) },
		func(i int) string { return fmt.Sprintf("%d{}{x}", i) },
		func(i int) string { return fmt.Sprintf("}%d{open", i) },
		func(i int) string { return letters(1 + random.IntN(40)) },
		func(i int) string { return binary(1 + random.IntN(64)) },
		func(i int) string { return binary(1 + random.IntN(13)) },
		func(i int) string { return binary(200 + random.IntN(2000)) },
	}
	keys, seen := append(make([]string, 0, n), ""), map[string]bool{"": true}
	for i := 0; len(keys) < n; i++ {
		shape := i % len(shapes)
		if shape == len(shapes)-1 && i%(10*len(shapes)) != shape {
			continue // one long key in a hundred is enough
		}
		if key := shapes[shape](i); !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys
}
