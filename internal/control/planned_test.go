package control

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"respgate/sentinelclient"
)

// A switch is not begun if requests may not wait for as long as it takes; once they may, it is.
func TestSwitchNeedsHoldTimeout(t *testing.T) {
	brief := onePool + "    hold: {timeout: 1999ms}\n"
	bubble(t, brief, func(t *testing.T, w *world) {
		s := w.latest("cache")
		s.deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.1:6379", 1)}))
		w.news()
		_, err := w.ctl.Switch(t.Context(), "cache", "g1")
		e := (*Error)(nil)
		if !errors.As(err, &e) || e.Code != "ERR" || !strings.HasPrefix(e.Text, "check: hold.timeout of pool 'cache' is 1999 ms") || !strings.Contains(e.Text, "set 2s or more") {
			t.Errorf("%v", err)
		}
		if got := w.news(); got != "" {
			t.Errorf("it has begun: %s", got)
		}
		if done, err := w.ctl.SwitchAll(t.Context(), "cache"); len(done) > 0 || !errors.As(err, &e) || !strings.HasPrefix(e.Text, "group 'g1': check: hold.timeout") {
			t.Errorf("all: %v, %v", done, err)
		}
		for _, long := range []string{"2s", "auto"} {
			if _, err := w.reload(strings.Replace(brief, "1999ms", long, 1), false); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			s.failing("check", func(context.Context) error { return errors.New("checked") })
			if _, err := w.ctl.Switch(t.Context(), "cache", "g1"); err == nil || err.Error() != "checked" {
				t.Errorf("hold.timeout %s: %v", long, err)
			}
		}
	})
}

func (o *switchover) Following() error { return o.s.following }

// What is left to do after a switch stands in its reply.
func TestSwitchWarns(t *testing.T) {
	for want, set := range map[string]func(s *sentinels){
		"": func(*sentinels) {},
		"10.0.1.1:6379 could not be made a replica: Sentinel will, what is written to it until then is lost: refused": func(s *sentinels) {
			s.standing, s.following = errors.New("refused"), errors.New("lost")
		},
		"10.0.1.1:6379 is a replica now and does not get what 10.0.1.2:6379 has: lost": func(s *sentinels) { s.following = errors.New("lost") },
	} {
		t.Run(want, func(t *testing.T) {
			bubble(t, onePool, func(t *testing.T, w *world) {
				s := w.latest("cache")
				s.deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.1:6379", 1)}))
				synctest.Wait()
				set(s)
				s.failing("promote", func(context.Context) error {
					s.deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.2:6379", 2)}))
					return nil
				})
				if res, err := w.ctl.Switch(t.Context(), "cache", "g1"); err != nil || res.Warning != want {
					t.Errorf("%q, %v", res.Warning, err)
				}
			})
		})
	}
}
