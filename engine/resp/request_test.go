package resp_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/engine/resp"
)

// request is what a test sees of a Frame.
type request struct {
	Size   int
	Args   []string
	Inline bool
}

func seen(buf []byte, f *resp.Frame) request {
	r := request{Size: f.Size, Inline: f.Inline}
	for _, a := range f.Args {
		r.Args = append(r.Args, string(a.Of(buf)))
	}
	return r
}

// scanGrowing hands the scanner buf in the lengths given and then whole.
// Between the calls it uses the frame for another client's request.
func scanGrowing(t *testing.T, buf []byte, lim *resp.Limits, lengths ...int) (request, bool, error) {
	t.Helper()
	var s, other resp.RequestScanner
	var f resp.Frame
	noise := []byte("*3\r\n$1\r\na\r\n$2\r\nbb\r\n$3\r\nccc\r\n")
	for _, n := range append(lengths, len(buf)) {
		// A fresh array each time: spans must be relative.
		part := bytes.Clone(buf[:n])
		done, err := s.Scan(part, lim, &f)
		if err != nil {
			return request{}, done, err
		}
		if done {
			if s.Need() != 1 {
				t.Fatalf("%q: Need %d after a request, want 1", buf, s.Need())
			}
			return seen(part, &f), true, nil
		}
		if s.Need() <= n {
			t.Fatalf("%q: Need %d with %d bytes there", buf, s.Need(), n)
		}
		if done, err := other.Scan(noise, nil, &f); !done || err != nil {
			t.Fatal(done, err)
		}
	}
	return request{}, false, nil
}

// everySplit runs the case whole, cut in two at each byte, and byte by byte.
func everySplit(t *testing.T, buf []byte, lim *resp.Limits, check func(r request, done bool, err error)) {
	t.Helper()
	check(scanGrowing(t, buf, lim))
	for i := range buf {
		check(scanGrowing(t, buf, lim, i))
	}
	var lengths []int
	for i := range buf {
		lengths = append(lengths, i)
	}
	check(scanGrowing(t, buf, lim, lengths...))
}

