package wasm

import "encoding/binary"

// Slice is the number of steps after which a metered module briefly returns to the Go runtime, so
// that the garbage collector can stop it: 20 to 70 microseconds of typical code.
const Slice = 10_000

// Names that a metered module exports in addition to its own.
//
// StartFunction is the function of the start section, if there is one. The metered module has no
// start section: instantiating it runs no code, and the host calls the function like any other.
//
// The globals are mutable 64-bit integers, zero at first. Before a call, the host stores the
// smaller of Slice and the budget in SliceGlobal, and the rest in StepsGlobal. After the call, it
// has used budget - slice - steps.
//
// When the budget is spent, the module traps with SliceGlobal below zero; it is never below zero
// otherwise. To end a call from outside, store 0 in StepsGlobal: the call traps within Slice steps,
// plus 64 for each running function with loops. A slice that starts at the same moment may
// overwrite the store, so repeat it until the call has ended.
const (
	SliceGlobal   = "rollcall.slice"
	StepsGlobal   = "rollcall.steps"
	StartFunction = "rollcall.start"
)

// The appended functions, by their index after those of the module.
const (
	yieldFunction = iota
	bytesFunction
	entriesFunction
	turnsFunction
	appendedFunctions
	startFunction = appendedFunctions // only if there is a start section
)

// appendedTypes is the number of types that are always appended.
const appendedTypes = 2

// maxDepth is the largest stack depth at the start of a slice. A call adds 1, and 1 more for every
// 8 locals or 512 bytes of code of its function. This keeps the stack below some megabytes. wazero
// alone grows it to more than 50 MB, by copying it at once. That takes tens of milliseconds, in
// which the garbage collector waits, and with it the whole process.
const maxDepth = 64 << 10

// Meter returns a module that computes what m does and counts its steps. A step is the entry of a
// function or a turn of a loop, and one more for every 128 instructions in it. A direct call of an
// import costs 64 steps, memory.grow 1,000, and a bulk operation one for each 8 bytes or each table
// entry. A call without steps left traps.
//
// m runs its start function by itself. The metered module runs it only when the host calls
// StartFunction. Data segments that no code names are merged.
func (m *Module) Meter() []byte {
	contents, merged := m.data.merged()
	return m.meter(contents, merged)
}

// MeterWithoutData is Meter for a host that fills the memory of a new instance with Data before it
// calls any function.
func (m *Module) MeterWithoutData() []byte { return m.meter(nil, true) }

// meter returns the metered module. If replaced is set, it has the given data section, which may be
// nil.
func (m *Module) meter(data []byte, replaced bool) []byte {
	w := &meter{
		Module: m,
		slice:  uint32(m.total(KindGlobal)),
		yield:  uint32(m.total(KindFunc)),
		out:    make([]byte, 0, len(m.file)+len(data)+len(m.edits)*24+4096),
	}
	w.out = append(w.out, m.file[:8]...)
	present := m.sections
	for _, id := range sectionOrder {
		var s section
		if len(present) > 0 && present[0].id == id {
			s, present = present[0], present[1:]
		}
		contents := m.file[s.start:s.end]
		if replaced && (id == sectionDataCount || id == sectionData) {
			contents = nil // a count is necessary only for code that names a segment
			if id == sectionData {
				contents = data
			}
		}
		w.section(id, contents)
	}
	names := []string{
		"rollcall.yield", "rollcall.charge_bytes", "rollcall.charge_entries", "rollcall.charge_turns",
		StartFunction,
	}
	w.wrap(sectionCustom, m.names.appended(m, names[:w.added()]...))
	return w.out
}

// meter is the state of one Meter.
type meter struct {
	*Module
	slice uint32 // index of the first appended global; those of steps and depth follow
	yield uint32 // index of the first appended function
	out   []byte
}

// wrap writes a section.
func (w *meter) wrap(id byte, contents []byte) {
	w.out = append(w.out, id)
	w.out = binary.AppendUvarint(w.out, uint64(len(contents)))
	w.out = append(w.out, contents...)
}

// added returns the number of appended functions.
func (w *meter) added() int {
	if w.HasStart {
		return appendedFunctions + 1
	}
	return appendedFunctions
}

