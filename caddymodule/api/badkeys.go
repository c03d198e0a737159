package api

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

// badKeys counts wrong keys by client and set of keys, so that keys cannot be guessed by trying. A
// client that varies the host on a site for many hosts tries the same keys.
type badKeys struct {
	// mu guards clients.
	mu      sync.Mutex
	clients map[badKeyClient]badKeyCount
}

type badKeyClient struct {
	keys [sha256.Size]byte // see site.Keys
	net  netip.Prefix      // see Door.Client
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

// try counts an attempt with a key, if the key is wrong. It returns how long the client must wait, or
// 0 if the attempt is valid. An attempt of a blocked client is not valid, whether or not its key is
// right: the answer must not depend on the key.
func (b *badKeys) try(c badKeyClient, right bool, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	count, ok := b.clients[c]
	if !ok || !now.Before(count.until) {
		count = badKeyCount{until: now.Add(badKeyWindow)}
	}
	if count.n >= maxBadKeys {
		return count.until.Sub(now)
	}
	if right {
		return 0
	}
	count.n++
	if !ok && len(b.clients) >= maxBadClients {
		b.makeRoom(now)
	}
	b.clients[c] = count
	return 0
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
