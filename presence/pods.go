package presence

import (
	"maps"
	"slices"
)

// Pods is the part of a [Registry] that exchanges presence with other pods, for package cluster.
// Its methods are safe for concurrent use.
//
// Each pod owns its part of a channel. If the part changes, it notifies its [Relay], which gets the
// change from [Pods.Changes] as a [Delta] and sends it to the pods that watch the channel. They
// call [Pods.MergeDelta]. Watchers see the union of all parts.
type Pods struct{ r *Registry }

// Pods returns the methods that exchange presence with other pods.
func (r *Registry) Pods() Pods { return Pods{r} }

// Relay connects a registry to other pods, see [Pods.SetRelay]. Its methods are called with the
// lock of a host or of the registry held, so they must not block or call this package.
type Relay interface {
	// Opened is called when the host has its first connection on this pod. From now on, messages to
	// it from other pods must be passed to [Pods.Deliver].
	Opened(host HostName)
	// Closed is called when the host has lost its last connection on this pod.
	Closed(host HostName)
	// Clock returns the reading of the clock that all pods agree on, about Unix time in
	// milliseconds. It must not block.
	Clock() uint64
	// Send sends a message, or all its [Message.Parts], to its receivers on other pods, at most
	// once. It must not retain its arguments. If it returns ErrBusy, the receivers on this pod do
	// not get the message either.
	Send(host HostName, m Message) error
	// Changed is called when [Pods.Changes] has changes. It is not called again before Changes was
	// called, except by [Pods.ReplaceRelay].
	Changed(host HostName, channel string)
	// Watched is called when the channel has its first watcher on this pod, whose join waits for
	// [Pods.Ready]. From now on, deltas of other pods must be passed to [Pods.MergeDelta].
	Watched(host HostName, channel string)
	// Informed is called when [Pods.News] has something to tell the other pods of the host, which
	// pass it to [Pods.Learn]. It is not called again before News was called, except by
	// [Pods.ReplaceRelay].
	Informed(host HostName)
	// Unwatched is called when the channel has lost its last watcher. The parts of other pods are
	// forgotten.
	Unwatched(host HostName, channel string)
}

// SetRelay replaces the relay. If relay is nil, the registry has none. The new relay is notified of
// every host, active channel and watched channel. The parts of other pods are forgotten, and joins
// that wait for them are answered.
func (p Pods) SetRelay(relay Relay) {
	p.r.relayMu.Lock()
	defer p.r.relayMu.Unlock()
	p.r.setRelay(nil)
	p.r.lastChanges.clear()
	p.r.news.clear()
	if relay != nil {
		p.r.setRelay(relay)
	}
}

// ReplaceRelay replaces the relay by one that reaches the same pods in another way. Unlike after
// [Pods.SetRelay], the parts of other pods stay, and joins go on waiting. The parts of pods that
// the new relay does not reach must be removed, see [Pods.Names]. It reports whether there was a
// relay.
func (p Pods) ReplaceRelay(relay Relay) bool {
	p.r.relayMu.Lock()
	defer p.r.relayMu.Unlock()
	had := p.r.relay != nil
	p.r.setRelay(relay)
	p.r.lastChanges.notify(relay) // of channels that ended before
	p.r.news.notify(relay)
	return had
}

// RemoveRelay removes the relay, unless it was replaced.
func (p Pods) RemoveRelay(relay Relay) {
	p.r.relayMu.Lock()
	defer p.r.relayMu.Unlock()
	if p.r.relay == relay {
		p.r.setRelay(nil)
		p.r.lastChanges.clear()
		p.r.news.clear()
	}
}

func (r *Registry) setRelay(relay Relay) {
	r.mu.Lock()
	r.relay = relay // for new hosts
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
	h.asked, h.greeted = false, false
	h.restartRosters()
	for _, ch := range h.channels {
		if ch.relayed() && relay == nil {
			h.forgetPods(ch)
			h.flush(ch)
		}
		ch.changes = nil
		h.refollow(ch)
		if relay == nil {
			continue
		}
		h.recordChanges(ch)
		h.notifyRelay(ch)
		if len(ch.watchers)+len(ch.joiners) > 0 {
			h.notifyWatched(ch)
		}
	}
}

// relayed reports whether the relay knows that the channel is watched.
func (ch *channel) relayed() bool { return ch.overlay != nil && ch.overlay.relayed }

// notifyWatched notifies the relay that the channel is watched.
func (h *Host) notifyWatched(ch *channel) {
	ch.ensureOverlay().relayed = true
	h.relay.Watched(h.name, ch.name)
}

// withWatched calls f with the named channel if it is watched, with the host's lock held.
func (r *Registry) withWatched(name HostName, channelName string, f func(h *Host, ch *channel)) {
	r.withHost(name, func(h *Host) {
		if h == nil {
			return
		}
		if ch := h.channels[channelName]; ch != nil && ch.relayed() {
			f(h, ch)
		}
	})
}

// Deliver sends a message from another pod to the receivers on this pod. Its arguments may come
// from the network without validation. A message with the key of one that this pod has delivered in
// the last 5 minutes is not delivered again. Deliver returns ErrTooLarge if no channel received the
// message, or ErrBusy if some did not.
func (p Pods) Deliver(host HostName, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	var (
		owed []Outbox
		err  error
	)
	p.r.withHost(host, func(h *Host) {
		now := p.r.now()
		if h == nil || p.r.keys.has(host, m.Key, now) {
			return
		}
		p.r.keys.add(host, m.Key, now)
		h.hideNow()
		h.keepDelivered(&m)
		m.From.Shown = m.From.Shown.without(h.hide)
		except := h.byID[m.Except]
		for _, ch := range h.activeChannels(m.Channels) {
			if e := h.checkRoom([]*channel{ch}, m.Body, nil); e != nil {
				err = e
				continue
			}
			h.enqueue(ch, m.From, m.Body, except)
		}
		if e := h.checkDirect(m); e != nil {
			err = e
			return
		}
		owed = h.sendDirect(m)
	})
	for _, out := range owed {
		out.Flush()
	}
	return err
}
