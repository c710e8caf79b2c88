package shard

import (
	"strconv"
	"strings"
)

// memcachedPort is left out of the name of a node: so does libmemcached, and twemproxy for its sake.
const memcachedPort = 11211

// NodeName returns the name that twemproxy hashes for a server of a `servers` list: its alias, else host:port, else (port
// 11211) only the host. The host is hashed as written: no name is resolved, and the brackets of an IPv6 address, which
// twemproxy does not know, do not count.
func NodeName(host string, port int, alias string) string {
	if alias != "" {
		return alias
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if port == memcachedPort {
		return host
	}
	return host + ":" + strconv.Itoa(port)
}

// SocketName is NodeName for a server on a unix socket: its alias, else the path and a colon.
func SocketName(path, alias string) string {
	if alias != "" {
		return alias
	}
	return path + ":"
}
