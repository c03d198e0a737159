package plugins

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins/internal/memory"
	"github.com/rollcall-gateway/rollcall/plugins/internal/wasm"
)

const (
	// imageFrom is the size of the data from which a program has an image, in bytes. The instances
	// of a smaller one share too little.
	imageFrom      = 64 << 10
	compileWorkers = 2
)

// compileTimeout is a variable for tests: with the race detector, compiling takes ten times longer.
var compileTimeout = 30 * time.Second

// programKey identifies a program: plugins with equal keys run the same compiled code.
type programKey struct {
	hash  string
	pages uint32
}

// program is the compiled code of a file. Its runtime is shared with no other program.
type program struct {
	key      programKey
	hooks    Hooks
	stores   bool // it imports calls of the store
	info     Info
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	cache    wazero.CompilationCache
	// image is the initial memory of the instances, or nil: then each fills its own.
	image *memory.Image

	// ready is closed when the fields above, or err, are set.
	ready chan struct{}
	err   error
	users int // plugins that run the program; guarded by Engine.mu
	// expected is what the memory of the last new instance was charged, in bytes; zero before the
	// first.
	expected atomic.Int64
}

// build checks, meters and compiles a file.
func (p *program) build(ctx context.Context, file []byte, limits Limits, e *Engine) error {
	m, err := wasm.Check(file, wasm.Limits{File: int(limits.File), MemoryPages: limits.pages()})
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if p.hooks, err = verify(m); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	p.stores = slices.ContainsFunc(m.Imports, func(im wasm.Import) bool { return im.Module == "rollcall" && storeImport(im.Name) })
	metered := p.meter(m, e)
	p.info = describe(m, len(file), len(metered))
	p.info.MemoryMax = int64(limits.pages()) * pageSize
	if m.Memory.HasMax {
		p.info.MemoryMax = min(p.info.MemoryMax, int64(m.Memory.Max)*pageSize)
	}

	config := wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2).
		WithMemoryLimitPages(limits.pages()).WithDebugInfoEnabled(false)
	if e.config.CacheDir != "" {
		// Runtimes share the folder but not the cache object, whose engine would mix up their host
		// modules.
		if p.cache, err = wazero.NewCompilationCacheWithDir(e.config.CacheDir); err != nil {
			return fmt.Errorf("cache of compiled code: %w", err)
		}
		config = config.WithCompilationCache(p.cache)
	}
	p.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	if err := instantiateImports(ctx, p.runtime, m); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, compileTimeout)
	defer cancel()
	p.compiled, err = p.runtime.CompileModule(e.config.Profile.watch(experimental.WithCompilationWorkers(limited, compileWorkers)), metered)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return fmt.Errorf("compile: it took longer than %v; make the module smaller", compileTimeout)
	case err != nil:
		return fmt.Errorf("compile: %w", err)
	}
	return nil
}

// meter returns the metered module, without its data if they are in an image. An image is the
// memory before any code has run: each instance runs its own start function and _initialize. One
// from behind them would give the same random seeds to all hosts.
func (p *program) meter(m *wasm.Module, e *Engine) []byte {
	segments, ok := m.Data()
	size := int64(0)
	for _, s := range segments {
		size += int64(len(s.Bytes))
	}
	if !ok || size < e.imageFrom || e.config.WithoutImages {
		return m.Meter()
	}
	image, err := memory.NewImage(e.memory, int64(m.Memory.Min)*pageSize, func(yield func(int64, []byte) bool) {
		for _, s := range segments {
			if !yield(int64(s.Offset), s.Bytes) {
				return
			}
		}
	})
	if err != nil {
		if !errors.Is(err, memory.ErrNoImage) {
			e.config.Logger.Warn("a plugin has no image, so its instances take more memory", zap.Error(err))
		}
		return m.Meter()
	}
	p.image = image
	return m.MeterWithoutData()
}

// close frees the compiled code. No instance may be open.
func (p *program) close() {
	ctx := context.Background()
	p.image.Close()
	if p.compiled != nil {
		_ = p.compiled.Close(ctx) // it always returns nil
	}
	if p.runtime != nil {
		_ = p.runtime.Close(ctx)
	}
	if p.cache != nil {
		_ = p.cache.Close(ctx)
	}
}

// instantiate creates a module instance with its own memory. It runs no code of the guest.
func (p *program) instantiate(ctx context.Context) (m api.Module, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("instantiate: %v", r)
		}
	}()
	return p.runtime.InstantiateModule(ctx, p.compiled,
		wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(rand.Reader))
}

func describe(m *wasm.Module, size, metered int) Info {
	info := Info{
		Size: size, MeteredSize: metered, Functions: m.Functions,
		MemoryMin: int64(m.Memory.Min) * pageSize,
		Imports:   make([]string, 0, len(m.Imports)), Exports: make([]string, 0, len(m.Exports)),
	}
	for _, im := range m.Imports {
		info.Imports = append(info.Imports, fmt.Sprintf("%s.%s %s", im.Module, im.Name, im.Func))
	}
	for _, e := range m.Exports {
		if e.Kind == wasm.KindFunc {
			info.Exports = append(info.Exports, fmt.Sprintf("%s %s", e.Name, e.Func))
		} else {
			info.Exports = append(info.Exports, fmt.Sprintf("%s %s", e.Name, e.Kind))
		}
		info.Configures = info.Configures || e.Name == exportConfigure
	}
	info.Unknown = printableAll(unknownExports(m.Exports))
	printableAll(info.Imports)
	printableAll(info.Exports)
	return info
}
