package command

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/engine/resp"
)

// keyCases are requests and their keys; "!" is a malformed request, and a word of ” an empty argument.
var keyCases = []struct{ request, keys string }{
	{"get k", "k"},
	{"GET k", "k"},
	{"set k v ex 10", "k"},
	{"mget a b c", "a b c"},
	{"mset a 1 b 2", "a b"},
	{"mset a 1 b", "!"},
	{"msetnx a 1 b 2 c 3", "a b c"},
	{"del a", "a"},
	{"rename a b", "a b"},
	{"rename a", "!"},
	{"copy a b db 1 replace", "a b"},
	{"lmove a b left right", "a b"},
	{"blpop a b c 0", "a b c"},
	{"brpoplpush a b 0", "a b"},
	{"bitop and d a b", "d a b"},
	{"pfmerge d", "d"},
	{"pfmerge d a b", "d a b"},
	{"pfcount a b", "a b"},
	{"sinterstore d a b", "d a b"},
	{"object encoding k", "k"},
	{"OBJECT FREQ k", "k"},
	{"memory usage k samples 5", "k"},
	{"xinfo stream k full", "k"},
	{"xinfo consumers k g", "k"},
	{"xgroup create k g $ mkstream", "k"},
	{"xgroup destroy k g", "k"},
	{"spublish ch m", "ch"},
	{"publish ch m", "ch"},
	{"ping", ""},
	{"dbsize", ""},
	{"client setname n", ""},

	{"zunionstore d 2 a b weights 1 2", "d a b"},
	{"zunionstore d 0", "d"},
	{"zunionstore d 3 a b", "!"},
	{"zunionstore d", "!"},
	{"zinterstore d 1 a aggregate max", "d a"},
	{"zdiffstore d 2 a b", "d a b"},
	{"zunion 2 a b withscores", "a b"},
	{"zdiff 1 a", "a"},
	{"zinter x a", "!"},
	{"zinter -1 a", "!"},
	{"zinter +1 a", "!"},
	{"zinter 01 a", "!"},
	{"zinter '' a", "!"},
	{"zinter 1x a", "!"},
	{"zinter 4294967297 a", "!"},
	{"zinter 999999999 a", "!"},
	{"zinter 99999999999999999999 a", "!"},
	{"zintercard 2 a b limit 1", "a b"},
	{"sintercard 2 a b", "a b"},
	{"lmpop 2 a b left", "a b"},
	{"zmpop 1 a min", "a"},
	{"blmpop 0 2 a b left count 3", "a b"},
	{"bzmpop 0 1 a min", "a"},
	{"eval s 0", ""},
	{"eval s 0 arg", ""},
	{"eval s 2 a b arg", "a b"},
	{"eval s 3 a b", "!"},
	{"eval s", "!"},
	{"evalsha h 1 a x y", "a"},
	{"eval_ro s 1 a", "a"},
	{"evalsha_ro h 2 a b", "a b"},
	{"fcall f 1 a x", "a"},
	{"fcall_ro f 0", ""},

	{"xread streams a b 0 0", "a b"},
	{"XREAD COUNT 2 BLOCK 0 STREAMS a 0", "a"},
	{"xread streams a b 0", "!"},
	{"xread streams", "!"},
	{"xread count 2 a 0", "!"},
	{"xreadgroup group g c streams a b > >", "a b"},
	{"xreadgroup group streams c noack streams a >", "a"},
	{"xreadgroup group g streams streams a >", "a"},

	{"sort k", "k"},
	{"sort k by w_* limit 0 10 get # get o_* asc alpha", "k"},
	{"sort k store d", "k d"},
	{"SORT k STORE d1 BY store STORE d2", "k d2"},
	{"sort k by store get store", "k"},
	{"sort k limit store 1 store d", "k d"},
	{"sort k store", "k"},
	{"sort_ro k by w_* get o_*", "k"},
	{"georadius k 15 37 200 km", "k"},
	{"georadius k 15 37 200 km store d", "k d"},
	{"georadius k 15 37 200 km count 3 asc STOREDIST d", "k d"},
	{"georadius k 15 37 200 km store d1 storedist d2", "k d2"},
	{"georadius k 15 37 200 km store", "k"},
	{"georadiusbymember k store 200 km", "k"},
	{"georadiusbymember k store 200 km store d", "k d"},
	{"georadius_ro k 15 37 200 km", "k"},
	{"geosearchstore d k frommember m byradius 1 km", "d k"},
	{"migrate h 1 k 0 100", "k"},
	{"migrate h 1 k 0 100 copy keys", "k"},
	{"migrate h 1 '' 0 100 keys a b", "a b"},
	{"migrate h 1 '' 0 100 auth keys KEYS a", "a"},
	{"migrate h 1 '' 0 100 auth2 keys keys keys a b", "a b"},
	{"migrate h 1 '' 0 100 replace", ""},
	{"migrate h 1", "!"},

	{"hexpire k 10 fields 1 f", "k"},
	{"hpexpireat k 10 nx fields 2 f g", "k"},
	{"hgetex k ex 10 fields 1 f", "k"},
	{"hsetex k fnx ex 10 fields 1 f v", "k"},
	{"hgetdel k fields 1 f", "k"},
	{"himport set k list v w", "k"},
	{"msetex 2 a 1 b 2 ex 10", "a b"},
	{"msetex 2 a 1 b", "!"},
	{"msetex 0 a 1", ""},
	{"lmovem a b left right count 2 obo", "a b"},
	{"blmovem a b left right 0 count 2 obo", "a b"},
	{"sdiffcard 2 a b limit 3", "a b"},
	{"sunioncard 2 a b approx", "a b"},
	{"xackdel k g ids 1 1-1", "k"},
	{"xdelex k ids 1 1-1", "k"},
	{"xnack k g fail ids 1 1-1", "k"},
	{"delex k ifeq v", "k"},
	{"delifeq k v", "k"},
	{"digest k", "k"},
	{"increx k byint 3", "k"},
	{"json.mget a b $", "a b"},
	{"json.mset a $ 1 b $ 2", "a b"},
	{"json.mset a $ 1 b $", "!"},
	{"ts.madd a 1 2 b 3 4", "a b"},
	{"ts.createrule a b aggregation avg 10", "a b"},
	{"cms.merge d 2 a b weights 1 2", "d a b"},
}

