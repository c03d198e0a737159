package wasm

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/rollcall-gateway/rollcall/internal/plural"
)

// Segment is a part of the memory of a new instance.
type Segment struct {
	Offset uint32 // in bytes
	Bytes  []byte // part of the file
}

func (s Segment) end() int { return int(s.Offset) + len(s.Bytes) }

// data is what Check finds in the data section and about it.
type data struct {
	// active holds the segments that fill the memory of a new instance, in file order. If they
	// overlap, the later one wins.
	active []Segment
	// kept is set if the metered module must have the segments of the file: the code names one, an
	// offset is not a constant in the declared memory, or the memory is another module's.
	kept bool
}

// Data returns the parts of the memory of a new instance that are not zero. If they overlap, the
// later one wins. It reports whether MeterWithoutData may be used.
func (m *Module) Data() (segments []Segment, ok bool) {
	if m.data.kept {
		return nil, false
	}
	if merged, ok := m.data.merge(); ok {
		return merged, true
	}
	return m.data.active, true
}

// mergeGap is the largest gap between two segments that is filled with zeros to merge them, in
// bytes. wazero evaluates each segment for each instance and keeps 24 bytes for it: 547 KB for a Go
// guest of 22,892 segments. With the limit of segments, a file grows by at most 4 MiB.
const mergeGap = 64

// merge returns segments with the same contents, fewer of them and in order. ok is false if the
// segments must stay as they are: also if they overlap.
func (d *data) merge() (merged []Segment, ok bool) {
	if d.kept {
		return nil, false
	}
	sorted := slices.DeleteFunc(slices.Clone(d.active), func(s Segment) bool { return len(s.Bytes) == 0 })
	slices.SortStableFunc(sorted, func(a, b Segment) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := 1; i < len(sorted); i++ {
		if int(sorted[i].Offset) < sorted[i-1].end() {
			return nil, false
		}
	}
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && int(sorted[n].Offset)-sorted[n-1].end() <= mergeGap {
			n++
		}
		merged = append(merged, join(sorted[:n]))
		sorted = sorted[n:]
	}
	return merged, true
}

// join returns one segment with the contents of all, which are in order.
func join(all []Segment) Segment {
	if len(all) == 1 {
		return all[0]
	}
	first, size := all[0].Offset, all[len(all)-1].end()-int(all[0].Offset)
	joined := Segment{first, make([]byte, size)}
	for _, s := range all {
		copy(joined.Bytes[s.Offset-first:], s.Bytes)
	}
	return joined
}

// merged returns a data section with the segments of merge, or nil if there are none.
func (d *data) merged() (section []byte, ok bool) {
	segments, ok := d.merge()
	if len(segments) == 0 {
		return nil, ok
	}
	section = binary.AppendUvarint(nil, uint64(len(segments)))
	for _, s := range segments {
		section = appendSigned(append(section, 0, opI32Const), int64(int32(s.Offset)))
		section = binary.AppendUvarint(append(section, opEnd), uint64(len(s.Bytes)))
		section = append(section, s.Bytes...)
	}
	return section, true
}

func (c *checker) segments(r *reader) {
	n := r.count("segments", maxData)
	c.data.kept = c.data.kept || c.imported[KindMemory] > 0
	for i := 0; i < n && r.err == nil; i++ {
		flags := r.u32()
		if r.err == nil && flags > 2 {
			r.fail(fmt.Errorf("segment %d: unknown flags %#x", i, flags))
		}
		active := flags != 1
		offset := uint32(0)
		if active {
			m := uint32(0)
			if flags == 2 {
				m = r.u32()
			}
			c.index(r, "memory", m, c.total(KindMemory))
			offset = c.offset(r)
		}
		size := r.u32()
		if r.err == nil && int64(size) > int64(r.left()) {
			r.fail(fmt.Errorf("segment %d: %s announced, but only %d left", i, plural.Of(size, "byte"), r.left()))
			return
		}
		s := Segment{offset, r.file[r.pos:]}
		r.skip(int(size))
		if r.err != nil || !active {
			continue
		}
		s.Bytes = s.Bytes[:size:size]
		if int64(s.end()) > int64(c.Memory.Min)<<16 {
			c.data.kept = true // making an instance fails
		}
		c.data.active = append(c.data.active, s)
	}
	c.segmentCount = n
}

// offset reads the offset of an active segment.
func (c *checker) offset(r *reader) uint32 {
	start := r.pos
	c.constant(r, c.total(KindGlobal))
	if r.err != nil || r.file[start] != opI32Const {
		c.data.kept = true
		return 0
	}
	value := reader{file: r.file, pos: start + 1, end: r.pos}
	return uint32(value.signed(32))
}
