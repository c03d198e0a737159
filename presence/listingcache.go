package presence

import (
	"math"
	"sync"
	"time"
)

// listingCache has the encoded listings of a host. It exists while backends ask for them. The
// host's lock guards it.
type listingCache struct {
	private    chunks // entries of Host.conns
	online     chunks // entries of Host.online
	size       int    // bytes of all chunks, those of channels included
	counted    int    // part of size that is in Registry.cached
	answers    int    // number of answers in progress
	lastAnswer time.Time
	timer      *time.Timer // drops the cache
}

const (
	// cacheTTL is how long listings are cached after the last answer began.
	cacheTTL = time.Minute
	// maxCached limits the cached listings of all hosts, in bytes: about 800,000 entries. A host
	// that exceeds it is encoded again for each answer.
	maxCached = 64 << 20
	// smallChannel is the largest number of members of a channel that is not cached: encoding it is
	// hardly slower than looking it up.
	smallChannel = 16
	// fillStep is how many chunks are encoded before the host's lock is released: a fraction of a
	// millisecond.
	fillStep = 16
)

// acquireCache starts an answer. The cache is kept until releaseCache.
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

// releaseCache ends an answer. It drops the cache if the caches of all hosts together are too
// large.
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

// dropIdleCache drops a cache that was not used for cacheTTL.
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

// dropCache drops the cache. Answers in progress continue to use it.
func (h *Host) dropCache() {
	k := h.cache
	if k == nil {
		return
	}
	k.timer.Stop()
	h.registry.cached.Add(-int64(k.counted))
	h.cache = nil
	for _, ch := range h.channels {
		if ch.chunks != nil { // otherwise the extras can be shared
			ch.chunks = nil
		}
	}
}

// chunksOf returns the chunks of a channel that lists users, or nil if the channel is small.
func (h *Host) chunksOf(ch *channel, k *listingCache) *chunks {
	if len(ch.members) <= smallChannel {
		ch.chunks.invalidateAll() // an answer in progress may use them, so they are not dropped
		return nil
	}
	if ch.chunks == nil {
		ch.ensureExtras().chunks = &chunks{cache: k, length: func() int { return len(ch.members) }, encode: func(b []byte, from, to int) []byte {
			return h.encodeMembers(b, ch.members[from:to])
		}}
	}
	return ch.chunks
}

// invalidateConn invalidates the entry of the connection at i in Host.conns.
func (h *Host) invalidateConn(i int32) {
	if h.cache != nil {
		h.cache.private.invalidate(i)
	}
}

// invalidateOnline invalidates the entry of the user at i in Host.online.
func (h *Host) invalidateOnline(i int32) {
	if h.cache != nil {
		h.cache.online.invalidate(i)
	}
}

// invalidateUser invalidates all entries of a user, whose e-mail address has changed.
func (h *Host) invalidateUser(u *user) {
	for _, m := range u.members.all() {
		m.channel.chunks.invalidate(m.index)
	}
	if h.cache != nil && u.conns > 0 {
		h.cache.online.invalidate(u.index)
		h.cache.private.invalidateAll() // its connections can be in any chunk
	}
}

func (h *Host) encodePrivate(b []byte, from, to int) []byte {
	var k User
	for i, c := range h.conns[from:to] {
		b = h.appendPrivate(b, c, i == 0, &k)
	}
	return b
}

// appendPrivate encodes the private channel of a connection. It overwrites k, so that the users of
// many connections take one allocation.
func (h *Host) appendPrivate(b []byte, c *Conn, first bool, k *User) []byte {
	if c.user == nil {
		return h.registry.encoder.AppendPrivate(b, c.id, nil, first)
	}
	k.ID, k.Email = c.user.ID, c.user.Email
	return h.registry.encoder.AppendPrivate(b, c.id, k, first)
}

func (h *Host) encodeOnline(b []byte, from, to int) []byte {
	var k User
	for i, u := range h.online[from:to] {
		k.ID, k.Email = u.ID, u.Email
		b = h.registry.encoder.AppendUser(b, &k, i == 0)
	}
	return b
}

// encodeMembers encodes the members that have a connection on this pod.
func (h *Host) encodeMembers(b []byte, members []*member) []byte {
	var k User
	first := true
	for _, m := range members {
		if m.conns > 0 {
			k.ID, k.Email = m.user.ID, m.address().email
			b = h.registry.encoder.AppendUser(b, &k, first)
			first = false
		}
	}
	return b
}

// chunks is a list of encoded entries, with a fixed number of entries in each chunk. A change costs
// the encoding of one or two chunks. The host's lock guards it. A nil *chunks ignores changes.
type chunks struct {
	cache  *listingCache
	list   [][]byte // nil: to be encoded. Chunks are shared with answers and never changed
	length func() int
	encode func(b []byte, from, to int) []byte // appends the entries from one index to another
}

// chunkLen is the number of entries in a chunk: a few KB, which take about 10 microseconds to
// encode.
const chunkLen = 64

// invalidate records that the entry at i has changed.
func (c *chunks) invalidate(i int32) {
	if chunk := int(i / chunkLen); c != nil && chunk < len(c.list) {
		c.put(chunk, nil)
	}
}

// invalidateAll records that any entry may have changed.
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

// scratch has buffers for chunks whose length is not known yet.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch limits the buffers that return to scratch, in bytes.
const maxScratch = 64 << 10

// fill encodes invalid chunks from the chunk from on, at most limit of them. It returns the rest of
// the limit; if that is 0, the next call continues at next.
func (c *chunks) fill(from, limit int) (next, left int) {
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
	next, left = from, limit
	for ; next < want && left > 0; next++ {
		i := next
		if c.list[i] != nil {
			continue
		}
		left--
		b := c.encode((*buf)[:0], i*chunkLen, min((i+1)*chunkLen, n))
		c.put(i, append(make([]byte, 0, len(b)), b...)) // without spare capacity
		*buf = b
	}
	if cap(*buf) <= maxScratch {
		scratch.Put(buf)
	}
	return next, left
}

// fillAll encodes all invalid chunks.
func (c *chunks) fillAll() { c.fill(0, math.MaxInt) }

// appendTo appends the chunks that have entries. All chunks are valid.
func (c *chunks) appendTo(list [][]byte) [][]byte {
	for _, chunk := range c.list {
		if len(chunk) > 0 {
			list = append(list, chunk)
		}
	}
	return list
}
