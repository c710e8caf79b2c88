package engine

import (
	"respgate/engine/command"
	"respgate/engine/resp"
)

// adopted finds a command that the table does not have among those that the pool's servers say they have.
func (p *pool) adopted(frame []byte, f *resp.Frame) *command.Command {
	cmd := p.topo.Catalog.Find(arg(frame, f.Args[0]))
	if cmd != nil && len(f.Args) > 1 {
		if sub := p.topo.Catalog.FindSub(cmd, arg(frame, f.Args[1])); sub != nil {
			return sub
		}
	}
	return cmd
}
