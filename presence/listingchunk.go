package presence

import (
	"math"
	"sync"
)

// pieces is a dense list as bytes, of so many entries each, so that a change costs the encoding of one piece or two
// and not of the list. It is there only while backends ask. The host's lock guards it, and a nil one ignores changes.
type pieces struct {
	kept   *kept
	list   [][]byte // by place in the dense list; nil: to be encoded. What is there is shared with answers and never changed
	length func() int
	encode func(b []byte, from, to int) []byte // appends the entries from one place to another
}

// pieceLen is how many entries make a piece: some KB, which take about 10 microseconds to encode.
const pieceLen = 64

// touch takes note that the entry at a place is another one.
func (p *pieces) touch(place int) {
	if p != nil && place/pieceLen < len(p.list) {
		p.put(place/pieceLen, nil)
	}
}

// touchAll takes note that any entry can be another one.
func (p *pieces) touchAll() {
	if p == nil {
		return
	}
	for i := range p.list {
		p.put(i, nil)
	}
}

func (p *pieces) put(i int, piece []byte) {
	p.kept.size += len(piece) - len(p.list[i])
	p.list[i] = piece
}

// scratch holds what is encoded until its length is known.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// keepScratch bounds the buffers that are kept for later, in bytes.
const keepScratch = 64 << 10

// fill encodes what is to be encoded from one piece on, at most so many pieces. It returns how many of them are left, and
// with 0 from where to go on.
func (p *pieces) fill(from, most int) (next, left int) {
	n := p.length()
	want := (n + pieceLen - 1) / pieceLen
	for i := want; i < len(p.list); i++ {
		p.put(i, nil)
	}
	p.list = p.list[:min(want, len(p.list))]
	for len(p.list) < want {
		p.list = append(p.list, nil)
	}
	buf := scratch.Get().(*[]byte)
	next, left = from, most
	for ; next < want && left > 0; next++ {
		i := next
		if p.list[i] != nil {
			continue
		}
		left--
		b := p.encode((*buf)[:0], i*pieceLen, min((i+1)*pieceLen, n))
		p.put(i, append(make([]byte, 0, len(b)), b...)) // exactly as long as it is
		*buf = b
	}
	if cap(*buf) <= keepScratch {
		scratch.Put(buf)
	}
	return next, left
}

// fillAll encodes all that is to be encoded.
func (p *pieces) fillAll() { p.fill(0, math.MaxInt) }

// appendTo appends the pieces that are not empty. They are filled.
func (p *pieces) appendTo(list [][]byte) [][]byte {
	for _, piece := range p.list {
		if len(piece) > 0 {
			list = append(list, piece)
		}
	}
	return list
}
