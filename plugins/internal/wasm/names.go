package wasm

import "encoding/binary"

// nameSection is the content of the custom section "name", without its own name. It is debugging
// information: if it is malformed, it is dropped, and the module stays usable.
type nameSection struct {
	section
}

// Subsections of the name section.
const (
	namesOfFunctions = 1
)

// functions calls yield with the functions' names until it returns false. It reports whether the
// section is well formed: indices in ascending order, of functions that exist. The check is
// necessary because wazero allocates as many names as the section declares.
func (s nameSection) functions(m *Module, yield func(index uint32, name []byte) bool) bool {
	if s.end == 0 {
		return true
	}
	r := &reader{file: m.file, pos: s.start, end: s.end}
	for r.left() > 0 {
		id, size := r.byte(), int(r.u32())
		if r.err != nil || size > r.left() {
			return false
		}
		if id != namesOfFunctions {
			r.skip(size)
			continue
		}
		in := &reader{file: m.file, pos: r.pos, end: r.pos + size}
		n := in.count("names", m.total(KindFunc))
		next := uint32(0)
		for range n {
			index, name := in.u32(), in.name(size)
			if in.err != nil || index < next || int(index) >= m.total(KindFunc) {
				return false
			}
			next = index + 1
			if !yield(index, name) {
				return true
			}
		}
		return in.err == nil && in.left() == 0
	}
	return r.err == nil
}

// function returns up to 100 bytes of the name of a function, or "".
func (s nameSection) function(m *Module, wanted uint32) string {
	found := ""
	s.functions(m, func(index uint32, name []byte) bool {
		if index == wanted {
			found = string(name[:min(len(name), 100)])
		}
		return index < wanted
	})
	return found
}

// keep drops the section if it is malformed.
func (s *nameSection) keep(m *Module) {
	if !s.functions(m, func(uint32, []byte) bool { return true }) {
		*s = nameSection{}
	}
}

// appended returns a custom section with the module's function names and those of the appended
// functions, so that a trace shows where a call was stopped.
func (s nameSection) appended(m *Module, names ...string) []byte {
	count := uint32(len(names))
	var list []byte
	s.functions(m, func(index uint32, name []byte) bool {
		count++
		list = appendName(binary.AppendUvarint(list, uint64(index)), name)
		return true
	})
	for i, name := range names {
		list = appendName(binary.AppendUvarint(list, uint64(m.total(KindFunc)+i)), []byte(name))
	}
	var head []byte
	head = binary.AppendUvarint(head, uint64(count))
	out := appendName(nil, []byte("name"))
	out = append(out, namesOfFunctions)
	out = binary.AppendUvarint(out, uint64(len(head)+len(list)))
	return append(append(out, head...), list...)
}

func appendName(to, name []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(name))), name...)
}
