package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"respgate/tests/harness"
)

// TestHangup rotates a password that stands in a file of its own. Nobody watches that file, so only the signal can have
// brought the new one: what is connected stays, and who comes next needs it.
func TestHangup(t *testing.T) {
	t.Parallel()
	r := harness.StartRedis(t, harness.RedisOptions{})
	secret := filepath.Join(t.TempDir(), "secret")
	rotate := func(text string) {
		t.Helper()
		if err := os.WriteFile(secret, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rotate("first-secret")
	c := harness.NewConfig(t)
	addr := c.ServersPool("one", []string{r.Addr() + ":1 alpha"}, fmt.Sprintf("password: { file: %q }", secret))
	p := harness.StartProxy(t, c)
	p.WaitUp("one")
	conn := dial(t, addr)
	want(t, conn, "OK", "AUTH", "first-secret")
	want(t, conn, "OK", "SET", "a", "1")

	rotate("second-secret")
	p.Signal(syscall.SIGHUP)
	harness.Eventually(t, harness.Patience, "clients are asked for the new password", func() error {
		got, err := harness.Ask(addr, "AUTH", "second-secret")
		if err == nil && got.Text() != "OK" {
			err = errorText(got)
		}
		return err
	})
	wantPrefix(t, dial(t, addr), "-WRONGPASS ", "AUTH", "first-secret")
	want(t, conn, "1", "GET", "a")
}
