package presence

import (
	"maps"
	"slices"
)

// Relay carries to other pods what this one has of a channel, and messages. Its methods are called with the lock of the host
// or the registry held: they take note and return, and never call back into this package.
type Relay interface {
	// Opened tells that the host has a connection on this pod. What is sent to it on other pods is wanted by
	// [Pods.Deliver] from now on.
	Opened(host HostName)
	// Closed tells that the last connection is gone.
	Closed(host HostName)
	// Send carries a message to the listeners of some channels on other pods, at most once. Nothing that it is given is kept.
	// It returns ErrBusy, and then the message goes nowhere.
	Send(host HostName, channels []string, from Source, message []byte) error
	// Changed tells that [Pods.Changes] has something for other pods. It is told again only after Changes was called.
	Changed(host HostName, channel string)
	// Watched tells that the channel has its first watcher on this pod, who waits for [Pods.Ready]. What other pods have of
	// the channel is wanted by [Pods.MergeDelta] from now on.
	Watched(host HostName, channel string)
	// Unwatched tells that the last watcher is gone. What other pods have of the channel is forgotten.
	Unwatched(host HostName, channel string)
}

// SetRelay gives the registry another relay, or with nil none. The new one is told of every host, of every channel that is
// active, and of every one that is watched. What other pods had is forgotten, and who waited for it is answered.
func (p Pods) SetRelay(relay Relay) {
	p.r.relaying.Lock()
	defer p.r.relaying.Unlock()
	p.r.setRelay(nil)
	p.r.endings.clear()
	if relay != nil {
		p.r.setRelay(relay)
	}
}

func (r *Registry) setRelay(relay Relay) {
	r.mu.Lock()
	r.relay = relay // of hosts that come from now on
	hosts := slices.Collect(maps.Values(r.hosts))
	if relay != nil {
		for name := range r.hosts {
			relay.Opened(name)
		}
	}
	r.mu.Unlock()
	for _, h := range hosts {
		h.mu.Lock()
		h.setRelay(relay)
		h.mu.Unlock()
	}
}

func (h *Host) setRelay(relay Relay) {
	h.relay = relay
	for _, ch := range h.channels {
		if ch.relayed() {
			h.separate(ch)
			h.flush(ch)
		}
		ch.changes = nil
		if relay == nil {
			continue
		}
		h.begin(ch)
		h.tell(ch)
		if len(ch.watchers)+len(ch.joiners) > 0 {
			h.relayWatch(ch)
		}
	}
}

// relayed tells whether the relay knows that the channel is watched.
func (ch *channel) relayed() bool { return ch.overlay != nil && ch.overlay.relayed }

// relayWatch tells the relay that the channel is watched.
func (h *Host) relayWatch(ch *channel) {
	o := ch.extra()
	o.relayed, o.parts = true, make(map[string]*part)
	h.relay.Watched(h.name, ch.name)
}

// watched calls f, with the host's lock held, with a channel whose watchers want to know of other pods.
func (r *Registry) watched(name HostName, channelName string, f func(h *Host, ch *channel)) {
	r.with(name, func(h *Host) {
		if h == nil {
			return
		}
		if ch := h.channels[channelName]; ch != nil && ch.relayed() {
			f(h, ch)
		}
	})
}
