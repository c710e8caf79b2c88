//go:build linux && (amd64 || arm64)

package resp_test

import (
	"fmt"
	"math"
	"syscall"
	"testing"

	"respgate/engine/resp"
)

// TestScanHugeRequest scans requests around MaxRequest in an address range of
// which only the pages with a header are ever touched.
func TestScanHugeRequest(t *testing.T) {
	t.Parallel()
	const size = math.MaxInt32 + 4096
	buf, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Munmap(buf); err != nil {
			t.Error(err)
		}
	}()
	lim := &resp.Limits{Bulk: math.MaxInt64}
	// The length of a bulk that ends at the given offset of the buffer.
	bulkUntil := func(end int) int { return end - len("*9\r\n$2147483647\r\n") - len("\r\n") }
	put := func(args, length int) {
		n := copy(buf, fmt.Sprintf("*%d\r\n$%d\r\n", args, length))
		copy(buf[n+length:], "\r\n$0\r\n\r\n")
	}
	scan := func(have int, wantDone bool, wantErr string) {
		t.Helper()
		for _, pieces := range [][]int{{have}, {1 << 20, have}} {
			var s resp.RequestScanner
			var f resp.Frame
			var done bool
			var err error
			for _, n := range pieces {
				if done, err = s.Scan(buf[:n], lim, &f); done || err != nil {
					break
				}
			}
			if wantErr != "" || !wantDone {
				checkError(t, done, err, wantErr)
			} else if !done || err != nil {
				t.Fatalf("done %t, error %v", done, err)
			}
		}
	}
	put(1, bulkUntil(resp.MaxRequest))
	scan(resp.MaxRequest, true, "")
	scan(size, true, "")
	scan(resp.MaxRequest-1, false, "")

	put(1, bulkUntil(resp.MaxRequest)+1)
	scan(1<<20, false, "Protocol error: too big request")
	scan(size, false, "Protocol error: too big request")

	// The second argument would begin behind the bound, or straddle it.
	put(2, bulkUntil(resp.MaxRequest))
	scan(resp.MaxRequest, false, "")
	scan(size, false, "Protocol error: too big request")
	put(2, bulkUntil(resp.MaxRequest)-3)
	scan(resp.MaxRequest, false, "")
	scan(size, false, "Protocol error: too big request")
}
