package caddymodule

import (
	"net/netip"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// badKeys counts wrong keys by client and host, so that keys cannot be guessed by trying.
type badKeys struct {
	// mu guards clients.
	mu      sync.Mutex
	clients map[badKeyClient]badKeyCount
}

type badKeyClient struct {
	host presence.HostName
	addr netip.Prefix
}

type badKeyCount struct {
	n     int
	until time.Time // when the count is forgotten
}

const (
	maxBadKeys    = 10          // by one client
	badKeyWindow  = time.Minute // from the first
	maxBadClients = 20_000      // remembered at once
)

func newBadKeys() *badKeys {
	return &badKeys{clients: make(map[badKeyClient]badKeyCount)}
}

// newBadKeyClient tells clients apart by address; an IPv6 client has a whole /64. An address that cannot be read, that
// of a Unix socket for one, is one client.
func newBadKeyClient(host presence.HostName, ip string) badKeyClient {
	c := badKeyClient{host: host}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return c
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	c.addr, _ = addr.Prefix(bits)
	return c
}

// blocked returns how long the client has to wait, 0 when it may ask.
func (b *badKeys) blocked(c badKeyClient, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	count, ok := b.clients[c]
	if !ok || count.n < maxBadKeys || !now.Before(count.until) {
		return 0
	}
	return count.until.Sub(now)
}

// add counts a wrong key.
func (b *badKeys) add(c badKeyClient, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	count, ok := b.clients[c]
	if !ok || !now.Before(count.until) {
		count = badKeyCount{until: now.Add(badKeyWindow)}
	}
	count.n++
	if !ok && len(b.clients) >= maxBadClients {
		b.makeRoom(now)
	}
	b.clients[c] = count
}

// makeRoom looks at a few clients, which the map gives in random order. It forgets those whose count is over, and if
// that is nobody, one of them: a crowd must not make each wrong key cost a walk over all.
func (b *badKeys) makeRoom(now time.Time) {
	const few = 16
	var somebody badKeyClient
	looked := 0
	for c, count := range b.clients {
		if !now.Before(count.until) {
			delete(b.clients, c)
		}
		somebody = c
		if looked++; looked == few {
			break
		}
	}
	if len(b.clients) >= maxBadClients {
		delete(b.clients, somebody)
	}
}
