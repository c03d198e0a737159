// Package answer writes the answers of endpoints as JSON: lists of channels and users, sums over data centers, and both with
// what the plugins of a site make of them.
package answer

import (
	"io"
	"sync"
)

// body is the text of a long answer while it is made: what is written for it alone, and pieces that it shares with
// others and never changes.
type body struct {
	pieces [][]byte
	text   []byte // what comes after the pieces
}

// shortPiece is up to how many bytes a piece is copied, which costs less than a place for it in the list.
const shortPiece = 512

// appendEntries appends an array's or an object's entries, which are in pieces.
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

// allPieces returns the whole as pieces. Nothing may be appended after it.
func (b *body) allPieces() [][]byte { return append(b.pieces, b.text) }

// answerBuffers are what answers of several pieces are written through: fewer and larger writes cost less.
var answerBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// Write writes them one after the other, until the first error.
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

// Len returns the bytes of all pieces.
func Len(pieces [][]byte) (n int) {
	for _, piece := range pieces {
		n += len(piece)
	}
	return n
}