func TestScanRequest(t *testing.T) {
	many := make([]string, 130)
	for i := range many {
		many[i] = strings.Repeat("x", max(0, i-115))
	}
	tests := []struct {
		name string
		in   string
		want request
	}{
		{"get", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", request{Size: 20, Args: []string{"GET", "k"}}},
		{"first of two", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n", request{Size: 14, Args: []string{"PING"}}},
		{"empty argument", "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", request{Size: 20, Args: []string{"ECHO", ""}}},
		{"two digits", "*1\r\n$10\r\n0123456789\r\n", request{Size: 21, Args: []string{"0123456789"}}},
		{"line ends in a bulk", "*1\r\n$4\r\n\r\n\r\n\r\n", request{Size: 14, Args: []string{"\r\n\r\n"}}},
		{"header in a bulk", "*1\r\n$8\r\n*1\r\n$1\r\n\r\n", request{Size: 18, Args: []string{"*1\r\n$1\r\n"}}},
		{"binary", "*1\r\n$3\r\n\x00\xff$\r\n", request{Size: 13, Args: []string{"\x00\xff$"}}},
		{"no arguments", "*0\r\n*1\r\n", request{Size: 4}},
		{"null", "*-1\r\n", request{Size: 5}},
		{"negative", "*-1048577\r\n", request{Size: 11}},
		{"least negative", "*-9223372036854775808\r\n", request{Size: 23}},
		{"inline", "PING\r\n", request{Size: 6, Inline: true}},
		{"inline, lone LF", "PING\nPING\n", request{Size: 5, Inline: true}},
		{"inline, CR within", "a\rb\r\r\n", request{Size: 6, Inline: true}},
		{"inline, NUL", "a\x00b\r\n", request{Size: 5, Inline: true}},
		{"inline that is a bulk", "$4\r\n", request{Size: 4, Inline: true}},
		{"inline blanks", " \r\n", request{Size: 3, Inline: true}},
		{"empty line", "\r\nPING\r\n", request{Size: 2}},
		{"empty line, lone LF", "\nPING\r\n", request{Size: 1}},
		{"http", "GET / HTTP/1.1\r\nHost: a\r\n", request{Size: 16, Inline: true}},
		{"many", string(resp.AppendRequest(nil, many...)), request{Size: len(resp.AppendRequest(nil, many...)), Args: many}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			everySplit(t, []byte(tt.in), nil, func(r request, done bool, err error) {
				if !done || err != nil {
					t.Fatalf("done %t, error %v", done, err)
				}
				if d := cmp.Diff(tt.want, r); d != "" {
					t.Fatal(d)
				}
			})
		})
	}
}

func TestScanRequestErrors(t *testing.T) {
	unauth := &resp.Limits{Unauthenticated: true}
	const (
		multibulk = "Protocol error: invalid multibulk length"
		bulk      = "Protocol error: invalid bulk length"
		end       = "Protocol error: expected CR LF behind bulk"
	)
	tests := []struct {
		in   string
		lim  *resp.Limits
		want string // "" = more bytes are needed
	}{
		{"*\r\n", nil, multibulk},
		{"*x\r\n", nil, multibulk},
		{"*01\r\n", nil, multibulk},
		{"*+1\r\n", nil, multibulk},
		{"*-0\r\n", nil, multibulk},
		{"* 1\r\n", nil, multibulk},
		{"*:\r\n", nil, multibulk},
		{"*1\rx", nil, multibulk},
		{"*1\n\r\n", nil, multibulk},
		{"*1\x00\r\n", nil, multibulk},
		{"*1048576\r\n", nil, ""},
		{"*1048577\r\n", nil, multibulk},
		{"*2147483648\r\n", nil, multibulk},
		{"*4294967297\r\n", nil, multibulk},
		{"*9223372036854775808\r\n", nil, multibulk},
		{"*18446744073709551617\r\n", nil, multibulk},
		{"*-9223372036854775809\r\n", nil, multibulk},
		{"*4\r\n", &resp.Limits{Args: 3}, multibulk},
		{"*3\r\n", &resp.Limits{Args: 3}, ""},

		{"*1\r\n*1\r\n$1\r\na\r\n", nil, "Protocol error: expected '$', got '*'"},
		{"*1\r\nx", nil, "Protocol error: expected '$', got 'x'"},
		{"*1\r\n\r\n", nil, "Protocol error: expected '$', got '\r'"},
		{"*1\r\n\xff", nil, "Protocol error: expected '$', got '\xff'"},
		{"*2\r\n$1\r\na\r\n:1\r\n", nil, "Protocol error: expected '$', got ':'"},
		{"*1\r\n$\r\n\r\n", nil, bulk},
		{"*1\r\n$:\r\n0123456789\r\n", nil, bulk},
		{"*1\r\n$-1\r\n", nil, bulk},
		{"*1\r\n$-2\r\n", nil, bulk},
		{"*1\r\n$01\r\na\r\n", nil, bulk},
		{"*1\r\n$00\r\n\r\n", nil, bulk},
		{"*1\r\n$1:\r\n", nil, bulk},
		{"*1\r\n$1 \r\na\r\n", nil, bulk},
		{"*1\r\n$1:\r\n01234567890123456789\r\n", nil, bulk},
		{"*1\r\n$12x\n0123456789ab\r\n", nil, bulk},
		{"*1\r\n$12\rx0123456789ab\r\n", nil, bulk},
		{"*1\r\n$1\ra\r\n", nil, bulk},
		{"*1\r\n$10\r0", nil, bulk},
		{"*1\r\n$536870912\r\n", nil, ""},
		{"*1\r\n$536870913\r\n", nil, bulk},
		{"*1\r\n$4294967297\r\n", nil, bulk},
		{"*1\r\n$9223372036854775807\r\n", nil, bulk},
		{"*1\r\n$18446744073709551616\r\n", nil, bulk},
		{"*1\r\n$4\r\nPING", nil, ""},
		{"*1\r\n$4\r\nPING\r", nil, ""},
		{"*1\r\n$4\r\nPINGxx", nil, end},
		{"*1\r\n$4\r\nPING\n\n", nil, end},
		{"*1\r\n$4\r\nPING\r\r", nil, end},
		{"*1\r\n$4\r\nPI\r\nG\r\n", nil, end},
		{"*1\r\n$12\r\n0123456789ab\n\r", nil, end},
		{"*1\r\n$5\r\n", &resp.Limits{Bulk: 4}, bulk},
		{"*1\r\n$5\r\n01234\r\n", &resp.Limits{Bulk: 4}, bulk},
		{"*1\r\n$50\r\n", &resp.Limits{Bulk: 49}, bulk},
		{"*1\r\n$2147483647\r\n", &resp.Limits{Bulk: 1 << 40}, "Protocol error: too big request"},
		{"*1\r\n$1099511627776\r\n", &resp.Limits{Bulk: 1 << 40}, "Protocol error: too big request"},
		{"*1\r\n$9223372036854775807\r\n", &resp.Limits{Bulk: math.MaxInt64}, "Protocol error: too big request"},

		{"*10\r\n", unauth, ""},
		{"*11\r\n", unauth, "Protocol error: unauthenticated multibulk length"},
		{"*1048577\r\n", unauth, multibulk},
		{"*1\r\n$16384\r\n", unauth, ""},
		{"*1\r\n$16385\r\n", unauth, "Protocol error: unauthenticated bulk length"},
		{"*1\r\n$536870913\r\n", unauth, bulk},

		{"abcde", &resp.Limits{Inline: 5}, ""},
		{"abcdef", &resp.Limits{Inline: 5}, "Protocol error: too big inline request"},
		{"abcdef\n", &resp.Limits{Inline: 5}, "Protocol error: too big inline request"},
		{"", nil, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%q", tt.in), func(t *testing.T) {
			t.Parallel()
			everySplit(t, []byte(tt.in), tt.lim, func(_ request, done bool, err error) {
				checkError(t, done, err, tt.want)
			})
		})
	}
}

