package respconn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidwall/resp"
)

// Replies of a server are built as Values with these constructors and written by Conn.Reply, in the shapes of the protocol the client chose.

// Simple is a simple string; bytes below the space become spaces.
func Simple(s string) Value { return Value{Kind: SimpleString, Str: oneLine(s)} }

// Errorf is an error reply; its text begins with the code, as in "ERR no such pool 'x'".
func Errorf(format string, args ...any) Value {
	return Value{Kind: Error, Str: oneLine(fmt.Sprintf(format, args...))}
}

// Int is an integer.
func Int(n int64) Value { return Value{Kind: Integer, Int: n} }

// Bulk is a bulk string.
func Bulk(s string) Value { return Value{Kind: BulkString, Str: s} }

// Bool is a boolean; 1 or 0 in RESP2.
func Bool(b bool) Value {
	if b {
		return Value{Kind: Boolean, Str: "t", Int: 1}
	}
	return Value{Kind: Boolean, Str: "f"}
}

// Float is a double; a bulk string in RESP2.
func Float(f float64) Value { return Value{Kind: Double, Str: strconv.FormatFloat(f, 'g', -1, 64)} }

// Text is a verbatim string, which redis-cli prints raw; a bulk string in RESP2.
func Text(s string) Value { return Value{Kind: Verbatim, Str: s} }

// Nil is the null; a null bulk string in RESP2.
func Nil() Value { return Value{Kind: Null, Null: true} }

// List is an array.
func List(elems ...Value) Value { return Value{Kind: Array, Elems: elems} }

// Strings is an array of bulk strings.
func Strings(list ...string) Value {
	elems := make([]Value, len(list))
	for i, s := range list {
		elems[i] = Bulk(s)
	}
	return List(elems...)
}

// Fields is a map, given as name, value, name, value; a flat array in RESP2. A value is a Value, a string, a bool or an integer.
func Fields(pairs ...any) Value {
	elems := make([]Value, len(pairs))
	for i, p := range pairs {
		elems[i] = valueOf(p)
	}
	return Value{Kind: Map, Elems: elems}
}

// SetOf is a set; an array in RESP2.
func SetOf(elems ...Value) Value { return Value{Kind: Set, Elems: elems} }

func valueOf(p any) Value {
	switch p := p.(type) {
	case Value:
		return p
	case string:
		return Bulk(p)
	case int:
		return Int(int64(p))
	case int64:
		return Int(p)
	case uint64:
		return Int(int64(p))
	case bool:
		return Bool(p)
	}
	return Bulk(fmt.Sprint(p))
}

// SetProtocol chooses the protocol replies are written in from now on, 2 or 3: what HELLO asks for.
func (c *Conn) SetProtocol(version int) { c.proto = version }

// Protocol is the protocol replies are written in: 2 or 3.
func (c *Conn) Protocol() int { return c.proto }

// Reply buffers one reply; Flush sends it. The error is that of an earlier write.
func (c *Conn) Reply(v Value) error {
	if c.proto == 3 {
		_, err := c.out.Write(appendRESP3(c.out.AvailableBuffer(), v))
		return err
	}
	if err := c.w.WriteValue(toRESP2(v)); err != nil {
		return err
	}
	return c.bufferError()
}

// toRESP2 gives the RESP3 kinds the shapes Redis gives them in RESP2. A null array becomes the null bulk string: tidwall/resp cannot make one.
func toRESP2(v Value) resp.Value {
	switch {
	case v.Null:
		return resp.NullValue()
	case v.Aggregate():
		elems := make([]resp.Value, len(v.Elems))
		for i, e := range v.Elems {
			elems[i] = toRESP2(e)
		}
		return resp.ArrayValue(elems)
	}
	switch v.Kind {
	case SimpleString:
		return resp.SimpleStringValue(v.Str)
	case Error:
		return resp.ErrorValue(errors.New(oneLine(v.Str)))
	case Integer, Boolean:
		if int64(int(v.Int)) != v.Int {
			return resp.StringValue(formatInt(v.Int))
		}
		return resp.IntegerValue(int(v.Int))
	}
	return resp.StringValue(v.Str)
}

func appendRESP3(dst []byte, v Value) []byte {
	if v.Null {
		return append(dst, "_\r\n"...)
	}
	switch v.Kind {
	case SimpleString, Error:
		return appendLine(dst, v.Kind, oneLine(v.Str))
	case Integer:
		return appendLine(dst, v.Kind, formatInt(v.Int))
	case Boolean:
		if v.Int != 0 {
			return append(dst, "#t\r\n"...)
		}
		return append(dst, "#f\r\n"...)
	case Double, BigNumber:
		return appendLine(dst, v.Kind, v.Str)
	case Verbatim:
		dst = appendLine(dst, v.Kind, strconv.Itoa(len(v.Str)+4))
		return append(append(append(dst, "txt:"...), v.Str...), crlf...)
	case Array, Set, Push, Map:
		n := len(v.Elems)
		if v.Kind == Map {
			n /= 2
		}
		dst = appendLine(dst, v.Kind, strconv.Itoa(n))
		for _, e := range v.Elems {
			dst = appendRESP3(dst, e)
		}
		return dst
	}
	dst = appendLine(dst, BulkString, strconv.Itoa(len(v.Str)))
	return append(append(dst, v.Str...), crlf...)
}

func appendLine(dst []byte, kind Kind, text string) []byte {
	return append(append(append(dst, byte(kind)), text...), crlf...)
}

// oneLine makes s fit for a line of the protocol: bytes below the space become spaces.
func oneLine(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' }) < 0 {
		return s
	}
	b := []byte(s)
	for i := range b {
		if b[i] < ' ' {
			b[i] = ' '
		}
	}
	return string(b)
}
