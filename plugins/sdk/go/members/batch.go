package members

import (
	"encoding/binary"
	"errors"
	"strconv"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// lengthSize is the size of the lengths of records and values.
const lengthSize = 4 // bytes

// batch passes users through the handler. It is reused, so that a call allocates nothing but the texts that it returns.
type batch struct {
	member Member
	text   string
	out    []byte
	// copied is the end of the part of text that is in the output, changed or not.
	copied int
}

// each calls f for each record of input. It returns the records to send instead, or nil if f changed
// none. The result is valid until the next call.
//
// Calls and jumps cost far more in a plugin than in native code: the loops here and below avoid them.
func (b *batch) each(input []byte, e rollcall.Endpoint, f func(rollcall.Endpoint, *Member)) ([]byte, error) {
	// All texts that the handler gets are parts of this one: it may keep them, and they need no copies.
	b.text = string(input)
	b.out, b.copied = b.out[:0], 0
	changed := false
	m := &b.member
	at := 0
	for at+lengthSize <= len(input) {
		next := at + lengthSize + int(binary.LittleEndian.Uint32(input[at:]))
		if next > len(input) {
			break
		}
		if err := m.read(b.text[:next], input, at+lengthSize); err != nil {
			return nil, refuse(at, err)
		}
		if next > at+lengthSize { // an empty record stays empty
			f(e, m)
			if m.changed {
				changed = true
				b.write(at, next)
			}
		}
		at = next
	}
	if at < len(input) {
		return nil, refuse(at, errTruncated)
	}
	if !changed {
		return nil, nil
	}
	b.out = append(b.out, b.text[b.copied:]...)
	return b.out, nil
}

func refuse(at int, err error) error {
	return errors.New("batch, record at byte " + strconv.Itoa(at) + ": " + err.Error())
}

var errTruncated = errors.New("it ends too early")

// read makes m a view of the record that starts at byte at of text. input holds the same bytes.
func (m *Member) read(text string, input []byte, at int) error {
	m.joined, m.changed = m.joined[:0], false
	fields := m.fields[:0]
	for at < len(text) {
		keyEnd := at + 1 + int(input[at])
		valueAt := keyEnd + 1 + lengthSize
		// The common case is nested: in WebAssembly, code after an if costs more than code in it.
		if valueAt <= len(text) {
			kind := input[keyEnd]
			end := valueAt + int(binary.LittleEndian.Uint32(input[keyEnd+1:]))
			if end <= len(text) && kind-typeText <= typeJSON-typeText {
				fields = append(fields, field{
					key: text[at+1 : keyEnd], value: text[valueAt:end], kind: kind, start: int32(at), end: int32(end),
				})
				at = end
				continue
			}
			if end <= len(text) {
				return errors.New("type " + strconv.Itoa(int(kind)) + " is not known")
			}
		}
		return errTruncated
	}
	m.fields = fields
	return nil
}

// write adds the record from at to next to the output, as the handler changed it. Unchanged parts
// are copied in long stretches; the last one may be left to a later record.
func (b *batch) write(at, next int) {
	m, text, out := &b.member, b.text, b.out
	copied, keep := b.copied, at+lengthSize // text between them is not copied yet
	lengthAt := len(out) + at - copied
	for i := range m.fields {
		f := &m.fields[i]
		if f.start < 0 { // a new key
			out = append(out, text[copied:keep]...)
			copied = keep
			out = append(out, byte(len(f.key)))
			out = append(out, f.key...)
		} else {
			if start := int(f.start); start != keep {
				out = append(out, text[copied:keep]...)
				copied = start
			}
			if keep = int(f.end); !f.set {
				continue
			}
			out = append(out, text[copied:int(f.start)+1+len(f.key)]...)
			copied = keep
		}
		n := uint32(len(f.value))
		out = append(out, f.kind, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
		out = append(out, f.value...)
	}
	if keep != next { // the last fields were deleted
		out = append(out, text[copied:keep]...)
		copied, keep = next, next
	}
	if copied <= at { // the record did not change after all
		return
	}
	b.out, b.copied = out, copied
	binary.LittleEndian.PutUint32(out[lengthAt:], uint32(len(out)-lengthAt-lengthSize+keep-copied))
}
