package api

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

// BadKeys counts wrong keys by client and set of keys, so that keys cannot be guessed. All hosts of
// a site share one set: a client that varies the host tries the same keys.
type BadKeys struct {
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
	until time.Time // end of the count
}

const (
	maxBadKeys    = 10          // wrong keys of a client
	badKeyWindow  = time.Minute // from the first wrong key
	maxBadClients = 20_000      // clients in memory
)

// NewBadKeys returns counts without any wrong key.
func NewBadKeys() *BadKeys {
	return &BadKeys{clients: make(map[badKeyClient]badKeyCount)}
}

// Try counts an attempt to guess one of a set of keys, which has a hash, see [BadKeys.try]. client
// is that of [Door.Client].
func (b *BadKeys) Try(set [sha256.Size]byte, client netip.Prefix, right bool, now time.Time) (wait time.Duration) {
	return b.try(badKeyClient{set, client}, right, now)
}

// try counts an attempt if its key is wrong. It returns how long the client must wait, or 0 if the
// attempt is valid. No attempt of a blocked client is valid, even with a right key, because the
// answer must not depend on the key.
func (b *BadKeys) try(c badKeyClient, right bool, now time.Time) (wait time.Duration) {
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

// makeRoom checks a few random clients and removes those with an ended count, or else one of them:
// with many clients, a wrong key must not cost a walk over all.
func (b *BadKeys) makeRoom(now time.Time) {
	const few = 16
	var last badKeyClient
	looked := 0
	for c, count := range b.clients {
		if !now.Before(count.until) {
			delete(b.clients, c)
		}
		last = c
		if looked++; looked == few {
			break
		}
	}
	if len(b.clients) >= maxBadClients {
		delete(b.clients, last)
	}
}
