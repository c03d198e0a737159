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

	"github.com/rollcall-gateway/rollcall/plugins/internal/wasm"
)

const (
	compileTimeout = 30 * time.Second
	compileWorkers = 2
)

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

	// ready is closed when the fields above, or err, are set.
	ready chan struct{}
	err   error
	users int // plugins that run the program; guarded by Engine.mu
	// expected is what the memory of the last new instance was charged, in bytes; zero before the
	// first.
	expected atomic.Int64
}

// build checks, meters and compiles a file.
func (p *program) build(ctx context.Context, file []byte, limits Limits, e EngineConfig) error {
	m, err := wasm.Check(file, wasm.Limits{File: int(limits.File), MemoryPages: limits.pages()})
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if p.hooks, err = verify(m); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	p.stores = slices.ContainsFunc(m.Imports, func(im wasm.Import) bool { return im.Module == "rollcall" && storeImport(im.Name) })
	metered := m.Meter()
	p.info = describe(m, len(file), len(metered))
	p.info.MemoryMax = int64(limits.pages()) * pageSize
	if m.Memory.HasMax {
		p.info.MemoryMax = min(p.info.MemoryMax, int64(m.Memory.Max)*pageSize)
	}

	config := wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2).
		WithMemoryLimitPages(limits.pages()).WithDebugInfoEnabled(false)
	if e.CacheDir != "" {
		// Runtimes share the folder but not the cache object, whose engine would mix up their host
		// modules.
		if p.cache, err = wazero.NewCompilationCacheWithDir(e.CacheDir); err != nil {
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
	p.compiled, err = p.runtime.CompileModule(e.Profile.watch(experimental.WithCompilationWorkers(limited, compileWorkers)), metered)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return fmt.Errorf("compile: it took longer than %v; make the module smaller", compileTimeout)
	case err != nil:
		return fmt.Errorf("compile: %w", err)
	}
	return nil
}

// close frees the compiled code. No instance may be open.
func (p *program) close() {
	ctx := context.Background()
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
