package resp_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/engine/resp"
)

// FuzzRequest frames a stream of requests that arrives in pieces of step bytes
// and compares each frame, and how the stream ends, with the reference.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n\r\n*0\r\n*1\r\n$12\r\n0123456789ab\r\n"), uint16(3), false)
	f.Fuzz(func(t *testing.T, data []byte, step uint16, unauth bool) {
		lim := resp.Limits{Inline: 64, Args: 1000, Bulk: 20000, Unauthenticated: unauth}
		var s resp.RequestScanner
		var frame resp.Frame
		start, end := 0, 0
		for {
			want, wantErr := naiveRequest(data[start:], lim)
			done, err := false, error(nil)
			for {
				done, err = s.Scan(data[start:end], &lim, &frame)
				if done || err != nil || end == len(data) {
					break
				}
				if need := s.Need(); need <= end-start {
					t.Fatalf("at %d: Need %d with %d bytes there", start, need, end-start)
				}
				end = min(end+int(step)+1, len(data))
			}
			if errors.Is(wantErr, errMore) {
				wantErr = nil
			}
			if err != wantErr {
				t.Fatalf("at %d: error %v, want %v", start, err, wantErr)
			}
			if done != (want.Size > 0) {
				t.Fatalf("at %d: done %t, want %+v", start, done, want)
			}
			if !done {
				return
			}
			if d := cmp.Diff(want, seen(data[start:], &frame)); d != "" {
				t.Fatalf("at %d: %s", start, d)
			}
			start += frame.Size
		}
	})
}

// FuzzInline compares ParseInline with the reference and reads its result back.
func FuzzInline(f *testing.F) {
	f.Add([]byte(`set "a\x41\n" 'b\'c' d"e f"` + "\r\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		want, wantErr := naiveInline(line)
		out, n, err := resp.ParseInline([]byte("before"), line)
		if err != wantErr || n != len(want) {
			t.Fatalf("%d arguments, error %v; want %q, %v", n, err, want, wantErr)
		}
		wantOut := "before"
		if n > 0 {
			wantOut = string(resp.AppendRequest([]byte(wantOut), want...))
		}
		if d := cmp.Diff(wantOut, string(out)); d != "" {
			t.Fatal(d)
		}
	})
}

// FuzzReply frames a stream of replies that arrives in pieces of step bytes and
// compares where each ends, and how the stream ends, with the reference.
func FuzzReply(f *testing.F) {
	f.Add([]byte("+OK\r\n$3\r\nabc\r\n*2\r\n:1\r\n$-1\r\n|1\r\n+a\r\n:1\r\n%1\r\n_\r\n#t\r\n*?\r\n$?\r\n;1\r\na\r\n;0\r\n.\r\n"), uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, step uint16) {
		var s resp.ReplyScanner
		end := 0
		for at := 0; at < len(data); {
			size, kind, want := naiveReply(data[at:])
			start, done := at, false
			for at < len(data) && !done {
				if at == end {
					end = min(end+int(step)+1, len(data))
				}
				n, d, err := s.Feed(data[at:end])
				if err != nil {
					if want != errBad {
						t.Fatalf("at %d: error %v, want %v", start, err, want)
					}
					if _, _, err := s.Feed([]byte("+OK\r\n")); err == nil {
						t.Fatal("goes on after an error")
					}
					return
				}
				if !d && n != end-at {
					t.Fatalf("at %d: consumed %d of %d", at, n, end-at)
				}
				if s.Midway() == d {
					t.Fatalf("at %d: Midway %t, done %t", at, s.Midway(), d)
				}
				at, done = at+n, d
			}
			switch {
			case want == errBad:
				t.Fatalf("at %d: done %t, want an error", start, done)
			case done != (want == nil):
				t.Fatalf("at %d: done %t, want %v", start, done, want)
			case done && (at-start != size || s.Kind() != kind):
				t.Fatalf("at %d: size %d kind %q, want %d %q", start, at-start, s.Kind(), size, kind)
			}
		}
	})
}