func checkError(t *testing.T, done bool, err error, want string) {
	t.Helper()
	switch {
	case done:
		t.Fatal("done, want none")
	case want == "" && err == nil:
	case err == nil:
		t.Fatalf("no error, want %q", want)
	case err.Error() != want:
		t.Fatalf("error %q, want %q", err, want)
	default:
		if _, ok := err.(resp.ProtocolError); !ok {
			t.Fatalf("error is a %T", err)
		}
	}
}

// TestScanLongLines puts the line end around the bound of each kind of line.
func TestScanLongLines(t *testing.T) {
	const bound = 64 << 10
	tests := []struct{ name, prefix, start, eol, tooLong, fits string }{
		{"inline", "", "x", "\n", "Protocol error: too big inline request", ""},
		{"multibulk", "", "*", "\r\n", "Protocol error: too big mbulk count string", "Protocol error: invalid multibulk length"},
		{"bulk", "*1\r\n", "$", "\r\n", "Protocol error: too big bulk count string", "Protocol error: invalid bulk length"},
		{"second bulk", "*2\r\n$1\r\na\r\n", "$", "\r\n", "Protocol error: too big bulk count string", "Protocol error: invalid bulk length"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			line := func(n int, eol string) []byte {
				return []byte(tt.prefix + tt.start + strings.Repeat("1", n-1) + eol)
			}
			p := len(tt.prefix)
			for _, cuts := range [][]int{nil, {1}, {p + 1}, {p + 1000, p + 1001}, {p + bound - 1}, {p + bound}} {
				_, done, err := scanGrowing(t, line(bound, ""), nil, cuts...)
				checkError(t, done, err, "")
				_, done, err = scanGrowing(t, line(bound+1, ""), nil, cuts...)
				checkError(t, done, err, tt.tooLong)
				_, done, err = scanGrowing(t, line(bound+1, tt.eol), nil, cuts...)
				checkError(t, done, err, tt.tooLong)
				r, done, err := scanGrowing(t, line(bound, tt.eol), nil, cuts...)
				if tt.fits != "" {
					checkError(t, done, err, tt.fits)
				} else if !done || err != nil || !r.Inline || r.Size != bound+1 {
					t.Fatal(r, done, err)
				}
			}
		})
	}
}

