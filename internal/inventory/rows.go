package inventory

import (
	"strings"

	"respgate/engine/command"
	"respgate/internal/respconn"
)

// rows reads elements of COMMAND's reply; what is no row is left out.
func rows(elems []respconn.Value) (out []command.Row) {
	for i := range elems {
		if r, ok := row(elems[i].Elems); ok {
			out = append(out, r)
		}
	}
	return out
}

// row is one element: name, arity, flags, first, last, step; since Redis 6 ACL categories; since Redis 7 tips, key specifications, subcommands.
func row(f []respconn.Value) (r command.Row, ok bool) {
	if len(f) < 6 {
		return r, false
	}
	r.Name, ok = f[0].Text()
	r.Arity, r.Flags = number(f[1]), words(f[2])
	r.First, r.Last, r.Step = number(f[3]), number(f[4]), number(f[5])
	if len(f) >= 10 {
		for i := range f[8].Elems {
			r.Keys = append(r.Keys, rowKeys(f[8].Elems[i]))
		}
		r.Subs = rows(f[9].Elems)
	}
	return r, ok
}

// rowKeys reads a key specification: flags, begin_search and find_keys, of which each has a type and a spec.
func rowKeys(v respconn.Value) (k command.RowKeys) {
	for _, flag := range words(field(v, "flags")) {
		k.Unknown = k.Unknown || strings.EqualFold(flag, "incomplete")
	}
	begin, find := field(v, "begin_search"), field(v, "find_keys")
	switch spec := field(begin, "spec"); text(field(begin, "type")) {
	case "index":
		k.Index = number(field(spec, "index"))
	case "keyword":
		k.Keyword, k.StartFrom = text(field(spec, "keyword")), number(field(spec, "startfrom"))
		k.Unknown = k.Unknown || k.Keyword == ""
	default:
		k.Unknown = true
	}
	spec := field(find, "spec")
	k.KeyStep = number(field(spec, "keystep"))
	switch text(field(find, "type")) {
	case "range":
		k.LastKey, k.Limit = number(field(spec, "lastkey")), number(field(spec, "limit"))
	case "keynum":
		k.KeyNum, k.KeyNumIdx, k.FirstKey = true, number(field(spec, "keynumidx")), number(field(spec, "firstkey"))
	default:
		k.Unknown = true
	}
	return k
}

// field is the value of a name in a map, which in RESP2 is an array of names and values in turn.
func field(v respconn.Value, name string) respconn.Value {
	for i := 0; i+1 < len(v.Elems); i += 2 {
		if text(v.Elems[i]) == name {
			return v.Elems[i+1]
		}
	}
	return respconn.Value{}
}

func text(v respconn.Value) string {
	s, _ := v.Text()
	return s
}

// number is an integer; one that is none, or out of all bounds, is a position that no request has.
func number(v respconn.Value) int {
	const far = 1 << 30
	if v.Kind != respconn.Integer || v.Int > far || v.Int < -far {
		return far
	}
	return int(v.Int)
}

func words(v respconn.Value) (out []string) {
	for i := range v.Elems {
		if s, ok := v.Elems[i].Text(); ok {
			out = append(out, s)
		}
	}
	return out
}
