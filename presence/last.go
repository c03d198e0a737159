package presence

import (
	"bytes"
	"container/list"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// MaxCacheTTL is the longest time for which the last event of a cache channel is kept.
const MaxCacheTTL = 30 * time.Minute

// Limits of the events that are kept.
const (
	maxKeptBytes = 16 << 20        // of a host; the oldest go first
	keptOverhead = 256             // estimated memory of an event besides its texts, in bytes
	sweepKept    = time.Minute     // pause between two removals of what has ended
	stampBits    = 20              // of a stamp, below its milliseconds
	maxStampLead = 1 * time.Minute // of another pod's stamps that this pod's stamps follow
)

// cachePrefixes begin the names of cache channels.
var cachePrefixes = [...]string{"cache-", "private-cache-", "presence-cache-", "private-encrypted-cache-"}

// IsCacheChannel reports whether the channel has a last event, which is sent to a connection with
// another encoding than the native one when it joins.
func IsCacheChannel(name string) bool {
	return slices.ContainsFunc(cachePrefixes[:], func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// Keeping says that a message is kept as the last event of the cache channels among its channels.
// The zero value says that it is not.
type Keeping struct {
	// Stamp orders the events of all pods: milliseconds of the cluster's clock, and below them bits
	// that distinguish events of one millisecond.
	Stamp uint64
	TTL   time.Duration // how long it is kept; at most MaxCacheTTL
}

// LastEvent is the last message of the backend to a cache channel.
type LastEvent struct {
	Keeping        // TTL is the remaining time
	Raw     bool   // see Source.Raw
	Body    []byte // see Message.Body
}

// KeepLast makes the registry keep the last event of cache channels. ttl returns for how long the
// events of a host are kept: 0 for not at all, and at most [MaxCacheTTL]. It is called without a
// lock, from many goroutines. KeepLast is called before the first message.
func (r *Registry) KeepLast(ttl func(HostName) time.Duration) { r.last.ttl = ttl }

// OnCacheMiss sets a function that is called when a connection has joined a cache channel that has
// no event. It is called with the lock of the host held, so it must not block or call this package.
// OnCacheMiss is called before the first connection.
func (r *Registry) OnCacheMiss(missed func(host HostName, channel string)) { r.last.missed = missed }

// lastEvents has the last events of cache channels. They outlive the host: the pod that sent an
// event keeps it although it has no connection of the host. Its methods are safe for concurrent
// use.
type lastEvents struct {
	ttl    func(HostName) time.Duration // see Registry.KeepLast; nil if nothing is kept
	missed func(HostName, string)       // see Registry.OnCacheMiss; may be nil

	mu    sync.Mutex // locked after Registry.mu and Host.mu
	stamp uint64     // greatest stamp of this pod
	asked uint64     // last ID of a question, see following.asked
	hosts map[HostName]*hostEvents
	sweep bool // a timer calls lastEvents.removeEnded
}

// hostEvents has the last events of a host.
type hostEvents struct {
	byChannel map[string]*list.Element
	order     list.List // of *keptEvent, the oldest first
	bytes     int
}

// keptEvent is the last event of a channel.
type keptEvent struct {
	LastEvent // without the remaining time
	channel   string
	until     time.Duration // see Registry.now
	sent      bool          // by this pod, which keeps it although the channel is not active here
}

func (e *keptEvent) size() int { return keptOverhead + len(e.channel) + len(e.Body) }

// keeping returns for how long a message of the backend to the channels is kept; 0 for not at all.
func (l *lastEvents) keeping(host HostName, channels []string) time.Duration {
	if l.ttl == nil || !slices.ContainsFunc(channels, IsCacheChannel) {
		return 0
	}
	return min(max(l.ttl(host), 0), MaxCacheTTL)
}

// nextStamp returns the stamp of an event that is sent now. It is greater than those before.
func (l *lastEvents) nextStamp(clock int64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stamp = max(l.stamp+1, uint64(clock)<<stampBits|rand.Uint64N(1<<stampBits)) //nolint:gosec // guessing it is useless
	return l.stamp
}

// nextQuestion returns the ID of a question to other pods.
func (l *lastEvents) nextQuestion() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return l.asked
}

// put keeps an event, unless a later one is kept, and reports whether it did. The event is not
// retained. clock is the clock of all pods, now that of [Registry].
func (r *Registry) put(host HostName, e keptEvent, clock int64) bool {
	l, now := &r.last, r.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Stamp>>stampBits <= uint64(clock+maxStampLead.Milliseconds()) {
		l.stamp = max(l.stamp, e.Stamp)
	}
	of := l.hosts[host]
	if of == nil {
		if l.hosts == nil {
			l.hosts = make(map[HostName]*hostEvents)
		}
		of = &hostEvents{byChannel: make(map[string]*list.Element)}
		l.hosts[host] = of
	}
	if before := of.byChannel[e.channel]; before != nil {
		if kept := before.Value.(*keptEvent); kept.Stamp >= e.Stamp && kept.until > now {
			return false
		}
		of.remove(before)
	}
	e.until, e.Body = now+min(e.TTL, MaxCacheTTL), bytes.Clone(e.Body)
	of.byChannel[e.channel] = of.order.PushBack(&e)
	of.bytes += e.size()
	for of.bytes > maxKeptBytes {
		of.remove(of.order.Front())
	}
	if !l.sweep {
		l.sweep = true
		time.AfterFunc(sweepKept, r.removeEnded)
	}
	return true
}

func (of *hostEvents) remove(at *list.Element) {
	e := of.order.Remove(at).(*keptEvent)
	delete(of.byChannel, e.channel)
	of.bytes -= e.size()
}

// removeEnded removes the events whose time has ended, until none is left.
func (r *Registry) removeEnded() {
	l, now := &r.last, r.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for host, of := range l.hosts {
		for at := of.order.Front(); at != nil && at.Value.(*keptEvent).until <= now; at = of.order.Front() {
			of.remove(at)
		}
		if of.order.Len() == 0 {
			delete(l.hosts, host)
		}
	}
	if l.sweep = len(l.hosts) > 0; l.sweep {
		time.AfterFunc(sweepKept, r.removeEnded)
	}
}

// lastEvent returns the last event of a channel that this pod keeps.
func (r *Registry) lastEvent(host HostName, channel string) (LastEvent, bool) {
	l, now := &r.last, r.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.hosts[host]
	if of == nil || of.byChannel[channel] == nil {
		return LastEvent{}, false
	}
	kept := of.byChannel[channel].Value.(*keptEvent)
	e := kept.LastEvent
	e.TTL = kept.until - now
	return e, e.TTL > 0
}

// keeps reports whether this pod keeps an event of the channel.
func (l *lastEvents) keeps(host HostName, channel string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.hosts[host]
	return of != nil && of.byChannel[channel] != nil
}

// leave drops the event of a channel that is no longer active on this pod, unless this pod has sent
// it: later events need not arrive here.
func (l *lastEvents) leave(host HostName, channel string) {
	if l.ttl == nil || !IsCacheChannel(channel) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.hosts[host]
	if of == nil {
		return
	}
	if at := of.byChannel[channel]; at != nil && !at.Value.(*keptEvent).sent {
		of.remove(at)
	}
}

// clockOf returns the time that all pods agree on, as Unix time in milliseconds. The lock of h is
// held, or that of the registry if h is nil.
func (r *Registry) clockOf(h *Host) int64 {
	if h != nil {
		return h.time()
	}
	return timeOf(r.relay)
}

// keepSent keeps a message that this pod sends to cache channels.
func (r *Registry) keepSent(host HostName, m *Message, clock int64) {
	for _, name := range m.Channels {
		if IsCacheChannel(name) {
			e := LastEvent{Keeping: m.From.Keep, Raw: m.Bodies.source(name, m.From).Raw, Body: m.Bodies.Of(name, m.Body)}
			r.put(host, keptEvent{LastEvent: e, channel: name, sent: true}, clock)
		}
	}
}

// keepDelivered keeps a message of another pod to cache channels that are active here, or of which
// an event is kept.
func (h *Host) keepDelivered(m *Message) {
	if m.From.Keep.Stamp == 0 || !m.From.Backend {
		return
	}
	r := h.registry
	for _, name := range m.Channels {
		if IsCacheChannel(name) && (h.channels[name] != nil || r.last.keeps(h.name, name)) {
			e := LastEvent{Keeping: m.From.Keep, Raw: m.From.Raw, Body: m.Body}
			r.put(h.name, keptEvent{LastEvent: e, channel: name}, h.time())
		}
	}
}

// LastEvent returns the last event of a cache channel, if this pod keeps it. A pod keeps what it
// has sent, and the events of channels that are active on it.
func (p Pods) LastEvent(host HostName, channel string) (LastEvent, bool) {
	return p.r.lastEvent(host, channel)
}
