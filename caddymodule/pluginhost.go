package caddymodule

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// pluginHostConfig is what a pluginHost needs to know. All fields are required.
type pluginHostConfig struct {
	Folder  string                 // for compiled code
	Logger  *zap.Logger            // of what outlives a configuration
	Named   func(host string) bool // reports whether a configuration that is offered or in effect names the host
	Exiting func() bool            // reports whether the process is about to exit
}

// pluginHost is what the plugins of all configurations share. It outlives a configuration, so that a reload finds compiled
// code, warm instances and numbers where they were.
type pluginHost struct {
	cfg     pluginHostConfig
	tryTime time.Duration // see there

	// mu guards what follows.
	mu       sync.Mutex
	engines  map[int64]*engineUse // by memory budget; two only while a reload changes it
	counters map[pluginLabels]*plugins.Counters
	loads    map[loadLabels]uint64
	trying   []*trial // configurations that try their plugins, whose hosts are labels already
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

// otherHosts is the label of all hosts that the configuration does not name: on a site for any host, a client chooses
// the name, and metrics must stay few.
const otherHosts = "_other"

func newPluginHost(c pluginHostConfig) *pluginHost {
	return &pluginHost{
		cfg:      c,
		tryTime:  tryTime,
		engines:  make(map[int64]*engineUse),
		counters: make(map[pluginLabels]*plugins.Counters),
		loads:    make(map[loadLabels]uint64),
	}
}

// open returns the engine with the memory budget, which release gives back.
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

// newEngine makes an engine that keeps compiled code in the folder, if it can.
func (ph *pluginHost) newEngine(memory int64) (*plugins.Engine, error) {
	config := plugins.EngineConfig{CacheDir: ph.cfg.Folder, Memory: memory, Logger: ph.cfg.Logger}
	engine, err := plugins.NewEngine(config)
	if err == nil {
		return engine, nil
	}
	ph.cfg.Logger.Warn("no folder for compiled plugins: they are compiled again at each start",
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
	spec.Logger = ph.cfg.Logger.Named(name)
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
	trying := slices.Clone(ph.trying)
	ph.mu.Unlock()
	if slices.ContainsFunc(trying, func(t *trial) bool { return t.Named(host) }) || ph.cfg.Named(host) {
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
