package arch

import "strings"

const module = "respgate/"

// layer is what the packages of a directory may import, beyond the standard library.
type layer struct {
	own     []string // packages of this module, without "respgate/"; "engine/" with the slash means everything below
	modules []string // of other people
	not     []string // parts of the standard library that do not belong here
}

// The tests of any package may use these.
var testModules = []string{
	"github.com/cockroachdb/datadriven", "github.com/google/go-cmp", "github.com/redis/go-redis/v9",
	"go.uber.org/goleak", "pgregory.net/rapid", "github.com/tidwall/resp",
	"github.com/prometheus/client_golang", // its testutil lints the collector
	"golang.org/x/sys",                    // a terminal to run redis-cli on
}

// Nothing in the data plane logs or serves HTTP: a stuck stderr must never stall a loop.
var quiet = []string{"log", "log/slog", "net/http", "encoding/json"}

// layers maps a directory to its rules. A directory that is not here belongs to the nearest one above that ends in "/".
var layers = map[string]layer{
	"engine":         {own: []string{"engine/"}, modules: []string{"golang.org/x/sys"}, not: quiet},
	"engine/resp":    {own: nil, not: quiet},
	"engine/command": {own: []string{"engine/resp"}, not: quiet},
	"engine/shard":   {own: nil, not: quiet},
	"engine/poller":  {own: nil, modules: []string{"golang.org/x/sys"}, not: quiet},
	"engine/timer":   {own: nil, not: quiet},
	"engine/buffer":  {own: nil, modules: []string{"golang.org/x/sys"}, not: quiet},
	"engine/report":  {own: []string{"engine/command"}, not: quiet},
	// A pool carries what its servers say of commands, made by control and read by the engine.
	"engine/topology": {own: []string{"engine/shard", "engine/command"}, not: quiet},
	// Its generator, which runs at development time only, and what the two share.
	"engine/command/": {own: []string{"engine/command"}},

	"internal/status":   {own: nil},
	"internal/respconn": {own: []string{"engine/resp"}, modules: []string{"github.com/tidwall/resp"}},
	"internal/metrics":  {own: []string{"internal/status"}, modules: []string{"github.com/prometheus/client_golang", "github.com/prometheus/client_model"}},
	// What a server says of its commands, as the rows that engine/command judges.
	"internal/inventory":  {own: []string{"conf", "engine/command", "internal/respconn"}},
	"internal/serverconf": {own: []string{"conf", "internal/respconn", "internal/status"}},
	// The data plane is behind an interface; of it control knows the snapshots it sends and the values that come back.
	"internal/control": {
		own: []string{
			"engine/topology", "engine/command", "engine/report", "engine/shard", "conf", "internal/inventory", "internal/status", "sentinelclient", "managerclient",
		},
		modules: []string{"golang.org/x/sync"},
	},

	"sentinelclient": {own: []string{"internal/respconn"}, modules: []string{"github.com/tidwall/resp", "golang.org/x/sync"}},
	"managerclient":  {own: []string{"internal/respconn"}, modules: []string{"github.com/tidwall/resp", "golang.org/x/sync"}},
	"admin":          {own: []string{"internal/status", "internal/respconn"}, modules: []string{"github.com/tidwall/resp", "golang.org/x/sync"}},

	"conf": {own: []string{"engine/shard"}, modules: []string{
		"go.yaml.in/yaml/v3", "github.com/mitchellh/mapstructure", "github.com/fsnotify/fsnotify",
	}},
	"conf/importer": {own: []string{"conf", "engine/shard"}, modules: []string{"go.yaml.in/yaml/v3"}},

	// The reference manager shares only the protocol with the proxy.
	"internal/manager": {
		own: []string{"internal/respconn", "managerclient"},
		modules: []string{
			"go.yaml.in/yaml/v3", "github.com/fsnotify/fsnotify", "github.com/tidwall/resp", "golang.org/x/sync",
		},
	},
	"cmd/respgate-manager": {
		own: []string{"internal/manager", "internal/respconn", "managerclient"},
		modules: []string{
			"go.yaml.in/yaml/v3", "github.com/fsnotify/fsnotify", "github.com/lmittmann/tint", "golang.org/x/term", "golang.org/x/sys",
			"github.com/tidwall/resp", "golang.org/x/sync",
		},
	},
	// The lab runs the programs as processes; it shares no code with them but the check of their files.
	"internal/lab": {own: []string{"conf", "internal/manager", "internal/respconn"}},
	"cmd/respgate": {
		own: []string{
			"engine", "engine/", "conf", "conf/importer", "admin", "sentinelclient", "managerclient", "internal/control",
			"internal/inventory", "internal/lab", "internal/metrics", "internal/serverconf", "internal/status", "internal/respconn",
		},
		modules: []string{"github.com/lmittmann/tint", "golang.org/x/term", "golang.org/x/sys", "golang.org/x/sync", "github.com/prometheus/client_golang"},
	},
	"tests/": {own: []string{"tests/", "engine/", "conf", "conf/importer", "internal/respconn"}, modules: append([]string{"golang.org/x/sync", "golang.org/x/sys", "go.yaml.in/yaml/v3"}, testModules...)},
}

