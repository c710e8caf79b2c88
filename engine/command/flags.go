package command

import "math/bits"

// Flags are Redis' command flags, and a few marks of the proxy's own.
type Flags uint32

// The flags of Redis, as COMMAND names them.
const (
	FlagWrite Flags = 1 << iota
	FlagReadOnly
	FlagDenyOOM
	FlagAdmin
	FlagPubSub
	FlagNoScript
	FlagLoading
	FlagStale
	FlagSkipMonitor
	FlagSkipSlowlog
	FlagAsking
	FlagFast
	FlagNoAuth // allowed before AUTH
	FlagBlocking
	FlagMovableKeys // not all keys are in the simple range, if there is one
	FlagAllowBusy
	FlagNoAsyncLoading
	FlagNoMulti
	FlagNoMandatoryKeys // a script may have none
	FlagModule          // comes with a module that Redis or Valkey bundles
)

// The proxy's own flags.
const (
	FlagMaybeBlocking Flags = 1 << 24 << iota // blocks only with the option BLOCK: see Blocks
	FlagCursor                                // goes on from a cursor that means something to one server only
	FlagContainer                             // has subcommands: see Sub
)

// Has reports whether all flags of want are set.
func (f Flags) Has(want Flags) bool { return f&want == want }

var flagNames = [32]string{
	"write", "readonly", "denyoom", "admin", "pubsub", "noscript", "loading", "stale", "skip_monitor", "skip_slowlog", "asking", "fast",
	"no_auth", "blocking", "movablekeys", "allow_busy", "no_async_loading", "no_multi", "no_mandatory_keys", "module",
}

// AppendNames appends the flags' names as COMMAND has them to dst. The proxy's own flags have none.
func (f Flags) AppendNames(dst []string) []string {
	for rest := f; rest != 0; rest &= rest - 1 {
		if name := flagNames[bits.TrailingZeros32(uint32(rest))]; name != "" {
			dst = append(dst, name)
		}
	}
	return dst
}
