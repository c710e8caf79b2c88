package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"

	"respgate/tests/harness"
)

// manager is one that says what it is told to.
type manager struct {
	says  atomic.Pointer[string]
	asked atomic.Int64
}

func (m *manager) tell(text string) { m.says.Store(&text) }

func (m *manager) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		args, err := harness.ReadRequest(r)
		if err != nil {
			return
		}
		text := "+OK\r\n"
		switch {
		case strings.EqualFold(args[0], "HELLO"):
			text = "-ERR unknown command 'HELLO'\r\n"
		case strings.EqualFold(args[0], "MANAGER"):
			m.asked.Add(1)
			if text = *m.says.Load(); text == "" {
				return // gone
			}
		}
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
}

// topology is a manager's answer: its version, groups and sentinels.
func topology(version int, groups, sentinels []string) string {
	list := func(items []string) string {
		if len(items) == 0 {
			return "*0\r\n"
		}
		return harness.Encode(items...)
	}
	pairs := fmt.Sprintf("*%d\r\n", len(sentinels))
	for _, a := range sentinels {
		host, port, _ := strings.Cut(a, ":")
		pairs += harness.Encode(host, port)
	}
	return fmt.Sprintf("*6\r\n$7\r\nversion\r\n:%d\r\n$6\r\ngroups\r\n%s$9\r\nsentinels\r\n%s", version, list(groups), pairs)
}

func managed(m *manager) func(*scene) {
	return func(s *scene) {
		s.fleet, s.manager = s.start("g1", "g2"), m
		m.tell(topology(managerVersion, s.fleet.GroupNames(), s.fleet.SentinelAddrs()))
		c := harness.NewConfig(s)
		c.ManagerPool(pool, "c", []string{harness.Serve(s, m.serve)})
		p := harness.StartProxy(s, c)
		p.WaitUp(pool)
		p.WaitWatching(pool)
		s.serve(p)
	}
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
		s.manager.tell(lie)
		before := s.manager.asked.Load()
		harness.Eventually(s, harness.Patience, "the manager is asked", func() error {
			if s.manager.asked.Load() < before+3 {
				return fmt.Errorf("%d times", s.manager.asked.Load()-before)
			}
			return nil
		})
	}
	if row := s.proxies[0].Pool(pool); row["groups"] != fmt.Sprint(len(groups)) {
		s.Errorf("the pool has %s groups: a lie was believed", row["groups"])
	}
}
