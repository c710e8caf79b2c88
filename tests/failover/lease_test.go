package failover

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestReloadKeepsNoLease takes a group from its sentinels to a fixed list and back, under its name: what vouched for it
// before is no condition after, and requests are served when it has run out.
func TestReloadKeepsNoLease(t *testing.T) {
	t.Parallel()
	f, p := stack(t, quickly("g1"))
	var left time.Duration
	harness.Eventually(t, harness.Patience, "the master is served until some time", func() error {
		ms, err := strconv.Atoi(p.Master("cache", "g1")["lease-left-ms"])
		if err == nil && ms <= 0 {
			err = errors.New("without an end")
		}
		left = time.Duration(ms) * time.Millisecond
		return err
	})
	c := p.Config
	sentinels := c.String()
	c.ServersPool("cache", []string{f.Group("g1").Master.Addr() + ":1 g1"})
	servers := c.String()

	client := dial(t, c.Addr("cache"))
	for _, file := range []struct{ text, from string }{{servers, "file"}, {sentinels, "sentinel"}} {
		p.Write(file.text)
		since := time.Now()
		harness.Eventually(t, harness.Patience, "the master comes from "+file.from, func() error {
			if row := p.Master("cache", "g1"); row["source"] != file.from || row["state"] != "up" {
				return errors.New(row["source"] + " " + row["state"])
			}
			return nil
		})
		lasts(t, since, left)
		want(t, client, "OK", "SET", "key", "value")
	}
}
