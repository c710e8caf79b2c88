package harness

import (
	"errors"
	"net"
	"testing"
	"time"
)

// TestVanish: a host that is not there is silent to who is connected, and answers no SYN; when it is back, new connections
// pass and old ones do not.
func TestVanish(t *testing.T) {
	t.Parallel()
	r := StartRedis(t, RedisOptions{})
	f := StartFault(t, r.Addr())
	for range 3 {
		old, err := Dial(f.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(old.Close)
		if got, err := old.Do("PING"); err != nil || got.Text() != "PONG" {
			t.Fatalf("before: %s, %v", got.Text(), err)
		}
		f.Vanish(t)
		old.Timeout = 20 * time.Millisecond
		if got, err := old.Do("PING"); err == nil {
			t.Errorf("an old connection is answered: %s", got.Text())
		}
		c, err := net.DialTimeout("tcp", f.Addr(), 20*time.Millisecond)
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Errorf("connect: %v, want nothing", err)
		}
		if err == nil {
			_ = c.Close()
		}
		f.Return(t)
		fresh, err := Dial(f.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(fresh.Close)
		if got, err := fresh.Do("PING"); err != nil || got.Text() != "PONG" {
			t.Errorf("after: %s, %v", got.Text(), err)
		}
		if got, err := old.Do("PING"); err == nil {
			t.Errorf("a connection whose packets were lost is answered at once: %s", got.Text())
		}
	}
}
