package command

import "respgate/engine/command/internal/namehash"

const slotCount = namehash.Slots

// noName is a length that no name has.
const noName = 0xff

// folded is a name as namehash sees it: its words and its length in bytes.
type folded struct {
	a, b   uint64
	length uint8
}

func (f *folded) is(a, b uint64, length int) bool {
	return f.a == a && f.b == b && int(f.length) == length
}

// Lookup returns the command of this name in any letter case, nil if there is none. It does not allocate, and reads name only during the call.
func Lookup(name []byte) *Command {
	a, b := namehash.Words(name)
	id := slots[namehash.Slot(a, b, len(name), hashSeed)]
	if !names[id].is(a, b, len(name)) {
		return nil
	}
	c := &table[id]
	if len(name) > namehash.WordsMax && !namehash.EqualFold(name, c.Name) {
		return nil
	}
	return c
}

// Sub returns the subcommand of container c of this name in any letter case, nil if there is none. It does not allocate.
func (c *Command) Sub(name []byte) *Command {
	if c.firstSub == 0 {
		return nil
	}
	a, b := namehash.Words(name)
	for id := c.firstSub; id <= c.lastSub; id++ {
		if !names[id].is(a, b, len(name)) {
			continue
		}
		sub := &table[id]
		if len(name) > namehash.WordsMax && !namehash.EqualFold(name, sub.Name[len(c.Name)+1:]) {
			continue
		}
		return sub
	}
	return nil
}