// section writes a section with its appended entries. contents is empty if the file does not have
// the section.
func (w *meter) section(id byte, contents []byte) {
	var extra []byte
	var n int
	types := uint64(len(w.Types))
	switch id {
	case sectionType:
		n, extra = appendedTypes, []byte{0x60, 0, 0, 0x60, 1, byte(I32), 1, byte(I32)} // () -> (), (i32) -> (i32)
		for _, of := range w.resultOf {
			results := w.Types[of].Results
			extra = binary.AppendUvarint(append(extra, 0x60, 0), uint64(len(results)))
			for _, t := range results {
				extra = append(extra, byte(t))
			}
			n++
		}
	case sectionFunction:
		n, extra = w.added(), binary.AppendUvarint(nil, types)
		for range appendedFunctions - 1 {
			extra = binary.AppendUvarint(extra, types+1)
		}
		if w.HasStart {
			extra = binary.AppendUvarint(extra, types)
		}
	case sectionGlobal:
		n = 3
		for range n {
			extra = append(extra, byte(I64), 1, opI64Const, 0, opEnd)
		}
	case sectionExport:
		n = 2
		for i, name := range []string{SliceGlobal, StepsGlobal} {
			extra = append(appendName(extra, []byte(name)), byte(KindGlobal))
			extra = binary.AppendUvarint(extra, uint64(w.slice)+uint64(i))
		}
		if w.HasStart {
			n++
			extra = append(appendName(extra, []byte(StartFunction)), byte(KindFunc))
			extra = binary.AppendUvarint(extra, uint64(w.yield+startFunction))
		}
	case sectionStart:
		return // exported instead
	case sectionCode:
		w.code()
		return
	default:
		if len(contents) > 0 {
			w.wrap(id, contents)
		}
		return
	}
	count := uint64(0)
	if len(contents) > 0 {
		var size int
		count, size = binary.Uvarint(contents)
		contents = contents[size:]
	}
	head := binary.AppendUvarint(nil, count+uint64(n))
	w.out = append(w.out, id)
	w.out = binary.AppendUvarint(w.out, uint64(len(head)+len(contents)+len(extra)))
	w.out = append(append(append(w.out, head...), contents...), extra...)
}

// code writes the code section: the bodies of the file with charges inserted, and the appended
// ones.
func (w *meter) code() {
	// The size comes before the contents: a number of five bytes leaves room for any size.
	w.out = append(w.out, sectionCode, 0x80, 0x80, 0x80, 0x80, 0)
	start := len(w.out)
	w.out = binary.AppendUvarint(w.out, uint64(len(w.bodies)+w.added()))
	var scratch []byte
	for i, b := range w.bodies {
		last := len(w.edits)
		if i+1 < len(w.bodies) {
			last = w.bodies[i+1].edit
		}
		scratch = w.function(scratch[:0], b, w.edits[b.edit:last])
		w.body(scratch)
	}
	w.body(w.yieldBody(scratch[:0]))
	w.body(w.chargeBody(scratch[:0], 3)) // one step for 8 bytes
	w.body(w.chargeBody(scratch[:0], 0))
	w.body(w.turnsBody(scratch[:0]))
	if w.HasStart {
		w.body(w.startBody(scratch[:0]))
	}
	size := uint32(len(w.out) - start)
	for i := range 5 {
		b := byte(size>>(7*i)) & 0x7f
		if i < 4 {
			b |= 0x80
		}
		w.out[start-5+i] = b
	}
}

// function appends the body of a function with its edits, the first of which is at its entry.
func (w *meter) function(to []byte, b body, edits []edit) []byte {
	at := b.start
	if b.loops {
		groups, size := binary.Uvarint(w.file[at:])
		to = append(binary.AppendUvarint(to, groups+1), w.file[at+size:edits[0].at]...)
		to = append(to, 1, byte(I32))
		at = int(edits[0].at)
	}
	for _, e := range edits {
		to = append(to, w.file[at:e.at]...)
		at = int(e.at)
		if e.kind == backOut {
			at++
		}
		to = w.insert(to, e, b)
	}
	return append(to, w.file[at:b.end]...)
}

func (w *meter) body(code []byte) {
	w.out = binary.AppendUvarint(w.out, uint64(len(code)))
	w.out = append(w.out, code...)
}

// Opcodes of inserted instructions.
const (
	opUnreachable = 0x00
	opBlock       = 0x02
	opIf          = 0x04
	opEnd         = 0x0b
	opBr          = 0x0c
	opReturn      = 0x0f
	opCall        = 0x10
	opDrop        = 0x1a
	opLocalGet    = 0x20
	opLocalSet    = 0x21
	opLocalTee    = 0x22
	opGlobalGet   = 0x23
	opGlobalSet   = 0x24
	opMemoryGrow  = 0x40
	opI32Const    = 0x41
	opI64Const    = 0x42
	opI32GtU      = 0x4b
	opI64LtS      = 0x53
	opI64GtS      = 0x55
	opI32Add      = 0x6a
	opI64Add      = 0x7c
	opI64Sub      = 0x7d
	opI64ShrU     = 0x88
	opExtendU     = 0xad
	noValue       = 0x40
)

// insert appends the instructions of an edit. They leave the stack unchanged.
func (w *meter) insert(to []byte, e edit, b body) []byte {
	switch e.kind {
	case chargeSteps:
		to = w.get(to, w.slice)
		to = appendSigned(append(to, opI64Const), int64(e.steps))
		return w.settle(to)
	case chargeBytes:
		return w.call(to, w.yield+bytesFunction)
	case chargeEntries:
		return w.call(to, w.yield+entriesFunction)
	case chargeTurn:
		return w.turn(to, uint64(b.locals), e.steps)
	case deepen:
		if b.calls {
			to = w.deeper(to, int64(e.steps))
		}
		return append(append(to, opBlock), b.block...)
	case backOut:
		return binary.AppendUvarint(append(to, opBr), uint64(e.steps))
	case leaveDeep:
		to = append(to, opEnd)
		if b.loops {
			to = binary.AppendUvarint(append(w.get(to, w.slice), opLocalGet), uint64(b.locals))
			to = w.settle(append(to, opExtendU))
		}
		if b.calls {
			to = w.deeper(to, -int64(e.steps))
		}
		return to
	}
	return to
}

