package main

import (
	"net"
	"os"
)

// notify tells systemd of the process' state (sd_notify(3)); without systemd it does nothing.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return // the service manager is gone: nobody to tell
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}
