package shard

import (
	"hash/fnv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The sums were printed by twemproxy's own functions (60aaf85, gcc, amd64), in the order of the constants. The keys
// cover the tails of the block hashes and bytes of 0x80 and more at each place where char is signed.
var sums = []struct {
	key  string
	want [12]uint32
}{
	{"a", [...]uint32{0x8601ec8c, 0xca2e9442, 0xb975c10c, 0x00007c87, 0x000068b7, 0xe8b7be43, 0x8601b7be, 0x050c5d7e, 0xe40c292c, 0x93642e87, 0x4b41757c, 0xe0a38690}},
	{"apple", [...]uint32{0x58befdbf, 0x88f08ef3, 0xbe70381f, 0xda525bb4, 0x0000292e, 0xa92ed050, 0x1c347217, 0x04010657, 0x10bc2abf, 0xdeda533e, 0xf6e68f62, 0x55f9f550}},
	{"key:000123", [...]uint32{0x1331d2a2, 0xd9cd05fb, 0x7ce43ae6, 0x1cfae465, 0x0000410c, 0x410cdef7, 0x654b59dc, 0xac15193c, 0x2d161722, 0xfc690c4d, 0x6390d672, 0x12ce79f9}},
	{"The quick brown fox jumps over the lazy dog", [...]uint32{0xe7e47110, 0x519e91f5, 0x9d7d109e, 0x22a3f0c8, 0x0000414f, 0x414fa339, 0x7de37ace, 0xe9c86c6e, 0x048fff90, 0x1c19ee97, 0x30c79125, 0x12b8163c}},
	{"\xff", [...]uint32{0x79fe466e, 0xae65a494, 0xd44f5900, 0x00001ef0, 0x00007f00, 0xff000000, 0x79fe4820, 0xfaf3a2e0, 0xf9f3a14e, 0x02a6dba8, 0xdb530a9c, 0xe1964da8}},
	{"n\xc5\x93ud", [...]uint32{0x1c48ccf4, 0x10a94100, 0xac270733, 0xda552372, 0x00004671, 0x46710e5e, 0xb4da5cb6, 0x2f4f84b6, 0xb2cef654, 0xad372b49, 0xb005a68b, 0x9f41d34d}},
	{"ab\x80", [...]uint32{0xfabe929e, 0xc8dd56b0, 0x610ba2d6, 0x7c74509b, 0x00000c27, 0x0c27f200, 0x94505228, 0xbc63d0a8, 0xd8b8027e, 0x584d72a3, 0xbf8a58ae, 0x6dd44e68}},
	{"\x00\x01\xfe\x0d\x0a", [...]uint32{0x271a1d5b, 0x24a5e47c, 0xd0418459, 0x3dd659f1, 0x000014bf, 0x94bf59f1, 0xdfb63c53, 0xd5d0dd13, 0x2432cf5b, 0x00e7a947, 0x66e57743, 0xf3b8ea0d}},
	{"\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87", [...]uint32{0xa9ad7881, 0xfbca080a, 0x667b65c3, 0x3c55683f, 0x00000caf, 0x0caf961a, 0x64997a19, 0x31b3eff9, 0xafd617e1, 0xfa8a713c, 0x9ac6d2af, 0x4b2c236f}},
	{"123456789012", [...]uint32{0x08e47147, 0xb0d7cc5f, 0x3c971734, 0xd3fc5482, 0x00005d34, 0x5d34eb96, 0x76f67f77, 0x35c7b497, 0x2858fda7, 0x695675ee, 0xc1017d95, 0x84055907}},
	{"123456789012\xff", [...]uint32{0xe3d382a8, 0xdd217115, 0xb2513f1e, 0xfc548681, 0x00006631, 0xe631029a, 0xdb2568ca, 0xbf9eb64a, 0xd3e8b088, 0xa96898e2, 0xfb160b71, 0xe99df741}},
}

func TestSum(t *testing.T) {
	for _, tt := range sums {
		var got [12]uint32
		for h := range got {
			got[h] = Hash(h).Sum([]byte(tt.key))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("sums of %q (-want +got):\n%s", tt.key, diff)
		}
	}
}

// The standard library's FNV agrees as long as no byte is negative as a char.
func TestFNVOfASCII(t *testing.T) {
	for _, key := range []string{"", "a", "foobar", strings.Repeat("0123456789~", 50)} {
		h64, h64a, h32, h32a := fnv.New64(), fnv.New64a(), fnv.New32(), fnv.New32a()
		for _, h := range []interface{ Write([]byte) (int, error) }{h64, h64a, h32, h32a} {
			if _, err := h.Write([]byte(key)); err != nil {
				t.Fatal(err)
			}
		}
		want := []uint32{uint32(h64.Sum64()), uint32(h64a.Sum64()), h32.Sum32(), h32a.Sum32()}
		got := []uint32{FNV1_64.Sum([]byte(key)), FNV1a64.Sum([]byte(key)), FNV1_32.Sum([]byte(key)), FNV1a32.Sum([]byte(key))}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("fnv of %q (-want +got):\n%s", key, diff)
		}
	}
}

