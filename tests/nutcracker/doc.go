// Package nutcracker holds no code: its tests run Debian's twemproxy (nutcracker 0.5.0) on real redis-server processes and
// compare, key by key, where it puts a key with where engine/shard puts it. They are for Linux: twemproxy is built for
// it, and the whole of 127.0.0.0/8 is needed.
package nutcracker
