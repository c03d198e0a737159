package api

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
)

// badKeyClientOf returns a client of a site with the key.
func badKeyClientOf(t testing.TB, key, addr string) badKeyClient {
	t.Helper()
	keys, err := site.NewKeys([]string{key})
	if err != nil {
		t.Fatal(err)
	}
	return badKeyClient{keys.Set, netip.MustParsePrefix(addr + "/32")}
}

func TestBadKeysBlockForAWindow(t *testing.T) {
	b := NewBadKeys()
	client := badKeyClientOf(t, "k", "192.0.2.1")
	other := badKeyClientOf(t, "k", "192.0.2.2")
	elsewhere := badKeyClientOf(t, "other", "192.0.2.1")
	start := time.Now()
	for i := range maxBadKeys {
		if wait := b.try(client, true, start); wait != 0 {
			t.Fatalf("blocked for %s after %d wrong keys", wait, i)
		}
		if wait := b.try(client, false, start.Add(time.Duration(i)*time.Second)); wait != 0 {
			t.Fatalf("blocked for %s by wrong key %d", wait, i+1)
		}
	}
	for _, right := range []bool{false, true} {
		if wait := b.try(client, right, start.Add(10*time.Second)); wait != badKeyWindow-10*time.Second {
			t.Errorf("right %t: blocked for %s, want %s", right, wait, badKeyWindow-10*time.Second)
		}
	}
	for _, free := range []badKeyClient{other, elsewhere} {
		if wait := b.try(free, true, start); wait != 0 {
			t.Errorf("%v is blocked for %s", free, wait)
		}
	}
	// The count starts again.
	for range 2 {
		if wait := b.try(client, false, start.Add(badKeyWindow)); wait != 0 {
			t.Errorf("blocked for %s in a new window", wait)
		}
	}
}

func TestBadKeysForgetSomebodyRatherThanGrow(t *testing.T) {
	b := NewBadKeys()
	client := func(i int) badKeyClient {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		return badKeyClient{net: netip.PrefixFrom(addr, 32)}
	}
	now := time.Now()
	for i := range maxBadClients + 1000 {
		b.try(client(i), false, now)
	}
	if len(b.clients) > maxBadClients {
		t.Errorf("%d clients are remembered, want at most %d", len(b.clients), maxBadClients)
	}
	last := client(maxBadClients + 999)
	if b.clients[last].n != 1 {
		t.Error("the newest client is forgotten")
	}
	// Ended counts make room.
	for i := range 1000 {
		b.try(client(1<<20+i), false, now.Add(badKeyWindow))
	}
	if len(b.clients) > maxBadClients {
		t.Errorf("%d clients are remembered", len(b.clients))
	}
	if b.clients[client(1<<20)].n != 1 {
		t.Error("a new client is forgotten though others are over")
	}
	// A right key needs no room.
	before := len(b.clients)
	for i := range 1000 {
		b.try(client(1<<21+i), true, now)
	}
	if len(b.clients) != before {
		t.Errorf("right keys made %d clients of %d", len(b.clients), before)
	}
}

// Concurrent attempts are all counted.
func TestBadKeysCountWhatComesAtOnce(t *testing.T) {
	b := NewBadKeys()
	client := badKeyClientOf(t, "k", "192.0.2.1")
	now := time.Now()
	valid := make(chan bool, 1000)
	var wg sync.WaitGroup
	for range cap(valid) {
		wg.Go(func() { valid <- b.try(client, false, now) == 0 })
	}
	wg.Wait()
	close(valid)
	n := 0
	for v := range valid {
		if v {
			n++
		}
	}
	if n != maxBadKeys {
		t.Errorf("%d attempts were valid, want %d", n, maxBadKeys)
	}
}

// With many clients, a wrong key must not cost a walk over all of them.
func BenchmarkBadKeysWhenFull(b *testing.B) {
	keys := NewBadKeys()
	now := time.Now()
	client := func(first, i int) badKeyClient {
		addr := fmt.Sprintf("%d.%d.%d.%d", first, i>>16&0xff, i>>8&0xff, i&0xff)
		return badKeyClient{net: netip.MustParsePrefix(addr + "/32")}
	}
	for i := range maxBadClients {
		keys.try(client(10, i), false, now)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		keys.try(client(11, i), false, now)
	}
}
