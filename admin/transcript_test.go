package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"respgate/internal/respconn"
)

// tap records what a client reads.
type tap struct {
	net.Conn
	read bytes.Buffer
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Write(p[:n])
	return n, err
}

// wire is a client that shows the bytes of each reply.
type wire struct {
	t    testing.TB
	tap  *tap
	conn *respconn.Conn
}

func dial(t testing.TB, address string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, tap: &tap{Conn: c}}
	w.conn = respconn.New(w.tap, respconn.Limits{Reply: 4 << 20, Elements: 1 << 16, Depth: 32})
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return w
}

// reply waits for one reply and gives its bytes, "(closed)" for the end of the connection.
func (w *wire) reply() string {
	_, err := w.conn.Receive()
	got := w.tap.read.String()
	w.tap.read.Reset()
	switch {
	case errors.Is(err, io.EOF):
		return got + "(closed)"
	case err != nil:
		return got + "(" + err.Error() + ")"
	}
	return got
}

func (w *wire) do(args ...string) string {
	if err := w.conn.Send(args...); err != nil {
		return err.Error()
	}
	if err := w.conn.Flush(); err != nil {
		return err.Error()
	}
	return w.reply()
}

// lines shows bytes, a line of the protocol a line of text.
func lines(b string) string {
	return strings.ReplaceAll(strings.ReplaceAll(b, "\r\n", `\r\n`+"\n"), "\r", `\r`)
}

// TestTranscripts plays the dialogues of testdata: "start" begins a server with a client, "do" sends each line as a request, "raw" sends bytes and shows
// all that comes until the server closes, "calls" shows what the Switcher was asked.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		var f *fakeProxy
		var w *wire
		var address string
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "start":
				f = newFake()
				var cfg Config
				d.MaybeScanArgs(t, "password", &cfg.Password)
				d.MaybeScanArgs(t, "stats", &cfg.StatsPassword)
				_, address = start(t, cfg, f, io.Discard)
				w = dial(t, address)
				return ""
			case "connect":
				w = dial(t, address)
				return ""
			case "do":
				var out strings.Builder
				for _, line := range strings.Split(d.Input, "\n") {
					// Only the ports differ from run to run.
					got := strings.ReplaceAll(w.do(strings.Fields(line)...), w.tap.LocalAddr().String(), "127.0.0.1:CLIENT")
					got = strings.ReplaceAll(got, address, "127.0.0.1:ADMIN")
					fmt.Fprintf(&out, "> %s\n%s\n", line, strings.TrimSuffix(lines(got), "\n"))
				}
				return out.String()
			case "raw":
				sent, err := strconv.Unquote(`"` + d.Input + `"`)
				if err != nil {
					t.Fatal(err)
				}
				raw := dial(t, address)
				if _, err := io.WriteString(raw.tap.Conn, sent); err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(raw.tap.Conn)
				if err != nil {
					t.Fatal(err)
				}
				return lines(string(got)) + "(closed)\n"
			case "calls":
				return strings.Join(f.taken(), "\n") + "\n"
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}
