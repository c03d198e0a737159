package plugins

import (
	"fmt"
	"testing"
)

const importRandom = `(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))`

func TestRandomBytesAreBounded(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	const end = 3 * pageSize
	for _, test := range []struct{ ptr, size, want int }{
		{64, 0, wasiOK},
		{64, 16, wasiOK},
		{64, wasiMaxRandom, wasiOK},
		{64, wasiMaxRandom + 1, wasiInval},
		{end - 8, 8, wasiOK},
		{end - 8, 9, wasiFault},
		{end, 1, wasiFault},
		{-8, 16, wasiFault},
		{64, -1, wasiFault},
	} {
		p := load(t, e, Spec{Path: wat(t, guest(fmt.Sprintf(`(func (export "rollcall_classify") (param i32 i32) (result i64)
			(i64.extend_i32_u (i32.ne (i32.const %d) (call $random (i32.const %d) (i32.const %d)))))`,
			test.want, test.ptr, test.size), importRandom))})
		if d, err := NewChain(p).Classify("h", "c", Authenticated); err != nil || d.Kind != NoOpinion {
			t.Errorf("%d bytes at %d: want %d; got %v, %v", test.size, test.ptr, test.want, d.Kind, err)
		}
	}
}

// The guest returns 32 random bytes as letters, followed by the byte after them.
func TestRandomBytesAreRandom(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: wat(t, guest(`
		(data (i32.const 96) "\07")
		(func (export "rollcall_shape") (param i32 i32 i32) (result i64) (local $i i32)
			(if (call $random (i32.const 64) (i32.const 32)) (then unreachable))
			(loop $l
				(i32.store8 offset=129 (local.get $i)
					(i32.add (i32.const 65) (i32.and (i32.const 15) (i32.load8_u offset=64 (local.get $i)))))
				(br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 33))))
			(i32.store8 (i32.const 128) (i32.const 34))
			(i32.store8 (i32.const 162) (i32.const 34))
			(i64.const 0x8000000023))`, importRandom))})
	c := NewChain(p)
	seen := make(map[string]bool)
	for i := range 8 {
		got, err := c.Shape(t.Context(), EndpointUsers, fmt.Sprint("h", i%4), nil, []byte(`{}`))
		if err != nil || len(got) != 35 || got[33] != 'H' {
			t.Fatalf("got %s, %v", got, err)
		}
		if seen[string(got)] {
			t.Errorf("%s came twice", got)
		}
		seen[string(got)] = true
	}
}
