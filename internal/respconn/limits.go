package respconn

// Limits bound one reply of a server; they are checked before anything is allocated for it. A zero field has its default.
type Limits struct {
	Reply    int // bytes on the wire, headers included; default 64 KiB
	Elements int // elements of all aggregates together, a map's pair being two; default 1024
	Depth    int // nesting of aggregates; default 8
}

func (l Limits) withDefaults() Limits {
	if l.Reply <= 0 {
		l.Reply = 64 << 10
	}
	if l.Elements <= 0 {
		l.Elements = 1024
	}
	if l.Depth <= 0 {
		l.Depth = 8
	}
	return l
}

// RequestLimits bound one request of a client, likewise.
type RequestLimits struct {
	Bytes int // on the wire, headers included; default 64 KiB
	Args  int // default 1024
}

func (l RequestLimits) withDefaults() RequestLimits {
	if l.Bytes <= 0 {
		l.Bytes = 64 << 10
	}
	if l.Args <= 0 {
		l.Args = 1024
	}
	return l
}

// frameKept is the largest frame buffer a connection keeps between two messages, in bytes.
const frameKept = 16 << 10
