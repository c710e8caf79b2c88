package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Catalog is what the groups of a pool say of commands beyond the table: those that it does not know, adopted from the servers, and those that
// some group lacks. It is immutable and safe for every goroutine; a nil Catalog has nothing to say, and neither look-up allocates.
type Catalog struct {
	adopted map[string]*Command // by name in lower case, subcommands as "container|sub"
	lacks   idSet               // of the table's commands
	known   map[uint16]string   // why these are refused
	others  map[*Command]string // likewise the adopted ones
}

// Member is a group of a pool. A nil Offer is one of which nothing is known: nothing is refused because of it.
type Member struct {
	Group  string
	Master string // host:port, for errors
	Offer  *Offer
}

// NewCatalog compares the groups of a pool; nil if they all have the same, and nothing that the table does not have.
func NewCatalog(members []Member) *Catalog {
	var offers []*Offer
	seen := map[*Offer]bool{nil: true}
	for _, m := range members {
		if !seen[m.Offer] {
			seen[m.Offer] = true
			offers = append(offers, m.Offer)
		}
	}
	c := &Catalog{adopted: map[string]*Command{}, known: map[uint16]string{}, others: map[*Command]string{}}
	for _, o := range offers {
		for _, cmd := range o.adopted {
			if c.adopted[cmd.Name] == nil && len(c.adopted) < maxAdopted {
				c.adopted[cmd.Name] = cmd
			}
		}
	}
	if len(offers) > 1 {
		c.findLacking(offers, members)
	}
	if len(c.adopted) == 0 && len(c.known) == 0 {
		return nil
	}
	return c
}

// findLacking refuses what some have and others do not, whatever the key: a command that works for some keys is worse than one that does not.
func (c *Catalog) findLacking(offers []*Offer, members []Member) {
	for i := range table[1:] {
		cmd := &table[i+1]
		if !cmd.NeedsServer() || cmd.Route == RouteRefused {
			continue
		}
		has := func(o *Offer) bool { return o.has.contains(cmd.ID) }
		if slices.ContainsFunc(offers, has) {
			if why := without(members, has); why != "" {
				c.lacks.add(cmd.ID)
				c.known[cmd.ID] = why
			}
		}
	}
	for name, cmd := range c.adopted {
		if why := without(members, func(o *Offer) bool { return o.offers(name) }); why != "" {
			c.others[cmd] = why
		}
	}
}

// offers reports whether a command that is not in the table is in the offer.
func (o *Offer) offers(name string) bool {
	_, ok := slices.BinarySearchFunc(o.adopted, name, func(c *Command, name string) int { return strings.Compare(c.Name, name) })
	return ok
}

// without names the groups that are known not to have a command; "" if there are none.
func without(members []Member, has func(*Offer) bool) string {
	var first *Member
	others := false
	for i := range members {
		if m := &members[i]; m.Offer == nil || has(m.Offer) {
			continue
		} else if first == nil {
			first = m
		} else {
			others = true
		}
	}
	switch {
	case first == nil:
		return ""
	case !others:
		return fmt.Sprintf("group '%s' does not have it (its master %s does not list it): give every group the same version and modules", first.Group, first.Master)
	}
	// Not how many: while a fleet is asked in turns, each would be another catalog.
	return fmt.Sprintf("group '%s', among others, does not have it (its master %s does not list it): give every group the same version and modules", first.Group, first.Master)
}

// Find returns the adopted command of this name in any letter case, nil if there is none.
func (c *Catalog) Find(name []byte) *Command {
	if c == nil || len(name) > maxName {
		return nil
	}
	var buf [maxName]byte
	for i, x := range name {
		if x == '|' {
			return nil // "xinfo|stream" is how a subcommand is called, not how it is sent
		}
		buf[i] = lower(x)
	}
	return c.adopted[string(buf[:len(name)])]
}

// FindSub returns the adopted subcommand of a container, which may be one of the table; nil if there is none.
func (c *Catalog) FindSub(container *Command, name []byte) *Command {
	if c == nil || len(name) > maxName || len(container.Name) > maxName {
		return nil
	}
	var buf [2*maxName + 1]byte
	n := copy(buf[:], container.Name)
	buf[n] = '|'
	n++
	for _, x := range name {
		buf[n] = lower(x)
		n++
	}
	return c.adopted[string(buf[:n])]
}

// Lacking says why a command is refused, which is that some group does not have it; "" if all have it, or none, or nothing is known.
func (c *Catalog) Lacking(cmd *Command) string {
	switch {
	case c == nil:
		return ""
	case cmd.ID == 0:
		return c.others[cmd]
	case c.lacks.contains(cmd.ID):
		return c.known[cmd.ID]
	}
	return ""
}

// Equal reports whether two catalogs say the same.
func (c *Catalog) Equal(o *Catalog) bool {
	if c == nil || o == nil {
		return c == o
	}
	return maps.Equal(c.adopted, o.adopted) && maps.Equal(c.known, o.known) && maps.Equal(c.others, o.others)
}

// Adopted are the names of the commands that were adopted, ordered; those that some group lacks are among them.
func (c *Catalog) Adopted() []string {
	if c == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(c.adopted))
}

// Refusal is a command that some group lacks.
type Refusal struct{ Name, Reason string }

// Refused are the commands that some group lacks, ordered by name.
func (c *Catalog) Refused() []Refusal {
	if c == nil {
		return nil
	}
	var all []Refusal
	for id, why := range c.known {
		all = append(all, Refusal{table[id].Name, why})
	}
	for cmd, why := range c.others {
		all = append(all, Refusal{cmd.Name, why})
	}
	slices.SortFunc(all, func(a, b Refusal) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func lower(x byte) byte {
	if 'A' <= x && x <= 'Z' {
		x += 'a' - 'A'
	}
	return x
}
