package admin

import (
	"context"
	"strings"
	"time"

	"respgate/internal/respconn"
	"respgate/internal/status"
)

// Servers reads and changes the settings of the servers behind a pool. Its methods are called by many goroutines at once, for pools and
// groups that exist, and return in bounded time. Errors name group and server.
type Servers interface {
	// ConfigGet asks the group's master, or with group "" each master of the pool; then one that cannot be asked is a row with its cause.
	ConfigGet(ctx context.Context, pool, group, pattern string) ([]status.ServerSetting, error)
	// ConfigSet changes a setting of the group's master, or with group "" of one master after the other, until one fails.
	ConfigSet(ctx context.Context, pool, group, name, value string) error
}

func serverSettingRow(r status.ServerSetting, _ time.Time) row {
	return row{
		{"group", r.Group},
		{"server", r.Server},
		{"name", r.Name},
		{"value", r.Value},
		{"cause", r.Cause},
	}
}

// proxyConfig is PROXY CONFIG pool group|ALL GET pattern | SET name value.
func proxyConfig(s *session, args []string) respconn.Value {
	srv := s.server
	pool, group, verb, args := args[0], args[1], strings.ToLower(args[2]), args[3:]
	if !srv.status.HasPool(pool) {
		return noPool(pool)
	}
	shown := group
	switch {
	case srv.status.HasGroup(pool, group): // though it be called ALL
	case strings.EqualFold(group, "all"):
		group, shown = "", "ALL"
	default:
		return noGroup(pool, group)
	}
	switch {
	case verb == "get" && len(args) == 1:
		rows, err := srv.servers.ConfigGet(srv.ctx, pool, group, args[0])
		if err != nil {
			return errorValue(err)
		}
		return listing(rowsOf(rows, serverSettingRow, srv.now()))
	case verb == "set" && len(args) == 2:
		if s.permission(srv.settings.Load()) < operator {
			return noPermission("proxy|config")
		}
		err := srv.servers.ConfigSet(srv.ctx, pool, group, args[0], args[1])
		outcome := "done"
		if err != nil {
			outcome = flatten(err.Error())
		}
		s.audit("config set", "pool", pool, "group", shown, "setting", args[0][:min(len(args[0]), 64)], "outcome", outcome) // never its value
		if err != nil {
			return errorValue(err)
		}
		return replyOK
	case verb == "get" || verb == "set":
		return wrongArity("proxy|config")
	}
	return errSyntax
}
