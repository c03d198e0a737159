package wasm

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/rollcall-gateway/rollcall/internal/plural"
)

// Section ids of the binary format.
const (
	sectionCustom byte = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
	sectionTag
)

var sectionNames = [...]string{
	"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data",
	"data count", "tag",
}

// sectionOrder lists the sections in file order.
var sectionOrder = [...]byte{
	sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionGlobal, sectionExport, sectionStart,
	sectionElement, sectionDataCount, sectionCode, sectionData,
}

// section is the content of a section, without ID and size.
type section struct {
	id         byte
	start, end int
}

// checker is the state of one Check.
type checker struct {
	*Module
	limits Limits
	// relaxed accepts valid modules that no plugin may have. The core test suite needs it.
	relaxed bool

	// Numbers of data segments, as the sections "data count" and "data" declare them. dataCount is
	// -1 if absent.
	dataCount    int
	segmentCount int

	frames  []frame
	regions []region
	locals  int   // in all functions so far
	points  int   // charges in edits, in all functions so far
	work    int64 // effort of all functions so far
}

// Check reads a WebAssembly binary and returns a description of it. An error names the section, the
// place and the limit.
//
// Its memory and time grow with the length of the file, not with the counts that the file declares.
// An accepted file may still be invalid. wazero finds that when it compiles the metered module.
func Check(file []byte, l Limits) (*Module, error) { return check(file, l, false) }

func check(file []byte, l Limits, relaxed bool) (*Module, error) {
	if l.File <= 0 {
		l.File = defaultFile
	}
	if l.MemoryPages == 0 {
		l.MemoryPages = defaultMemoryPages
	}
	if len(file) > l.File {
		return nil, fmt.Errorf("file of %d bytes; the limit is %d", len(file), l.File)
	}
	c := &checker{Module: &Module{file: file}, limits: l, relaxed: relaxed, dataCount: -1}
	if err := c.split(); err != nil {
		return nil, err
	}
	for _, s := range c.sections {
		r := &reader{file: file, pos: s.start, end: s.end}
		c.section(s.id, r)
		if r.err == nil && r.left() > 0 {
			r.fail(fmt.Errorf("%s too many", plural.Of(r.left(), "byte")))
		}
		if r.err != nil {
			return nil, fmt.Errorf("%s section, offset %#x: %w", sectionNames[s.id], r.pos, r.err)
		}
	}
	if err := c.whole(); err != nil {
		return nil, err
	}
	return c.Module, nil
}

// split finds the sections and checks that each appears once and in order.
func (c *checker) split() error {
	const header = "\x00asm\x01\x00\x00\x00"
	if len(c.file) < len(header) || string(c.file[:4]) != header[:4] {
		return errors.New("not a WebAssembly binary: it does not begin with \\0asm")
	}
	if version := string(c.file[4:8]); version != header[4:] {
		if version == "\x0d\x00\x01\x00" {
			return errors.New("this is a component; build a core module instead (for Rust wasm32-unknown-unknown)")
		}
		return fmt.Errorf("version %x of the binary format; only 1 is supported", version)
	}
	r := &reader{file: c.file, pos: len(header), end: len(c.file)}
	next := 0 // index in sectionOrder
	customs := 0
	for r.left() > 0 {
		at := r.pos
		id := r.byte()
		if int(id) >= len(sectionNames) {
			return fmt.Errorf("offset %#x: unknown section %d", at, id)
		}
		size := r.u32()
		if r.err != nil {
			return fmt.Errorf("%s section, offset %#x: size: %w", sectionNames[id], at, r.err)
		}
		if int64(size) > int64(r.left()) {
			return fmt.Errorf("%s section, offset %#x: %s announced, but only %d left: the file is cut off",
				sectionNames[id], at, plural.Of(size, "byte"), r.left())
		}
		s := section{id: id, start: r.pos, end: r.pos + int(size)}
		r.pos = s.end
		switch id {
		case sectionCustom:
			if customs++; customs > maxCustom {
				return fmt.Errorf("more than %d custom sections", maxCustom)
			}
			if err := c.custom(s); err != nil {
				return fmt.Errorf("custom section, offset %#x: %w", at, err)
			}
			continue
		case sectionTag:
			return fmt.Errorf("tag section, offset %#x: %s", at, refusal(0x08))
		}
		for next < len(sectionOrder) && sectionOrder[next] != id {
			next++
		}
		if next == len(sectionOrder) {
			return fmt.Errorf("%s section, offset %#x: it comes twice or out of order", sectionNames[id], at)
		}
		next++
		c.sections = append(c.sections, s)
	}
	return nil
}

// custom records the names of functions, which make traces readable. Meter omits other custom
// sections, because those for debugging contain offsets that would be wrong.
func (c *checker) custom(s section) error {
	r := &reader{file: c.file, pos: s.start, end: s.end}
	name := r.name(maxName)
	if r.err != nil {
		return fmt.Errorf("name: %w", r.err)
	}
	if string(name) == "name" {
		c.names = nameSection{section{start: r.pos, end: s.end}}
	}
	return nil
}

func (c *checker) section(id byte, r *reader) {
	switch id {
	case sectionType:
		c.types(r)
	case sectionImport:
		c.imports(r)
	case sectionFunction:
		c.functionTypes(r)
	case sectionTable:
		c.tables(r)
	case sectionMemory:
		c.memories(r)
	case sectionGlobal:
		c.globals(r)
	case sectionExport:
		c.exports(r)
	case sectionStart:
		c.startFunction(r)
	case sectionElement:
		c.elements(r)
	case sectionDataCount:
		c.dataCount = int(r.u32())
		if c.dataCount > maxData {
			r.fail(fmt.Errorf("%d segments; the limit is %d", c.dataCount, maxData))
		}
	case sectionCode:
		c.bodiesOf(r)
	case sectionData:
		c.segments(r)
	}
}

// whole checks conditions across sections.
func (c *checker) whole() error {
	if len(c.bodies) != c.Functions {
		return fmt.Errorf("code section: %s declared, but %s", plural.Of(c.Functions, "function"), plural.Of(len(c.bodies), "body"))
	}
	if c.dataCount >= 0 && c.dataCount != c.segmentCount {
		return fmt.Errorf("data section: %s announced, but %d there", plural.Of(c.dataCount, "segment"), c.segmentCount)
	}
	if c.total(KindMemory) == 0 && !c.relaxed {
		return errors.New("no memory: a plugin must define and export one")
	}
	c.names.keep(c.Module)
	return nil
}

// index checks an index against the file's own entries, so that the file cannot refer to appended
// ones.
func (c *checker) index(r *reader, what string, index uint32, count int) {
	if r.err == nil && int64(index) >= int64(count) {
		r.fail(errors.New(what + " " + strconv.FormatUint(uint64(index), 10) + " of " + strconv.Itoa(count) +
			": there is no such " + what))
	}
}