func words(s string) []string {
	out := strings.Fields(s)
	for i, w := range out {
		if w == "''" {
			out[i] = ""
		}
	}
	return out
}

func TestKeys(t *testing.T) {
	for _, c := range keyCases {
		args := words(c.request)
		frame, spans := frameOf(args...)
		before := []int32{-7}
		at, ok := find(t, args).Keys(before, frame, spans)
		if len(at) == 0 || at[0] != -7 || !ok && len(at) != 1 {
			t.Errorf("%s: what was there already is %v", c.request, at)
			continue
		}
		got := "!"
		if ok {
			var keys []string
			for _, i := range at[1:] {
				keys = append(keys, args[i])
			}
			got = strings.Join(keys, " ")
		}
		if d := cmp.Diff(c.keys, got); d != "" {
			t.Errorf("%s: %s", c.request, d)
		}
	}
}

func TestBlocks(t *testing.T) {
	for request, want := range map[string]bool{
		"get k": false, "blpop k 0": true, "wait 1 0": true, "bzmpop 0 1 a min": true,
		"xread streams k 0": false, "xread count 1 streams block 0": false, "XREAD BLOCK 0 STREAMS k 0": true,
		"xread count 1 block 0 streams k 0": true, "xread count block streams k 0": false, "xread": false,
		"xreadgroup group block c streams k >": false, "xreadgroup group g block streams k >": false,
		"xreadgroup group g c noack block 5 streams k >": true, "xreadgroup group g c claim 5 block 5 streams k >": true,
	} {
		args := words(request)
		frame, spans := frameOf(args...)
		if got := find(t, args).Blocks(frame, spans); got != want {
			t.Errorf("%s: %v", request, got)
		}
	}
}

// FuzzKeys takes any frame apart into any arguments for any command: positions are always within the request and past the command's name.
func FuzzKeys(f *testing.F) {
	for _, c := range keyCases {
		frame, spans := frameOf(words(c.request)...)
		var cuts []byte
		for _, s := range spans {
			cuts = binary.AppendUvarint(cuts, uint64(s.Off))
			cuts = binary.AppendUvarint(cuts, uint64(s.Len))
		}
		f.Add(uint16(0), frame, cuts)
	}
	f.Fuzz(func(t *testing.T, id uint16, frame, cuts []byte) {
		args := cut(frame, cuts)
		try := []*Command{&table[1+int(id)%Count()]}
		if len(args) > 0 {
			if c := Lookup(args[0].Of(frame)); c != nil {
				try = append(try, c)
			}
		}
		for _, c := range try {
			keys, ok := c.Keys(nil, frame, args)
			if !ok && len(keys) > 0 {
				t.Fatalf("%s: malformed, but keys %v", c.Name, keys)
			}
			for _, k := range keys {
				if k < 1 || int(k) >= len(args) {
					t.Fatalf("%s: key at %d of %d arguments", c.Name, k, len(args))
				}
			}
			c.Blocks(frame, args)
		}
	})
}

// cut reads pairs of offset and length and keeps those that lie within the frame.
func cut(frame, cuts []byte) (args []resp.Span) {
	for len(cuts) > 0 && len(args) < 1000 {
		off, n := binary.Uvarint(cuts)
		if n <= 0 {
			break
		}
		length, m := binary.Uvarint(cuts[n:])
		if m <= 0 {
			break
		}
		cuts = cuts[n+m:]
		if size := uint64(len(frame)); off <= size && length <= size-off {
			args = append(args, resp.Span{Off: uint32(off), Len: uint32(length)})
		}
	}
	return args
}
