package caddymodule

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// pluginHost is what the plugins of all configurations share. It belongs to the hub, so that a reload finds compiled
// code, warm instances and numbers where they were.
type pluginHost struct {
	hub     *hub
	log     liveCore
	tryTime time.Duration // see there

	// mu guards what follows.
	mu       sync.Mutex
	engines  map[int64]*engineUse // by memory budget; two only while a reload changes it
	counters map[pluginLabels]*plugins.Counters
	loads    map[loadLabels]uint64
	offered  []*snapshot // that try their plugins, whose hosts are labels already
}

// engineUse is an engine with the number of sites that load from it.
type engineUse struct {
	*plugins.Engine
	memory int64
	sites  int
}

// Labels of metrics.
type (
	pluginLabels struct{ plugin, host string }
	loadLabels   struct{ plugin, result string }
)

// sharedHosts is the label of a plugin whose instances serve all hosts.
const sharedHosts = "_shared"

func newPluginHost(h *hub) *pluginHost {
	return &pluginHost{
		hub:      h,
		tryTime:  tryTime,
		log:      liveCore{target: new(atomic.Pointer[zap.Logger])},
		engines:  make(map[int64]*engineUse),
		counters: make(map[pluginLabels]*plugins.Counters),
		loads:    make(map[loadLabels]uint64),
	}
}

// open returns the engine with the memory budget, which close gives back.
func (ph *pluginHost) open(memory int64) (*engineUse, error) {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	e := ph.engines[memory]
	if e == nil {
		engine, err := ph.newEngine(memory)
		if err != nil {
			return nil, err
		}
		e = &engineUse{Engine: engine, memory: memory}
		ph.engines[memory] = e
	}
	e.sites++
	return e, nil
}

// newEngine makes an engine that keeps compiled code in Caddy's data folder, if it can.
func (ph *pluginHost) newEngine(memory int64) (*plugins.Engine, error) {
	logger := zap.New(ph.log).Named("rollcall.plugin")
	config := plugins.EngineConfig{
		CacheDir: filepath.Join(caddy.AppDataDir(), "rollcall", "wasm"), Memory: memory, Logger: logger,
	}
	engine, err := plugins.NewEngine(config)
	if err == nil {
		return engine, nil
	}
	logger.Warn("no folder for compiled plugins: they are compiled again at each start",
		zap.String("folder", config.CacheDir), zap.Error(err))
	config.CacheDir = ""
	return plugins.NewEngine(config)
}

// release gives an engine back; the last site closes it.
func (ph *pluginHost) release(e *engineUse) error {
	ph.mu.Lock()
	e.sites--
	last := e.sites == 0
	if last {
		delete(ph.engines, e.memory)
	}
	ph.mu.Unlock()
	if last {
		return e.Close()
	}
	return nil
}

// close closes the engines that sites have not given back yet.
func (ph *pluginHost) close() error {
	engines := ph.all()
	errs := make([]error, len(engines))
	for i, e := range engines {
		errs[i] = e.Close()
	}
	return errors.Join(errs...)
}

func (ph *pluginHost) all() []*engineUse {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	engines := make([]*engineUse, 0, len(ph.engines))
	for _, e := range ph.engines {
		engines = append(engines, e)
	}
	return engines
}

// reports returns the state of all loaded plugins.
func (ph *pluginHost) reports() []plugins.Report {
	reports := []plugins.Report{}
	for _, e := range ph.all() {
		reports = append(reports, e.Report()...)
	}
	return reports
}

// equip gives a plugin what outlives its configuration: where it logs, and what it is counted in.
func (ph *pluginHost) equip(spec *plugins.Spec) {
	name, shared := spec.Name, spec.Shared
	spec.Logger = zap.New(ph.log).Named("rollcall.plugin." + name)
	spec.Counters = func(host string) *plugins.Counters {
		label := sharedHosts
		if !shared {
			label = ph.label(host)
		}
		return ph.countersOf(pluginLabels{name, label})
	}
}

func (ph *pluginHost) countersOf(labels pluginLabels) *plugins.Counters {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	c := ph.counters[labels]
	if c == nil {
		c = new(plugins.Counters)
		ph.counters[labels] = c
	}
	return c
}

// label returns the label of a host: its name if a configuration names it, since a client chooses any other.
func (ph *pluginHost) label(host string) string {
	ph.mu.Lock()
	snapshots := slices.Clone(ph.offered)
	ph.mu.Unlock()
	ph.hub.mu.Lock()
	snapshots = append(snapshots, ph.hub.stack...)
	ph.hub.mu.Unlock()
	if slices.ContainsFunc(snapshots, func(s *snapshot) bool { return s.named(host) != nil }) {
		return host
	}
	return otherHosts
}

// load loads a plugin.
func (ph *pluginHost) load(ctx context.Context, e *engineUse, spec plugins.Spec) (*plugins.Plugin, error) {
	p, err := e.Load(ctx, spec)
	ph.counted(spec.Name, err)
	return p, err
}

// counted counts a load, or what came of trying what was loaded.
func (ph *pluginHost) counted(plugin string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	ph.mu.Lock()
	defer ph.mu.Unlock()
	ph.loads[loadLabels{plugin, result}]++
}

// offer makes the hosts of a configuration labels before it is in effect; the result takes that back.
func (ph *pluginHost) offer(s *snapshot) func() {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	ph.offered = append(ph.offered, s)
	return func() {
		ph.mu.Lock()
		defer ph.mu.Unlock()
		ph.offered = slices.DeleteFunc(ph.offered, func(other *snapshot) bool { return other == s })
	}
}

// follow has plugins log where a configuration does. One that is only loaded is followed if there is no other.
func (ph *pluginHost) follow(logger *zap.Logger, inEffect bool) {
	if inEffect {
		ph.log.target.Store(logger)
		return
	}
	ph.log.target.CompareAndSwap(nil, logger)
}

// liveCore logs where the configuration in effect does: a plugin goes on through a reload, and the logger of the
// configuration that loaded it may be closed by then.
type liveCore struct {
	target *atomic.Pointer[zap.Logger]
	fields []zapcore.Field
}

var _ zapcore.Core = liveCore{}

// Enabled implements zapcore.Core.
func (c liveCore) Enabled(level zapcore.Level) bool {
	logger := c.target.Load()
	return logger != nil && logger.Core().Enabled(level)
}

// With implements zapcore.Core.
func (c liveCore) With(fields []zapcore.Field) zapcore.Core {
	c.fields = slices.Concat(c.fields, fields)
	return c
}

// Check implements zapcore.Core.
func (c liveCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c liveCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if ce := c.target.Load().Core().Check(e, nil); ce != nil {
		ce.Write(slices.Concat(c.fields, fields)...)
	}
	return nil
}

// Sync implements zapcore.Core.
func (c liveCore) Sync() error {
	if logger := c.target.Load(); logger != nil {
		return logger.Sync()
	}
	return nil
}
