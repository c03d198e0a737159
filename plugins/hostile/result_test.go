package hostile

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// returns returns a statement that ends a hook with a result.
func returns(v uint64) string { return fmt.Sprintf(`(return (i64.const 0x%x))`, v) }

// slice encodes the result for size bytes at an address.
func slice(ptr, size uint32) uint64 { return uint64(ptr)<<32 | uint64(size) }

// data returns a field that puts bytes at address 1,048,576 + 65,536, above the buffer.
func data(b []byte) string {
	var s strings.Builder
	s.WriteString(`(data (i32.const 0x110000) "`)
	for _, c := range b {
		fmt.Fprintf(&s, `\%02x`, c)
	}
	s.WriteString("\")\n")
	return s.String()
}

const dataAddress = 0x110000

func TestClassifyRefusesWhatTheContractDoesNotAllow(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for _, result := range []uint64{
		4, 5, 0x7f, 0x80, 0xff, 0x104, 1 << 11, 1<<11 | 1, 1<<15 | 2, 1 << 16, 1 << 31, 1 << 32, 1 << 62,
		1 << 63, 1<<63 | 1, ^uint64(0), ^uint64(0) - 1, 0xfffffffffffffcff, slice(bufferAddress, 16),
	} {
		t.Run(fmt.Sprintf("%#x", result), func(t *testing.T) {
			contained(t, e, plugins.HookClassify, guest{classify: returns(result)}, stepLimits, badness)
		})
	}
	settled(t, e)
}

func TestAuthorizeRefusesWhatTheContractDoesNotAllow(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for _, result := range []uint64{2, 3, 0x100, 0x101, 1 << 31, 1 << 32, 1<<32 | 1, 1 << 63, ^uint64(0)} {
		t.Run(fmt.Sprintf("%#x", result), func(t *testing.T) {
			contained(t, e, plugins.HookAuthorize, guest{authorize: returns(result)}, stepLimits, badness)
		})
	}
	settled(t, e)
}

// badSlices are results outside the guest's memory of 0x200000 bytes.
var badSlices = map[string]uint64{
	"-1":                             ^uint64(0),
	"an address beyond the end":      slice(0x200001, 1),
	"the last address":               slice(0xffffffff, 1),
	"a length beyond the end":        slice(bufferAddress, 0x200000),
	"one byte too many":              slice(0x1fffff, 2),
	"a length that wraps":            slice(0x100, 0xffffff80),
	"a length of 4 GiB":              slice(0, 0xffffffff),
	"an address and length at 4 GiB": slice(0xfffffff0, 0xfffffff0),
	"the sign bit":                   1 << 63,
	"reserved memory":                slice(0x800000, 100),
}

func TestSlicesMustBeTheGuestsMemory(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, result := range badSlices {
		t.Run(name, func(t *testing.T) {
			contained(t, e, plugins.HookMembers, guest{members: returns(result)}, stepLimits, badness)
			contained(t, e, plugins.HookShape, guest{shape: returns(result)}, stepLimits, badness)
		})
	}
	settled(t, e)
}

// field is a field of a record.
type field struct {
	key  string
	kind byte
	// size is the length to write; -1 is that of the value.
	size  int
	value string
}

