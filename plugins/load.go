package plugins

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"weak"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins/internal/disk"
)

// Load reads, checks and compiles the plugin of s.
//
// A plugin is already loaded if the content of its file, its name, path, configuration, limits and
// policy are the same. Load then returns another handle on it, with its warm instances and its
// breakers; the logger and the counters of the first load stay in use. Each handle needs its own
// Release.
//
// # Errors
//
// The error names the path and the part of the file, the import or the export that is wrong.
func (e *Engine) Load(ctx context.Context, s Spec) (*Plugin, error) {
	p, err := e.load(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", s.Path, printableError{err})
	}
	return p, nil
}

func (e *Engine) load(ctx context.Context, s Spec) (*Plugin, error) {
	limits, err := s.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	config, err := compactConfig(s.Config)
	if err != nil {
		return nil, err
	}
	if s.OnFailure > Pass {
		return nil, fmt.Errorf("unknown policy %d", s.OnFailure)
	}
	var content bytes.Buffer
	if err := disk.Copy(&content, s.Path, limits.File); err != nil {
		return nil, err
	}
	file := content.Bytes()
	sum := sha256.Sum256(file)
	hash := hex.EncodeToString(sum[:])
	if s.SHA256 != "" && !strings.EqualFold(s.SHA256, hash) {
		return nil, fmt.Errorf("the file has the SHA-256 %s, but %s is configured", hash, s.SHA256)
	}
	key := coreKey{
		program: programKey{hash, limits.pages()},
		name:    orDefault(s.Name, strings.TrimSuffix(filepath.Base(s.Path), ".wasm")), path: s.Path,
		config: string(config), policy: s.OnFailure, shared: s.Shared, grants: s.CheckGrants != nil, limits: limits,
	}
	if p := e.find(key, s); p != nil {
		return p, nil
	}
	program, err := e.program(ctx, key.program, file, limits)
	if err != nil {
		return nil, err
	}
	if s.Shared && program.stores {
		e.mu.Lock()
		e.releaseProgram(program)
		e.mu.Unlock()
		return nil, errSharedStore
	}
	return e.install(key, program, s)
}

var errSharedStore = errors.New("it imports rollcall.kv_get, kv_set or kv_add, and what it stores belongs to one host: " +
	"take shared out of its block")

func compactConfig(config json.RawMessage) ([]byte, error) {
	if len(config) == 0 {
		return []byte("{}"), nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, config); err != nil {
		return nil, fmt.Errorf("config is not JSON: %w", err)
	}
	return b.Bytes(), nil
}

// find returns a handle on a plugin that is already loaded, or nil.
func (e *Engine) find(key coreKey, s Spec) *Plugin {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w, ok := e.loaded[key]; ok && !e.closed {
		if a := w.Value(); a != nil {
			a.addHandle()
			return newPlugin(a, s.Serves)
		}
	}
	return nil
}

// program returns the program of a file and counts one more user of it. The first caller builds it;
// others wait.
func (e *Engine) program(ctx context.Context, key programKey, file []byte, limits Limits) (*program, error) {
	for {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			return nil, errEngineClosed
		}
		p, ok := e.programs[key]
		if !ok {
			p = &program{key: key, ready: make(chan struct{}), users: 1}
			e.programs[key] = p
			e.mu.Unlock()
			p.err = p.build(ctx, file, limits, e)
			close(p.ready)
			if p.err != nil {
				e.mu.Lock()
				delete(e.programs, key)
				e.releaseProgram(p)
				e.mu.Unlock()
			}
			return p, p.err
		}
		p.users++
		e.mu.Unlock()
		select {
		case <-p.ready:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err == nil && p.err == nil {
			return p, nil
		}
		err := ctx.Err()
		e.mu.Lock()
		e.releaseProgram(p)
		e.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if !errors.Is(p.err, context.Canceled) {
			return nil, p.err
		}
		// Its builder was canceled, but this caller was not: try again.
	}
}

// install creates a core, unless another load just did, and returns a handle.
func (e *Engine) install(key coreKey, p *program, s Spec) (*Plugin, error) {
	logger := s.Logger
	if logger == nil {
		logger = e.config.Logger
	}
	counters := s.Counters
	if counters == nil {
		counters = func(string) *Counters { return new(Counters) }
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if w, ok := e.loaded[key]; ok {
		if a := w.Value(); a != nil {
			e.releaseProgram(p)
			a.addHandle()
			return newPlugin(a, s.Serves), nil
		}
	}
	if e.closed {
		e.releaseProgram(p)
		return nil, errEngineClosed
	}
	c := &core{
		engine: e, number: cores.Add(1), key: key, program: p, hooks: p.hooks, name: key.name,
		config: json.RawMessage(key.config), policy: key.policy, limits: key.limits, recycleAbove: key.limits.Memory / 4 * 3, logger: logger,
		counters: counters, checkGrants: s.CheckGrants, buckets: newBuckets(),
		counts: orDefault(s.Counts, new(Counts)), stores: e.config.Stores, storeBudget: e.memory,
	}
	if unknown := p.info.Unknown; len(unknown) > 0 {
		logger.Warn("plugin has unknown exports, which are never called; misspelt?", zap.String("plugin", c.name),
			zap.Strings("exports", unknown))
	}
	if p.hooks.Has(HookMembers) && !p.hooks.Has(HookMembersLive) {
		logger.Warn("plugin hides and masks nothing for browsers: build it again", zap.String("plugin", c.name))
	}
	c.addHandle()
	a := newAnchor(c)
	e.loaded[key] = weak.Make(a)
	e.cores[c] = struct{}{}
	return newPlugin(a, s.Serves), nil
}
