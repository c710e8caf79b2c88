//go:build unix && !linux

package engine

import (
	"time"

	"golang.org/x/sys/unix"

	"respgate/engine/buffer"
)

func readFD(fd int, b []byte) (int, error) { return unix.Read(fd, b) }

func writeFD(fd int, b []byte) (int, error) { return unix.Write(fd, b) }

// writePieces writes the first piece only: x/sys has no vectored write for every Unix.
func writePieces(fd int, pieces []buffer.Piece) (int, error) {
	return unix.Write(fd, pieces[0].Bytes())
}

func socketFD(domain int) (int, error) {
	fd, err := unix.Socket(domain, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	return prepareFD(fd)
}

func acceptFD(fd int) (int, error) {
	n, _, err := unix.Accept(fd)
	if err != nil {
		return -1, err
	}
	return prepareFD(n)
}

func prepareFD(fd int) (int, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

// The kernel's own defaults serve where the fine settings are Linux'.
func tuneKeepalive(fd, idle, interval, count int) {}

func tuneUserTimeout(fd, ms int) {}

func reusePort(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }

func nap(d time.Duration) { time.Sleep(d) }
