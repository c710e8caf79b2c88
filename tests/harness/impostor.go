package harness

import (
	"bufio"
	"io"
	"net"
	"strings"
	"time"
)

// Impostor is what may stand where a manager or a sentinel should: it handles one connection, see Serve.
type Impostor func(net.Conn)

// Impostors are the kinds that know nothing of what they stand for.
func Impostors() map[string]Impostor {
	return map[string]Impostor{
		"mute":        func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"closes":      func(net.Conn) {},
		"http":        Say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
		"noise":       Say("\x00\xff\xfe\x80garbage\r\n\r\n"),
		"huge-bulk":   Say("$9999999999\r\n"),
		"huge-array":  Say("*2147483647\r\n"),
		"negative":    Say("*-7\r\n"),
		"deep":        Say(strings.Repeat("*1\r\n", 1_000_000)),
		"endless":     endless,
		"wrong-types": Say(":1\r\n*3\r\n$1\r\na\r\n$3\r\nabc\r\n:70000\r\n"),
		"half":        Say("*2\r\n$9\r\n127.0."),
		"truncated":   func(c net.Conn) { _, _ = io.WriteString(c, "*2\r\n$9\r\n127.0.") },
		"errors":      AnswerAll("-ERR no\r\n"),
		"unasked":     Say(strings.Repeat("-ERR no\r\n", 4)),
		"noauth":      AnswerAll("-NOAUTH Authentication required.\r\n"),
		"wrongpass":   AnswerAll("-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
		"pongs":       AnswerAll("+PONG\r\n"),
		"dribbles":    dribble,
	}
}

// Say sends text whatever is asked, and waits for the other side to leave.
func Say(text string) Impostor {
	return func(c net.Conn) {
		if _, err := io.WriteString(c, text); err == nil {
			_, _ = io.Copy(io.Discard, c)
		}
	}
}

// AnswerAll gives the same reply to every request.
func AnswerAll(reply string) Impostor {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			if _, err := ReadRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(c, reply); err != nil {
				return
			}
		}
	}
}

// endless sends a line without an end, as fast as it is read.
func endless(c net.Conn) {
	chunk := strings.Repeat("x", 64<<10)
	for {
		if _, err := io.WriteString(c, chunk); err != nil {
			return
		}
	}
}

// dribble sends a valid beginning, a byte each 200 ms.
func dribble(c net.Conn) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for _, b := range []byte("$60000\r\n" + strings.Repeat("y", 4000)) {
		<-tick.C
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
	}
}
