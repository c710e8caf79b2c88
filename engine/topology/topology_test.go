package topology

import (
	"net/netip"
	"testing"
)

func TestLookups(t *testing.T) {
	g1, g2 := &Group{Name: "g1"}, &Group{Name: "g2"}
	a, b := &Pool{Name: "a", Groups: []*Group{g1, g2}}, &Pool{Name: "b"}
	s := &Snapshot{Pools: []*Pool{a, b}}
	for name, want := range map[string]*Pool{"a": a, "b": b, "": nil, "aa": nil, "c": nil} {
		if got := s.Pool(name); got != want {
			t.Errorf("Pool(%q) = %v", name, got)
		}
	}
	for name, want := range map[string]int{"g1": 0, "g2": 1, "g": -1, "g10": -1} {
		g, i := a.Group(name)
		if i != want || (g != nil) != (want >= 0) || g != nil && g.Name != name {
			t.Errorf("Group(%q) = %v, %d; want %d", name, g, i, want)
		}
	}
	if (&Snapshot{}).Pool("a") != nil {
		t.Error("an empty snapshot has a pool")
	}
}

func TestAccessNames(t *testing.T) {
	for a, want := range map[Access]string{Serve: "serve", Fence: "fence", Reject: "reject", 9: "invalid"} {
		if got := a.String(); got != want {
			t.Errorf("Access(%d) = %q, want %q", a, got, want)
		}
	}
}

func TestMasterKnown(t *testing.T) {
	for _, tc := range []struct {
		m    Master
		want bool
	}{
		{Master{}, false},
		{Master{Name: "db:6379", Generation: 3}, false}, // told, and not resolved
		{Master{Path: "/tmp/redis.sock"}, true},
		{Master{Addrs: []netip.AddrPort{netip.MustParseAddrPort("[::1]:6379")}}, true},
	} {
		if got := tc.m.Known(); got != tc.want {
			t.Errorf("%+v: known %v", tc.m, got)
		}
	}
}
