package admin

import (
	"context"
	"strconv"
	"strings"
	"time"

	"respgate/internal/respconn"
)

// PROXY SWITCH goes on when the client vanishes: a switch that has begun is safer finished, or given up by its deadline, than
// broken off in the middle. When the proxy ends, one that Sentinel has agreed to is finished first. One runs at a time in a group, and one of all groups in a pool.

// proxySwitch is PROXY SWITCH pool group [host port], and PROXY SWITCH pool ALL.
func proxySwitch(s *session, args []string) respconn.Value {
	srv := s.server
	g := groupName{args[0], args[1]}
	var host string
	var port int
	if len(args) == 4 {
		var refusal respconn.Value
		var ok bool
		if host, port, refusal, ok = parseNode(args[2], args[3]); !ok {
			return refusal
		}
	}
	known := srv.status.HasGroup(g.pool, g.group) // a group may have the name all the same
	switch {
	case !srv.status.HasPool(g.pool):
		return noPool(g.pool)
	case !known && host == "" && strings.EqualFold(g.group, "ALL"):
		return switchAll(s, g.pool)
	case !known:
		return noGroup(g.pool, g.group)
	case !srv.beginSwitch(g):
		return respconn.Errorf("INPROG a switch of group '%s' in pool '%s' is running already, see PROXY MASTERS", g.group, g.pool)
	}
	defer srv.endSwitch(g)
	ctx, cancel := context.WithTimeout(srv.ctx, srv.settings.Load().SwitchTimeout)
	defer cancel()
	began := time.Now()
	var done SwitchResult
	var err error
	if host == "" {
		done, err = srv.switcher.Switch(ctx, g.pool, g.group)
	} else {
		done, err = srv.switcher.SwitchTo(ctx, g.pool, g.group, host, port)
	}
	s.audit("switch", "pool", g.pool, "group", g.group, "old", done.Old, "new", done.New, "took", time.Since(began), "outcome", outcomeOf(err))
	if err != nil {
		return errorValue(err)
	}
	return respconn.Simple("OK " + done.words())
}

// switchAll is PROXY SWITCH pool ALL: a line for each group that was switched, and the error that ended it, if one did.
func switchAll(s *session, pool string) respconn.Value {
	srv := s.server
	all := groupName{pool: pool} // no group has this name
	if !srv.beginSwitch(all) {
		return respconn.Errorf("INPROG a switch of all groups in pool '%s' is running already, see PROXY MASTERS", pool)
	}
	defer srv.endSwitch(all)
	groups := len(srv.status.Masters(pool, ""))
	ctx, cancel := context.WithTimeout(srv.ctx, time.Duration(groups+1)*srv.settings.Load().SwitchTimeout)
	defer cancel()
	began := time.Now()
	done, err := srv.switcher.SwitchAll(ctx, pool)
	s.audit("switch all", "pool", pool, "done", len(done), "of", groups, "took", time.Since(began), "outcome", outcomeOf(err))
	if err != nil && len(done) == 0 {
		return errorValue(err)
	}
	var list []respconn.Value
	for _, d := range done {
		list = append(list, respconn.Simple(d.Group+" OK "+d.words()))
	}
	if err != nil {
		list = append(list, errorValue(err))
	}
	return respconn.List(list...)
}

// outcomeOf is an error for the log.
func outcomeOf(err error) string {
	if err == nil {
		return "done"
	}
	return flatten(err.Error())
}

// words are the masters before and after, the milliseconds, and the warning.
func (r SwitchResult) words() string {
	words := []string{orDash(r.Old), orDash(r.New), strconv.FormatInt(r.Took.Milliseconds(), 10)}
	if r.Warning != "" {
		words = append(words, "warning: "+flatten(r.Warning))
	}
	return strings.Join(words, " ")
}

// orDash keeps the place of a word that is not there: a group may have had no master.
func orDash(word string) string {
	if word == "" {
		return "-"
	}
	return word
}
