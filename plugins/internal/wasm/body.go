package wasm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rollcall-gateway/rollcall/internal/plural"
)

// body is the code of one function.
type body struct {
	start, end int // offsets in the file, after the size
	edit       int // index of its first edit in Module.edits
	// block is the type of a block around the code, as blockType encodes it. calls is set if the
	// function calls others, and so counts the call depth.
	block []byte
	calls bool
	// loops is set if the function has loops without calls, whose turns are counted in a local. The
	// index of that local is locals: the number of the function's own, parameters included.
	loops  bool
	locals int
}

// wrapped reports whether the metered module has a block around the code.
func (b body) wrapped() bool { return b.calls || b.loops }

// edit is a charge that Meter inserts before a byte of the file.
type edit struct {
	at    uint32
	steps uint32
	kind  charge
}

type charge uint8

const (
	// chargeSteps charges a fixed number of steps.
	chargeSteps charge = iota
	// chargeBytes and chargeEntries charge for the length of a bulk operation, which is on top of
	// the stack.
	chargeBytes
	chargeEntries
	// chargeTurn counts the steps of a turn in a local. Otherwise each turn would wait for the
	// slice that the previous one stored. A loop with calls uses chargeSteps instead.
	chargeTurn
	// deepen, backOut and leaveDeep update the stack depth in functions that call others: at the
	// start of the code, in place of a return, and at the end. Their steps are what the function
	// adds to the depth; those of backOut are the number of blocks around it.
	deepen
	backOut
	leaveDeep
)

// region is code that runs at most once each time its charge is paid: the body of a function or of
// a loop, without inner loops.
type region struct {
	edit   int
	weight int
	calls  bool // contains a call, possibly in an inner loop
}

// frame is an open block.
type frame struct {
	loop bool
}

// Steps of instructions that cost more than others.
const (
	// weightOfStep is the number of simple instructions per step.
	weightOfStep = 128
	// importSteps is charged for a direct call of an imported function.
	importSteps = 64
	// growSteps is charged for memory.grow, which may copy the memory.
	growSteps = 1_000
)

func (c *checker) bodiesOf(r *reader) {
	n := r.count("bodies", maxFunctions)
	if r.err == nil && n != c.Functions {
		r.fail(fmt.Errorf("%s declared, but %s", plural.Of(c.Functions, "function"), plural.Of(n, "body")))
	}
	if r.err != nil {
		return
	}
	c.bodies = make([]body, 0, n)
	for i := 0; i < n && r.err == nil; i++ {
		size := int64(r.u32())
		switch {
		case r.err != nil:
		case size > int64(r.left()):
			r.fail(fmt.Errorf("%s announced, but only %d left", plural.Of(size, "byte"), r.left()))
		case size > maxBody:
			r.fail(fmt.Errorf("%d bytes; the limit is %d: split the function", size, maxBody))
		}
		if r.err == nil {
			in := &reader{file: r.file, pos: r.pos, end: r.pos + int(size)}
			c.bodies = append(c.bodies, body{start: in.pos, end: in.end, edit: len(c.edits)})
			c.function(i, in)
			r.pos = in.pos
			if in.err == nil && in.left() > 0 {
				in.fail(fmt.Errorf("%s after its end", plural.Of(in.left(), "byte")))
			}
			if in.err != nil {
				r.fail(in.err)
			}
		}
		if r.err != nil {
			r.err = fmt.Errorf("%s: %w", c.functionName(i), r.err)
		}
	}
}

// functionName returns the name of a defined function for errors.
func (c *checker) functionName(i int) string {
	index := uint32(i + c.imported[KindFunc])
	if name := c.names.function(c.Module, index); name != "" {
		return fmt.Sprintf("function %d (%s)", index, name)
	}
	return fmt.Sprintf("function %d", index)
}

