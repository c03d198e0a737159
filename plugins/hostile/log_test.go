package hostile

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// TestLogFloodsAreCutAndCounted has guests log all the time, in each possible way, without failing.
func TestLogFloodsAreCutAndCounted(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	const times = `(local.set $i (i32.const 500)) (loop $l `
	const again = ` (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $l (local.get $i)))`
	for name, do := range map[string]string{
		"lines": times + `(call $log (i32.const 3) (i32.const 65536) (i32.const 10))` + again,
		"lines of 1 MiB": `(memory.fill (i32.const 0x20000) (i32.const 0x78) (i32.const 0x100000))` +
			times + `(call $log (i32.const 2) (i32.const 0x20000) (i32.const 0x100000))` + again,
		"bytes that are not text": `(memory.fill (i32.const 0x20000) (i32.const 0xff) (i32.const 0x100000))` +
			times + `(call $log (i32.const 1) (i32.const 0x20000) (i32.const 5000))` + again,
		"standard output": `(memory.fill (i32.const 0x20000) (i32.const 0x78) (i32.const 0x100000))
			(i32.store8 (i32.const 0x11ffff) (i32.const 10))` + iovec(1, 0x20000, 0x100000) + times +
			`(drop (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 1016)))` + again,
		"empty lines": `(memory.fill (i32.const 0x20000) (i32.const 0x0a) (i32.const 0x100000))` + iovec(1, 0x20000, 0x100000) + times +
			`(drop (call $fd_write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 1016)))` + again,
		"short lines": `(local.set $j (i32.const 0x20000)) (loop $f (i32.store (local.get $j) (i32.const 0x0a780a78))
			(local.set $j (i32.add (local.get $j) (i32.const 4))) (br_if $f (i32.lt_u (local.get $j) (i32.const 0x30000))))` +
			iovec(1, 0x20000, 0x10000) + times +
			`(drop (call $fd_write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 1016)))` + again,
	} {
		t.Run(name, func(t *testing.T) {
			l := stepLimits
			l.ClassifyBudget = 10_000_000
			p := load(t, e, plugins.Spec{Path: guest{classify: do}.file(t), Limits: l})
			for range 1 + fewer(4) {
				if got := ask(t, p.chain, plugins.HookClassify, host, true); got.err != nil {
					t.Fatal(got.err)
				}
			}
			if n := p.log.Len(); n > 400 {
				t.Errorf("%d lines were logged", n)
			}
			for _, entry := range p.log.All() {
				line := entry.Message
				for _, v := range entry.ContextMap() {
					if s, ok := v.(string); ok {
						line += s
					}
				}
				if len(line) > 4<<10 || !utf8.ValidString(line) {
					t.Fatalf("a line of %d bytes, valid: %v: %.100q", len(line), utf8.ValidString(line), line)
				}
			}
			if n := p.counters.of(host).Read().LogDropped; n == 0 && !strings.HasPrefix(name, "empty") {
				t.Error("no dropped line is counted")
			}
		})
	}
}
