package presence

import (
	"math"
	"sync"
)

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
func (c *chunks) touch(place int) {
	if c != nil && place/chunkLen < len(c.list) {
		c.put(place/chunkLen, nil)
	}
}

// touchAll takes note that any entry can be another one.
func (c *chunks) touchAll() {
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
const keepScratch = 64 << 10

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
	if cap(*buf) <= keepScratch {
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
