package hostile

import (
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// TestBadBuffersFailTheCall makes rollcall_buffer return addresses that violate the contract. The
// guest has 0x200000 bytes.
func TestBadBuffersFailTheCall(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, address := range map[string]string{
		"nothing":                      "0",
		"an address not aligned":       "0x10001",
		"another not aligned":          "0x10004",
		"the end of memory":            "0x200000",
		"eight bytes before the end":   "0x1ffff8",
		"beyond the end":               "0x300000",
		"the end of the address space": "0xfffffff8",
		"-1":                           "0xffffffff",
	} {
		t.Run(name, func(t *testing.T) {
			for _, h := range hooks {
				g := guest{buffer: "(return (i32.const " + address + "))"}
				*g.hook(h) = nothing
				for _, policy := range []plugins.Policy{plugins.Deny, plugins.Pass} {
					p := load(t, e, plugins.Spec{Path: g.file(t), OnFailure: policy, Limits: stepLimits})
					got := ask(t, p.chain, h, host, false)
					if policy == plugins.Deny {
						failure(t, got.err, h, badness, plugins.ReasonMemory, plugins.ReasonInit, plugins.ReasonConfigure)
					} else if got.err != nil || got.text != untouched[h] {
						t.Errorf("%s: got %q and %v under pass", h, got.text, got.err)
					}
					if len(p.complaints()) == 0 {
						t.Errorf("%s: the failure is not logged", h)
					}
					p.Release()
				}
			}
		})
	}
	settled(t, e)
}

// TestBuffersMayMove makes rollcall_buffer return another address each time, and one that just
// fits.
func TestBuffersMayMove(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, body := range map[string]string{
		"each time another": `(global.set $n (i32.add (global.get $n) (i32.const 65536)))
			(return (i32.add (i32.const 65536) (i32.and (global.get $n) (i32.const 0x7ffff))))`,
		"as high as it fits": `(return (i32.and (i32.sub (i32.const 0x200000) (local.get $size)) (i32.const -8)))`,
		"in new memory": `(return (i32.mul (i32.const 65536)
			(memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16))))))`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, h := range hooks {
				g := guest{buffer: body, fields: `(global $n (mut i32) (i32.const 0))`}
				*g.hook(h) = nothing
				p := load(t, e, plugins.Spec{Path: g.file(t), Limits: stepLimits})
				for i := range 100 {
					if got := ask(t, p.chain, h, host, false); got.err != nil || got.text != touched[h] {
						t.Fatalf("%s, call %d: got %q and %v, want %q", h, i, got.text, got.err, touched[h])
					}
					// For an input larger than before, the host asks for a larger buffer.
					name := "room" + strings.Repeat("x", i*40)
					if _, err := p.chain.Classify(host, name, plugins.Anonymous); err != nil {
						t.Fatalf("%s: a name of %d bytes: %v", h, len(name), err)
					}
				}
				p.Release()
			}
		})
	}
	settled(t, e)
}

// TestBuffersThatGoBad makes rollcall_buffer refuse inputs larger than the first.
func TestBuffersThatGoBad(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	g := guest{buffer: `(if (i32.gt_u (local.get $size) (i32.const 0x8000)) (then (return (i32.const 0))))`, classify: nothing, shape: nothing}
	p := load(t, e, plugins.Spec{Path: g.file(t), Limits: stepLimits})
	await(t, p.chain, plugins.HookClassify)
	body := `["` + strings.Repeat("x", 100_000) + `"]`
	_, err := p.chain.Shape(t.Context(), plugins.EndpointUsers, host, []byte(request), []byte(body))
	failure(t, err, plugins.HookShape, badness, plugins.ReasonMemory)
	await(t, p.chain, plugins.HookClassify)
}
