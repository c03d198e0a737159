package presence

import (
	"slices"
	"strings"
)

// Encoded is the result of [Host.Channels] as bytes. Each list is a sequence of chunks, and each
// chunk has at least one entry. Chunks are shared and must not be changed.
type Encoded struct {
	Channels []EncodedChannel // sorted by name
	Private  [][]byte         // entries made by [Encoder].AppendPrivate
}

// EncodedChannel is one active channel, see [Listing].
type EncodedChannel struct {
	Name  string
	Named bool     // the channel has Users instead of Count
	Users [][]byte // entries made by [Encoder].AppendUser
	Count int
}

// Encoded lists the active channels of the host like [Host.Channels] with [PerUser], and reuses
// entries that have not changed since the last call. While many entries are encoded, the host's
// lock is released every few chunks. A listing of up to a few hundred channels is of one moment. In
// a larger one, each channel is of a moment of its own, and a channel that becomes active meanwhile
// can be missing.
func (h *Host) Encoded() Encoded {
	names := make([]string, 0, h.Stats().Channels)
	h.mu.Lock()
	k := h.acquireCache()
	lists := []*chunks{&k.private}
	for name, ch := range h.channels {
		names = append(names, name)
		if !ch.named() || ch.class.Hidden {
			continue
		}
		if p := h.chunksOf(ch, k); p != nil {
			lists = append(lists, p)
		}
	}
	h.mu.Unlock()
	h.fill(lists...)

	e := h.gather(k, names, true)
	slices.SortFunc(e.Channels, func(a, b EncodedChannel) int { return strings.Compare(a.Name, b.Name) })
	return e
}

// EncodedChannel lists one channel like [Host.Channel] with [PerUser]. The result is empty if the
// channel is hidden or not active.
func (h *Host) EncodedChannel(name string) Encoded {
	var e Encoded
	h.mu.Lock()
	defer h.mu.Unlock()
	if isPrivate(name) {
		if id, ok := parsePrivate(name); ok && h.byID[id] != nil {
			e.Private = [][]byte{h.appendPrivate(nil, h.byID[id], true, new(User))}
		}
		return e
	}
	ch := h.channels[name]
	if ch == nil || ch.class.Hidden {
		return e
	}
	k := h.acquireCache()
	defer h.releaseCache(k)
	if ch.named() {
		if p := h.chunksOf(ch, k); p != nil {
			h.mu.Unlock()
			h.fill(p)
			h.mu.Lock()
		}
	}
	if ch = h.channels[name]; ch != nil && !ch.class.Hidden { // the lock was released
		g := gathering{host: h, cache: k}
		e.Channels = []EncodedChannel{g.channel(ch)}
	}
	return e
}

// EncodedUsers returns the result of [Host.Users] with [PerUser], as chunks of
// [Encoder].AppendUser.
func (h *Host) EncodedUsers() ([][]byte, Stats) {
	h.mu.Lock()
	k := h.acquireCache()
	h.mu.Unlock()
	h.fill(&k.online)
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.releaseCache(k)
	k.online.fillAll()
	return k.online.appendTo(make([][]byte, 0, len(k.online.list))), h.stats()
}

// fill encodes lists in steps, and releases the host's lock after each, so that others do not wait.
// The lock is not held on entry. A second round encodes entries that have changed during the first,
// which can take long.
func (h *Host) fill(lists ...*chunks) {
	for range 2 {
		h.mu.Lock()
		left := fillStep
		for _, p := range lists {
			next := 0
			for {
				if next, left = p.fill(next, left); left > 0 {
					break
				}
				h.mu.Unlock()
				left = fillStep
				h.mu.Lock()
			}
		}
		h.mu.Unlock()
	}
}

// gathering assembles an [Encoded] from the cache. The host's lock is held.
type gathering struct {
	host   *Host
	cache  *listingCache
	chunks [][]byte // chunks of all channels; each channel has a slice of it
	small  []byte   // entries of small channels, which are not cached; some chunks are slices of it
	block  int      // number of bytes by which small grows
}

// gatherStep is how many channels are gathered before the host's lock is released: about a
// millisecond.
const gatherStep = 512

// gather assembles the Encoded, with its channels in no order, and releases the cache. names are
// the channels that were active when it was acquired. If all is set, they are all channels of the
// host, and the Encoded has its private channels too.
func (h *Host) gather(k *listingCache, names []string, all bool) Encoded {
	const block, typical = 32 << 10, 1 << 10 // typical: users of a small channel
	g := gathering{host: h, cache: k, chunks: make([][]byte, 0, len(names)), block: min(block, typical*len(names))}
	e := Encoded{Channels: make([]EncodedChannel, 0, len(names))}
	add := func(ch *channel) {
		if ch != nil && !ch.class.Hidden {
			e.Channels = append(e.Channels, g.channel(ch))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.releaseCache(k)
	if all {
		k.private.fillAll()
		e.Private = k.private.appendTo(make([][]byte, 0, len(k.private.list)))
	}
	if all && len(h.channels) <= gatherStep {
		for _, ch := range h.channels {
			add(ch)
		}
		return e
	}
	for i, name := range names {
		if i%gatherStep == gatherStep-1 {
			h.mu.Unlock()
			h.mu.Lock()
		}
		add(h.channels[name])
	}
	return e
}

func (g *gathering) channel(ch *channel) EncodedChannel {
	e := EncodedChannel{Name: ch.name, Named: ch.named()}
	switch {
	case e.Named:
		e.Users = g.users(ch)
	case ch.class.Kind == Authenticated:
		e.Count = int(ch.users + ch.userless)
	default:
		e.Count = len(ch.listeners)
	}
	return e
}

func (g *gathering) users(ch *channel) [][]byte {
	first := len(g.chunks)
	if p := g.host.chunksOf(ch, g.cache); p != nil {
		p.fillAll()
		g.chunks = p.appendTo(g.chunks)
	} else if chunk := g.encode(ch); len(chunk) > 0 {
		g.chunks = append(g.chunks, chunk)
	}
	return g.chunks[first:len(g.chunks):len(g.chunks)]
}

// encode encodes the users of a small channel.
func (g *gathering) encode(ch *channel) []byte {
	if cap(g.small)-len(g.small) < g.block/16 { // otherwise append would probably copy it
		g.small = make([]byte, 0, g.block)
	}
	first := len(g.small)
	g.small = g.host.encodeMembers(g.small, ch.members)
	return g.small[first:len(g.small):len(g.small)]
}
