package admin

import (
	"slices"
	"strconv"
	"strings"

	"respgate/internal/respconn"
)

var logLevels = []string{"debug", "info", "warn", "error"}

// setting is a parameter of CONFIG GET, in Redis' words.
type setting struct{ name, value string }

// settingsShown are what tools ask any Redis for. Everything else is in the configuration file.
func (s *session) settingsShown() []setting {
	st, process := s.server.settings.Load(), s.server.status.Process()
	shown := []setting{
		{"appendonly", "no"},
		{"databases", "1"},
		{"loglevel", process.LogLevel},
		{"save", ""},
		{"timeout", strconv.Itoa(int(st.IdleTimeout.Seconds()))},
	}
	for _, l := range process.Limits {
		switch l.Name {
		case "client_connections":
			shown = append(shown, setting{"maxclients", strconv.FormatInt(l.Max, 10)})
		case "memory":
			shown = append(shown, setting{"maxmemory", strconv.FormatInt(l.Max, 10)})
		}
	}
	return shown
}

func configGet(s *session, patterns []string) respconn.Value {
	var pairs []any
	for _, set := range s.settingsShown() {
		if slices.ContainsFunc(patterns, func(p string) bool { return match(strings.ToLower(p), set.name) }) {
			pairs = append(pairs, set.name, set.value)
		}
	}
	return respconn.Fields(pairs...)
}

func configSet(s *session, pairs []string) respconn.Value {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.EqualFold(pairs[i], "loglevel") {
			return respconn.Errorf("ERR Unknown option or number of arguments for CONFIG SET - '%.128s'", pairs[i])
		}
		if i > 0 {
			return respconn.Errorf("ERR CONFIG SET failed (possibly related to argument 'loglevel') - duplicate parameter")
		}
	}
	level, ok := parseLevel(pairs[1])
	if !ok {
		return respconn.Errorf("ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be one of the following: %s", strings.Join(logLevels, ", "))
	}
	return s.setLogLevel(level)
}

func proxyLogLevel(s *session, args []string) respconn.Value {
	if len(args) == 0 {
		return respconn.Bulk(s.server.status.Process().LogLevel)
	}
	if s.permission(s.server.settings.Load()) < operator {
		return noPermission("proxy|loglevel")
	}
	level, ok := parseLevel(args[0])
	if !ok {
		return respconn.Errorf("ERR unknown log level '%.64s': one of %s", args[0], strings.Join(logLevels, ", "))
	}
	return s.setLogLevel(level)
}

// parseLevel takes the proxy's levels and Redis' names for them.
func parseLevel(word string) (level string, ok bool) {
	switch w := strings.ToLower(word); w {
	case "verbose":
		return "debug", true
	case "notice":
		return "info", true
	case "warning":
		return "warn", true
	default:
		return w, slices.Contains(logLevels, w)
	}
}

func (s *session) setLogLevel(level string) respconn.Value {
	if err := s.server.switcher.SetLogLevel(level); err != nil {
		return errorValue(err)
	}
	s.audit("log level", "level", level)
	return replyOK
}
