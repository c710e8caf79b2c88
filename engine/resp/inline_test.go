package resp_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/engine/resp"
)

// The wants were read off redis-server 7.0.15.
func TestParseInline(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want []string
	}{
		{"PING\r\n", []string{"PING"}},
		{"PING", []string{"PING"}},
		{"\rPING\r\r\n", []string{"PING"}},
		{"  set  a\tb \n", []string{"set", "a", "b"}},
		{"", nil},
		{" \t\v\f\r\n", nil},
		{`echo "a\x41\n\q"`, []string{"echo", "aA\nq"}},
		{`echo "\r\n\t\b\a\"\\"`, []string{"echo", "\r\n\t\b\a\"\\"}},
		{`echo '\'\n\x41"'`, []string{"echo", `'\n\x41"`}},
		{`echo "\xg1\x4\x"`, []string{"echo", "xg1x4x"}},
		{`"\xfF\xFf\x00"`, []string{"\xff\xff\x00"}},
		{`echo a"b c"`, []string{"echo", "ab c"}},
		{`echo a'b c'`, []string{"echo", "ab c"}},
		{`echo "" ''`, []string{"echo", "", ""}},
		{`echo a\nb`, []string{"echo", `a\nb`}},
		{"echo a\vb", []string{"echo", "a\vb"}},
		{"echo \v\fb", []string{"echo", "b"}},
		{"echo \"a\"\vb", []string{"echo", "a", "b"}},
		{"a\x00b", []string{"a\x00b"}},
		{strings.Repeat("ab ", 20000), strings.Fields(strings.Repeat("ab ", 20000))},
		{strings.Repeat("x", 65530), []string{strings.Repeat("x", 65530)}},
	}
	for _, tt := range tests {
		dst := []byte("before")
		out, n, err := resp.ParseInline(dst, []byte(tt.in))
		if err != nil || n != len(tt.want) {
			t.Errorf("%.40q: %d arguments, error %v", tt.in, n, err)
			continue
		}
		want := "before"
		if len(tt.want) > 0 {
			want = string(resp.AppendRequest([]byte(want), tt.want...))
		}
		if d := cmp.Diff(want, string(out)); d != "" {
			t.Errorf("%.40q: %s", tt.in, d)
		}
	}
	for _, in := range []string{
		`echo "a`, `echo 'a`, `echo "a"b`, `echo 'a'b`, `echo ''"x"`, `"`, `'`, `"a\`, `'a\'`, "echo \"a\\\r\n", "\"\r\n", `a"b`, `"\x4`,
	} {
		out, n, err := resp.ParseInline([]byte("before"), []byte(in))
		if string(out) != "before" || n != 0 || err != resp.ProtocolError("Protocol error: unbalanced quotes in request") {
			t.Errorf("%q: %q, %d, %v", in, out, n, err)
		}
	}
}