func TestScanPipeline(t *testing.T) {
	t.Parallel()
	var buf []byte
	var want []request
	for i := range 200 {
		at := len(buf)
		args := []string{"SET", fmt.Sprint("key:", i), strings.Repeat("v", i*i%1500)}
		buf = resp.AppendRequest(buf, args...)
		want = append(want, request{Size: len(buf) - at, Args: args})
	}
	for _, step := range []int{1, 7, 64, 1500, len(buf)} {
		var (
			s   resp.RequestScanner
			f   resp.Frame
			got []request
		)
		start := 0
		for end := 0; end < len(buf); {
			end = min(end+step, len(buf))
			for {
				done, err := s.Scan(buf[start:end], nil, &f)
				if err != nil {
					t.Fatal(err)
				}
				if !done {
					break
				}
				got = append(got, seen(buf[start:], &f))
				start += f.Size
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("step %d: %s", step, d)
		}
	}
}

func TestScanNeed(t *testing.T) {
	t.Parallel()
	buf := resp.AppendRequest(nil, "SET", "k", strings.Repeat("v", 100000))
	body := bytes.Index(buf, []byte("vvv"))
	tests := []struct{ have, want int }{
		{0, 1}, {1, 2}, {3, 4}, {4, 5}, {5, 6}, {8, 13}, {12, 13}, {13, 14},
		{body - 1, body}, {body, len(buf)}, {body + 5, len(buf)}, {len(buf) - 1, len(buf)},
	}
	for _, tt := range tests {
		var s resp.RequestScanner
		var f resp.Frame
		if done, err := s.Scan(buf[:tt.have], nil, &f); done || err != nil {
			t.Fatal(tt.have, done, err)
		}
		if s.Need() != tt.want {
			t.Errorf("with %d bytes: Need %d, want %d", tt.have, s.Need(), tt.want)
		}
		s.Reset()
		if s.Need() != 1 {
			t.Errorf("Need %d after Reset", s.Need())
		}
	}
}

// TestScanNothingTwice scribbles over what the scanner has passed: it must not
// notice before the request is complete, and then only in the headers.
func TestScanNothingTwice(t *testing.T) {
	t.Parallel()
	buf := resp.AppendRequest(nil, "SET", strings.Repeat("k", 300), strings.Repeat("v", 300))
	var s resp.RequestScanner
	var f resp.Frame
	first := bytes.IndexByte(buf, 'k')
	cut := bytes.IndexByte(buf, 'v') + 10
	part := bytes.Clone(buf)
	if done, err := s.Scan(part[:cut], nil, &f); done || err != nil {
		t.Fatal(done, err)
	}
	for i := range first {
		part[i] = 'X'
	}
	if done, err := s.Scan(part[:len(part)-1], nil, &f); done || err != nil {
		t.Fatal(done, err)
	}
	copy(part, buf[:first])
	for i := range 300 {
		part[first+i] = '\n'
	}
	if done, err := s.Scan(part, nil, &f); !done || err != nil || len(f.Args) != 3 {
		t.Fatal(done, err, f)
	}
}

// TestScanLinesNotTwice puts line ends where the scanner has looked before.
func TestScanLinesNotTwice(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"*", "*1\r\n$", "x"} {
		var s resp.RequestScanner
		var f resp.Frame
		buf := []byte(prefix + strings.Repeat("1", 1000))
		if done, err := s.Scan(buf[:900], nil, &f); done || err != nil {
			t.Fatal(done, err)
		}
		copy(buf[500:], "\r\n")
		if done, err := s.Scan(buf, nil, &f); done || err != nil {
			t.Fatalf("%q: looked twice: %t, %v", prefix, done, err)
		}
	}
}

func TestScanAllocs(t *testing.T) {
	get := resp.AppendRequest(nil, "GET", "key:000000000042")
	long := resp.AppendRequest(nil, "SET", "key", strings.Repeat("v", 5000))
	line := []byte("SET key \"va\\x41lue\"\r\n")
	var (
		s     resp.RequestScanner
		f     resp.Frame
		lim   resp.Limits
		out   []byte
		steps = [][]byte{get, long[:3], long[:20], long, line[:4], line}
	)
	run := func() {
		for _, p := range steps {
			if _, err := s.Scan(p, &lim, &f); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if out, _, err = resp.ParseInline(out[:0], line); err != nil {
			t.Fatal(err)
		}
		out = resp.AppendRequest(out[:0], "HELLO", "3")
		out = resp.AppendDouble(out, 1.5, true)
	}
	run()
	if n := testing.AllocsPerRun(200, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseInt(t *testing.T) {
	t.Parallel()
	good := map[string]int64{
		"0": 0, "1": 1, "-1": -1, "10": 10, "1048576": 1 << 20, "9999999999999999": 9999999999999999,
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	}
	for in, want := range good {
		if n, ok := resp.ParseInt([]byte(in)); !ok || n != want {
			t.Errorf("%q: %d, %t", in, n, ok)
		}
	}
	for _, in := range []string{
		"", "-", "+1", "-0", "00", "01", "-01", " 1", "1 ", "1x", "x", "--1", "0x1", "1.0", "1e3", "1_0", "\x001",
		"9223372036854775808", "-9223372036854775809", "18446744073709551616", "99999999999999999999", strings.Repeat("1", 1000),
	} {
		if n, ok := resp.ParseInt([]byte(in)); ok {
			t.Errorf("%q: %d, want none", in, n)
		}
	}
}
