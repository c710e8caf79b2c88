package resp_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"respgate/engine/resp"
)

// feed hands the scanner the pieces and returns the bytes consumed.
func feed(t *testing.T, s *resp.ReplyScanner, pieces ...[]byte) (n int, done bool, err error) {
	t.Helper()
	for _, p := range pieces {
		if s.Midway() != (n > 0) {
			t.Fatalf("%q: Midway %t after %d bytes", pieces, s.Midway(), n)
		}
		k, done, err := s.Feed(p)
		n += k
		if done || err != nil {
			return n, done, err
		}
		if k != len(p) {
			t.Fatalf("%q: consumed %d of %d", pieces, k, len(p))
		}
	}
	return n, false, nil
}

// everyPiece feeds in whole, cut in two at each byte, and byte by byte.
func everyPiece(t *testing.T, in string, check func(s *resp.ReplyScanner, n int, done bool, err error)) {
	t.Helper()
	run := func(pieces ...[]byte) {
		t.Helper()
		var s resp.ReplyScanner
		n, done, err := feed(t, &s, pieces...)
		check(&s, n, done, err)
	}
	b := []byte(in)
	run(b)
	for i := range b {
		run(b[:i:i], b[i:])
	}
	var single [][]byte
	for i := range b {
		single = append(single, b[i:i+1:i+1])
	}
	run(single...)
}

func TestReply(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		kind byte
	}{
		{"+OK\r\n", '+'},
		{"+\r\n", '+'},
		{"+" + strings.Repeat("x", 100) + "\r\n", '+'},
		{"+a\nb\r\n", '+'},
		{"-ERR no\r\n", '-'},
		{"-CROSSSLOT Keys in request don't hash to the same group\r\n", '-'},
		{":1\r\n", ':'},
		{":-9223372036854775808\r\n", ':'},
		{":+5\r\n", ':'},
		{"$0\r\n\r\n", '$'},
		{"$-1\r\n", '$'},
		{"$1\r\na\r\n", '$'},
		{"$10\r\n\r\n\r\n\r\n\r\n\r\n\r\n", '$'},
		{"$150\r\n" + strings.Repeat("$", 150) + "\r\n", '$'},
		{"*0\r\n", '*'},
		{"*-1\r\n", '*'},
		{"*2\r\n$1\r\na\r\n:1\r\n", '*'},
		{"*2\r\n*2\r\n:1\r\n*0\r\n*-1\r\n", '*'},
		{"*1\r\n*1\r\n*1\r\n*1\r\n$1\r\na\r\n", '*'},
		{"_\r\n", '_'},
		{"#t\r\n", '#'},
		{",3.14\r\n", ','},
		{",inf\r\n", ','},
		{"(3492890328409238509324850943850943825024385\r\n", '('},
		{"!21\r\nSYNTAX invalid syntax\r\n", '!'},
		{"=15\r\ntxt:Some string\r\n", '='},
		{"%0\r\n", '%'},
		{"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", '%'},
		{"~3\r\n+a\r\n#f\r\n~0\r\n", '~'},
		{">3\r\n+message\r\n+ch\r\n$2\r\nhi\r\n", '>'},
		{"|1\r\n+ttl\r\n:10\r\n$1\r\nv\r\n", '$'},
		{"|0\r\n:1\r\n", ':'},
		{"|1\r\n+a\r\n*1\r\n:1\r\n*1\r\n+x\r\n", '*'},
		{"|1\r\n+a\r\n:1\r\n|1\r\n+b\r\n:2\r\n#t\r\n", '#'},
		{"|1\r\n|1\r\n+a\r\n+b\r\n*0\r\n*?\r\n:1\r\n.\r\n_\r\n", '_'},
		{"|1\r\n+a\r\n*?\r\n*1\r\n:1\r\n.\r\n$0\r\n\r\n", '$'},
		{"*3\r\n:1\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n%1\r\n+a\r\n_\r\n", '*'},
		{"$?\r\n;0\r\n", '$'},
		{"$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n", '$'},
		{"*?\r\n.\r\n", '*'},
		{"*?\r\n:1\r\n:2\r\n.\r\n", '*'},
		{"%?\r\n+a\r\n:1\r\n+b\r\n~?\r\n:2\r\n.\r\n.\r\n", '%'},
		{"*3\r\n*?\r\n*2\r\n*?\r\n:1\r\n.\r\n:2\r\n$?\r\n;0\r\n.\r\n:3\r\n:4\r\n", '*'},
		{"*?\r\n*?\r\n*?\r\n.\r\n:1\r\n.\r\n|1\r\n+a\r\n+b\r\n_\r\n.\r\n", '*'},
		{strings.Repeat("*?\r\n", 128) + strings.Repeat(".\r\n", 128), '*'},
	}
	for _, tt := range tests {
		everyPiece(t, tt.in, func(s *resp.ReplyScanner, n int, done bool, err error) {
			if n != len(tt.in) || !done || err != nil || s.Kind() != tt.kind || s.Midway() {
				t.Fatalf("%.60q: n %d of %d, done %t, error %v, kind %q", tt.in, n, len(tt.in), done, err, s.Kind())
			}
			// The scanner leaves what follows alone and is ready for it.
			if n, done, err := s.Feed([]byte(tt.in + "+OK\r\n")); n != len(tt.in) || !done || err != nil {
				t.Fatalf("%.60q, again: n %d, done %t, error %v", tt.in, n, done, err)
			}
		})
		for i := range len(tt.in) - 1 {
			var s resp.ReplyScanner
			if n, done, err := s.Feed([]byte(tt.in[:i])); n != i || done || err != nil {
				t.Fatalf("%.60q: n %d, done %t, error %v", tt.in[:i], n, done, err)
			}
		}
	}
}

func TestReplyErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"x", `byte 'x' as type`},
		{"\r", `byte '\r' as type`},
		{"HTTP/1.1 400 Bad Request\r\n", `byte 'H' as type`},
		{".\r\n", `byte '.' as type`},
		{";1\r\n", `byte ';' as type`},
		{"*1\r\n.\r\n", `byte '.' as type`},
		{"*1\r\n\r\n", `byte '\r' as type`},
		{"+OK\rx", `byte 'x' as line-lf`},
		{":1\r\r\n", `byte '\r' as line-lf`},
		{"*1\r\n+OK\r+", `byte '+' as line-lf`},
		{"$\r\n", `byte '\r' as length`},
		{"$x", `byte 'x' as length`},
		{"$ 1\r\n", `byte ' ' as length`},
		{"$+1\r\n", `byte '+' as length`},
		{"$01\r\n", `byte '1' as length`},
		{"$00\r\n\r\n", `byte '0' as length`},
		{"$1x", `byte 'x' as length`},
		{"$:\r\n0123456789\r\n", `byte ':' as length`},
		{"$1:\r\n01234567890123456789\r\n", `byte ':' as length`},
		{"$12x\n0123456789ab\r\n", `byte 'x' as length`},
		{"$-\r\n", `byte '\r' as length`},
		{"$-2\r\n", `length -2 behind '$'`},
		{"$-10\r\n", `byte '0' as header-cr`},
		{"*-2\r\n", `length -2 behind '*'`},
		{"*-0\r\n", `length 0 behind '*'`},
		{"|-1\r\n", `byte '-' as length`},
		{">-1\r\n", `byte '-' as length`},
		{">?\r\n", `byte '?' as length`},
		{"|?\r\n", `byte '?' as length`},
		{"=?\r\n", `byte '?' as length`},
		{"$??", `byte '?' as header-cr`},
		{"$1?", `byte '?' as length`},
		{"$3\rabc\r\n", `byte 'a' as header-lf`},
		{"$-1\rx", `byte 'x' as header-lf`},
		{"$3\r\nabcd\r\n", `byte 'd' as body-cr`},
		{"$3\r\nabc\n\n", `byte '\n' as body-cr`},
		{"$3\r\nabc\r\r", `byte '\r' as body-lf`},
		{"$0\r\nx", `byte 'x' as body-cr`},
		{"$?\r\n:1\r\n", `byte ':' as chunk`},
		{"$?\r\n;-1\r\n", `byte '-' as length`},
		{"$?\r\n;1\r\nab", `byte 'b' as body-cr`},
		{"*?\r\n.x", `byte 'x' as header-cr`},
		{"*?\r\n*1\r\n.\r\n", `byte '.' as type`},
		{"*?\r\n|1\r\n+a\r\n+b\r\n.\r\n", `byte '.' as type`},
		{"$1099511627777\r\n", `length 1099511627777 behind '$'`},
		{"$9223372036854775808\r\n", `length 9223372036854 behind '$'`},
		{"*18446744073709551617\r\n", `length 1844674407370 behind '*'`},
		{"*1099511627776\r\n*1099511627776\r\n", `length 2199023255551 behind '*'`},
		{"%1099511627776\r\n", `length 2199023255552 behind '%'`},
		{"*" + strings.Repeat("1", 1000), `length 1111111111111 behind '*'`},
		{strings.Repeat("*?\r\n", 129), `more than 128 streamed aggregates within one another`},
	}
	for _, tt := range tests {
		everyPiece(t, tt.in, func(s *resp.ReplyScanner, _ int, done bool, err error) {
			if done || err == nil || err.Error() != "malformed reply: "+tt.want {
				t.Fatalf("%.60q: done %t, error %v, want %s", tt.in, done, err, tt.want)
			}
			if n, done, err := s.Feed([]byte("+OK\r\n")); n != 0 || done || err == nil {
				t.Fatalf("%.60q: goes on after the error", tt.in)
			}
			s.Reset()
			if n, done, err := s.Feed([]byte("+OK\r\n")); n != 5 || !done || err != nil {
				t.Fatalf("%.60q: not ready after Reset", tt.in)
			}
		})
	}
}

