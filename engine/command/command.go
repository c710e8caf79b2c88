// Package command knows the commands of Redis and Valkey: how many arguments each takes, where its keys are, and what the proxy does with it.
//
//	name -> Lookup -> *Command -> Sub (containers) -> ArityOK -> Keys -> the engine routes
//
// The table is constant: made by internal/gen (table_gen.go), owned by nobody, safe for every goroutine, and looked up and read without
// allocation. It covers Redis 7.2 and Valkey 9, and what is documented of later versions and of the modules that come with them.
//
// Its sources are two data files and a policy. commands.json is what a Redis 7.0 server says of itself (BSD-3, see LICENSE.redis);
// additions.json has the rows for later commands, written from their documentation at redis.io and valkey.io; internal/gen/policy.go says what
// the proxy does with each.
package command

//go:generate go run ./internal/gen

// Route says what the proxy does with a command.
type Route uint8

// The routes. A command is never forwarded where its route does not say so.
const (
	RouteRefused  Route = iota // not supported: Command.Reason says why
	RouteLocal                 // the proxy answers itself
	RouteKeyed                 // forwarded whole; all keys must lie in one group
	RouteMGet                  // split by key, replies merged in order
	RouteMSet                  // split by pairs of key and value, +OK when all are
	RouteSum                   // split by key, integers added
	RouteFanout                // concerns every group, or any one of them: Command.Merge says how the replies become one
	RouteSession               // concerns the state of the client's connection: MULTI, SUBSCRIBE and the like; see the engine's session
	RouteBlocking              // as keyed, on a server link of its own for as long as it blocks
)

var routeNames = [...]string{"refused", "local", "keyed", "mget", "mset", "sum", "fanout", "session", "blocking"}

// String returns the route's name, for logs and the console.
func (r Route) String() string {
	if int(r) < len(routeNames) {
		return routeNames[r]
	}
	return "unknown"
}

// Command is one row of the table. Rows are shared by every goroutine and must not be changed.
type Command struct {
	ID      uint16 // dense, for counters, from 1; 0 is left for unknown commands
	Name    string // in lower case; of a subcommand with its container, "client|setname"
	Arity   int    // arguments with the name (and the subcommand); negative: at least so many
	Flags   Flags
	Route   Route
	Merge   Merge
	Reason  string // completes "command 'x' is not supported: "
	Retry   bool   // may be sent again when its outcome is unknown: it reads only, and carries no cursor; check Blocks too
	Group   string // Redis' name for the kind of command: "string", "sorted-set"
	Since   string // version of Redis (or Valkey) that brought it
	Summary string // one sentence

	// Keys that are a plain range: argv positions of the first and last one and the distance between two. A negative Last counts from the end
	// of the request: -1 is its last argument. All are 0 if there are no keys, or if Keys must look for them.
	First, Last, Step int

	specs             []keySpec
	finder            finder
	firstSub, lastSub uint16 // IDs of the subcommands
}

// Container reports whether c is a container: a command whose subcommand (see Sub) is what is to be done. COMMAND alone may go without.
func (c *Command) Container() bool { return c.firstSub != 0 }

// ArityOK reports whether a request of argc arguments, name and subcommand included, has as many as c takes.
func (c *Command) ArityOK(argc int) bool {
	if c.Arity < 0 {
		return argc >= -c.Arity
	}
	return argc == c.Arity
}

// All returns every command and subcommand ordered by ID, which is by name. The slice is the caller's.
func All() []*Command {
	all := make([]*Command, 0, Count())
	for i := range table[1:] {
		all = append(all, &table[i+1])
	}
	return all
}

// Count returns the number of commands and subcommands, which is the highest ID.
func Count() int { return tableSize - 1 }