// record encodes fields, preceded by their length.
func record(fields ...field) []byte {
	var b []byte
	for _, f := range fields {
		if f.size < 0 {
			f.size = len(f.value)
		}
		b = append(append(append(b, byte(len(f.key))), f.key...), f.kind)
		b = append(binary.LittleEndian.AppendUint32(b, uint32(f.size)), f.value...)
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func text(key, value string) field { return field{key, 1, -1, value} }
func raw(key, value string) field  { return field{key, 2, -1, value} }

// badBatches are answers to a batch of one record.
var badBatches = map[string][]byte{
	"no record":                      {},
	"two records":                    append(record(text("id", "a")), record(text("id", "b"))...),
	"a hundred thousand records":     make([]byte, 400_000),
	"half a length":                  {1, 0},
	"bytes after the record":         append(record(text("id", "a")), 0),
	"a record of 4 GiB":              {0xff, 0xff, 0xff, 0xff},
	"a record of 4 GiB less 4":       {0xfc, 0xff, 0xff, 0xff, 1, 'a'},
	"a record one byte too long":     {8, 0, 0, 0, 1, 'a', 1, 0, 0, 0, 0},
	"a key without a type":           {2, 0, 0, 0, 1, 'a'},
	"a key beyond the record":        {3, 0, 0, 0, 200, 'a', 1},
	"a value of 4 GiB":               record(field{"id", 1, 0xffffffff, "a"}),
	"a value one byte too long":      record(field{"id", 1, 2, "a"}),
	"type 0":                         record(field{"id", 0, -1, "a"}),
	"type 3":                         record(field{"id", 3, -1, "a"}),
	"type 255":                       record(field{"id", 255, -1, "a"}),
	"a value that is not JSON":       record(raw("id", "{")),
	"an empty value":                 record(raw("id", "")),
	"two values":                     record(raw("id", "1 2")),
	"a value that closes the object": record(raw("id", `1},"admin":{"x":1`)),
	"a value that is not UTF-8":      record(raw("id", "\"\xff\"")),
	"deep nesting":                   record(raw("id", strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000))),
	"deep nesting without an end":    record(raw("id", strings.Repeat(`{"a":`, 100_000))),
	"a key that is not UTF-8":        record(text("\xc3\x28", "a")),
	"a key twice":                    record(text("id", "a"), text("id", "b")),
	"empty keys without an end":      record(manyFields(50_000)...),
}

func manyFields(n int) []field {
	fields := make([]field, n)
	for i := range fields {
		fields[i] = text(fmt.Sprint(i), "")
	}
	return fields
}

func TestMembersRefusesBatchesThatAreNotWhatTheContractSays(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, batch := range badBatches {
		t.Run(name, func(t *testing.T) {
			g := guest{members: returns(slice(dataAddress, uint32(len(batch)))), fields: data(batch)}
			contained(t, e, plugins.HookMembers, g, stepLimits, badness)
		})
	}
	settled(t, e)
}

// TestMembersMakesJSONOfAnyText has a guest return texts that would be dangerous if they were
// copied unchanged.
func TestMembersMakesJSONOfAnyText(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, c := range map[string]struct {
		fields []field
		want   string
	}{
		"quotes":             {[]field{text(`"},{"`, `\"}]`)}, `{"\"},{\"":"\\\"}]"}`},
		"control characters": {[]field{text("id", "\x00\x1f\r\n\x7f")}, "{\"id\":\"\\u0000\\u001f\\r\\n\x7f\"}"},
		"line separators":    {[]field{text("id", "\u2028\u2029")}, `{"id":"\u2028\u2029"}`},
		"not UTF-8":          {[]field{text("id", "a\xff\xc3")}, `{"id":"a\ufffd\ufffd"}`},
		"an empty key":       {[]field{text("", "a")}, `{"":"a"}`},
		"JSON":               {[]field{raw("id", ` [1, {"a":null}] `)}, `{"id": [1, {"a":null}] }`},
		"a megabyte":         {[]field{text("id", strings.Repeat("x", 700_000))}, `{"id":"` + strings.Repeat("x", 700_000) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			batch := record(c.fields...)
			g := guest{members: returns(slice(dataAddress, uint32(len(batch)))), fields: data(batch)}
			p := load(t, e, plugins.Spec{Path: g.file(t), Limits: stepLimits})
			got, err := members(t.Context(), p.chain, host, plugins.User{ID: "ada", Email: "ada@secret.example!"})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got[0] != c.want {
				t.Errorf("got %.200q, want %.200q", got, c.want)
			}
		})
	}
}

// badDocuments are bad results of the hook shape.
var badDocuments = map[string]string{
	"nothing":                     "",
	"a space":                     " ",
	"no JSON":                     "ada",
	"half an object":              `{"a":`,
	"two objects":                 `{}{}`,
	"an object and a zero byte":   "{}\x00",
	"not UTF-8":                   "\"\xff\xfe\"",
	"a byte order mark":           "\ufeff{}",
	"deep nesting":                strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000),
	"deep nesting without an end": strings.Repeat("[", 200_000),
	"a control character":         "\"\x01\"",
	"not a number":                "NaN",
}

func TestShapeRefusesWhatIsNotOneValue(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, document := range badDocuments {
		t.Run(name, func(t *testing.T) {
			g := guest{shape: returns(slice(dataAddress, uint32(len(document)))), fields: data([]byte(document))}
			contained(t, e, plugins.HookShape, g, stepLimits, badness)
		})
	}
	settled(t, e)
}

// TestShapeBoundsTheAnswer has a guest answer with as much of its memory as allowed, and more, in
// brackets that make it JSON. The limit is four times that of the input.
func TestShapeBoundsTheAnswer(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, test := range map[string]struct {
		size uint32
		fits bool
	}{
		"four times the document": {4 * plugins.DefaultDocument, true},
		"one byte more":           {4*plugins.DefaultDocument + 1, false},
		"all of its memory":       {0xef0000, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := guest{memory: `(memory (export "memory") 256)`, shape: `
				(memory.fill (i32.const 0x110000) (i32.const 0x20) (i32.const 0xef0000))
				(i32.store8 (i32.const 0x110000) (i32.const 0x5b))
				(i32.store8 (i32.const ` + decimal(int32(0x110000+test.size-1)) + `) (i32.const 0x5d))` +
				returns(slice(dataAddress, test.size))}
			p := load(t, e, plugins.Spec{Path: g.file(t)})
			got := ask(t, p.chain, plugins.HookShape, host, true)
			if !test.fits {
				failure(t, got.err, plugins.HookShape, badness)
				return
			}
			if got.err != nil || len(got.text) != int(test.size) {
				t.Errorf("got %d bytes and %v, want %d bytes", len(got.text), got.err, test.size)
			}
		})
	}
}

// TestShapeDoesNotTakeLargeDocuments checks that a document that is too large for a plugin does not
// bypass it.
func TestShapeDoesNotTakeLargeDocuments(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	body := `["` + strings.Repeat("x", plugins.DefaultDocument) + `"]`
	p := load(t, e, plugins.Spec{Path: guest{shape: nothing}.file(t)})
	_, err := p.chain.Shape(t.Context(), plugins.EndpointUsers, host, []byte(request), []byte(body))
	failure(t, err, plugins.HookShape, plugins.ReasonTooLarge)
	await(t, p.chain, plugins.HookShape)
}
