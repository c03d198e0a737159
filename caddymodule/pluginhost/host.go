// Package pluginhost keeps plugins through reloads: it loads the files of each site, tries them before they serve, watches
// them, and counts what they do. Compiled code and warm instances are shared by all configurations.
package pluginhost

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// Config is what a Host needs to know. All fields are required.
type Config struct {
	Folder  string                 // for compiled code
	Logger  *zap.Logger            // of what outlives a configuration
	Named   func(host string) bool // reports whether a configuration that is offered or in effect names the host
	Exiting func() bool            // reports whether the process is about to exit
}

// Host is what the plugins of all configurations share. It outlives a configuration, so that a reload finds compiled
// code, warm instances and numbers where they were.
type Host struct {
	cfg     Config
	tryTime time.Duration // the constant, but in tests

	// mu guards what follows.
	mu       sync.Mutex
	engines  map[int64]*engineUse // by memory budget; two only while a reload changes it
	counters map[pluginLabels]*plugins.Counters
	loads    map[loadLabels]uint64
	trying   []*Trial // configurations that try their plugins, whose hosts are labels already
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

// OtherHosts is the label of all hosts that the configuration does not name: on a site for any host, a client chooses
// the name, and metrics must stay few.
const OtherHosts = "_other"

// New returns a host without plugins. [Host.Close] has to be called.
func New(c Config) *Host {
	return &Host{
		cfg:      c,
		tryTime:  tryTime,
		engines:  make(map[int64]*engineUse),
		counters: make(map[pluginLabels]*plugins.Counters),
		loads:    make(map[loadLabels]uint64),
	}
}

// open returns the engine with the memory budget, which release gives back.
func (ph *Host) open(memory int64) (*engineUse, error) {
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
func (ph *Host) newEngine(memory int64) (*plugins.Engine, error) {
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
func (ph *Host) release(e *engineUse) error {
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

// Close closes the engines that sites have not given back yet.
func (ph *Host) Close() error {
	engines := ph.all()
	errs := make([]error, len(engines))
	for i, e := range engines {
		errs[i] = e.Close()
	}
	return errors.Join(errs...)
}

func (ph *Host) all() []*engineUse {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	engines := make([]*engineUse, 0, len(ph.engines))
	for _, e := range ph.engines {
		engines = append(engines, e)
	}
	return engines
}

// Reports returns the state of all loaded plugins.
func (ph *Host) Reports() []plugins.Report {
	reports := []plugins.Report{}
	for _, e := range ph.all() {
		reports = append(reports, e.Report()...)
	}
	return reports
}

// prepare gives a plugin what outlives its configuration: where it logs, and what it is counted in.
func (ph *Host) prepare(spec *plugins.Spec) {
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

func (ph *Host) countersOf(labels pluginLabels) *plugins.Counters {
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
func (ph *Host) label(host string) string {
	ph.mu.Lock()
	trying := slices.Clone(ph.trying)
	ph.mu.Unlock()
	if slices.ContainsFunc(trying, func(t *Trial) bool { return t.Named(host) }) || ph.cfg.Named(host) {
		return host
	}
	return OtherHosts
}

// load loads a plugin.
func (ph *Host) load(ctx context.Context, e *engineUse, spec plugins.Spec) (*plugins.Plugin, error) {
	p, err := e.Load(ctx, spec)
	ph.countLoad(spec.Name, err)
	return p, err
}

// countLoad counts a load, or what came of trying what was loaded.
func (ph *Host) countLoad(plugin string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	ph.mu.Lock()
	defer ph.mu.Unlock()
	ph.loads[loadLabels{plugin, result}]++
}