// layerOf finds the rules of a directory.
func layerOf(dir string) (layer, bool) {
	if l, ok := layers[dir]; ok {
		return l, true
	}
	for up := dir; ; {
		i := strings.LastIndexByte(up, '/')
		if i < 0 {
			return layer{}, false
		}
		up = up[:i]
		if l, ok := layers[up+"/"]; ok {
			return l, true
		}
	}
}

// refuses says why the file must not import the path; "" if it may.
func (l layer) refuses(s *source, p string) string {
	if own, ok := strings.CutPrefix(p, module); ok {
		switch {
		case strings.HasPrefix(own, "cmd/"):
			return "nothing imports a program"
		case strings.HasPrefix(own, "tests/") && !strings.HasPrefix(s.dir, "tests/"):
			return "only end-to-end suites use the harness"
		case own == s.dir, beside(s.dir, own), matches(l.own, own):
			return ""
		}
		return "imports point one way; allowed here: " + strings.Join(l.own, " ")
	}
	if first, _, _ := strings.Cut(p, "/"); !strings.Contains(first, ".") {
		for _, n := range l.not {
			if p == n && !s.test {
				return "the data plane stays clear of it"
			}
		}
		return ""
	}
	if within(l.modules, p) || s.test && within(testModules, p) {
		return ""
	}
	return "allowed here of other people's modules: " + strings.Join(l.modules, " ")
}

// beside reports whether own is in an internal directory that belongs to dir, or to the package that dir belongs to.
func beside(dir, own string) bool {
	owner, _, internal := strings.Cut(own, "/internal/")
	return internal && (dir == owner || strings.HasPrefix(dir, owner+"/internal/"))
}

// matches reports whether own is in the list, or below an entry that ends in a slash.
func matches(list []string, own string) bool {
	for _, e := range list {
		if own == e || strings.HasSuffix(e, "/") && strings.HasPrefix(own, e) {
			return true
		}
	}
	return false
}

// within reports whether the import path belongs to one of the modules.
func within(modules []string, p string) bool {
	for _, m := range modules {
		if p == m || strings.HasPrefix(p, m+"/") {
			return true
		}
	}
	return false
}

// The files that hold a state machine's core, by name, in the packages that have one.
var coreNames = map[string]bool{"machine.go": true, "decide.go": true, "lease.go": true, "group.go": true, "parse.go": true}

func pureCore(s *source) bool {
	if s.dir != "sentinelclient" && s.dir != "managerclient" {
		return false
	}
	return coreNames[s.path[strings.LastIndexByte(s.path, '/')+1:]]
}

var (
	impure = map[string]bool{"net": true, "os": true, "io": true, "bufio": true, "sync": true, "context": true, "net/http": true}
	// Levels and attributes are values; these are not.
	loggers = map[string]bool{"Logger": true, "Default": true, "Handler": true, "New": true, "Debug": true, "Info": true, "Warn": true, "Error": true, "Log": true, "LogAttrs": true}
	clocks  = map[string]bool{"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "NewTimer": true, "NewTicker": true, "Tick": true, "AfterFunc": true}
)
