package resp_test

import (
	"math"
	"testing"

	"respgate/engine/resp"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	type appender func(dst []byte, resp3 bool) []byte
	plain := func(b []byte) appender {
		return func(dst []byte, _ bool) []byte { return append(dst, b...) }
	}
	double := func(f float64) appender {
		return func(dst []byte, resp3 bool) []byte { return resp.AppendDouble(dst, f, resp3) }
	}
	tests := []struct {
		name         string
		f            appender
		resp2, resp3 string
	}{
		{"int", plain(resp.AppendInt(nil, -42)), ":-42\r\n", ":-42\r\n"},
		{"least int", plain(resp.AppendInt(nil, math.MinInt64)), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"},
		{"bulk", plain(resp.AppendBulk(nil, []byte("a\r\nb"))), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"},
		{"empty bulk", plain(resp.AppendBulk(nil, nil)), "$0\r\n\r\n", "$0\r\n\r\n"},
		{"bulk string", plain(resp.AppendBulkString(nil, "abc")), "$3\r\nabc\r\n", "$3\r\nabc\r\n"},
		{"simple", plain(resp.AppendSimple(nil, "a\r\nb")), "+a  b\r\n", "+a  b\r\n"},
		{"error", plain(resp.AppendError(nil, "ERR a\rb\n")), "-ERR a b \r\n", "-ERR a b \r\n"},
		{"array", plain(resp.AppendArray(nil, 3)), "*3\r\n", "*3\r\n"},
		{"request", plain(resp.AppendRequest(nil, "GET", "")), "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "*2\r\n$3\r\nGET\r\n$0\r\n\r\n"},
		{"map", func(d []byte, r bool) []byte { return resp.AppendMap(d, 2, r) }, "*4\r\n", "%2\r\n"},
		{"set", func(d []byte, r bool) []byte { return resp.AppendSet(d, 2, r) }, "*2\r\n", "~2\r\n"},
		{"push", func(d []byte, r bool) []byte { return resp.AppendPush(d, 2, r) }, "*2\r\n", ">2\r\n"},
		{"null", resp.AppendNull, "$-1\r\n", "_\r\n"},
		{"null array", resp.AppendNullArray, "*-1\r\n", "_\r\n"},
		{"true", func(d []byte, r bool) []byte { return resp.AppendBool(d, true, r) }, ":1\r\n", "#t\r\n"},
		{"false", func(d []byte, r bool) []byte { return resp.AppendBool(d, false, r) }, ":0\r\n", "#f\r\n"},
		{"verbatim", func(d []byte, r bool) []byte { return resp.AppendVerbatim(d, "txt", "a\nb", r) }, "$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n"},
		{"verbatim, short", func(d []byte, r bool) []byte { return resp.AppendVerbatim(d, "m", "", r) }, "$0\r\n\r\n", "=4\r\nm  :\r\n"},
		{"verbatim, long", func(d []byte, r bool) []byte { return resp.AppendVerbatim(d, "markdown", "", r) }, "$0\r\n\r\n", "=4\r\nmar:\r\n"},
		{"double", double(3.5), "$3\r\n3.5\r\n", ",3.5\r\n"},
		{"integral double", double(1e16), "$17\r\n10000000000000000\r\n", ",10000000000000000\r\n"},
		{"large double", double(1e17), "$5\r\n1e+17\r\n", ",1e+17\r\n"},
		{"small double", double(-0.0001), "$7\r\n-0.0001\r\n", ",-0.0001\r\n"},
		{"smaller double", double(0.00001), "$5\r\n1e-05\r\n", ",1e-05\r\n"},
		{"zero", double(0), "$1\r\n0\r\n", ",0\r\n"},
		{"inf", double(math.Inf(1)), "$3\r\ninf\r\n", ",inf\r\n"},
		{"-inf", double(math.Inf(-1)), "$4\r\n-inf\r\n", ",-inf\r\n"},
		{"nan", double(math.NaN()), "$3\r\nnan\r\n", ",nan\r\n"},
		{"longest double", double(-math.MaxFloat64), "$24\r\n-1.7976931348623157e+308\r\n", ",-1.7976931348623157e+308\r\n"},
	}
	for _, tt := range tests {
		if got := string(tt.f([]byte("x"), false)); got != "x"+tt.resp2 {
			t.Errorf("%s, RESP2: %q", tt.name, got)
		}
		if got := string(tt.f([]byte("x"), true)); got != "x"+tt.resp3 {
			t.Errorf("%s, RESP3: %q", tt.name, got)
		}
	}
}
