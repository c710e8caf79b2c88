package admin

import "respgate/internal/respconn"

// proxyPools is PROXY POOLS [pool].
func proxyPools(s *session, args []string) respconn.Value {
	pool, refusal, ok := s.poolOf(args)
	if !ok {
		return refusal
	}
	return listing(rowsOf(s.server.status.Pools(pool), poolRow, s.server.now()))
}

// proxyMasters is PROXY MASTERS [pool [group]].
func proxyMasters(s *session, args []string) respconn.Value {
	pool, refusal, ok := s.poolOf(args)
	if !ok {
		return refusal
	}
	group := ""
	if len(args) == 2 {
		if group = args[1]; !s.server.status.HasGroup(pool, group) {
			return noGroup(pool, group)
		}
	}
	return listing(rowsOf(s.server.status.Masters(pool, group), masterRow, s.server.now()))
}

// proxySessions is PROXY SESSIONS [pool].
func proxySessions(s *session, args []string) respconn.Value {
	pool, refusal, ok := s.poolOf(args)
	if !ok {
		return refusal
	}
	return listing(rowsOf(s.server.status.Sessions(pool), sessionRow, s.server.now()))
}

// proxySentinels is PROXY SENTINELS [pool].
func proxySentinels(s *session, args []string) respconn.Value {
	pool, refusal, ok := s.poolOf(args)
	if !ok {
		return refusal
	}
	return listing(rowsOf(s.server.status.Sentinels(pool), sentinelRow, s.server.now()))
}

// proxyManager is PROXY MANAGER [pool].
func proxyManager(s *session, args []string) respconn.Value {
	pool, refusal, ok := s.poolOf(args)
	if !ok {
		return refusal
	}
	return listing(rowsOf(s.server.status.Managers(pool), managerRow, s.server.now()))
}

// proxyRoute is PROXY ROUTE pool key [key ...].
func proxyRoute(s *session, args []string) respconn.Value {
	pool, refusal, ok := s.poolOf(args)
	if !ok {
		return refusal
	}
	routes, err := s.server.status.Route(pool, args[1:])
	if err != nil {
		return errorValue(err)
	}
	return listing(rowsOf(routes, routeRow, s.server.now()))
}

// poolOf is the pool that a request is about, "" for all.
func (s *session) poolOf(args []string) (pool string, refusal respconn.Value, ok bool) {
	if len(args) == 0 {
		return "", refusal, true
	}
	if !s.server.status.HasPool(args[0]) {
		return "", noPool(args[0]), false
	}
	return args[0], refusal, true
}
