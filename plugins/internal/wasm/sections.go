package wasm

import (
	"errors"
	"fmt"
)

func (c *checker) types(r *reader) {
	n := r.count("types", maxTypes)
	for i := 0; i < n && r.err == nil; i++ {
		switch form := r.byte(); {
		case r.err != nil:
		case form == 0x60:
			t := FuncType{Params: c.valueTypes(r, "parameters", maxParams), Results: c.valueTypes(r, "results", maxResults)}
			c.Types = append(c.Types, t)
		case form == 0x4e || form == 0x4f || form == 0x50 || form == 0x5e || form == 0x5f:
			r.fail(fmt.Errorf("type %d: %s", i, refusal(0xfb)))
		default:
			r.fail(fmt.Errorf("type %d: unknown form %#x", i, form))
		}
	}
}

func (c *checker) valueTypes(r *reader, what string, limit int) []ValueType {
	if c.relaxed {
		limit = 1_000
	}
	n := r.count(what, limit)
	var list []ValueType
	for i := 0; i < n && r.err == nil; i++ {
		list = append(list, r.valueType())
	}
	return list
}

func (r *reader) valueType() ValueType {
	t := ValueType(r.byte())
	if r.err == nil && !t.valid() {
		switch t {
		case 0x63, 0x64:
			r.fail(errors.New(refusal(0x14)))
		case 0x69:
			r.fail(errors.New(refusal(0x08)))
		default:
			r.fail(fmt.Errorf("unknown value type %#x", byte(t)))
		}
	}
	return t
}

func (c *checker) imports(r *reader) {
	n := r.count("imports", maxImports)
	for i := 0; i < n && r.err == nil; i++ {
		im := Import{Module: string(r.name(maxName)), Name: string(r.name(maxName)), Kind: Kind(r.byte())}
		if r.err != nil {
			return
		}
		switch im.Kind {
		case KindFunc:
			index := r.u32()
			if c.index(r, "type", index, len(c.Types)); r.err == nil {
				im.Func = &c.Types[index]
			}
		case KindTable:
			c.table(r)
		case KindMemory:
			c.memory(r)
		case KindGlobal:
			c.global(r)
		default:
			r.fail(fmt.Errorf("unknown kind %d", im.Kind))
		}
		if r.err == nil && im.Kind != KindFunc && !c.relaxed {
			r.fail(fmt.Errorf("%s %q of %q is imported; a plugin may import functions only, and has a memory of its own",
				im.Kind, im.Name, im.Module))
		}
		if r.err == nil {
			c.Imports = append(c.Imports, im)
			c.imported[im.Kind]++
		}
	}
}

func (c *checker) functionTypes(r *reader) {
	n := r.count("functions", maxFunctions)
	if r.err != nil {
		return
	}
	c.functions = make([]uint32, 0, n)
	for i := 0; i < n && r.err == nil; i++ {
		t := r.u32()
		c.index(r, "type", t, len(c.Types))
		c.functions = append(c.functions, t)
	}
	c.Functions = n
	c.defined[KindFunc] = n
}

func (c *checker) tables(r *reader) {
	n := r.count("tables", maxTables)
	sum := int64(0)
	for i := 0; i < n && r.err == nil; i++ {
		sum += int64(c.table(r))
		if sum > maxTableSum && r.err == nil && !c.relaxed {
			r.fail(fmt.Errorf("tables start with more than %d entries", maxTableSum))
		}
	}
	c.defined[KindTable] = n
}

// table returns the initial number of entries of a table.
func (c *checker) table(r *reader) uint32 {
	t := ValueType(r.byte())
	if r.err == nil && !t.reference() {
		if t == 0x40 || t == 0x63 || t == 0x64 {
			r.fail(errors.New(refusal(0x14)))
		} else {
			r.fail(fmt.Errorf("unknown type of table %#x", byte(t)))
		}
	}
	least, most, has := r.bounds("table")
	if has && most < least {
		r.fail(fmt.Errorf("a table of %d to %d entries", least, most))
	}
	return least
}

// bounds reads the limits of a table or a memory.
func (r *reader) bounds(what string) (least, most uint32, has bool) {
	flag := r.byte()
	switch {
	case r.err != nil:
	case flag <= 1:
		least = r.u32()
		if flag == 1 {
			most, has = r.u32(), true
		}
	case flag == 2 || flag == 3:
		r.fail(fmt.Errorf("a shared %s: %s", what, refusal(0xfe)))
	case flag <= 7:
		r.fail(fmt.Errorf("a %s with 64-bit addresses is not supported; build for wasm32", what))
	default:
		r.fail(fmt.Errorf("unknown kind of limits %#x", flag))
	}
	return least, most, has
}

func (c *checker) memories(r *reader) {
	n := r.count("memories", 1)
	if n == 1 {
		c.memory(r)
	}
	c.defined[KindMemory] = n
	if r.err == nil && c.total(KindMemory) > 1 {
		r.fail(fmt.Errorf("%d memories; only one is allowed", c.total(KindMemory)))
	}
}

