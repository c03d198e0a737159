package plugins

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
)

// BenchmarkClassifyDeadlineGuard measures the same call with wazero's own guard instead of the
// meter and the watchdog.
func BenchmarkClassifyDeadlineGuard(b *testing.B) {
	benchmarkBare(b, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(true), func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), time.Second)
	})
}

// BenchmarkClassifyBare measures the same call without a guard and without a pool.
func BenchmarkClassifyBare(b *testing.B) {
	benchmarkBare(b, wazero.NewRuntimeConfigCompiler(), func() (context.Context, context.CancelFunc) {
		return context.Background(), func() {}
	})
}

func benchmarkBare(b *testing.B, c wazero.RuntimeConfig, call func() (context.Context, context.CancelFunc)) {
	file, err := os.ReadFile(wat(b, classifier(byFirstLetter)))
	if err != nil {
		b.Fatal(err)
	}
	m, closeAll := bare(b, c, file)
	defer closeAll()
	classify := m.ExportedFunction("rollcall_classify")
	var stack [2]uint64
	b.ReportAllocs()
	for b.Loop() {
		q := codec.Request{Kind: 1, Host: "portal.example.com", Channel: "anonymous-lobby"}
		size, _ := q.Size()
		view, _ := m.Memory().Read(8192, uint32(size))
		q.Put(view)
		stack[0], stack[1] = 8192, uint64(size)
		ctx, cancel := call()
		if err := classify.CallWithStack(ctx, stack[:]); err != nil {
			b.Fatal(err)
		}
		cancel()
	}
}

// bare instantiates a guest with wazero alone.
func bare(b *testing.B, c wazero.RuntimeConfig, file []byte) (m api.Module, closeAll func()) {
	ctx := b.Context()
	r := wazero.NewRuntimeWithConfig(ctx, c)
	host := r.NewHostModuleBuilder("rollcall")
	host.NewFunctionBuilder().WithFunc(func(uint32, uint32, uint32) {}).Export("log")
	host.NewFunctionBuilder().WithFunc(func(uint32, uint32) uint32 { return 0 }).Export("request")
	if _, err := host.Instantiate(ctx); err != nil {
		b.Fatal(err)
	}
	host = r.NewHostModuleBuilder("env")
	host.NewFunctionBuilder().WithFunc(func(uint32, uint32, uint32, uint32) {}).Export("abort")
	if _, err := host.Instantiate(ctx); err != nil {
		b.Fatal(err)
	}
	m, err := r.Instantiate(ctx, file)
	if err != nil {
		b.Fatal(err)
	}
	return m, func() { r.Close(context.WithoutCancel(ctx)) }
}