// function reads the locals and the instructions of a function, and records where it is charged.
func (c *checker) function(i int, r *reader) {
	started := r.pos
	locals := c.localsOf(r) + len(c.Types[c.functions[i]].Params)
	w := walk{checker: c, reader: r, locals: locals}
	c.frames = append(c.frames[:0], frame{})
	c.regions = c.regions[:0]
	w.open(chargeSteps, locals)
	w.frame = 1 + locals/8 + (r.end-started)/512
	w.charge(deepen, w.pos, w.frame)
	for len(c.frames) > 0 && r.err == nil {
		w.instruction()
	}
	b := &c.bodies[i]
	b.calls, b.loops, b.locals = w.calls, w.loops, locals
	if b.wrapped() {
		b.block = c.blockType(c.functions[i])
		w.branches++
	} else {
		own := slices.DeleteFunc(c.edits[b.edit:], func(e edit) bool { return e.kind >= deepen })
		c.edits = c.edits[:b.edit+len(own)]
	}
	if b.loops {
		w.locals++
	}
	if r.err == nil {
		c.effort(w.effort(r.pos-started), r)
	}
}

// effort estimates the time to compile the function, in units of about half a microsecond. Measured
// with wazero 1.12: values that live across many branches grow fastest, then branches alone, then
// nested loops and the targets of br_tables.
func (w *walk) effort(size int) int64 {
	branches := int64(w.branches)
	return branches*branches/32 + branches*int64(w.locals+1) + 8*int64(w.targets) + int64(w.depths)/2 +
		int64(size)/4
}

// effort adds the effort of a function and checks the limits.
func (c *checker) effort(e int64, r *reader) {
	c.work += e
	switch {
	case e > maxEffort:
		r.fail(fmt.Errorf("compiling it takes too long: %d for branches, locals and nesting, the limit is %d; split it",
			e, maxEffort))
	case c.work > maxEffortSum:
		r.fail(fmt.Errorf("compiling all functions so far takes too long: %d for branches, locals and nesting, "+
			"the limit is %d",
			c.work, maxEffortSum))
	}
}

func (c *checker) localsOf(r *reader) int {
	groups := r.count("groups of locals", maxLocals)
	sum := int64(0)
	for j := 0; j < groups && r.err == nil; j++ {
		sum += int64(r.u32())
		r.valueType()
		if sum > maxLocals && r.err == nil {
			r.fail(fmt.Errorf("%d or more locals; the limit is %d", sum, maxLocals))
		}
	}
	if c.locals += int(sum); c.locals > maxLocalsSum && r.err == nil {
		r.fail(fmt.Errorf("all functions so far have more than %d locals", maxLocalsSum))
	}
	return int(sum)
}

// walk reads the instructions of one function.
type walk struct {
	*checker
	*reader
	// Numbers that make compiling slow: locals with parameters, blocks and branches, targets of all
	// br_tables, and the sum of the loops' nesting depths.
	locals, branches, targets, depths int
	// calls is set after a call, loops after a loop without calls; frame is what the function adds
	// to the stack depth.
	calls, loops bool
	frame        int
}

// open starts a region at the current place.
func (w *walk) open(kind charge, weight int) {
	w.regions = append(w.regions, region{edit: len(w.edits), weight: weight})
	w.charge(kind, w.pos, 1)
}

func (w *walk) charge(kind charge, at, steps int) {
	if kind < deepen {
		w.points++
	}
	switch {
	case w.points > maxPoints:
		w.fail(fmt.Errorf("more than %d functions, loops, bulk operations and calls of imports", maxPoints))
		return
	case len(w.edits) >= maxEdits:
		w.fail(fmt.Errorf("more than %d of these: functions, returns, loops, bulk operations and calls of imports",
			maxEdits))
		return
	}
	w.edits = append(w.edits, edit{at: uint32(at), steps: uint32(steps), kind: kind})
}