func (c *checker) memory(r *reader) {
	least, most, has := r.bounds("memory")
	if r.err != nil {
		return
	}
	switch {
	case has && most < least:
		r.fail(fmt.Errorf("a memory of %d to %d pages", least, most))
	case least > 1<<16 || most > 1<<16:
		r.fail(fmt.Errorf("a memory of more than %d pages of 64 KiB", 1<<16))
	case least > c.limits.MemoryPages:
		r.fail(fmt.Errorf("the memory starts with %d pages of 64 KiB; the limit is %d", least, c.limits.MemoryPages))
	}
	c.Memory = Memory{Min: least, Max: most, HasMax: has}
}

func (c *checker) globals(r *reader) {
	n := r.count("globals", maxGlobals)
	// An initializer may refer only to globals before it, which wazero checks. They are all the
	// module's own.
	for i := 0; i < n && r.err == nil; i++ {
		c.global(r)
		c.constant(r, c.imported[KindGlobal]+i)
	}
	c.defined[KindGlobal] = n
}

func (c *checker) global(r *reader) {
	r.valueType()
	if mutable := r.byte(); r.err == nil && mutable > 1 {
		r.fail(fmt.Errorf("unknown mutability %#x", mutable))
	}
}

// constant reads a constant expression, which must be one instruction.
func (c *checker) constant(r *reader, globals int) {
	switch op := r.byte(); {
	case r.err != nil:
		return
	case op == 0x41:
		r.signed(32)
	case op == 0x42:
		r.signed(64)
	case op == 0x43:
		r.skip(4)
	case op == 0x44:
		r.skip(8)
	case op == 0x23:
		c.index(r, "global", r.u32(), globals)
	case op == 0xd0:
		r.referenceType()
	case op == 0xd2:
		c.index(r, "function", r.u32(), c.total(KindFunc))
	case op == 0xfd && r.byte() == 0x0c:
		r.skip(16)
	default:
		r.fail(fmt.Errorf("opcode %#x in a constant expression", op))
	}
	if end := r.byte(); r.err == nil && end != 0x0b {
		r.fail(fmt.Errorf("opcode %#x in a constant expression, which is one instruction", end))
	}
}

func (r *reader) referenceType() {
	if t := ValueType(r.byte()); r.err == nil && !t.reference() {
		r.fail(errors.New(refusal(0x14)))
	}
}

func (c *checker) exports(r *reader) {
	n := r.count("exports", maxExports)
	seen := make(map[string]struct{}, n)
	for i := 0; i < n && r.err == nil; i++ {
		e := Export{Name: string(r.name(maxName)), Kind: Kind(r.byte()), Index: r.u32()}
		if r.err != nil {
			return
		}
		if e.Kind > KindGlobal {
			r.fail(fmt.Errorf("export %q: unknown kind %d", e.Name, e.Kind))
			return
		}
		c.index(r, e.Kind.String(), e.Index, c.total(e.Kind))
		if e.Name == SliceGlobal || e.Name == StepsGlobal || e.Name == StartFunction {
			r.fail(fmt.Errorf("export %q: the host uses this name", e.Name))
		}
		if _, twice := seen[e.Name]; twice {
			r.fail(fmt.Errorf("export %q: duplicate name", e.Name))
		}
		if r.err != nil {
			return
		}
		seen[e.Name] = struct{}{}
		if e.Kind == KindFunc {
			e.Func = c.funcType(e.Index)
		}
		c.Exports = append(c.Exports, e)
	}
}

// startFunction checks the type too: to wazero the function is an export, which may have any type.
func (c *checker) startFunction(r *reader) {
	c.HasStart, c.start = true, r.u32()
	c.index(r, "function", c.start, c.total(KindFunc))
	if r.err != nil {
		return
	}
	if t := c.funcType(c.start); len(t.Params)+len(t.Results) > 0 {
		r.fail(fmt.Errorf("function %d has the type %s; a start function has no parameters and no results", c.start, t))
	}
}

// elements checks the segments that fill tables. Flags of a segment: bit 0 passive or declarative;
// bit 1 explicit table (with bit 0: declarative); bit 2 expressions instead of indices.
func (c *checker) elements(r *reader) {
	n := r.count("segments", maxElements)
	sum := 0
	for i := 0; i < n && r.err == nil; i++ {
		flags := r.u32()
		if r.err == nil && flags > 7 {
			r.fail(fmt.Errorf("segment %d: unknown flags %#x", i, flags))
		}
		active := flags&1 == 0
		if active {
			t := uint32(0)
			if flags&2 != 0 {
				t = r.u32()
			}
			c.index(r, "table", t, c.total(KindTable))
			c.constant(r, c.total(KindGlobal))
		}
		expressions := flags&4 != 0
		if flags&3 != 0 {
			if expressions {
				r.referenceType()
			} else if kind := r.byte(); r.err == nil && kind != 0 {
				r.fail(fmt.Errorf("segment %d: unknown kind %#x", i, kind))
			}
		}
		entries := r.count("entries", maxElementSum)
		if sum += entries; sum > maxElementSum && r.err == nil {
			r.fail(fmt.Errorf("segments have more than %d entries", maxElementSum))
		}
		for j := 0; j < entries && r.err == nil; j++ {
			if expressions {
				c.constant(r, c.total(KindGlobal))
			} else {
				c.index(r, "function", r.u32(), c.total(KindFunc))
			}
		}
	}
}
