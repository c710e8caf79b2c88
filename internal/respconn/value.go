package respconn

import (
	"strings"

	"respgate/engine/resp"
)

// Kind is the type of a value: the byte it has on the wire.
type Kind byte

// The kinds of RESP2, and behind them those of RESP3. A bulk error (!) is told as an Error, an attribute (|) is skipped.
const (
	SimpleString Kind = '+'
	Error        Kind = '-'
	Integer      Kind = ':'
	BulkString   Kind = '$'
	Array        Kind = '*'
	Push         Kind = '>'
	Map          Kind = '%'
	Set          Kind = '~'
	Null         Kind = '_'
	Double       Kind = ','
	Boolean      Kind = '#'
	Verbatim     Kind = '='
	BigNumber    Kind = '('
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case SimpleString:
		return "simple string"
	case Error:
		return "error"
	case Integer:
		return "integer"
	case BulkString:
		return "bulk string"
	case Array:
		return "array"
	case Push:
		return "push"
	case Map:
		return "map"
	case Set:
		return "set"
	case Null:
		return "null"
	case Double:
		return "double"
	case Boolean:
		return "boolean"
	case Verbatim:
		return "verbatim string"
	case BigNumber:
		return "big number"
	}
	return "unknown kind"
}

// Value is one RESP value; it owns its memory. The zero Value is no value of any kind.
type Value struct {
	Kind  Kind
	Str   string  // text of + - $ = , ( ; of = without its "txt:"; of # "t" or "f"
	Int   int64   // : and # (0 or 1)
	Elems []Value // * > ~, and % as key, value, key, value
	Null  bool    // $-1, *-1 and _
}

// IsError says that the value is an error reply.
func (v Value) IsError() bool { return v.Kind == Error }

// Code is the first word of an error reply, as in "NOAUTH", and "" for any other value.
func (v Value) Code() string {
	if v.Kind != Error {
		return ""
	}
	code, _, _ := strings.Cut(v.Str, " ")
	return code
}

// Text is the value as text, for the kinds that are text or a number: + $ = , ( and :. ok is false for all others and for a null.
func (v Value) Text() (text string, ok bool) {
	switch v.Kind {
	case SimpleString, BulkString, Verbatim, Double, BigNumber:
		return v.Str, !v.Null
	case Integer:
		return formatInt(v.Int), true
	}
	return "", false
}

// Aggregate says that the value has elements: an array, a map, a set or a push that is not null.
func (v Value) Aggregate() bool {
	switch v.Kind {
	case Array, Map, Set, Push:
		return !v.Null
	}
	return false
}

// ParseInt reads an argument as strictly as Redis does: no sign but '-', no leading zero.
func ParseInt(arg string) (n int64, ok bool) { return resp.ParseInt([]byte(arg)) }