// instruction reads one instruction with its operands.
func (w *walk) instruction() {
	at := w.pos
	op := w.byte()
	if w.err != nil {
		w.reader.err = errors.New("its code has no end")
		return
	}
	w.regions[len(w.regions)-1].weight += int(weights[op])
	switch opcodes[op] {
	case none:
		if op == opReturn {
			w.charge(backOut, at, len(w.frames)-1)
		}
	case blockType, ifBlock:
		w.enter(frame{})
	case loopHeader:
		w.enter(frame{loop: true})
	case elseMark:
	case endMark:
		w.leave()
	case label:
		w.branches++
		w.index("label", w.u32(), len(w.frames))
	case labelTable:
		w.labels()
	case function:
		w.regions[len(w.regions)-1].calls = true
		f := w.u32()
		w.index("function", f, w.total(KindFunc))
		if int(f) < w.imported[KindFunc] {
			w.charge(chargeSteps, at, importSteps)
		}
	case indirect:
		w.regions[len(w.regions)-1].calls = true
		w.index("type", w.u32(), len(w.Types))
		w.index("table", w.u32(), w.total(KindTable))
	case local:
		w.index("local", w.u32(), w.locals)
	case global:
		w.index("global", w.u32(), w.total(KindGlobal))
	case table:
		w.index("table", w.u32(), w.total(KindTable))
	case memoryArgument:
		w.memoryArgument()
	case memorySize:
		w.zero()
	case memoryGrow:
		w.zero()
		w.charge(chargeSteps, at, growSteps)
	case number32:
		w.signed(32)
	case number64:
		w.signed(64)
	case bytes4:
		w.skip(4)
	case bytes8:
		w.skip(8)
	case referenceType:
		w.referenceType()
	case functionRef:
		w.index("function", w.u32(), w.total(KindFunc))
	case typedSelect:
		if n := w.byte(); w.err == nil && n != 1 {
			w.fail(fmt.Errorf("select with %d types", n))
		}
		w.valueType()
	case miscPrefix:
		w.misc(at)
	case vectorPrefix:
		w.vector()
	case refused:
		w.fail(fmt.Errorf("opcode %#x: %s", op, refusal(op)))
	}
}

func (w *walk) index(what string, index uint32, count int) {
	w.checker.index(w.reader, what, index, count)
}

// enter opens a block. Its type is empty, one value type or the index of a type.
func (w *walk) enter(f frame) {
	if w.left() > 0 && (w.file[w.pos] == 0x40 || ValueType(w.file[w.pos]).valid()) {
		w.pos++
	} else if t := w.signed(33); w.err == nil {
		if t < 0 {
			w.fail(errors.New("unknown type of a block"))
			return
		}
		w.index("type", uint32(t), len(w.Types))
	}
	if len(w.frames) >= maxNesting {
		w.fail(fmt.Errorf("blocks nest more than %d deep; split the function", maxNesting))
	}
	if w.err != nil {
		return
	}
	w.frames = append(w.frames, f)
	w.branches++
	if f.loop {
		w.depths += len(w.frames)
		w.open(chargeTurn, 0)
	}
}

// leave closes the innermost block.
func (w *walk) leave() {
	last := len(w.frames) - 1
	closed := w.frames[last]
	w.frames = w.frames[:last]
	if closed.loop || last == 0 {
		inner := w.regions[len(w.regions)-1]
		w.regions = w.regions[:len(w.regions)-1]
		charge := &w.edits[inner.edit]
		charge.steps = uint32(1 + inner.weight/weightOfStep)
		switch {
		case last == 0:
			w.calls = inner.calls
		case inner.calls:
			charge.kind = chargeSteps
			w.regions[len(w.regions)-1].calls = true
		default:
			w.loops = true
		}
	}
	if last == 0 {
		w.charge(leaveDeep, w.pos-1, w.frame)
	}
}

