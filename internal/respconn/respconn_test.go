package respconn

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// chunks is a net.Conn that reads its chunks one by one and keeps what is written.
type chunks struct {
	net.Conn
	in  []string
	out strings.Builder
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.in) > 0 && c.in[0] == "" {
		c.in = c.in[1:]
	}
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in[0])
	c.in[0] = c.in[0][n:]
	return n, nil
}

func (c *chunks) Write(p []byte) (int, error) { return c.out.Write(p) }

func bytesOf(s string) []string {
	out := make([]string, len(s))
	for i := range len(s) {
		out[i] = s[i : i+1]
	}
	return out
}

// splits are all ways to cut s in two, s whole and s byte by byte.
func splits(s string) [][]string {
	out := [][]string{{s}, bytesOf(s)}
	for i := 1; i < len(s); i++ {
		out = append(out, []string{s[:i], s[i:]})
	}
	return out
}

var replies = []struct {
	in   string
	want Value
}{
	{"+OK\r\n", Value{Kind: SimpleString, Str: "OK"}},
	{"+\r\n", Value{Kind: SimpleString}},
	{"-NOAUTH Authentication required.\r\n", Value{Kind: Error, Str: "NOAUTH Authentication required."}},
	{":-9223372036854775808\r\n", Value{Kind: Integer, Int: -9223372036854775808}},
	{"$5\r\na\r\nbc\r\n", Value{Kind: BulkString, Str: "a\r\nbc"}},
	{"$0\r\n\r\n", Value{Kind: BulkString}},
	{"$-1\r\n", Value{Kind: BulkString, Null: true}},
	{"*-1\r\n", Value{Kind: Array, Null: true}},
	{"*0\r\n", Value{Kind: Array}},
	{"*3\r\n$1\r\na\r\n:2\r\n*1\r\n$-1\r\n", List(Bulk("a"), Int(2), List(Value{Kind: BulkString, Null: true}))},
	{"*2\r\n*0\r\n*0\r\n", List(List(), List())},
	{"_\r\n", Nil()},
	{"#t\r\n", Bool(true)},
	{"#f\r\n", Bool(false)},
	{",1.5\r\n", Value{Kind: Double, Str: "1.5"}},
	{",-inf\r\n", Value{Kind: Double, Str: "-inf"}},
	{"(-12345678901234567890123\r\n", Value{Kind: BigNumber, Str: "-12345678901234567890123"}},
	{"=7\r\ntxt:abc\r\n", Text("abc")},
	{"!7\r\nERR bad\r\n", Errorf("ERR bad")},
	{"%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n#t\r\n", Fields(Simple("a"), 1, Simple("b"), SetOf(Bool(true)))},
	{"%0\r\n", Value{Kind: Map}},
	{">2\r\n$4\r\npong\r\n*-1\r\n", Value{Kind: Push, Elems: []Value{Bulk("pong"), {Kind: Array, Null: true}}}},
	{"|1\r\n+k\r\n*1\r\n:1\r\n+OK\r\n", Simple("OK")},
	{"*2\r\n|1\r\n+k\r\n|0\r\n+v\r\n+a\r\n_\r\n", List(Simple("a"), Nil())},
}

