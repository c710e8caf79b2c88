package command

import (
	"strings"
	"testing"
)

func BenchmarkLookup(b *testing.B) {
	var mix [16][]byte
	for i, n := range strings.Fields("GET set MGET hgetall ZADD expire LPUSH zrangebyscore INCR del EXISTS evalsha ping HSET GEORADIUSBYMEMBER nosuch") {
		mix[i] = []byte(n)
	}
	b.Run("get", func(b *testing.B) {
		get := []byte("GET")
		b.ReportAllocs()
		for b.Loop() {
			Lookup(get)
		}
	})
	b.Run("mix", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			Lookup(mix[i&15])
		}
	})
}

func BenchmarkSub(b *testing.B) {
	client, name := Lookup([]byte("client")), []byte("SETNAME")
	b.ReportAllocs()
	for b.Loop() {
		client.Sub(name)
	}
}

// BenchmarkKeys finds the keys of requests whose keys stand in a range, behind a number, behind a word, and by a rule of their own.
func BenchmarkKeys(b *testing.B) {
	for _, request := range []string{"MGET a b c d e f g h i j", "ZUNIONSTORE d 2 a b", "XREAD COUNT 5 STREAMS a b 0 0", "EVAL x 2 a b c", "SORT a BY b STORE c"} {
		words := strings.Fields(request)
		b.Run(strings.ToLower(words[0]), func(b *testing.B) {
			frame, args := frameOf(words...)
			c := Lookup([]byte(words[0]))
			keys := make([]int32, 0, 16)
			b.ReportAllocs()
			for b.Loop() {
				keys, _ = c.Keys(keys[:0], frame, args)
			}
		})
	}
}
