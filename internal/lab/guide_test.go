package lab

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/guide.golden")

func TestGuide(t *testing.T) {
	t.Parallel()
	pids := map[string]int{}
	for i, port := range []int{7001, 7002, 7003, 7004, 7011, 7012, 7013, 7078, 7079} {
		pids[loopback(port)] = 1000 + i
	}
	var b bytes.Buffer
	guide{layout: plain("/tmp/respgate-lab-1"), pids: pids, active: "127.0.0.1:7012", cli: true}.print(&b)
	const golden = "testdata/guide.golden"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("guide (-want +got), -update accepts it:\n%s", d)
	}
}

func TestShell(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/tmp/a-b_1.yml": "/tmp/a-b_1.yml", "/tmp/a b": "'/tmp/a b'", "/tmp/it's": `'/tmp/it'\''s'`, "/tmp/$HOME": "'/tmp/$HOME'",
	} {
		if got := shell(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
