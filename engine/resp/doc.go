// Package resp frames the Redis protocol (RESP2, RESP3 and inline requests)
// without copying it, and builds requests and replies.
//
//	client bytes -> RequestScanner -> Frame: size and a Span per argument
//	server bytes -> ReplyScanner   -> where the reply ends, and its type
//	engine       -> Append...      -> bytes for a client or a server
//
// A scanner belongs to one connection and is used only by the event loop that
// owns the connection. It keeps offsets and counts, never bytes: the buffers,
// and the bounds on them, are the caller's. Nothing here does I/O or, with the
// exceptions noted at ReplyScanner and in the error paths, allocates.
//
// Sources: the RESP specification (redis.io/docs/reference/protocol-spec and
// github.com/redis/redis-specifications, RESP3.md) and the observable behaviour
// of redis-server 7.0. Where Redis is lenient about line ends the package is
// strict, because a proxy and the server behind it must see the same frames.
package resp