func TestReceive(t *testing.T) {
	for _, tt := range replies {
		for _, in := range splits(tt.in + "+next\r\n") {
			c := New(&chunks{in: in}, Limits{})
			got, err := c.Receive()
			if err != nil {
				t.Fatalf("%q in %d pieces: %v", tt.in, len(in), err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Fatalf("%q: %s", tt.in, d)
			}
			if got, err = c.Receive(); err != nil || got.Str != "next" {
				t.Fatalf("%q: the stream is out of step: %q, %v", tt.in, got.Str, err)
			}
			if _, err = c.Receive(); err != io.EOF {
				t.Fatalf("%q: at the end: %v", tt.in, err)
			}
		}
	}
}

func TestReceiveCutShort(t *testing.T) {
	for _, tt := range replies {
		for i := 1; i < len(tt.in); i++ {
			if _, err := New(&chunks{in: []string{tt.in[:i]}}, Limits{}).Receive(); err != io.ErrUnexpectedEOF {
				t.Fatalf("%q: %v", tt.in[:i], err)
			}
		}
	}
}

// hostile are replies nobody may send.
var hostile = []struct{ in, want string }{
	{"HTTP/1.1 200 OK\r\n", `unknown reply type 'H'`},
	{"\r\n", `unknown reply type '\r'`},
	{"\x00", `unknown reply type '\x00'`},
	{"$9999999999\r\n", "reply over 65536 bytes"},
	{"$65536\r\n", "reply over 65536 bytes"},
	{"*2147483647\r\n", "reply over 1024 elements"},
	{"*9223372036854775807\r\n", "reply over 1024 elements"},
	{"%513\r\n", "reply over 1024 elements"},
	{"*1\r\n*1024\r\n", "reply over 1024 elements"},
	{"*99999999999999999999\r\n", "invalid length"},
	{"*-7\r\n", "invalid length"},
	{"$-2\r\n", "invalid length"},
	{"%-1\r\n", "invalid length"},
	{"$?\r\n", "invalid length"},
	{"$+1\r\n", "invalid length"},
	{"$\r\n", "invalid length"},
	{"$ 1\r\n", "invalid length"},
	{":1x\r\n", "invalid integer"},
	{":9223372036854775808\r\n", "invalid integer"},
	{":\r\n", "invalid integer"},
	{"_x\r\n", "invalid null"},
	{"#x\r\n", "invalid boolean"},
	{",abc\r\n", "invalid double"},
	{",0x1p4\r\n", "invalid double"},
	{"(12a\r\n", "invalid big number"},
	{"(\r\n", "invalid big number"},
	{"=3\r\ntxt\r\n", "verbatim string without a format"},
	{"=4\r\ntxtx\r\n", "verbatim string without a format"},
	{"+OK\n", "line without CR LF"},
	{"+O\rK\r\n", "line without CR LF"},
	{"$1\r\nabc", "no CR LF behind a bulk string"},
	{"*1\r\n>1\r\n", "push within a reply"},
	{strings.Repeat("*1\r\n", 9), "reply nested deeper than 8"},
	{strings.Repeat("*1\r\n", 1_000_000), "reply nested deeper than 8"},
	{strings.Repeat("|1\r\n", 1_000_000), "reply nested deeper than 8"},
	{"+" + strings.Repeat("x", 1<<20), "reply over 65536 bytes"},
	{strings.Repeat("|0\r\n", 1_000_000), "reply over 65536 bytes"},
	{"*1024\r\n" + strings.Repeat("$60\r\n"+strings.Repeat("x", 60)+"\r\n", 1024), "reply over 65536 bytes"},
}

func TestReceiveHostile(t *testing.T) {
	for _, tt := range hostile {
		pieces := [][]string{{tt.in}}
		if len(tt.in) < 100 {
			pieces = splits(tt.in)
		}
		for _, in := range pieces {
			c := New(&chunks{in: in}, Limits{})
			_, err := c.Receive()
			var p *ProtocolError
			if !errors.As(err, &p) || p.Reason != tt.want {
				t.Fatalf("%.40q: got %v, want %s", tt.in, err, tt.want)
			}
			if _, again := c.Receive(); again != err {
				t.Fatalf("%.40q: a broken stream was read on: %v", tt.in, again)
			}
		}
	}
}

func TestLimitsAreExact(t *testing.T) {
	lim := Limits{Reply: 12, Elements: 2, Depth: 1}
	for in, ok := range map[string]bool{
		"$5\r\nabcde\r\n":           true, // 11 bytes
		"$6\r\nabcdef\r\n":          true,
		"$7\r\nabcdefg\r\n":         false,
		"*2\r\n:1\r\n:2\r\n":        true,
		"*3\r\n:1\r\n:2\r\n:3\r\n":  false,
		"*1\r\n*0\r\n":              true, // an empty one needs no level
		"*1\r\n*1\r\n:1\r\n":        false,
		"+0123456789\r\n":           false, // 13 bytes
		"+012345678\r\n":            true,
		"|1\r\n:1\r\n:1\r\n+OK\r\n": false,
	} {
		if _, err := New(&chunks{in: []string{in}}, lim).Receive(); (err == nil) != ok {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestReadRequest(t *testing.T) {
	for in, want := range map[string][]string{
		"*1\r\n$4\r\nPING\r\n":                        {"PING"},
		"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n": {"SET", "", "\r\n"},
		"\r\n\n*0\r\n*-1\r\nPING\r\n":                 {"PING"},
		"PING\n":                                      {"PING"},
		"  set\t'a b' \"c\\x41\\n\\\"\" ''  \r\n":     {"set", "a b", "cA\n\"", ""},
		"GET / HTTP/1.1\r\n":                          {"GET", "/", "HTTP/1.1"},
	} {
		for _, pieces := range splits(in) {
			got, err := NewServer(&chunks{in: pieces}, RequestLimits{}).ReadRequest()
			if err != nil {
				t.Fatalf("%q in %d pieces: %v", in, len(pieces), err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%q: %s", in, d)
			}
		}
	}
}

func TestReadRequestHostile(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"*1025\r\n", "invalid multibulk length"},
		{"*9999999999\r\n", "invalid multibulk length"},
		{"*x\r\n", "invalid multibulk length"},
		{"*1\rx", "invalid multibulk length"},
		{"*" + strings.Repeat("1", 1<<17), "too big mbulk count string"},
		{"*1\r\n$" + strings.Repeat("1", 1<<17), "too big bulk count string"},
		{"*1\r\n:1\r\n", "expected '$', got ':'"},
		{"*1\r\n\r\n", "expected '$', got '\r'"},
		{"*1\r\n$-1\r\n", "invalid bulk length"},
		{"*1\r\n$536870913\r\n", "invalid bulk length"},
		{"*1\r\n$65536\r\n", "invalid bulk length"},
		{"*1\r\n$1\r\nabc", "invalid bulk length"},
		{strings.Repeat("x", 1<<17), "too big inline request"},
		{"get 'a\r\n", "unbalanced quotes in request"},
	} {
		pieces := [][]string{{tt.in}}
		if len(tt.in) < 100 {
			pieces = splits(tt.in)
		}
		for _, in := range pieces {
			_, err := NewServer(&chunks{in: in}, RequestLimits{}).ReadRequest()
			var p *ProtocolError
			if !errors.As(err, &p) || p.Reason != tt.want {
				t.Fatalf("%.40q: got %v, want %s", tt.in, err, tt.want)
			}
		}
	}
}

func TestReadRequestCutShort(t *testing.T) {
	for _, in := range []string{"*2\r\n$1\r\na\r\n$1\r\nb\r\n", "PING\r", "*1\n*1\n"} { // a line of RESP ends at a CR, as Redis has it
		for i := 1; i < len(in); i++ {
			if _, err := NewServer(&chunks{in: []string{in[:i]}}, RequestLimits{}).ReadRequest(); err != io.ErrUnexpectedEOF {
				t.Fatalf("%q: %v", in[:i], err)
			}
		}
	}
}

// A request may have as many bytes as the bound says and none more, in whatever pieces it comes, and what goes over is refused before it is there.
func TestRequestLimitsAreExact(t *testing.T) {
	lim := RequestLimits{Bytes: 18, Args: 3}
	for in, want := range map[string]string{
		"*1\r\n$8\r\n12345678\r\n":                     "", // 18 bytes
		"*1\r\n$9\r\n":                                 "invalid bulk length",
		"*1\r\n$19\r\n":                                "invalid bulk length",
		"*2\r\n$1\r\na\r\n$2\r\n":                      "invalid bulk length", // would have 19 bytes
		"*2\r\n$1\r\na\r\n$1\r\nb\r\n":                 "",
		"*2\r\n$4\r\nabcd\r\n$0\r\n":                   "invalid bulk length", // full, and the CR LF to come
		"*2\r\n$5\r\nabcde\r\n$1\r":                    "too big bulk count string",
		"*2\r\n$8\r\nabcdefgh\r\n":                     "too big bulk count string", // full, with an argument to come
		"*1\r\n$0000000000000":                         "too big bulk count string",
		"*11111111111111111":                           "too big mbulk count string",
		"*4\r\n":                                       "invalid multibulk length",
		"echo 12345678901\r\n":                         "",
		"echo 123456789012\n":                          "",
		"echo 1234567890123":                           "too big inline request",
		"a b c d e f g h i\n":                          "", // the bytes alone bound a line
		"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nPING\r\n": "",
	} {
		for _, pieces := range splits(in) {
			c := NewServer(&chunks{in: pieces}, lim)
			_, err := c.ReadRequest()
			var p *ProtocolError
			switch {
			case want == "" && err == nil:
			case errors.As(err, &p) && p.Reason == want:
				if _, again := c.ReadRequest(); again != err {
					t.Fatalf("%q: a broken stream was read on: %v", in, again)
				}
			default:
				t.Fatalf("%q in %d pieces: got %v, want %q", in, len(pieces), err, want)
			}
		}
	}
}

func TestLimitRequests(t *testing.T) {
	c := NewServer(&chunks{in: []string{"*2\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"}}, RequestLimits{Args: 2})
	if args, err := c.ReadRequest(); err != nil || len(args) != 2 {
		t.Fatal(args, err)
	}
	c.LimitRequests(RequestLimits{Args: 1})
	if args, err := c.ReadRequest(); err == nil {
		t.Fatalf("%q went through", args)
	}
}

func TestReplyShapes(t *testing.T) {
	v := List(Simple("a\r\nb"), Errorf("ERR no such pool '%s'", "x\ny"), Int(-1), Bulk("b"), Bool(true), Bool(false), Float(0.5), Text("t"), Nil(),
		Fields("name", "p", "up", true, "clients", 3, "epoch", uint64(7), "ms", int64(9)), SetOf(Int(1)), Value{Kind: Push, Elems: []Value{Bulk("x")}},
		Value{Kind: Array, Null: true}, List())
	want2 := "*14\r\n+a  b\r\n-ERR no such pool 'x y'\r\n:-1\r\n$1\r\nb\r\n:1\r\n:0\r\n$3\r\n0.5\r\n$1\r\nt\r\n$-1\r\n" +
		"*10\r\n$4\r\nname\r\n$1\r\np\r\n$2\r\nup\r\n:1\r\n$7\r\nclients\r\n:3\r\n$5\r\nepoch\r\n:7\r\n$2\r\nms\r\n:9\r\n*1\r\n:1\r\n*1\r\n$1\r\nx\r\n$-1\r\n*0\r\n"
	want3 := "*14\r\n+a  b\r\n-ERR no such pool 'x y'\r\n:-1\r\n$1\r\nb\r\n#t\r\n#f\r\n,0.5\r\n=5\r\ntxt:t\r\n_\r\n" +
		"%5\r\n$4\r\nname\r\n$1\r\np\r\n$2\r\nup\r\n#t\r\n$7\r\nclients\r\n:3\r\n$5\r\nepoch\r\n:7\r\n$2\r\nms\r\n:9\r\n~1\r\n:1\r\n>1\r\n$1\r\nx\r\n_\r\n*0\r\n"
	for proto, want := range map[int]string{2: want2, 3: want3} {
		out := &chunks{}
		c := NewServer(out, RequestLimits{})
		c.SetProtocol(proto)
		if err := c.Reply(v); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, out.out.String()); d != "" {
			t.Errorf("RESP%d: %s", proto, d)
		}
	}
}

func TestHelpers(t *testing.T) {
	if code := Errorf("NOAUTH Authentication required.").Code(); code != "NOAUTH" {
		t.Error(code)
	}
	if code := Bulk("NOAUTH x").Code(); code != "" {
		t.Error(code)
	}
	for _, v := range []Value{Simple("7"), Bulk("7"), Int(7), Text("7"), {Kind: Double, Str: "7"}, {Kind: BigNumber, Str: "7"}} {
		if s, ok := v.Text(); !ok || s != "7" {
			t.Errorf("%v: %q, %v", v.Kind, s, ok)
		}
	}
	for _, v := range []Value{Errorf("ERR"), Nil(), List(), Bool(true), {Kind: BulkString, Null: true}, {}} {
		if _, ok := v.Text(); ok {
			t.Errorf("%v has a text", v.Kind)
		}
	}
	if s := Bulk("secret").String(); strings.Contains(s, "secret") {
		t.Errorf("String() tells the value: %s", s)
	}
}

// pair is a TCP connection on loopback with both of its ends.
func pair(t *testing.T) (client, server *Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = Dial(context.Background(), "tcp", l.Addr().String(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server = NewServer(accepted, RequestLimits{})
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestBothRoles(t *testing.T) {
	client, server := pair(t)
	done := make(chan error, 1)
	go func() {
		args, err := server.ReadRequest()
		if err == nil {
			err = server.Reply(Strings(args...))
		}
		if err == nil {
			err = server.Flush()
		}
		done <- err
	}()
	v, err := client.Do("ECHO", "", "a\r\nb")
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Strings("ECHO", "", "a\r\nb"), v); d != "" {
		t.Error(d)
	}
}

// A reader that gave up in the middle of a reply finds it whole later.
func TestDeadlineKeepsTheStream(t *testing.T) {
	client, server := pair(t)
	if err := server.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := server.c.Write([]byte("$5\r\nab")); err != nil {
		t.Fatal(err)
	}
	for client.reply.body != 5 { // until "ab" was taken
		_ = client.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if _, err := client.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := server.c.Write([]byte("cde\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if v, err := client.Receive(); err != nil || v.Str != "abcde" {
		t.Fatalf("%q, %v", v.Str, err)
	}
}

// The last reply reaches a client that goes on sending.
func TestCloseGently(t *testing.T) {
	client, server := pair(t)
	if _, err := client.c.Write([]byte("*x\r\n" + strings.Repeat("more ", 10_000))); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := server.ReadRequest()
		_ = server.Reply(Errorf("ERR %v", err)) // an error shows at the other end
		server.CloseGently(10 * time.Second)
	}()
	if v, err := client.Receive(); err != nil || v.Str != "ERR Protocol error: invalid multibulk length" {
		t.Errorf("%q, %v", v.Str, err)
	}
	if _, err := client.Receive(); err != io.EOF {
		t.Errorf("then %v", err)
	}
	client.Close()
	<-done
}

// Replies to pipelined requests leave before the server waits for more, a trailing empty line or not.
func TestReadRequestFlushes(t *testing.T) {
	client, server := pair(t)
	if _, err := client.c.Write([]byte("PING\r\nPING\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := server.ReadRequest(); err != nil {
				return
			}
			_ = server.Reply(Simple("PONG")) // an error shows at the other end
		}
	}()
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	for range 2 {
		if v, err := client.Receive(); err != nil || v.Str != "PONG" {
			t.Fatalf("%q, %v", v.Str, err)
		}
	}
	client.Close()
	<-done
}

type failingWriter struct{ chunks }

func (*failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// tidwall/resp's WriteValue drops the error of a write; it must come out of Flush, and of the next Send and Reply.
func TestWriteErrorsAreTold(t *testing.T) {
	c := New(&failingWriter{}, Limits{})
	if err := c.Send("PING"); err != nil {
		t.Fatalf("a buffered request failed: %v", err)
	}
	if err := c.Flush(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Flush: %v", err)
	}
	if err := c.Send("PING"); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Send: %v", err)
	}
	if err := c.Reply(Simple("OK")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Reply: %v", err)
	}
	if _, err := c.Do("PING"); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Do: %v", err)
	}
}

func TestDialError(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Dial(ctx, "tcp", "127.0.0.1:1", Limits{}); err == nil {
		t.Fatal("dialed with a cancelled context")
	}
}
