package resp

import (
	"math"
	"strconv"
)

// The functions of this file append one reply, or the header of one, to dst and
// return it grown. Those that take resp3 build the RESP3 type when it is true
// and what Redis sends in its place to a RESP2 client when it is not.

// AppendInt appends the integer n.
func AppendInt(dst []byte, n int64) []byte { return appendHeader(dst, ':', n) }

// AppendBulk appends the bulk string b.
func AppendBulk(dst, b []byte) []byte {
	dst = appendHeader(dst, '$', int64(len(b)))
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

// AppendBulkString appends the bulk string s.
func AppendBulkString(dst []byte, s string) []byte {
	dst = appendHeader(dst, '$', int64(len(s)))
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendSimple appends the simple string s. A CR or LF in s becomes a space.
func AppendSimple(dst []byte, s string) []byte { return appendLine(dst, '+', s) }

// AppendError appends the error s, which begins with its code ("ERR no such
// key"). A CR or LF in s becomes a space.
func AppendError(dst []byte, s string) []byte { return appendLine(dst, '-', s) }

// AppendArray appends the header of an array of n elements.
func AppendArray(dst []byte, n int) []byte { return appendHeader(dst, '*', int64(n)) }

// AppendMap appends the header of a map of n pairs; in RESP2 a flat array of
// 2n elements.
func AppendMap(dst []byte, n int, resp3 bool) []byte {
	if resp3 {
		return appendHeader(dst, '%', int64(n))
	}
	return appendHeader(dst, '*', 2*int64(n))
}

// AppendSet appends the header of a set of n elements; in RESP2 an array.
func AppendSet(dst []byte, n int, resp3 bool) []byte {
	if resp3 {
		return appendHeader(dst, '~', int64(n))
	}
	return appendHeader(dst, '*', int64(n))
}

// AppendPush appends the header of a push of n elements; in RESP2 an array.
func AppendPush(dst []byte, n int, resp3 bool) []byte {
	if resp3 {
		return appendHeader(dst, '>', int64(n))
	}
	return appendHeader(dst, '*', int64(n))
}

// AppendNull appends a null; in RESP2 a null bulk string.
func AppendNull(dst []byte, resp3 bool) []byte {
	if resp3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, "$-1\r\n"...)
}

// AppendNullArray appends a null; in RESP2 a null array.
func AppendNullArray(dst []byte, resp3 bool) []byte {
	if resp3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, "*-1\r\n"...)
}

// AppendDouble appends the double f, infinities as "inf" and "-inf"; in RESP2 a
// bulk string with the same digits.
func AppendDouble(dst []byte, f float64, resp3 bool) []byte {
	var digits [32]byte
	d := formatDouble(digits[:0], f)
	if !resp3 {
		return AppendBulk(dst, d)
	}
	dst = append(dst, ',')
	dst = append(dst, d...)
	return append(dst, '\r', '\n')
}

// formatDouble writes f in the shortest digits that read back as f, and in the
// shape of C's %.17g, which Redis uses: an exponent only below 1e-4 and from
// 1e17 on.
func formatDouble(dst []byte, f float64) []byte {
	switch abs := math.Abs(f); {
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	case math.IsNaN(f):
		return append(dst, "nan"...)
	case abs != 0 && (abs < 1e-4 || abs >= 1e17):
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// AppendBool appends the boolean b; in RESP2 the integer 1 or 0.
func AppendBool(dst []byte, b, resp3 bool) []byte {
	switch {
	case resp3 && b:
		return append(dst, "#t\r\n"...)
	case resp3:
		return append(dst, "#f\r\n"...)
	case b:
		return append(dst, ":1\r\n"...)
	}
	return append(dst, ":0\r\n"...)
}

// AppendVerbatim appends the verbatim string s; in RESP2 a bulk string. format
// is three bytes, "txt" or "mkd"; as in Redis a longer one is cut and a shorter
// one padded with spaces.
func AppendVerbatim(dst []byte, format, s string, resp3 bool) []byte {
	if !resp3 {
		return AppendBulkString(dst, s)
	}
	dst = appendHeader(dst, '=', int64(len(s))+4)
	for i := range 3 {
		c := byte(' ')
		if i < len(format) {
			c = format[i]
		}
		dst = append(dst, c)
	}
	dst = append(dst, ':')
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendRequest appends a multibulk request of args.
func AppendRequest(dst []byte, args ...string) []byte {
	dst = appendHeader(dst, '*', int64(len(args)))
	for _, a := range args {
		dst = AppendBulkString(dst, a)
	}
	return dst
}

func appendHeader(dst []byte, typ byte, n int64) []byte {
	if uint64(n) <= 9 { // nearly all headers
		return append(dst, typ, '0'+byte(n), '\r', '\n')
	}
	dst = append(dst, typ)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}

func appendLine(dst []byte, typ byte, s string) []byte {
	dst = append(dst, typ)
	for i := range len(s) {
		c := s[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, '\r', '\n')
}