// settle subtracts the steps on the stack from the slice below them, and yields if the slice is
// spent.
func (w *meter) settle(to []byte) []byte {
	to = append(to, opI64Sub)
	to = w.set(to, w.slice)
	to = w.get(to, w.slice)
	to = append(to, opI64Const, 0, opI64LtS, opIf, noValue)
	return append(w.call(to, w.yield+yieldFunction), opEnd)
}

// yieldBody starts the next slice. It moves steps until the slice is full again, debts included. It
// traps if the slice is then below zero, or if calls nest too deep. memory.grow(0) leaves native
// code and has no other effect.
//
//	n = min(Slice - slice, steps)
//	slice += n
//	steps -= n
//	if slice < 0 { trap }
//	if depth > maxDepth { trap }
//	memory.grow(0)
func (w *meter) yieldBody(to []byte) []byte {
	steps := w.slice + 1
	to = append(to, 1, 1, byte(I64)) // n
	to = append(to, opI64Const)
	to = appendSigned(to, Slice)
	to = append(w.get(to, w.slice), opI64Sub, opLocalTee, 0)
	to = append(w.get(to, steps), opI64GtS, opIf, noValue)
	to = append(w.get(to, steps), opLocalSet, 0, opEnd)
	to = append(w.get(to, w.slice), opLocalGet, 0, opI64Add)
	to = w.set(to, w.slice)
	to = append(w.get(to, steps), opLocalGet, 0, opI64Sub)
	to = w.set(to, steps)
	to = append(w.get(to, w.slice), opI64Const, 0, opI64LtS, opIf, noValue, opUnreachable, opEnd)
	to = appendSigned(append(w.get(to, w.slice+2), opI64Const), maxDepth)
	to = append(to, opI64GtS, opIf, noValue, opUnreachable, opEnd)
	if w.total(KindMemory) > 0 {
		to = append(to, opI32Const, 0, opMemoryGrow, 0, opDrop)
	}
	return append(to, opEnd)
}

// chargeBody gets a length, charges it divided by a power of two, plus one, and returns the length.
func (w *meter) chargeBody(to []byte, shift byte) []byte {
	to = append(to, 0)
	to = append(w.get(to, w.slice), opLocalGet, 0, opExtendU, opI64Const, shift, opI64ShrU, opI64Const, 1, opI64Add)
	return append(w.settle(to), opLocalGet, 0, opEnd)
}

// turnsHeld is the number of loop steps that a function counts before it charges them. The rest is
// charged when it returns. Otherwise each turn would wait for the slice that the previous one
// stored.
const turnsHeld = 64

// turn counts the steps of a turn of a loop in a local.
func (w *meter) turn(to []byte, local uint64, steps uint32) []byte {
	to = binary.AppendUvarint(append(to, opLocalGet), local)
	to = append(appendSigned(append(to, opI32Const), int64(steps)), opI32Add)
	to = binary.AppendUvarint(append(to, opLocalTee), local)
	to = append(appendSigned(append(to, opI32Const), turnsHeld), opI32GtU, opIf, noValue)
	to = w.call(binary.AppendUvarint(append(to, opLocalGet), local), w.yield+turnsFunction)
	return append(binary.AppendUvarint(append(to, opLocalSet), local), opEnd)
}

// turnsBody charges steps and returns 0, the number of steps left to charge.
func (w *meter) turnsBody(to []byte) []byte {
	to = append(to, 0)
	to = append(w.get(to, w.slice), opLocalGet, 0, opExtendU)
	return append(w.settle(to), opI32Const, 0, opEnd)
}

// startBody calls the start function. Exporting the function itself would declare it for ref.func,
// which the file may not have done.
func (w *meter) startBody(to []byte) []byte { return append(w.call(append(to, 0), w.start), opEnd) }

func (w *meter) get(to []byte, global uint32) []byte {
	return binary.AppendUvarint(append(to, opGlobalGet), uint64(global))
}

func (w *meter) set(to []byte, global uint32) []byte {
	return binary.AppendUvarint(append(to, opGlobalSet), uint64(global))
}

func (w *meter) call(to []byte, function uint32) []byte {
	return binary.AppendUvarint(append(to, opCall), uint64(function))
}

// appendSigned appends a number in signed LEB128.
func appendSigned(to []byte, v int64) []byte {
	for v < -64 || v > 63 {
		to = append(to, byte(v)|0x80)
		v >>= 7
	}
	return append(to, byte(v)&0x7f)
}

// deeper adds n to the stack depth, the third of the appended globals. A trap does not restore it,
// so an instance that trapped must not be called again.
func (w *meter) deeper(to []byte, n int64) []byte {
	to = appendSigned(append(w.get(to, w.slice+2), opI64Const), n)
	return w.set(append(to, opI64Add), w.slice+2)
}
