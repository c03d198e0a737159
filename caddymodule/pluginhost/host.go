// Package pluginhost keeps plugins through reloads. It loads the files of each site, tries plugins
// before they serve, watches their files, and counts their calls. All configurations share compiled
// code and warm instances.
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

// Config is what a Host needs. All fields are required.
type Config struct {
	Folder  string                 // folder for compiled code
	Logger  *zap.Logger            // logger that outlives a configuration
	Named   func(host string) bool // reports whether a configuration names the host, in effect or offered
	Exiting func() bool            // reports whether the process is about to exit
}

// Host is what the plugins of all configurations share. It outlives a configuration, so that a
// reload keeps compiled code, warm instances and counters.
type Host struct {
	cfg     Config
	tryTime time.Duration // the constant, except in tests
	stores  *plugins.Stores

	// mu guards the fields below. It is not held during a call to a plugin.
	mu       sync.Mutex
	engines  map[int64]*engineUse // by memory budget; two only while a reload changes it
	counters map[pluginLabels]*plugins.Counters
	counts   map[string]*plugins.Counts // by plugin
	loads    map[loadLabels]uint64
	trying   []*Trial // configurations whose plugins are being tried; their hosts already are labels
}

// engineUse is an engine and the number of sites that use it.
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

// SharedHosts is the host label of a plugin whose instances serve all hosts.
const SharedHosts = "_shared"

// OtherHosts is the label of all hosts that the configuration does not name. On a site for many
// hosts a client chooses the name, and metrics must stay few.
const OtherHosts = "_other"

// New returns a Host without plugins. The caller calls [Host.Close].
func New(c Config) *Host {
	return &Host{
		cfg:      c,
		tryTime:  tryTime,
		engines:  make(map[int64]*engineUse),
		counters: make(map[pluginLabels]*plugins.Counters),
		counts:   make(map[string]*plugins.Counts),
		stores:   plugins.NewStores(),
		loads:    make(map[loadLabels]uint64),
	}
}

// open returns the engine with the memory budget. The caller releases it.
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

// newEngine creates an engine that keeps compiled code in the folder, if possible.
func (ph *Host) newEngine(memory int64) (*plugins.Engine, error) {
	config := plugins.EngineConfig{CacheDir: ph.cfg.Folder, Memory: memory, Stores: ph.stores, Logger: ph.cfg.Logger}
	engine, err := plugins.NewEngine(config)
	if err == nil {
		return engine, nil
	}
	ph.cfg.Logger.Warn("no folder for compiled plugins: they are compiled again at each start",
		zap.String("folder", config.CacheDir), zap.Error(err))
	config.CacheDir = ""
	return plugins.NewEngine(config)
}

// release ends one use of an engine. The last one closes it.
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

// Close closes the engines that sites still use.
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

// ResetBreakers closes the breakers of the named plugin for a host. It returns false if it is not
// used for the host.
func (ph *Host) ResetBreakers(plugin, host string) (found bool) {
	for _, e := range ph.all() {
		found = e.ResetBreakers(plugin, host) || found
	}
	return found
}

// prepare sets the logger and the counters of a plugin, which outlive its configuration.
func (ph *Host) prepare(spec *plugins.Spec) {
	name, shared := spec.Name, spec.Shared
	spec.Logger = ph.cfg.Logger.Named(name)
	spec.Counts = ph.countsOf(name)
	spec.Counters = func(host string) *plugins.Counters {
		label := SharedHosts
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

func (ph *Host) countsOf(plugin string) *plugins.Counts {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	c := ph.counts[plugin]
	if c == nil {
		c = new(plugins.Counts)
		ph.counts[plugin] = c
	}
	return c
}

// label returns the label of a host: its name if a configuration names it, and otherwise
// OtherHosts, because a client can choose any other name.
func (ph *Host) label(host string) string {
	ph.mu.Lock()
	trying := slices.Clone(ph.trying)
	ph.mu.Unlock()
	if slices.ContainsFunc(trying, func(t *Trial) bool { return t.Named(host) }) || ph.cfg.Named(host) {
		return host
	}
	return OtherHosts
}

// load loads a plugin and counts that.
func (ph *Host) load(ctx context.Context, e *engineUse, spec plugins.Spec) (*plugins.Plugin, error) {
	p, err := e.Load(ctx, spec)
	ph.countLoad(spec.Name, err)
	return p, err
}

// countLoad counts a load by the result of loading or trying the plugin.
func (ph *Host) countLoad(plugin string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	ph.mu.Lock()
	defer ph.mu.Unlock()
	ph.loads[loadLabels{plugin, "error"}] += 0 // so that increase() sees the first
	ph.loads[loadLabels{plugin, result}]++
}
