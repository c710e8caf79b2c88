package command

// Merge says how the replies of several groups become one. It matters for RouteFanout, and for sessions that ask every group.
type Merge uint8

// The ways to merge. Unless it says otherwise every group is asked, and an error of one is the reply.
const (
	MergeNone    Merge = iota // not at all: with several groups the command is refused with Command.Reason
	MergeOK                   // +OK when all groups say so
	MergeSame                 // all groups do the same; the first one's reply
	MergeSum                  // integers are added
	MergeMin                  // the lowest integer; in arrays element by element, and what is no integer is the same in all
	MergeMax                  // the highest, likewise
	MergeConcat               // arrays one after the other
	MergeUnion                // arrays of strings one after the other, each string once
	MergeLog                  // entries of logs, the newest first, as many as asked for
	MergeRandom               // any reply that is not null
	MergeFirstOK              // +OK if any group says so, otherwise an error
	MergeScan                 // one group after the other: the cursor says which
	MergeInfo                 // sections of INFO; groups that are not up are left out
	MergeAny                  // one group that is up is asked
	MergeTable                // likewise, and without one the proxy's own table answers
)

var mergeNames = [...]string{
	"none", "ok", "same", "sum", "min", "max", "concat", "union", "log", "random", "first-ok", "scan", "info", "any", "table",
}

// String returns the merge's name, for the documents.
func (m Merge) String() string {
	if int(m) < len(mergeNames) {
		return mergeNames[m]
	}
	return "unknown"
}

// OneWillDo reports whether the reply of one group is as good as that of all.
func (m Merge) OneWillDo() bool { return m == MergeInfo || m == MergeAny || m == MergeTable }

// NeedsServer reports whether c is answered by a server in any case: the proxy itself says something where no group is up
// otherwise.
func (c *Command) NeedsServer() bool {
	return c.Route != RouteLocal && c.Merge != MergeInfo && c.Merge != MergeTable
}
