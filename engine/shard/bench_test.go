package shard

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkIndex(b *testing.B) {
	keys := make([][]byte, 4096)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "user:%08d:profile", i*7919)
	}
	for _, d := range []Distribution{Ketama, Modula, Random} {
		for _, n := range []int{1, 5, 64, 512} {
			r := mustNew(b, Config{Distribution: d, Tag: "{}", Nodes: equalNodes(n)})
			b.Run(fmt.Sprintf("%v/%d", d, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					r.Index(keys[i%len(keys)])
				}
			})
		}
	}
}

// BenchmarkIndexTag places keys with a hash tag.
func BenchmarkIndexTag(b *testing.B) {
	r := mustNew(b, Config{Tag: "{}", Nodes: equalNodes(5)})
	for _, tc := range [][2]string{{"tagged", "session:{user:1234}:cart"}, {"open", "session:{user:1234:cart"}, {"plain", "session:user:1234:cart"}} {
		b.Run(tc[0], func(b *testing.B) {
			key := []byte(tc[1])
			b.ReportAllocs()
			for b.Loop() {
				r.Index(key)
			}
		})
	}
}

// BenchmarkOwner is the look-up in the continuum alone, at random positions.
func BenchmarkOwner(b *testing.B) {
	for _, n := range []int{5, 64, 512} {
		r := mustNew(b, Config{Nodes: equalNodes(n)})
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			position := uint32(1)
			b.ReportAllocs()
			for b.Loop() {
				position = position*1664525 + 1013904223
				r.continuum.owner(position)
			}
		})
	}
}

func BenchmarkSum(b *testing.B) {
	for h, name := range hashNames {
		for _, n := range []int{8, 26, 200} {
			key := []byte(strings.Repeat("user:0123:profile", n)[:n])
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					Hash(h).Sum(key)
				}
			})
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{5, 512} {
		nodes := equalNodes(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustNew(b, Config{Nodes: nodes})
			}
		})
	}
}
