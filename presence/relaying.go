package presence

import (
	"maps"
	"slices"
)

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
func (ch *channel) relayed() bool { return ch.beyond != nil && ch.beyond.relayed }

// relayWatch tells the relay that the channel is watched.
func (h *Host) relayWatch(ch *channel) {
	b := ch.extra()
	b.relayed, b.parts = true, make(map[string]*part)
	h.relay.Watched(h.name, ch.name)
}
