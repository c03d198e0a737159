package presence

import (
	"math"
	"sync"
	"time"
)

// listingCache is what a host keeps of its listings as bytes, while backends ask. The host's lock
// guards it.
type listingCache struct {
	private    chunks // of Host.conns
	online     chunks // of Host.online
	size       int    // bytes of all chunks, those of channels included
	counted    int    // what of size is in Registry.cached
	answers    int    // answers that are being made
	lastAnswer time.Time
	timer      *time.Timer // drops it
}

const (
	// keepFor is how long listings are kept after the last question.
	cacheTTL = time.Minute
	// maxKept bounds the listings that are kept of all hosts together, in bytes: about 800,000
	// entries. A host beyond is encoded anew each time.
	maxCached = 64 << 20
	// smallChannel is up to how many members a channel is encoded anew each time: that is hardly
	// more work than looking it up.
	smallChannel = 16
	// fillAtOnce is how many chunks are encoded before others get the host's lock: a fraction of a
	// millisecond.
	fillStep = 16
)

// keepEncoded begins an answer: nothing is dropped until answered.
func (h *Host) acquireCache() *listingCache {
	k := h.cache
	if k == nil {
		k = new(listingCache)
		k.private = chunks{cache: k, length: func() int { return len(h.conns) }, encode: h.encodePrivate}
		k.online = chunks{cache: k, length: func() int { return len(h.online) }, encode: h.encodeOnline}
		k.timer = time.AfterFunc(cacheTTL, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.dropIdleCache(k)
		})
		h.cache = k
	}
	k.answers++
	k.lastAnswer = time.Now()
	return k
}

// answered ends an answer. What is kept is dropped if all hosts together keep too much.
func (h *Host) releaseCache(k *listingCache) {
	k.answers--
	if h.cache != k {
		return // the host was dropped meanwhile
	}
	total := h.registry.cached.Add(int64(k.size - k.counted))
	k.counted = k.size
	if total > maxCached && k.answers == 0 {
		h.dropCache()
	}
}

// unkeepIdle drops what nobody asked for lately.
func (h *Host) dropIdleCache(k *listingCache) {
	if h.cache != k {
		return
	}
	if rest := cacheTTL - time.Since(k.lastAnswer); rest > 0 || k.answers > 0 {
		k.timer.Reset(max(rest, time.Second))
		return
	}
	h.dropCache()
}

// unkeep drops what is kept. Answers that have it go on with it.
func (h *Host) dropCache() {
	k := h.cache
	if k == nil {
		return
	}
	k.timer.Stop()
	h.registry.cached.Add(-int64(k.counted))
	h.cache = nil
	for _, ch := range h.channels {
		ch.chunks = nil
	}
}

// chunksOf returns those of a channel with names, nil for a small one.
func (h *Host) chunksOf(ch *channel, k *listingCache) *chunks {
	if len(ch.members) <= smallChannel {
		ch.chunks.invalidateAll() // another answer may be at it, so it stays the channel's
		return nil
	}
	if ch.chunks == nil {
		ch.chunks = &chunks{cache: k, length: func() int { return len(ch.members) }, encode: func(b []byte, from, to int) []byte {
			return h.encodeMembers(b, ch.members[from:to])
		}}
	}
	return ch.chunks
}

// touchConn takes note that the connection at a place is another one, or has another user.
func (h *Host) invalidateConn(place int) {
	if h.cache != nil {
		h.cache.private.invalidate(place)
	}
}

// touchOnline takes note that the user at a place is another one.
func (h *Host) invalidateOnline(place int) {
	if h.cache != nil {
		h.cache.online.invalidate(place)
	}
}

// touchUser takes note that the user has another e-mail address.
func (h *Host) invalidateUser(u *user) {
	for _, m := range u.members {
		m.channel.chunks.invalidate(m.index)
	}
	if h.cache != nil && u.conns > 0 {
		h.cache.online.invalidate(u.index)
		h.cache.private.invalidateAll() // a user does not know its connections
	}
}

func (h *Host) encodePrivate(b []byte, from, to int) []byte {
	for i, c := range h.conns[from:to] {
		b = h.appendPrivate(b, c, i == 0)
	}
	return b
}

func (h *Host) appendPrivate(b []byte, c *Conn, first bool) []byte {
	var u *User
	if c.user != nil {
		u = &c.user.User
	}
	return h.registry.encoder.AppendPrivate(b, c.id, u, first)
}

func (h *Host) encodeOnline(b []byte, from, to int) []byte {
	for i, u := range h.online[from:to] {
		b = h.registry.encoder.AppendUser(b, &u.User, i == 0)
	}
	return b
}

// encodeMembers encodes those who have a connection on this pod.
func (h *Host) encodeMembers(b []byte, members []*member) []byte {
	first := true
	for _, m := range members {
		if m.conns > 0 {
			b = h.registry.encoder.AppendUser(b, &m.user.User, first)
			first = false
		}
	}
	return b
}

// chunks is a list as bytes, in parts of a fixed number of entries: a change costs the encoding of
// one part or two and not of the list. It exists only while backends ask. The host's lock guards
// it. A nil *chunks ignores changes.
type chunks struct {
	cache  *listingCache
	list   [][]byte // by place in the dense list; nil: to be encoded. What is there is shared with answers and never changed
	length func() int
	encode func(b []byte, from, to int) []byte // appends the entries from one place to another
}

// chunkLen is how many entries make a chunk: some KB, which take about 10 microseconds to encode.
const chunkLen = 64

// touch takes note that the entry at a place is another one.
func (c *chunks) invalidate(place int) {
	if c != nil && place/chunkLen < len(c.list) {
		c.put(place/chunkLen, nil)
	}
}

// touchAll takes note that any entry can be another one.
func (c *chunks) invalidateAll() {
	if c == nil {
		return
	}
	for i := range c.list {
		c.put(i, nil)
	}
}

func (c *chunks) put(i int, chunk []byte) {
	c.cache.size += len(chunk) - len(c.list[i])
	c.list[i] = chunk
}

// scratch holds what is encoded until its length is known.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// keepScratch bounds the buffers that are kept for later, in bytes.
const maxScratch = 64 << 10

// fill encodes the chunks that have changed, beginning with the chunk from; most is their limit. It
// returns what is left of the limit; if that is 0, next is the chunk to go on with.
func (c *chunks) fill(from, most int) (next, left int) {
	n := c.length()
	want := (n + chunkLen - 1) / chunkLen
	for i := want; i < len(c.list); i++ {
		c.put(i, nil)
	}
	c.list = c.list[:min(want, len(c.list))]
	for len(c.list) < want {
		c.list = append(c.list, nil)
	}
	buf := scratch.Get().(*[]byte)
	next, left = from, most
	for ; next < want && left > 0; next++ {
		i := next
		if c.list[i] != nil {
			continue
		}
		left--
		b := c.encode((*buf)[:0], i*chunkLen, min((i+1)*chunkLen, n))
		c.put(i, append(make([]byte, 0, len(b)), b...)) // exactly as long as it is
		*buf = b
	}
	if cap(*buf) <= maxScratch {
		scratch.Put(buf)
	}
	return next, left
}

// fillAll encodes all that is to be encoded.
func (c *chunks) fillAll() { c.fill(0, math.MaxInt) }

// appendTo appends the chunks that are not empty. They are filled.
func (c *chunks) appendTo(list [][]byte) [][]byte {
	for _, chunk := range c.list {
		if len(chunk) > 0 {
			list = append(list, chunk)
		}
	}
	return list
}
