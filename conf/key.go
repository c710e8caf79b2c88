package conf

import (
	"errors"
	"path"
	"reflect"
)

// Effect is what a reload does with a key that changed.
type Effect uint8

// The effects, from the mildest.
const (
	Live    Effect = iota // taken over at once; no connection is touched
	Links                 // links to servers, sentinels or managers are made anew; clients stay
	Rebind                // the new listener is bound before the old one is closed; connected clients stay
	Restart               // refused: the process has to be started again
)

var effects = []string{"live", "links", "rebind", "restart"}

// String returns live, links, rebind or restart.
func (e Effect) String() string {
	if int(e) < len(effects) {
		return effects[e]
	}
	return "unknown"
}

// key is one key of the file.
type key struct {
	Name     string // dotted, from the top of the file or from the pool
	Default  string // as the file would have it; "" is none
	Required bool   // in its map
	Effect   Effect
	Doc      string // for the reference; ends with a full stop

	typ    valueType
	unused bool  // read and checked for twemproxy's sake, and not kept
	index  []int // of its field in Config or Pool
}

const (
	poolsKey = "pools" // read and compared pool by pool

	maxPools     = 1024
	maxGroups    = 1024
	maxSentinels = 64
	maxManagers  = 64
	maxProxyID   = 128
)

var (
	globalKeys    = globalTable()
	poolKeys      = poolTable()
	groupKeys     = groupTable()
	globalSection = newSection(globalKeys, reflect.TypeFor[Config]())
	poolSection   = newSection(poolKeys, reflect.TypeFor[Pool](), "manager")
	groupItem     = newSection(groupKeys, reflect.TypeFor[Group]())
)

// globalTable lists the keys outside the pools, in the order of the reference.
func globalTable() []key {
	return []key{
		{Name: "admin.listen", typ: port(), Default: "127.0.0.1:7079", Effect: Rebind,
			Doc: "Where `redis-cli` reaches the console. `\"\"` opens none."},
		{Name: "admin.password", typ: secret(), Effect: Live,
			Doc: "Asked for on the admin port. Without one everybody who reaches the port is an operator."},
		{Name: "admin.stats_password", typ: secret(), Effect: Live,
			Doc: "Lets in on the admin port for reading only."},
		{Name: "log.level", typ: logLevel(), Default: "info", Effect: Live,
			Doc: "The least level that is logged."},
		{Name: "log.format", typ: word("auto", "text", "json"), Default: "auto", Effect: Restart,
			Doc: "`auto` is coloured text on a terminal and JSON otherwise."},
		{Name: "metrics.listen", typ: port(), Default: "127.0.0.1:9179", Effect: Rebind,
			Doc: "HTTP port of `/metrics`, `/livez` and `/readyz`. `\"\"` opens none."},
		{Name: "metrics.twemproxy_stats", typ: port(), Effect: Rebind,
			Doc: "Port that answers with twemproxy's JSON of statistics, as its port 22222 does."},
		{Name: "limits.max_clients", typ: integer(1, 1000000), Default: "10000", Effect: Live,
			Doc: "Clients of all pools together; one more gets an error and is closed. So does one that would take of the last quarter of the descriptors that the process may have (1,024 at the most): they are kept for servers, sentinels and the console."},
		{Name: "limits.memory", typ: size(16*MB, 1024*GB), Default: "512mb", Effect: Live,
			Doc: "Bytes of requests and replies in the proxy. When they are used up, clients that hold more than their share of it are not read from until there is room."},
		{Name: "loops", typ: integer(0, 256), Default: "0", Effect: Restart,
			Doc: "Event loops; 0 is one for each CPU."},
		{Name: "batch", typ: microseconds(maxBatch), Default: "150us", Effect: Live,
			Doc: "The longest that a busy event loop rests between two looks at its sockets, to find more to do at once: up to `5ms`, also in microseconds. It rests only while at least 24 clients wait, 5us for each of them. 0 is never."},
		{Name: "state_dir", typ: text("absolute path", checkStateDir), Effect: Restart,
			Doc: "Where the last good answer of a manager is kept. Without it, systemd's `$STATE_DIRECTORY`; without that, nothing is kept."},
		{Name: "proxy_id", typ: text("name", checkProxyID), Effect: Restart,
			Doc: "What managers know this proxy by; it must differ from that of any other. Without it, the host's name and the port of `admin.listen` at the start."},
		{Name: poolsKey, typ: valueType{name: "map of pools", read: readPools}, Required: true, Effect: Live,
			Doc: "The pools by name, 1 to 1024. A pool that is new is opened and one that is gone is drained and closed; the others do not notice."},
	}
}

func groupTable() []key {
	return []key{
		{Name: "name", typ: text("name", checkName), Required: true},
		{Name: "weight", typ: integer(1, maxWeight), Default: "1"},
	}
}

// port is a TCP address to listen on, or none.
func port() valueType {
	return parsed("host:port", orNone(parseTCPListen))
}

func checkStateDir(s string) error {
	if s != "" && !path.IsAbs(s) {
		return errors.New("must be an absolute path")
	}
	return nil
}

func checkProxyID(s string) error {
	if len(s) > maxProxyID || !only(s, "._:-") {
		return errors.New("must be at most 128 letters, digits, dots, colons, dashes or underscores")
	}
	return nil
}