func (w *walk) labels() {
	n := w.count("targets of a br_table", maxTargets)
	if w.targets += n; w.targets > maxBranches && w.err == nil {
		w.fail(fmt.Errorf("all br_tables have more than %d targets; split the function", maxBranches))
	}
	for i := 0; i <= n && w.err == nil; i++ {
		w.index("label", w.u32(), len(w.frames))
	}
}

func (w *walk) memoryArgument() {
	if align := w.u32(); w.err == nil && align > 4 {
		w.fail(errors.New("unknown alignment; more than one memory is not supported"))
	}
	w.u32()
}

// zero reads a memory index, which must be 0. wazero's validator accepts a number of several bytes
// here, and its compiler skips one byte. A longer number is refused, so that they cannot see
// different code.
func (w *walk) zero() {
	if b := w.byte(); w.err == nil && b != 0 {
		w.fail(errors.New("a memory other than 0: only one is allowed"))
	}
}

// misc reads the rest of an instruction with the prefix 0xfc.
func (w *walk) misc(at int) {
	op := w.u32()
	switch {
	case w.err != nil:
	case op <= truncLast:
	case op == memoryInit:
		w.data.kept = true
		w.u32()
		w.zero()
		w.charge(chargeBytes, at, 0)
	case op == dataDrop:
		w.data.kept = true
		w.u32()
	case op == elemDrop:
		w.u32()
	case op == memoryCopy:
		w.zero()
		w.zero()
		w.charge(chargeBytes, at, 0)
	case op == memoryFill:
		w.zero()
		w.charge(chargeBytes, at, 0)
	case op == tableInit:
		w.u32()
		w.index("table", w.u32(), w.total(KindTable))
		w.charge(chargeEntries, at, 0)
	case op == tableCopy:
		w.index("table", w.u32(), w.total(KindTable))
		w.index("table", w.u32(), w.total(KindTable))
		w.charge(chargeEntries, at, 0)
	case op == tableFill:
		w.index("table", w.u32(), w.total(KindTable))
		w.charge(chargeEntries, at, 0)
	case op == tableSize:
		w.index("table", w.u32(), w.total(KindTable))
	case op == tableGrow:
		w.fail(errors.New("table.grow is not supported: tables are outside the memory limit"))
	default:
		w.fail(fmt.Errorf("opcode 0xfc %#x: unknown instruction", op))
	}
}

// vector reads the rest of an instruction with the prefix 0xfd. The opcode is a number, of which
// wazero reads one byte. For opcodes above 0x7f, it takes the second byte for a nop; only 1 works
// for that.
func (w *walk) vector() {
	op := w.byte()
	if op >= 0x80 {
		if high := w.byte(); w.err == nil && high != 1 {
			w.fail(errors.New("unknown vector instruction; relaxed SIMD is not supported"))
		}
	}
	if w.err != nil {
		return
	}
	switch vectors[op] {
	case vectorNone:
	case vectorMemory:
		w.memoryArgument()
	case vectorMemoryLane:
		w.memoryArgument()
		w.byte()
	case vectorLane:
		w.byte()
	case vectorBytes16:
		w.skip(16)
	case vectorRefused:
		w.fail(fmt.Errorf("vector opcode %#x: unknown instruction", op))
	}
}

// blockType encodes a block type with the results of a function type and no parameters.
func (c *checker) blockType(of uint32) []byte {
	t := &c.Types[of]
	switch {
	case len(t.Results) == 0:
		return []byte{noValue}
	case len(t.Results) == 1:
		return []byte{byte(t.Results[0])}
	case len(t.Params) == 0:
		return appendSigned(nil, int64(of))
	}
	at, ok := c.resultTypes[of]
	if !ok {
		at = uint32(len(c.Types) + appendedTypes + len(c.resultOf))
		if c.resultTypes == nil {
			c.resultTypes = make(map[uint32]uint32)
		}
		c.resultTypes[of] = at
		c.resultOf = append(c.resultOf, of)
	}
	return appendSigned(nil, int64(at))
}
