package conf

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Changes is what a reload would do.
type Changes struct {
	PoolsAdded   []string               // sorted
	PoolsRemoved []string               // sorted
	PoolsChanged map[string][]KeyChange // by pool, in the order of the key table
	Globals      []KeyChange            // keys outside the pools, in the order of the key table
}

// KeyChange is one key that differs.
type KeyChange struct {
	Key    string // within its pool, or from the top of the file
	Old    string // as the file would have it; "" for none, "***" for a secret
	New    string
	Effect Effect
}

// String returns "key: old -> new (effect)".
func (k KeyChange) String() string {
	return fmt.Sprintf("%s: %s -> %s (%s)", k.Key, orNothing(k.Old), orNothing(k.New), k.Effect)
}

func orNothing(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// Empty tells whether nothing changes.
func (c Changes) Empty() bool {
	return len(c.PoolsAdded) == 0 && len(c.PoolsRemoved) == 0 && len(c.PoolsChanged) == 0 && len(c.Globals) == 0
}

// Restart returns the changes that a running process cannot take over.
func (c Changes) Restart() []KeyChange {
	var out []KeyChange
	for _, k := range c.Globals {
		if k.Effect == Restart {
			out = append(out, k)
		}
	}
	return out
}

// Lines returns one line for each change, for people; secrets are masked.
func (c Changes) Lines() []string {
	var out []string
	for _, k := range c.Globals {
		out = append(out, k.String())
	}
	for _, name := range c.PoolsRemoved {
		out = append(out, "pools."+name+": removed")
	}
	for _, name := range c.PoolsAdded {
		out = append(out, "pools."+name+": added")
	}
	for _, name := range slices.Sorted(maps.Keys(c.PoolsChanged)) {
		for _, k := range c.PoolsChanged[name] {
			out = append(out, "pools."+name+"."+k.String())
		}
	}
	return out
}

// Diff compares two configurations. A nil one has no pools, and no keys that could have changed.
func Diff(before, after *Config) Changes {
	var c Changes
	var oldPools, newPools map[string]*Pool
	if before != nil {
		oldPools = before.Pools
	}
	if after != nil {
		newPools = after.Pools
	}
	if before != nil && after != nil {
		c.Globals = diffKeys(globalKeys, before, after)
		if before.idFromHost && after.idFromHost { // it follows admin.listen; the process goes on with its own
			c.Globals = slices.DeleteFunc(c.Globals, func(k KeyChange) bool { return k.Key == "proxy_id" })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(newPools)) {
		was, ok := oldPools[name]
		if !ok {
			c.PoolsAdded = append(c.PoolsAdded, name)
			continue
		}
		if keys := diffKeys(poolKeys, was, newPools[name]); len(keys) > 0 {
			if c.PoolsChanged == nil {
				c.PoolsChanged = map[string][]KeyChange{}
			}
			c.PoolsChanged[name] = keys
		}
	}
	for _, name := range slices.Sorted(maps.Keys(oldPools)) {
		if _, ok := newPools[name]; !ok {
			c.PoolsRemoved = append(c.PoolsRemoved, name)
		}
	}
	return c
}

// diffKeys compares two structs of the same type, key by key.
func diffKeys(table []key, before, after any) []KeyChange {
	a, b := reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem()
	var out []KeyChange
	for i := range table {
		k := &table[i]
		if k.unused || k.Name == poolsKey {
			continue
		}
		x, y := fieldOf(a, k), fieldOf(b, k)
		if reflect.DeepEqual(x, y) {
			continue
		}
		c := KeyChange{Key: k.Name, Effect: k.Effect}
		c.Old, c.New = k.showBoth(x, y)
		if c.Old == "" && c.New == "" { // none, and none because the map around it is absent
			continue
		}
		out = append(out, c)
	}
	return out
}

// fieldOf returns the value of a key; nil if it is in an optional map that is absent.
func fieldOf(v reflect.Value, k *key) any {
	f, err := v.FieldByIndexErr(k.index)
	if err != nil || f.IsZero() && f.Kind() == reflect.Slice {
		return nil
	}
	return f.Interface()
}

// maxShownList bounds how a list is shown, in bytes.
const maxShownList = 300

// showBoth returns two values as the file would have them; of lists that are long, only what the other has not.
func (k *key) showBoth(x, y any) (string, string) {
	before, after := k.show(x), k.show(y)
	if k.typ.items == nil || x == nil || y == nil || len(before)+len(after) <= maxShownList {
		return before, after
	}
	a, b := k.typ.items(x), k.typ.items(y)
	return listWithout(a, b), listWithout(b, a)
}

// listWithout shows the items of a that b has not.
func listWithout(a, b []string) string {
	drop := make(map[string]bool, len(b))
	for _, item := range b {
		drop[item] = true
	}
	text, shown := "", 0
	for _, item := range a {
		if drop[item] {
			continue
		}
		if len(text) > maxShownList {
			return fmt.Sprintf("[%s, ...] (%d in all)", text, len(a))
		}
		if shown++; shown > 1 {
			text += ", "
		}
		text += item
	}
	return fmt.Sprintf("[%s] (%d in all)", text, len(a))
}

// show returns a value as the file would have it; secrets print themselves masked.
func (k *key) show(v any) string {
	switch {
	case v == nil:
		return ""
	case k.typ.show != nil:
		return k.typ.show(v)
	}
	return fmt.Sprint(v)
}
