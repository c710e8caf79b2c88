package control

import (
	"time"

	"respgate/sentinelclient"
)

// This file is what control does between Resign and Close. The data plane is shutting down then: clients get the replies
// that they wait for, and those that were told to move have time for it. It takes no snapshot any more, so what is found out
// about a group comes down to one question: may its master still be sent anything?

// keepVouching tells so until Close, and stops the clients that know.
func (c *Controller) keepVouching() {
	for {
		select {
		case <-c.last:
			c.each("", func(p *pool) {
				if p.sentinels != nil {
					p.sentinels.Close()
				}
			})
			return
		case <-c.box.wake:
		}
		now, b := time.Now(), c.box.take()
		c.each("", func(p *pool) {
			if v := b.views[p.sentinelsID]; v != nil {
				p.view = v
				for _, g := range p.order {
					c.vouchStill(g, now)
				}
			}
		})
	}
}

// vouchStill vouches for the master that is served, which is the one to the end. Where its requests would be held from now on,
// or go to another one, nobody vouches for it: they wait as well then.
func (c *Controller) vouchStill(g *group, now time.Time) {
	v, known := g.named()
	if known && g.applied() && v.Master.String() == g.master.Name && v.State == sentinelclient.GroupUp && v.Failover == "" && !g.disowned() {
		c.vouch(g)
		return
	}
	c.withdraw(g, now)
}
