package sentinelclient

import "testing"

func TestParseStanding(t *testing.T) {
	const head = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\nmaster_repl_offset:1000\r\n"
	for _, c := range []struct {
		name, text string
		upTo       int64
		want       standingOf
		bad        bool
	}{
		{"all have all", head + "slave0:ip=10.0.0.2,port=6379,state=online,offset=1000,lag=0\r\nslave1:ip=10.0.0.3,port=6379,state=online,offset=1000,lag=1\r\n", 0, standingOf{Offset: 1000, Replicas: 2, Online: 2}, false},
		{"one is behind", head + "slave0:ip=10.0.0.2,port=6379,state=online,offset=1000,lag=0\r\nslave1:ip=10.0.0.3,port=6379,state=online,offset=940,lag=1\r\n", 0, standingOf{Offset: 1000, Replicas: 2, Online: 2, Behind: "10.0.0.3:6379", By: 60}, false},
		{"far enough for an earlier offset", head + "slave0:ip=10.0.0.3,port=6379,state=online,offset=940,lag=1\r\n", 900, standingOf{Offset: 1000, Replicas: 1, Online: 1}, false},
		{"one is being synchronised", head + "slave0:ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0,lag=0\r\n", 0, standingOf{Offset: 1000, Replicas: 1, Behind: "10.0.0.2:6379", By: 1000}, false},
		{"none", head + "slave_repl_offset:1\r\nslave_read_only:1\r\n", 0, standingOf{Offset: 1000}, false},
		{"a replica", "role:slave\r\nmaster_repl_offset:5\r\n", 0, standingOf{}, true},
		{"no offset", "role:master\r\n", 0, standingOf{}, true},
		{"an offset that is none", head + "slave0:ip=10.0.0.2,port=6379,state=online,offset=x,lag=0\r\n", 0, standingOf{Offset: 1000, Replicas: 1, Online: 1, Behind: "10.0.0.2:6379", By: 1000}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseStanding(c.text, c.upTo)
			if (err != nil) != c.bad || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}
