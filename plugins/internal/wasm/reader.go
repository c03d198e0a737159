package wasm

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/internal/plural"
)

var (
	errShort = errors.New("unexpected end")
	errLEB   = errors.New("invalid LEB128 number")
)

// reader reads a part of a file. The first error sticks, and later reads return zero, so callers
// need not check err after each read. Positions are offsets in the file.
type reader struct {
	file []byte
	pos  int
	end  int // offset after the part
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
		r.end = r.pos
	}
}

func (r *reader) left() int { return r.end - r.pos }

func (r *reader) byte() byte {
	if r.pos >= r.end {
		r.fail(errShort)
		return 0
	}
	b := r.file[r.pos]
	r.pos++
	return b
}

func (r *reader) skip(n int) {
	if n > r.left() {
		r.fail(errShort)
		return
	}
	r.pos += n
}

// u32 reads an unsigned number of at most five bytes.
func (r *reader) u32() uint32 {
	if r.pos < r.end && r.file[r.pos] < 0x80 {
		r.pos++
		return uint32(r.file[r.pos-1])
	}
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		if r.err != nil {
			return 0
		}
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			if shift == 28 && b > 0x0f {
				break
			}
			return v
		}
	}
	r.fail(errLEB)
	return 0
}

// signed reads a signed number of the given width: 32, 33 or 64 bits.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		b := r.byte()
		if r.err != nil {
			return 0
		}
		v |= int64(b&0x7f) << shift
		if b >= 0x80 {
			continue
		}
		if rest := bits - shift; rest < 7 {
			// The last byte holds fewer than seven bits of the number; its other bits must repeat
			// the sign.
			if top := int8(b<<1) >> rest; top != 0 && top != -1 {
				break
			}
		}
		if shift += 7; shift < 64 {
			v = v << (64 - shift) >> (64 - shift)
		}
		return v
	}
	r.fail(errLEB)
	return 0
}

// count reads the length of a vector whose elements take at least one byte each.
func (r *reader) count(what string, limit int) int {
	n := r.u32()
	if r.err != nil {
		return 0
	}
	if int64(n) > int64(r.left()) {
		r.fail(fmt.Errorf("%d %s announced, but only %s left", n, what, plural.Of(r.left(), "byte")))
		return 0
	}
	if int(n) > limit {
		r.fail(fmt.Errorf("%d %s; the limit is %d", n, what, limit))
		return 0
	}
	return int(n)
}

// name reads a text and returns it as a slice of the file.
func (r *reader) name(limit int) []byte {
	n := r.count("bytes of text", limit)
	if r.err != nil {
		return nil
	}
	text := r.file[r.pos : r.pos+n]
	if !utf8.Valid(text) {
		r.fail(errors.New("text is not UTF-8"))
		return nil
	}
	r.pos += n
	return text
}
