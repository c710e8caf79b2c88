package namehash

import "testing"

// lower is the plain reference: ASCII letters only.
func lower(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		out[i] = c
	}
	return out
}

func unpack(w uint64) (b [8]byte) {
	for i := range b {
		b[i] = byte(w >> (8 * i))
	}
	return b
}

func TestFoldEveryByteInEveryPlace(t *testing.T) {
	for place := range 8 {
		for c := range 256 {
			name := []byte("xXzZ@[`{")
			name[place] = byte(c)
			a, b := Words(name)
			want := [8]byte(lower(name))
			if unpack(a) != want || unpack(b) != want {
				t.Fatalf("byte %#x in place %d: got %q and %q, want %q", c, place, unpack(a), unpack(b), want)
			}
		}
	}
}

func TestWordsTellShortNamesApart(t *testing.T) {
	const long = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for n := 1; n <= WordsMax; n++ {
		base := []byte(long[:n])
		a0, b0 := Words(base)
		if a, b := Words(lower(base)); a != a0 || b != b0 {
			t.Errorf("%q: other words than its lower case", base)
		}
		for place := range n {
			other := []byte(long[:n])
			other[place] = '_'
			if a, b := Words(other); a == a0 && b == b0 {
				t.Errorf("%q and %q have the same words", base, other)
			}
		}
	}
	if a, b := Words(nil); a != 0 || b != 0 {
		t.Errorf("no name: words %x %x, want 0 0", a, b)
	}
}

func TestSlotInRange(t *testing.T) {
	for i := range 1 << 16 {
		w := uint64(i) * 0x9e3779b97f4a7c15
		if s := Slot(w, ^w, i&31, w|1); s >= Slots {
			t.Fatalf("slot %d of %d", s, Slots)
		}
	}
}

func TestEqualFold(t *testing.T) {
	for _, c := range []struct {
		b, lower string
		want     bool
	}{
		{"STREAMS", "streams", true}, {"sTrEaMs", "streams", true}, {"streams", "streams", true},
		{"stream", "streams", false}, {"streamz", "streams", false}, {"", "", true}, {"\x53tore", "store", true},
		{"@", "`", false}, {"[", "{", false}, {"no\x0dtouch", "no-touch", false},
	} {
		if got := EqualFold([]byte(c.b), c.lower); got != c.want {
			t.Errorf("EqualFold(%q, %q) = %v", c.b, c.lower, got)
		}
	}
}
