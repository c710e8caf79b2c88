package control

import "respgate/conf"

// Server is the master of a group as it was at one moment, for those who ask it something of their own.
type Server struct {
	Group     string
	Name      string   // host:port or a socket's path, as it was told; "" if the group has none
	Network   string   // tcp or unix
	Addresses []string // to be dialled, in this order
	User      string
	Password  conf.Secret
	Cause     string // why there is none
}

// Servers are the masters of the pool's groups, in the order of the ring, or of one group; "" = all. It fails for a group
// without a master; among all, such a group has a Cause.
func (c *Controller) Servers(poolName, group string) (rows []Server, err error) {
	stopped := c.ask(func() {
		p := c.pools[poolName]
		if p == nil {
			err = noPool(poolName)
			return
		}
		for _, g := range p.order {
			if group == "" || group == g.name {
				rows = append(rows, g.asked())
			}
		}
		switch {
		case group != "" && len(rows) == 0:
			err = noGroup(poolName, group)
		case len(rows) == 0:
			err = &Error{"NOTREADY", "pool '" + poolName + "' has no groups yet: " + p.cause}
		case group != "" && rows[0].Name == "":
			err = &Error{"NOTREADY", "group '" + group + "' in pool '" + poolName + "' has no master: " + rows[0].Cause}
		}
	})
	if stopped != nil {
		err = stopped
	}
	return rows, err
}

func (g *group) asked() Server {
	m, cf := &g.master, g.pool.conf
	s := Server{Group: g.name, User: cf.RedisUser, Password: cf.RedisAuth}
	switch {
	case !m.Known():
		s.Cause = g.cause
		if s.Cause == "" {
			s.Cause = g.hold
		}
		return s
	case m.Path != "":
		s.Network, s.Addresses = "unix", []string{m.Path}
	default:
		s.Network = "tcp"
		for _, a := range m.Addrs {
			s.Addresses = append(s.Addresses, a.String())
		}
	}
	s.Name = m.Name
	return s
}
