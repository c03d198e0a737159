package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// deadline is the time limit of a guarded call. It is far away: the cost is that there is one.
const deadline = 10 * time.Second

// bare is an unmetered guest without Rollcall. Without the guard nothing can stop it.
type bare struct {
	guard    bool
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	// pool is the fastest possible pool, but not a good one: it forgets instances without closing
	// them.
	pool sync.Pool
}

func newBare(ctx context.Context, wasm []byte, guard bool) (*bare, error) {
	config := wazero.NewRuntimeConfigCompiler().WithMemoryLimitPages(256).WithCloseOnContextDone(guard)
	b := &bare{guard: guard, runtime: wazero.NewRuntimeWithConfig(ctx, config)}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, b.runtime); err != nil {
		return nil, err
	}
	log := func(context.Context, api.Module, uint32, uint32, uint32) {}
	request := func(context.Context, api.Module, uint32, uint32) uint32 { return 0 }
	_, err := b.runtime.NewHostModuleBuilder("rollcall").
		NewFunctionBuilder().WithFunc(log).Export("log").
		NewFunctionBuilder().WithFunc(request).Export("request").Instantiate(ctx)
	if err != nil {
		return nil, err
	}
	abort := func(context.Context, api.Module, uint32, uint32, uint32, uint32) { panic("the guest aborts") }
	_, err = b.runtime.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(abort).Export("abort").Instantiate(ctx)
	if err != nil {
		return nil, err
	}
	b.compiled, err = b.runtime.CompileModule(ctx, wasm)
	return b, err
}

func (b *bare) close(ctx context.Context) error { return b.runtime.Close(ctx) }

// instance is an instance of a guest, for one call at a time.
type instance struct {
	memory                                 api.Memory
	buffer, classifyFn, membersFn, shapeFn api.Function
	at, size                               uint32 // of the buffer
	stack                                  [3]uint64
	request                                []byte
}

func (b *bare) instantiate(ctx context.Context) (*instance, error) {
	// With wazero's clock, which counts its readings, Go's collector stops after some million calls,
	// and the guest runs out of memory.
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").
		WithSysNanotime().WithSysWalltime()
	module, err := b.runtime.InstantiateModule(ctx, b.compiled, config)
	if err != nil {
		return nil, err
	}
	return &instance{
		memory: module.Memory(), buffer: module.ExportedFunction("rollcall_buffer"),
		classifyFn: module.ExportedFunction("rollcall_classify"),
		membersFn:  module.ExportedFunction("rollcall_members"),
		shapeFn:    module.ExportedFunction("rollcall_shape"),
	}, nil
}

// with calls use with an instance of the pool and a context, which has a deadline if the guard is
// set.
func (b *bare) with(use func(context.Context, *instance) (uint64, error)) (uint64, error) {
	ctx := context.Background()
	i, _ := b.pool.Get().(*instance)
	if i == nil {
		var err error
		if i, err = b.instantiate(ctx); err != nil {
			return 0, err
		}
	}
	if b.guard {
		guarded, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		ctx = guarded
	}
	result, err := use(ctx, i)
	if err == nil {
		b.pool.Put(i)
	}
	return result, err
}

// write writes an input into the guest's buffer.
func (i *instance) write(ctx context.Context, input []byte) error {
	if uint32(len(input)) > i.size {
		i.stack[0] = uint64(len(input))
		if err := i.buffer.CallWithStack(ctx, i.stack[:]); err != nil {
			return err
		}
		i.at, i.size = uint32(i.stack[0]), uint32(len(input))
	}
	if !i.memory.Write(i.at, input) {
		return fmt.Errorf("a buffer of %d bytes at %d is out of memory", i.size, i.at)
	}
	return nil
}

// classify asks about a channel.
func (i *instance) classify(ctx context.Context, channel string) (uint64, error) {
	i.request = appendRequest(i.request[:0], channel)
	if err := i.write(ctx, i.request); err != nil {
		return 0, err
	}
	i.stack[0], i.stack[1] = uint64(i.at), uint64(len(i.request))
	err := i.classifyFn.CallWithStack(ctx, i.stack[:])
	return i.stack[0], err
}

// classify asks about a channel with an instance of the pool.
func (b *bare) classify(channel string) (uint64, error) {
	return b.with(func(ctx context.Context, i *instance) (uint64, error) { return i.classify(ctx, channel) })
}

// answer passes an input through a hook that returns a slice, and appends the result to to.
func (b *bare) answer(to, input []byte, hook func(*instance) api.Function) ([]byte, error) {
	_, err := b.with(func(ctx context.Context, i *instance) (uint64, error) {
		if err := i.write(ctx, input); err != nil {
			return 0, err
		}
		i.stack[0], i.stack[1], i.stack[2] = uint64(plugins.EndpointUsers), uint64(i.at), uint64(len(input))
		if err := hook(i).CallWithStack(ctx, i.stack[:]); err != nil {
			return 0, err
		}
		answer, ok := i.memory.Read(uint32(i.stack[0]>>32), uint32(i.stack[0]))
		if !ok || len(answer) == 0 {
			return 0, fmt.Errorf("the guest answers with %#x", i.stack[0])
		}
		to = append(to, answer...)
		return 0, nil
	})
	return to, err
}

func (b *bare) shape(to, body []byte) ([]byte, error) {
	return b.answer(to, body, func(i *instance) api.Function { return i.shapeFn })
}

func (b *bare) members(to, batch []byte) ([]byte, error) {
	return b.answer(to, batch, func(i *instance) api.Function { return i.membersFn })
}
