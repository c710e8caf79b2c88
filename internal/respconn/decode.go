package respconn

import (
	"bytes"
	"fmt"

	"github.com/tidwall/resp"
)

// decode turns the frame of the reply scanner into a Value: RESP2 by tidwall/resp, the rest by decodeRESP3. The frame was checked, so that an error
// here is a disagreement between the two, which is as good as a broken stream.
func (c *Conn) decode() (Value, error) {
	frame := c.reply.buf
	if c.reply.resp3 {
		v, rest, ok := decodeRESP3(frame)
		if !ok || len(rest) > 0 {
			return Value{}, protocolErrorf("reply not understood")
		}
		return v, nil
	}
	c.frame.Reset(frame)
	v, n, err := c.decoder.ReadValue()
	if err != nil || n != len(frame) {
		return Value{}, protocolErrorf("reply not understood")
	}
	return fromRESP2(v), nil
}

func fromRESP2(v resp.Value) Value {
	out := Value{Kind: Kind(v.Type()), Null: v.IsNull()}
	switch out.Kind {
	case Array:
		elems := v.Array()
		if len(elems) == 0 {
			break
		}
		out.Elems = make([]Value, len(elems))
		for i, e := range elems {
			out.Elems[i] = fromRESP2(e)
		}
	case Integer:
		out.Int = int64(v.Integer())
	default:
		out.Str = v.String()
	}
	return out
}

// decodeRequest turns the frame of the request scanner into arguments: none for an empty request.
func (c *Conn) decodeRequest() ([]string, error) {
	frame, err := c.request.multibulk()
	if err != nil || len(frame) == 0 {
		return nil, err
	}
	c.frame.Reset(frame)
	v, telnet, n, err := c.decoder.ReadMultiBulk()
	if err != nil || telnet || n != len(frame) {
		return nil, protocolErrorf("invalid multibulk length")
	}
	elems := v.Array()
	args := make([]string, len(elems))
	for i, e := range elems {
		args[i] = e.String()
	}
	return args, nil
}

// decodeRESP3 decodes the value at the head of b, which replyScanner has checked: depth and lengths are bounded. ok is false only for bytes it has not.
func decodeRESP3(b []byte) (v Value, rest []byte, ok bool) {
	end := bytes.Index(b, crlf)
	if end < 1 {
		return Value{}, nil, false
	}
	kind, text := Kind(b[0]), b[1:end]
	rest = b[end+2:]
	v = Value{Kind: kind}
	switch kind {
	case SimpleString, Error, Double, BigNumber:
		v.Str = string(text)
		return v, rest, true
	case Null:
		v.Null = true
		return v, rest, true
	case Boolean:
		v.Str = string(text)
		if v.Str == "t" {
			v.Int = 1
		}
		return v, rest, true
	}
	n, valid := parseInt(text)
	if !valid {
		return Value{}, nil, false
	}
	switch kind {
	case Integer:
		v.Int = n
		return v, rest, true
	case BulkString, Verbatim, bulkError:
		return decodeBulk(kind, n, rest)
	case attribute:
		for range 2 * n {
			if _, rest, ok = decodeRESP3(rest); !ok {
				return Value{}, nil, false
			}
		}
		return decodeRESP3(rest)
	case Map:
		n *= 2
	case Array, Set, Push:
	default:
		return Value{}, nil, false
	}
	if n < 0 {
		v.Null = true
		return v, rest, true
	}
	return decodeElems(v, n, rest)
}

func decodeBulk(kind Kind, n int64, b []byte) (v Value, rest []byte, ok bool) {
	if n < 0 {
		return Value{Kind: kind, Null: true}, b, true
	}
	if n+2 > int64(len(b)) {
		return Value{}, nil, false
	}
	text, rest := b[:n], b[n+2:]
	switch kind {
	case bulkError:
		kind = Error
	case Verbatim:
		if n < 4 {
			return Value{}, nil, false
		}
		text = text[4:]
	}
	return Value{Kind: kind, Str: string(text)}, rest, true
}

func decodeElems(v Value, n int64, b []byte) (_ Value, rest []byte, ok bool) {
	if n > int64(len(b)) { // an element has three bytes at least
		return Value{}, nil, false
	}
	if n > 0 {
		v.Elems = make([]Value, n)
	}
	for i := range v.Elems {
		if v.Elems[i], b, ok = decodeRESP3(b); !ok {
			return Value{}, nil, false
		}
	}
	return v, b, true
}

// String shows the kind and the size of a value, never its content: a value that slips into a log tells nothing.
func (v Value) String() string {
	switch {
	case v.Null:
		return "null " + v.Kind.String()
	case v.Aggregate():
		return fmt.Sprintf("%s of %d", v.Kind, len(v.Elems))
	case v.Kind == Integer:
		return "integer"
	}
	return fmt.Sprintf("%s of %d bytes", v.Kind, len(v.Str))
}