func TestHashNames(t *testing.T) {
	if got := Hash(0).String(); got != "fnv1a_64" {
		t.Errorf("the default hash is %s, twemproxy's is fnv1a_64", got)
	}
	for i, name := range Hashes() {
		h, err := ParseHash(name)
		if err != nil || h != Hash(i) || h.String() != name {
			t.Errorf("ParseHash(%q) = %v, %v; want %d", name, h, err, i)
		}
	}
	if len(Hashes()) != 12 {
		t.Errorf("%d hashes, twemproxy has 12", len(Hashes()))
	}
	for _, name := range []string{"", "MD5", "fnv1a64", "md5 "} {
		if h, err := ParseHash(name); err == nil {
			t.Errorf("ParseHash(%q) = %v, want an error", name, h)
		} else if !strings.Contains(err.Error(), "one_at_a_time") {
			t.Errorf("ParseHash(%q): %v; want the valid names in it", name, err)
		}
	}
	if got := Hash(200).String(); got != "hash(200)" {
		t.Errorf("Hash(200) = %q", got)
	}
	if got := Hash(200).Sum([]byte("a")); got != 0 {
		t.Errorf("Hash(200).Sum = %d, want 0", got)
	}
}

func TestDistributionNames(t *testing.T) {
	if diff := cmp.Diff([]string{"ketama", "modula", "random"}, Distributions()); diff != "" {
		t.Error(diff)
	}
	for i, name := range Distributions() {
		d, err := ParseDistribution(name)
		if err != nil || d != Distribution(i) || d.String() != name {
			t.Errorf("ParseDistribution(%q) = %v, %v; want %d", name, d, err, i)
		}
	}
	if d, err := ParseDistribution("Ketama"); err == nil {
		t.Errorf("ParseDistribution(Ketama) = %v, want an error", d)
	}
	if got := Distribution(9).String(); got != "distribution(9)" {
		t.Errorf("Distribution(9) = %q", got)
	}
}

// Every hash takes every length (the block hashes have tails) and is a function of the bytes alone, not of where they
// stand in memory.
func FuzzSum(f *testing.F) {
	for _, tt := range sums {
		f.Add([]byte(tt.key))
	}
	f.Add([]byte(""))
	f.Add([]byte(strings.Repeat("\xff\x00", 300)))
	f.Fuzz(func(t *testing.T, key []byte) {
		for h := range hashNames {
			want := Hash(h).Sum(key)
			for shift := range 4 {
				moved := append(make([]byte, shift, shift+len(key)), key...)[shift:]
				if got := Hash(h).Sum(moved); got != want {
					t.Errorf("%v of %q = %#x, %#x when %d bytes further", Hash(h), key, want, got, shift)
				}
			}
		}
	})
}
