package main

import (
	"fmt"

	"respgate/tests/harness"
)

func managed(s *scene) {
	s.fleet, s.manager = s.start("g1", "g2"), harness.StartFakeManager(s)
	s.manager.Say(topology(managerVersion, s.fleet.GroupNames(), s.fleet.SentinelAddrs()))
	c := harness.NewConfig(s)
	c.ManagerPool(pool, "c", []string{s.manager.Addr()})
	p := harness.StartProxy(s, c)
	p.WaitUp(pool)
	p.WaitWatching(pool)
	s.serve(p)
}

func topology(version int, groups, sentinels []string) string {
	return harness.Topology(fmt.Sprint(version), groups, sentinels)
}

const managerVersion = 7

func managerFails(s *scene) {
	s.strike()
	groups, sentinels := s.fleet.GroupNames(), s.fleet.SentinelAddrs()
	for _, lie := range []string{
		topology(managerVersion-1, groups[:1], sentinels), // old
		topology(managerVersion+1, nil, nil),              // empty
		topology(managerVersion, groups[:1], sentinels),   // another truth under the same version
		"*2\r\n$7\r\nversion\r\n:x\r\n",
		"", // gone
	} {
		s.manager.Say(lie)
		before := s.manager.Asked()
		harness.Eventually(s, harness.Patience, "the manager is asked", func() error {
			if s.manager.Asked() < before+3 {
				return fmt.Errorf("%d times", s.manager.Asked()-before)
			}
			return nil
		})
	}
	if row := s.proxies[0].Pool(pool); row["groups"] != fmt.Sprint(len(groups)) {
		s.Errorf("the pool has %s groups: a lie was believed", row["groups"])
	}
}
