package resp_test

import (
	"strings"
	"testing"

	"respgate/engine/resp"
)

func benchmarkScan(b *testing.B, args ...string) {
	buf := resp.AppendRequest(nil, args...)
	var (
		s   resp.RequestScanner
		f   resp.Frame
		lim resp.Limits
	)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if done, err := s.Scan(buf, &lim, &f); !done || err != nil || f.Size != len(buf) {
			b.Fatal(done, err)
		}
	}
}

func BenchmarkScanGet(b *testing.B) { benchmarkScan(b, "GET", "key:000000000042") }

func BenchmarkScanSet64(b *testing.B) {
	benchmarkScan(b, "SET", "key:000000000042", strings.Repeat("v", 64))
}

func BenchmarkScanSet16K(b *testing.B) {
	benchmarkScan(b, "SET", "key:000000000042", strings.Repeat("v", 16<<10))
}

func BenchmarkScanMGet10(b *testing.B) {
	args := []string{"MGET"}
	for range 10 {
		args = append(args, "key:000000000042")
	}
	benchmarkScan(b, args...)
}

// BenchmarkScanSplit reads a SET that arrives in two pieces.
func BenchmarkScanSplit(b *testing.B) {
	buf := resp.AppendRequest(nil, "SET", "key:000000000042", strings.Repeat("v", 64))
	var (
		s   resp.RequestScanner
		f   resp.Frame
		lim resp.Limits
	)
	b.ReportAllocs()
	for b.Loop() {
		if done, err := s.Scan(buf[:60], &lim, &f); done || err != nil {
			b.Fatal(done, err)
		}
		if done, err := s.Scan(buf, &lim, &f); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}

func BenchmarkParseInline(b *testing.B) {
	line := []byte("SET key:000000000042 \"a value\"\r\n")
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if out, _, err = resp.ParseInline(out[:0], line); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkReply(b *testing.B, reply []byte) {
	var s resp.ReplyScanner
	b.SetBytes(int64(len(reply)))
	b.ReportAllocs()
	for b.Loop() {
		if n, done, err := s.Feed(reply); n != len(reply) || !done || err != nil {
			b.Fatal(n, done, err)
		}
	}
}

func BenchmarkReplyBulk64(b *testing.B) {
	benchmarkReply(b, resp.AppendBulkString(nil, strings.Repeat("v", 64)))
}

func BenchmarkReplyBulk16K(b *testing.B) {
	benchmarkReply(b, resp.AppendBulkString(nil, strings.Repeat("v", 16<<10)))
}

func BenchmarkReplySimple(b *testing.B) { benchmarkReply(b, resp.AppendSimple(nil, "OK")) }

func BenchmarkReplyInt(b *testing.B) { benchmarkReply(b, resp.AppendInt(nil, 1234567)) }

func BenchmarkReplyNull(b *testing.B) { benchmarkReply(b, resp.AppendNull(nil, false)) }

func BenchmarkReplyNull3(b *testing.B) { benchmarkReply(b, resp.AppendNull(nil, true)) }

func BenchmarkReplyArray10(b *testing.B) {
	reply := resp.AppendArray(nil, 10)
	for range 10 {
		reply = resp.AppendBulkString(reply, strings.Repeat("v", 64))
	}
	benchmarkReply(b, reply)
}
