package caddymodule

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestBadKeysBlockForAWindow(t *testing.T) {
	b := newBadKeys()
	client := newBadKeyClient(mustHost(t, "a.example.com"), "192.0.2.1")
	other := newBadKeyClient(mustHost(t, "a.example.com"), "192.0.2.2")
	elsewhere := newBadKeyClient(mustHost(t, "b.example.com"), "192.0.2.1")
	start := time.Now()
	for i := range maxBadKeys {
		if wait := b.blocked(client, start); wait != 0 {
			t.Fatalf("blocked for %s after %d wrong keys", wait, i)
		}
		b.add(client, start.Add(time.Duration(i)*time.Second))
	}
	if wait := b.blocked(client, start.Add(10*time.Second)); wait != badKeyWindow-10*time.Second {
		t.Errorf("blocked for %s, want %s", wait, badKeyWindow-10*time.Second)
	}
	for _, free := range []badKeyClient{other, elsewhere} {
		if wait := b.blocked(free, start); wait != 0 {
			t.Errorf("%v is blocked for %s", free, wait)
		}
	}
	if wait := b.blocked(client, start.Add(badKeyWindow)); wait != 0 {
		t.Errorf("blocked for %s after the window", wait)
	}
	// The count begins anew.
	b.add(client, start.Add(badKeyWindow))
	if wait := b.blocked(client, start.Add(badKeyWindow)); wait != 0 {
		t.Errorf("blocked for %s after one wrong key in a new window", wait)
	}
}

func TestBadKeyClient(t *testing.T) {
	host := mustHost(t, "a.example.com")
	for _, test := range []struct{ ip, want string }{
		{"192.0.2.1", "192.0.2.1/32"},
		{"::ffff:192.0.2.1", "192.0.2.1/32"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"2001:db8:1:2::", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
		{"", "invalid Prefix"},
		{"@", "invalid Prefix"},
	} {
		if got := newBadKeyClient(host, test.ip); got.addr.String() != test.want || got.host != host {
			t.Errorf("%q: got %v, want %s", test.ip, got, test.want)
		}
	}
}

func TestBadKeysForgetSomebodyRatherThanGrow(t *testing.T) {
	b := newBadKeys()
	host := mustHost(t, "a.example.com")
	client := func(i int) badKeyClient {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		return newBadKeyClient(host, addr.String())
	}
	now := time.Now()
	for i := range maxBadClients + 1000 {
		b.add(client(i), now)
	}
	if len(b.clients) > maxBadClients {
		t.Errorf("%d clients are remembered, want at most %d", len(b.clients), maxBadClients)
	}
	last := client(maxBadClients + 999)
	if b.clients[last].n != 1 {
		t.Error("the newest client is forgotten")
	}
	// What is over makes room for many.
	for i := range 1000 {
		b.add(client(1<<20+i), now.Add(badKeyWindow))
	}
	if len(b.clients) > maxBadClients {
		t.Errorf("%d clients are remembered", len(b.clients))
	}
	if b.clients[client(1<<20)].n != 1 {
		t.Error("a new client is forgotten though others are over")
	}
}

// A crowd of clients must not make every wrong key cost a walk over all that are remembered.
func BenchmarkBadKeysWhenFull(b *testing.B) {
	keys := newBadKeys()
	host := mustHost(b, "a.example.com")
	now := time.Now()
	for i := range maxBadClients {
		keys.add(newBadKeyClient(host, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xff, i&0xff)), now)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		keys.add(newBadKeyClient(host, fmt.Sprintf("11.%d.%d.%d", i>>16&0xff, i>>8&0xff, i&0xff)), now)
	}
}
