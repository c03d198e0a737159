package plugins

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// masking is a shape that copies its input and, in a first pass, replaces each letter before "@"
// with "*": loops and byte accesses, like JSON work.
const masking = `(func (export "rollcall_shape") (param $e i32) (param $p i32) (param $n i32) (result i64)
	(local $i i32) (local $c i32) (local $h i32)
	(loop $next
		(if (i32.lt_u (local.get $i) (local.get $n)) (then
			(local.set $c (i32.load8_u (i32.add (local.get $p) (local.get $i))))
			(if (i32.eq (local.get $c) (i32.const 64)) (then (local.set $c (i32.const 42))))
			(local.set $h (i32.xor (i32.mul (local.get $h) (i32.const 31)) (local.get $c)))
			(i32.store8 (i32.add (i32.const 131072) (local.get $i)) (local.get $c))
			(local.set $i (i32.add (local.get $i) (i32.const 1)))
			(br $next))))
	(i64.or (i64.shl (i64.const 131072) (i64.const 32)) (i64.extend_i32_u (local.get $n))))`

func shapeBody() []byte {
	return []byte(`{"lobby":[` + string(bytes.Repeat([]byte(`{"id":"12345","email":"somebody@example.com"},`), 999)) + `0]}`)
}

// BenchmarkShape includes the check that the result is JSON; BenchmarkShapeGuest does not.
func BenchmarkShape(b *testing.B) {
	e := newEngine(b, EngineConfig{})
	c := NewChain(load(b, e, Spec{Path: wat(b, guest(masking))}))
	body := shapeBody()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := c.Shape(b.Context(), EndpointUsers, "h", nil, body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkShapeGuest calls the guest alone, metered and unmetered.
func BenchmarkShapeGuest(b *testing.B) {
	body := shapeBody()
	b.Run("metered", func(b *testing.B) {
		e := newEngine(b, EngineConfig{})
		p := load(b, e, Spec{Path: wat(b, guest(masking)), Limits: Limits{ShapeTimeout: maxTimeout}})
		pool := p.anchor.pool("h")
		s, f := pool.acquire(maxTimeout)
		if f != nil {
			b.Fatal(f)
		}
		defer pool.freeSlot(s, slotIdle)
		in := s.instance
		if f := in.growInput(len(body)); f != nil {
			b.Fatal(f)
		}
		for b.Loop() {
			in.arm(DefaultShapeBudget)
			in.stack[1], in.stack[2] = uint64(in.inputPtr), uint64(copy(in.input, body))
			if err := in.callGuest(in.hooks[HookShape]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unmetered", func(b *testing.B) {
		file, err := os.ReadFile(wat(b, guest(masking)))
		if err != nil {
			b.Fatal(err)
		}
		m, closeAll := bare(b, wazero.NewRuntimeConfigCompiler(), file)
		defer closeAll()
		shape := m.ExportedFunction("rollcall_shape")
		var stack [3]uint64
		for b.Loop() {
			view, _ := m.Memory().Read(8192, uint32(len(body)))
			stack[1], stack[2] = 8192, uint64(copy(view, body))
			if err := shape.CallWithStack(b.Context(), stack[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkShapeJSON makes the example team-totals read and write an answer of 200 users as JSON.
// It calls the metered and the unmetered guest by turns, and compares the shortest calls of both,
// which nothing else on the machine disturbed.
func BenchmarkShapeJSON(b *testing.B) {
	file, err := filepath.Abs(filepath.Join("..", "examples", "team-totals", "team-totals.wasm"))
	if err != nil {
		b.Fatal(err)
	}
	body := []byte(`{"sales-emea":[`)
	for i := range 200 {
		body = fmt.Appendf(body, `{"id":"8f14e45fceea%04d","email":"somebody.%d@example%d.com"},`, i, i, i%7)
	}
	body = append(body[:len(body)-1], `]}`...)
	config := []byte(`{"host":"h","plugin":"team-totals","config":{"team_from":"email"}}`)

	e := newEngine(b, EngineConfig{})
	p := load(b, e, Spec{Path: file, Name: "team-totals", Config: []byte(`{"team_from":"email"}`)})
	pool := p.anchor.pool("h")
	s, f := pool.tryAcquire(b.Context())
	if f != nil {
		b.Fatal(f.err)
	}
	defer pool.freeSlot(s, slotIdle)
	in := s.instance
	if f := in.growInput(len(body)); f != nil {
		b.Fatal(f.err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	m, closeAll := bare(b, wazero.NewRuntimeConfigCompiler(), content)
	defer closeAll()
	buffer := func(input []byte) (at uint64) {
		result, err := m.ExportedFunction(exportBuffer).Call(b.Context(), uint64(len(input)))
		if err != nil || !m.Memory().Write(uint32(result[0]), input) {
			b.Fatal(err)
		}
		return result[0]
	}
	if _, err := m.ExportedFunction(exportInitialize).Call(b.Context()); err != nil {
		b.Fatal(err)
	}
	if code, err := m.ExportedFunction(exportConfigure).Call(b.Context(), buffer(config), uint64(len(config))); err != nil || code[0] != 0 {
		b.Fatal(code, err)
	}
	room := buffer(body)
	shape := m.ExportedFunction(hookExports[HookShape])

	least := [2]time.Duration{time.Hour, time.Hour}
	call := func(which int, f api.Function, input []byte, at uint64, stack []uint64) {
		stack[0], stack[1], stack[2] = uint64(EndpointUsers), at, uint64(copy(input, body))
		start := time.Now()
		if err := f.CallWithStack(in.context, stack); err != nil {
			b.Fatal(err)
		}
		least[which] = min(least[which], time.Since(start))
		if int64(stack[0]) <= 0 {
			b.Fatalf("the guest returned %d", int64(stack[0]))
		}
	}
	var stack [4]uint64
	for b.Loop() {
		in.arm(DefaultShapeBudget)
		call(0, in.hooks[HookShape], in.input, uint64(in.inputPtr), in.stack[:])
		view, _ := m.Memory().Read(uint32(room), uint32(len(body)))
		call(1, shape, view, room, stack[:])
	}
	b.ReportMetric(float64(least[0].Nanoseconds()), "ns-metered")
	b.ReportMetric(float64(least[1].Nanoseconds()), "ns-unmetered")
	b.ReportMetric(float64(least[0])/float64(least[1]), "metered/unmetered")
}
