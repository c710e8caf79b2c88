package conf

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/mitchellh/mapstructure"
	"go.yaml.in/yaml/v3"
)

// section is one map of the file: its keys, and the maps within it. Built from a key table; read-only afterwards.
type section struct {
	keys     map[string]*key
	sections map[string]*section
	defaults map[string]any // of the keys, and of the sections that are not optional
	optional bool           // without it in the file there is none, not one with defaults
}

// newSection builds the section of a table whose keys are the fields of t. A table that contradicts t is a mistake of the
// program, found when the package is loaded.
func newSection(table []key, t reflect.Type, optional ...string) *section {
	top := &section{keys: map[string]*key{}, sections: map[string]*section{}, defaults: map[string]any{}}
	for i := range table {
		k := &table[i]
		s, name := top, k.Name
		if outer, inner, nested := strings.Cut(k.Name, "."); nested {
			s, name = top.sections[outer], inner
			if s == nil {
				s = &section{keys: map[string]*key{}, defaults: map[string]any{}, optional: slices.Contains(optional, outer)}
				top.sections[outer] = s
				if !s.optional {
					top.defaults[outer] = s.defaults
				}
			}
		}
		s.keys[name] = k
		if !k.unused {
			k.index = fieldIndex(t, k.Name)
		}
		if k.Default != "" && !k.unused {
			s.defaults[name] = defaultValue(k)
		}
	}
	return top
}

// defaultValue reads the default as it stands in the table.
func defaultValue(k *key) any {
	r := newReader("default")
	n := r.parseDocument([]byte(k.Default))
	if n == nil {
		panic("conf: default of " + k.Name + ": " + r.result().Error())
	}
	v, ok := k.typ.read(r, k.Name, n)
	if !ok {
		panic("conf: " + r.result().Error())
	}
	return v
}

// fieldIndex returns where the field of a dotted key is, for reflect's FieldByIndex.
func fieldIndex(t reflect.Type, name string) []int {
	var index []int
	for part := range strings.SplitSeq(name, ".") {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		f, ok := t.FieldByNameFunc(func(field string) bool {
			sf, _ := t.FieldByName(field)
			return sf.Tag.Get("mapstructure") == part
		})
		if !ok {
			panic(fmt.Sprintf("conf: %v has no field for the key %s", t, name))
		}
		index, t = append(index, f.Index...), f.Type
	}
	return index
}

// names returns the keys and maps of the section, sorted.
func (s *section) names() []string {
	return slices.Sorted(maps.Keys(s.all()))
}

func (s *section) all() map[string]bool {
	all := map[string]bool{}
	for name := range s.keys {
		all[name] = true
	}
	for name := range s.sections {
		all[name] = true
	}
	return all
}

// withDefaults returns a new map with the defaults of the section.
func (s *section) withDefaults() map[string]any {
	out := make(map[string]any, len(s.keys)+len(s.sections))
	for name, v := range s.defaults {
		if inner, ok := v.(map[string]any); ok {
			v = maps.Clone(inner)
		}
		out[name] = v
	}
	return out
}

// read returns the values of the section n: what the file gives, over the defaults. Keys with a mistake have their default, so
// that the rules across keys can still be checked.
func (s *section) read(r *reader, path string, n *yaml.Node) (map[string]any, bool) {
	fields, ok := r.fields(path, n)
	if !ok {
		return nil, false
	}
	out := s.withDefaults()
	for _, f := range fields {
		if inner := s.sections[f.name]; inner != nil {
			at := join(path, f.name)
			r.at[at] = f.key
			m, good := inner.read(r, at, f.value)
			if m != nil {
				out[f.name] = m
			}
			ok = ok && good
			continue
		}
		k := s.keys[f.name]
		if k == nil {
			r.failUnknown(path, target(n), f, s)
			ok = false
			continue
		}
		at := join(path, f.name)
		r.at[at] = f.value
		v, good := k.typ.read(r, at, f.value)
		if good && !k.unused {
			out[f.name] = v
		}
		ok = ok && good
	}
	for _, name := range slices.Sorted(maps.Keys(s.keys)) {
		if s.keys[name].Required && !r.given(join(path, name)) {
			r.failf(firstOf(r.at[path], n), join(path, name), "is missing")
			ok = false
		}
	}
	return out, ok
}

func firstOf(a, b *yaml.Node) *yaml.Node {
	if a != nil {
		return a
	}
	return b
}

// failUnknown notes a key that the section does not have. Part of a secret may pass for one where quotes are missing, so the key
// is quoted only as far as it looks like a key.
func (r *reader) failUnknown(path string, in *yaml.Node, f field, s *section) {
	name := show(f.name)
	at := join(path, name)
	if in.Style&yaml.FlowStyle != 0 && isNull(f.value) {
		if before, _, ok := strings.Cut(f.name, ":"); ok && s.all()[before] {
			r.failf(f.key, join(path, before), "needs a space after its colon")
			return
		}
		r.failf(f.key, path, "has a key without a value; text with a comma needs quotes")
		return
	}
	if near := suggest(f.name, s.names()); near != "" {
		r.failf(f.key, at, "unknown key; did you mean %s?", near)
		return
	}
	if key, ok := s.secretBefore(in, f); ok {
		r.failf(f.key, join(path, key), "runs into an unknown key; a secret needs quotes, and a space after the colon")
		return
	}
	if path == "" && looksLikePool(f.value) {
		r.failf(f.key, at, "unknown key; a pool belongs under pools: (respgate import reads a file of twemproxy)")
		return
	}
	r.failf(f.key, at, "unknown key")
}

// secretBefore returns the key of the secret that an unknown key may be a part of: it begins with that key, or follows it in
// braces.
func (s *section) secretBefore(in *yaml.Node, f field) (string, bool) {
	suspects := []string{f.name}
	if i := slices.Index(in.Content, f.key); i >= 2 && in.Style&yaml.FlowStyle != 0 {
		suspects = append(suspects, in.Content[i-2].Value)
	}
	for name, k := range s.keys {
		if k.typ.secret && slices.ContainsFunc(suspects, func(key string) bool { return strings.HasPrefix(key, name) }) {
			return name, true
		}
	}
	return "", false
}

func looksLikePool(n *yaml.Node) bool {
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Value == "listen" {
			return true
		}
	}
	return false
}

// decodeExact fills out, a pointer to a struct, from m. Every value of m must have the type of its field already and every key
// must have a field: mapstructure by itself would convert, wrap and match loosely.
func decodeExact(m map[string]any, out any) error {
	dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:      out,
		ErrorUnused: true,
		ZeroFields:  true,
		MatchName:   func(key, field string) bool { return key == field },
		DecodeHook:  mapstructure.DecodeHookFuncValue(sameType),
	})
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return dec.Decode(m)
}

var mapType = reflect.TypeFor[map[string]any]()

func sameType(from, to reflect.Value) (any, error) {
	if from.Type() == to.Type() || from.Type() == mapType {
		return from.Interface(), nil
	}
	return nil, fmt.Errorf("%v does not take %v", to.Type(), from.Type())
}
