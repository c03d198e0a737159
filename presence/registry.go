package presence

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Registry holds the hosts that have connections. Its methods are safe for concurrent use.
type Registry struct {
	encoder Encoder        // the native one
	frames  []FrameEncoder // by Encoding; the first one is encoder
	epoch   time.Time      // see Registry.now
	clock   atomic.Uint64  // clock of the last Delta, in any channel
	cached  atomic.Int64   // bytes of the cached listings of all hosts, see maxCached
	showing chan struct{}  // has an element for each host whose Shower is called
	keys    messageKeys
	last    lastEvents

	reclassified func(*Host) // see OnReclassified; may be nil

	// relayMu is held while hosts are notified of a new relay. It is locked before mu.
	relayMu     sync.Mutex
	lastChanges lastChanges
	news        news
	opened      func(HostName) // see Pods.OnOpened

	// mu guards the fields below. It is locked before the lock of a Host, never after.
	mu    sync.Mutex
	relay Relay
	hosts map[HostName]*Host
	taps  map[HostName][]*Tap // see Pods.Tap
}

// NewRegistry returns an empty registry that builds frames with the encoders: the native one, and
// at most three others for connections that choose them, see [EncodedOutbox].
func NewRegistry(native Encoder, others ...FrameEncoder) *Registry {
	if len(others) >= maxEncodings {
		panic("presence: too many encoders")
	}
	r := &Registry{encoder: native, frames: append([]FrameEncoder{native}, others...), epoch: time.Now(), showing: make(chan struct{}, maxShowing), hosts: make(map[HostName]*Host), opened: func(HostName) {}}
	r.clock.Store(1) // 0 means an unknown part
	return r
}

// OnReclassified sets a function that is called without a lock at the end of [Host.Reclassify], and
// after provisional classes of a host have changed. It asks authorize about [Conn.Asked]; without
// it, a listener does not stay to be asked about when a provisional class has come to need a grant.
// OnReclassified is called before the first connection.
func (r *Registry) OnReclassified(f func(*Host)) { r.reclassified = f }

// Connect adds a connection to the named host. The first connection of a host creates it with the
// given source of rules; a host that exists keeps its source. If user is nil, the connection is
// anonymous. The caller closes the Conn. It returns an error if the host has as many connections as
// its rules allow.
func (r *Registry) Connect(name HostName, rules RulesSource, user *User, out Outbox) (*Conn, error) {
	return r.ConnectAs(NewID(), name, rules, user, out)
}

// ConnectAs is [Registry.Connect] for a connection whose ID is known before it exists. The ID is a
// new one.
func (r *Registry) ConnectAs(id ID, name HostName, rules RulesSource, user *User, out Outbox) (*Conn, error) {
	for {
		r.mu.Lock()
		h := r.hosts[name]
		if h == nil {
			h = newHost(r, name, rules)
			r.hosts[name] = h
			if r.relay != nil {
				r.relay.Opened(name)
			}
			r.opened(name)
		}
		r.mu.Unlock()
		// Wait for a busy host without the registry's lock, so that other hosts do not wait too.
		c, err := h.connect(id, user, out)
		if !errors.Is(err, errDropped) {
			return c, err
		}
	}
}

// Host returns the named host, or nil if it has no connections.
func (r *Registry) Host(name HostName) *Host {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hosts[name]
}

// Len returns the number of hosts that have connections.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.hosts)
}

// Hosts returns the hosts that have connections, sorted by name.
func (r *Registry) Hosts() []*Host {
	r.mu.Lock()
	hosts := make([]*Host, 0, len(r.hosts))
	for _, h := range r.hosts {
		hosts = append(hosts, h)
	}
	r.mu.Unlock()
	slices.SortFunc(hosts, func(a, b *Host) int { return strings.Compare(a.name.name, b.name.name) })
	return hosts
}

// drop removes a host without connections. The host may have a new one by now; then it stays.
func (r *Registry) drop(h *Host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.conns) == 0 && r.hosts[h.name] == h {
		delete(r.hosts, h.name)
		h.dropCache()
		h.dropped = true
		if h.retry != nil {
			h.retry.Stop()
		}
		h.tellWaiting()
		for _, shard := range h.rosters {
			if shard.changes != nil && shard.changes.notified {
				r.lastChanges.put(h.name, shard.name, shard.changes)
			}
		}
		if r.relay != nil {
			r.relay.Closed(h.name)
		}
	}
}

// withHost calls f with the named host, whose lock is held. If the host has no connections, it
// calls f(nil) with the registry's lock held, so that no connection is added meanwhile.
func (r *Registry) withHost(name HostName, f func(h *Host)) {
	for {
		r.mu.Lock()
		h := r.hosts[name]
		if h == nil {
			f(nil)
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		h.mu.Lock()
		if !h.dropped {
			f(h)
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
	}
}
