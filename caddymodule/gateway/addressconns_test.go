package gateway

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Counts match the open sessions, and nothing remains without sessions.
func TestAddressConnsCountSessions(t *testing.T) {
	const limit = 3
	sites := []*site.Site{
		{Limits: site.Limits{PerAddress: limit}}, {Limits: site.Limits{PerAddress: limit}}, {}, // the last has no limit
	}
	var configs atomic.Pointer[configurations]
	configs.Store(&configurations{ended: true})
	tenants := make([]*tenant, 2*len(sites)) // two hosts a site
	for i := range tenants {
		tenants[i] = newTenant(&configs, presence.HostName{}, sites[i/2])
	}
	clients := []netip.Prefix{
		{}, netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32"), netip.MustParsePrefix("2001:db8::/64"),
	}
	type place struct {
		client netip.Prefix
		site   *site.Site
	}
	var a addressConns
	var open []*Session
	places, count := make(map[*Session]place), make(map[place]int)
	random := rand.New(rand.NewPCG(1, 2))
	remove := func(i int) {
		s := open[i]
		open = append(open[:i], open[i+1:]...)
		a.remove(s)
		a.remove(s) // once is enough
		count[places[s]]--
	}
	for range 20_000 {
		if len(open) > 0 && random.IntN(2) == 0 {
			remove(random.IntN(len(open)))
			continue
		}
		client, to := clients[random.IntN(len(clients))], tenants[random.IntN(len(tenants))]
		at := place{client, to.site()}
		full := client.IsValid() && at.site.Limits.PerAddress > 0 && count[at] >= limit
		if err := a.admit(client, to); errors.Is(err, errTooManyFromAddress) != full {
			t.Fatalf("%d connections of %s: %v", count[at], client, err)
		}
		if full {
			continue
		}
		s := &Session{tenant: to}
		a.add(client, s)
		open, places[s] = append(open, s), at
		count[at]++
	}
	for len(open) > 0 {
		remove(0)
	}
	if len(a.clients) > 0 || len(a.sessions) > 0 {
		t.Errorf("%d clients and %d sessions are left", len(a.clients), len(a.sessions))
	}
}