func TestReplyLongLines(t *testing.T) {
	t.Parallel()
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for typ, limit := range map[byte]int{'+': 64 << 20, '-': 64 << 20, '(': 64 << 20, ':': 64 << 10, ',': 64 << 10, '_': 64 << 10, '#': 64 << 10} {
		for _, over := range []string{"", "x"} {
			var s resp.ReplyScanner
			if _, done, err := s.Feed([]byte{typ}); done || err != nil {
				t.Fatal(done, err)
			}
			for range limit / len(chunk) {
				if _, done, err := s.Feed(chunk); done || err != nil {
					t.Fatalf("%q: %t, %v", typ, done, err)
				}
			}
			_, done, err := s.Feed([]byte(over + "\r\n"))
			want := fmt.Sprintf("malformed reply: more than %d bytes in the line behind %q", limit, typ)
			if done != (over == "") || !done && (err == nil || err.Error() != want) {
				t.Fatalf("%q: done %t, error %v", typ, done, err)
			}
		}
	}
}

// TestReplyDepth nests a million arrays: it costs no memory and no stack.
func TestReplyDepth(t *testing.T) {
	in := bytes.Repeat([]byte("*1\r\n"), 1e6)
	var s resp.ReplyScanner
	allocs := testing.AllocsPerRun(1, func() {
		if n, done, err := s.Feed(in); n != len(in) || done || err != nil || !s.Midway() {
			t.Fatal(n, done, err)
		}
		if n, done, err := s.Feed([]byte(":1\r\n")); n != 4 || !done || err != nil || s.Kind() != '*' {
			t.Fatal(n, done, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestReplyAllocs(t *testing.T) {
	stream := []byte("+OK\r\n:1\r\n$-1\r\n$3\r\nabc\r\n*2\r\n$1\r\na\r\n*-1\r\n%1\r\n+a\r\n(12\r\n|1\r\n+a\r\n_\r\n$?\r\n;1\r\na\r\n;0\r\n")
	var s resp.ReplyScanner
	for step := 1; step <= len(stream); step++ {
		allocs := testing.AllocsPerRun(10, func() {
			for at := 0; at < len(stream); {
				n, _, err := s.Feed(stream[at:min(at+step, len(stream))])
				if err != nil {
					t.Fatal(err)
				}
				at += n
			}
		})
		if allocs != 0 || s.Midway() {
			t.Fatalf("step %d: %v allocations", step, allocs)
		}
	}
}

func TestScannersAreSmall(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(resp.RequestScanner{}); n > 32 {
		t.Errorf("RequestScanner takes %d bytes", n)
	}
	if n := unsafe.Sizeof(resp.ReplyScanner{}); n > 32 {
		t.Errorf("ReplyScanner takes %d bytes", n)
	}
}
