package respconn

import (
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzReceive holds that hostile bytes end in a value or an error, that the chunks they come in do not matter, and that a value written as RESP3 is read
// back the same.
func FuzzReceive(f *testing.F) {
	for _, tt := range replies {
		f.Add([]byte(tt.in), uint8(3))
	}
	for _, tt := range hostile {
		if len(tt.in) < 1000 {
			f.Add([]byte(tt.in), uint8(1))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		whole, wholeErr := receiveAll([]string{string(in)})
		var pieces []string
		for rest := in; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			pieces, rest = append(pieces, string(rest[:n])), rest[n:]
		}
		cut, cutErr := receiveAll(pieces)
		if d := cmp.Diff(whole, cut); d != "" || wholeErr.Error() != cutErr.Error() {
			t.Fatalf("%q: %v, %v, %s", in, wholeErr, cutErr, d)
		}
		for _, v := range whole {
			again, _ := receiveAll([]string{string(appendRESP3(nil, v))})
			if len(again) != 1 || !cmp.Equal(normal(v), again[0]) {
				t.Fatalf("%q: read back as %v", in, cmp.Diff([]Value{normal(v)}, again))
			}
		}
	})
}

// normal is v as RESP3 writes it: one kind of null, and one-line texts.
func normal(v Value) Value {
	if v.Null {
		return Nil()
	}
	switch v.Kind {
	case SimpleString, Error:
		v.Str = oneLine(v.Str)
	}
	var elems []Value
	for _, e := range v.Elems {
		elems = append(elems, normal(e))
	}
	v.Elems = elems
	return v
}

func receiveAll(pieces []string) ([]Value, error) {
	c := New(&chunks{in: pieces}, Limits{Reply: 1 << 10, Elements: 64, Depth: 4})
	var all []Value
	for {
		v, err := c.Receive()
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
}

// FuzzReadRequest holds the same of a server, and that a request sent by Send is read as it was.
func FuzzReadRequest(f *testing.F) {
	for _, s := range []string{"*1\r\n$4\r\nPING\r\n", "PING\r\n", "*0\r\n\r\nget 'a b' \"\\x41\"\r\n", "*2\r\n$1\r\na\r\n$-1\r\n", "*1025\r\n", "get \"a\r\n"} {
		f.Add([]byte(s), uint8(2))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		whole, wholeErr := requestsOf([]string{string(in)})
		var pieces []string
		for rest := in; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			pieces, rest = append(pieces, string(rest[:n])), rest[n:]
		}
		cut, cutErr := requestsOf(pieces)
		if d := cmp.Diff(whole, cut); d != "" || wholeErr.Error() != cutErr.Error() {
			t.Fatalf("%q: %v, %v, %s", in, wholeErr, cutErr, d)
		}
		var p *ProtocolError
		if !errors.As(wholeErr, &p) && wholeErr != io.EOF && wholeErr != io.ErrUnexpectedEOF {
			t.Fatalf("%q: %v", in, wholeErr)
		}
		for _, args := range whole {
			out := &chunks{}
			c := New(out, Limits{})
			if err := errors.Join(c.Send(args...), c.Flush()); err != nil {
				t.Fatal(err)
			}
			again, err := NewServer(&chunks{in: []string{out.out.String()}}, RequestLimits{}).ReadRequest()
			if err != nil || !cmp.Equal(args, again) {
				t.Fatalf("%q: read back as %q, %v", args, again, err)
			}
		}
	})
}

func requestsOf(pieces []string) ([][]string, error) {
	c := NewServer(&chunks{in: pieces}, RequestLimits{Bytes: 1 << 10, Args: 32})
	var all [][]string
	for {
		args, err := c.ReadRequest()
		if err != nil {
			return all, err
		}
		all = append(all, args)
	}
}
