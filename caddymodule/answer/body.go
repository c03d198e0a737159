// Package answer writes the answers of endpoints as JSON: listings of channels and users, and sums
// over data centers. It passes both through the plugins of a site.
package answer

import (
	"io"
	"sync"
)

// body is a long answer in the making: its own text, and chunks that it shares with other answers
// and never changes.
type body struct {
	pieces [][]byte
	text   []byte // text after the pieces
}

// shortPiece is the size in bytes up to which a piece is copied: that costs less than an entry in
// the list.
const shortPiece = 512

// appendEntries appends the entries of an array or object, which are in pieces.
func (b *body) appendEntries(pieces [][]byte) {
	for i, piece := range pieces {
		if i > 0 {
			b.text = append(b.text, ',')
		}
		if len(piece) <= shortPiece {
			b.text = append(b.text, piece...)
			continue
		}
		b.pieces = append(b.pieces, b.text, piece)
		b.text = b.text[len(b.text):]
	}
}

// allPieces returns the whole answer in pieces. Nothing may be appended afterwards.
func (b *body) allPieces() [][]byte { return append(b.pieces, b.text) }

// answerBuffers join the pieces of an answer: fewer and larger writes cost less.
var answerBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// Write writes the pieces in order, until the first error.
func Write(w io.Writer, pieces [][]byte) error {
	buf := answerBuffers.Get().(*[64 << 10]byte)
	defer answerBuffers.Put(buf)
	n := 0
	for _, piece := range pieces {
		for len(piece) > 0 {
			if n == len(buf) {
				if _, err := w.Write(buf[:]); err != nil {
					return err
				}
				n = 0
			}
			copied := copy(buf[n:], piece)
			n, piece = n+copied, piece[copied:]
		}
	}
	_, err := w.Write(buf[:n])
	return err
}

// Len returns the length of all pieces in bytes.
func Len(pieces [][]byte) (n int) {
	for _, piece := range pieces {
		n += len(piece)
	}
	return n
}
