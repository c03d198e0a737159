package presence

import (
	"sync"
	"time"
)

// Limits of the keys that a pod keeps. Above a limit, the oldest ones are forgotten.
const (
	keyLife     = 5 * time.Minute
	maxHostKeys = 10_000
	maxKeys     = 1 << 18 // of all hosts: about 30 MB
)

// messageKeys has the keys of the messages that were delivered in the last keyLife. The zero value
// has none. It outlives a [Host]: a user whose only page reloads does not receive a repetition.
type messageKeys struct {
	// mu may be locked with the lock of a host or of the registry held, so nothing is locked under
	// it.
	mu    sync.Mutex
	hosts map[HostName]*hostKeys
	first *keptKey // oldest of all hosts
	last  *keptKey
	kept  int
	timer *time.Timer // forgets old keys; nil while there are none
}

// hostKeys has the keys of a host.
type hostKeys struct {
	name        HostName
	known       map[MessageKey]bool
	first, last *keptKey
}

type keptKey struct {
	key        MessageKey
	host       *hostKeys
	until      time.Duration // see Registry.now
	prev, next *keptKey      // of all hosts
	later      *keptKey      // of the host
}

// has reports whether a message of the host with the key was delivered. It returns false for the
// zero key.
func (k *messageKeys) has(host HostName, key MessageKey, now time.Duration) bool {
	if key.IsZero() {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire(now)
	h := k.hosts[host]
	return h != nil && h.known[key]
}

// add keeps a key that the host does not have. It does nothing for the zero key.
func (k *messageKeys) add(host HostName, key MessageKey, now time.Duration) {
	if key.IsZero() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept >= maxKeys {
		k.drop(k.first.host)
	}
	h := k.hosts[host]
	if h != nil && len(h.known) >= maxHostKeys {
		k.drop(h)
	}
	if h == nil {
		h = &hostKeys{name: host, known: make(map[MessageKey]bool)}
		if k.hosts == nil {
			k.hosts = make(map[HostName]*hostKeys)
		}
		k.hosts[host] = h
	}
	e := &keptKey{key: key, host: h, until: now + keyLife, prev: k.last}
	if k.last == nil {
		k.first = e
	} else {
		k.last.next = e
	}
	k.last = e
	if h.last == nil {
		h.first = e
	} else {
		h.last.later = e
	}
	h.last = e
	h.known[key] = true
	k.kept++
	if k.timer == nil {
		k.timer = time.AfterFunc(keyLife, func() { k.sweep(now + keyLife) })
	}
}

// drop forgets the oldest key of a host that has one.
func (k *messageKeys) drop(h *hostKeys) {
	e := h.first
	if h.first = e.later; h.first == nil {
		h.last = nil
	}
	delete(h.known, e.key)
	if len(h.known) == 0 {
		delete(k.hosts, h.name)
	}
	if e.prev == nil {
		k.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		k.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	k.kept--
}

// expire forgets the keys whose time has ended. The keys of all hosts are in the order of their
// time.
func (k *messageKeys) expire(now time.Duration) {
	for k.first != nil && k.first.until <= now {
		k.drop(k.first.host)
	}
}

// sweep is called by the timer, at the time at which the oldest key ended when it was set.
func (k *messageKeys) sweep(now time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire(now)
	k.timer = nil
	if k.first != nil {
		until := k.first.until
		k.timer = time.AfterFunc(until-now, func() { k.sweep(until) })
	}
}
