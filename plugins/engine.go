package plugins

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/plugins/internal/disk"
	"github.com/rollcall-gateway/rollcall/plugins/internal/memory"
)

// DefaultEngineMemory is the default of EngineConfig.Memory.
const DefaultEngineMemory = 1 << 30

// EngineConfig configures an [Engine].
type EngineConfig struct {
	// CacheDir is a folder for compiled code; the engine creates it with mode 0700. Native code is
	// loaded from it, so it must belong to this user and be closed to others. Default: compiled
	// code is kept in memory only.
	CacheDir string
	// Memory is the maximum for all instances together, in bytes: the pages that they have written,
	// where the system can tell. Their linear memories may be four times as large. Default: 1 GiB.
	Memory int64
	// Stores holds what plugins store. Default: new ones, which end with the handles on the
	// plugins.
	Stores *Stores
	// WithoutImages makes each instance fill its memory by itself. Otherwise, on Linux, those of a
	// plugin with 64 KiB of data or more share the pages that they do not write to.
	WithoutImages bool
	// Logger logs what belongs to no plugin, and serves plugins without a logger of their own.
	// Default: nothing is logged.
	Logger *zap.Logger
	// Now is the clock of the guests and of what they store. Default: time.Now.
	Now func() time.Time
	// Profile counts the steps of the functions of all plugins that are loaded. It needs CacheDir
	// to be empty. Default: nothing is counted, which costs nothing.
	Profile *Profile
}

// Engine holds what all plugins of a process share. It is safe for concurrent use.
type Engine struct {
	config   EngineConfig
	memory   *memory.Budget
	watchdog watchdog
	// imageFrom is imageFrom except in tests.
	imageFrom int64
	janitor   janitor
	// ctx ends with Close. It stops the making of instances in the background.
	ctx    context.Context
	cancel context.CancelFunc

	// mu guards the fields below. It is never held while a guest runs.
	mu       sync.Mutex
	closed   bool
	programs map[programKey]*program
	// loaded finds a loaded plugin as long as a handle refers to it. cores lists them all for the
	// janitor.
	loaded map[coreKey]weak.Pointer[anchor]
	cores  map[*core]struct{}
}

// NewEngine returns an engine. It fails if the cache folder cannot be created, does not belong to
// this user, or is open to others.
func NewEngine(c EngineConfig) (*Engine, error) {
	if c.Memory < 0 {
		return nil, fmt.Errorf("memory: %d bytes for all plugins is negative: use 0 for the default", c.Memory)
	}
	c.Memory = orDefault(c.Memory, DefaultEngineMemory)
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Stores == nil {
		c.Stores = NewStores()
	}
	if c.CacheDir != "" {
		if err := disk.MakePrivate(c.CacheDir); err != nil {
			return nil, fmt.Errorf("cache of compiled code: %w", err)
		}
	}
	e := &Engine{
		config: c, memory: memory.NewBudget(c.Memory), imageFrom: imageFrom,
		programs: make(map[programKey]*program),
		loaded:   make(map[coreKey]weak.Pointer[anchor]),
		cores:    make(map[*core]struct{}),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.janitor.engine = e
	return e, nil
}

// start is the moment from which clock counts, the same for all engines.
var start = time.Now()

// clock returns the time by which stored entries expire, in nanoseconds. The real clock is
// monotonic.
func (e *Engine) clock() int64 { return int64(e.config.Now().Sub(start)) }

// errEngineClosed is returned by Load after Close.
var errEngineClosed = errors.New("the engine of the plugins is closed")

// Close closes idle instances, refuses further loads, and waits until no instance is being made in
// the background. Handles that still exist keep working: call Close when none is used.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	cores := e.allCores()
	e.mu.Unlock()
	e.cancel()
	e.janitor.stop()
	for _, c := range cores {
		c.retire()
	}
	for _, c := range cores {
		c.work.Wait()
	}
	return nil
}

// allCores returns all cores. The caller holds mu.
func (e *Engine) allCores() []*core {
	cores := make([]*core, 0, len(e.cores))
	for c := range e.cores {
		cores = append(cores, c)
	}
	return cores
}

// Report returns the state of all loaded plugins, sorted by name.
func (e *Engine) Report() []Report {
	e.mu.Lock()
	cores := e.allCores()
	e.mu.Unlock()
	slices.SortFunc(cores, func(a, b *core) int {
		return strings.Compare(a.name+"\x00"+a.key.path, b.name+"\x00"+b.key.path)
	})
	reports := make([]Report, 0, len(cores))
	told := make(map[storeLabels]bool)
	for _, c := range cores {
		if c.retired() {
			continue // no configuration uses it
		}
		r := c.report()
		r.addStores(c, told)
		reports = append(reports, r)
	}
	return reports
}

// ResetBreakers closes the breakers of the loaded plugins of this name for a host, as [HostReport]
// names it, so that the next call is made. It returns false if there are none.
func (e *Engine) ResetBreakers(name, host string) (found bool) {
	e.mu.Lock()
	cores := e.allCores()
	e.mu.Unlock()
	for _, c := range cores {
		if c.name != name || c.retired() {
			continue
		}
		for _, p := range c.pools() {
			if p.host != host {
				continue
			}
			found = true
			for h := range p.breakers {
				p.breakers[h].Reset(p.calls(Hook(h)))
			}
		}
	}
	return found
}

// Report is the state of a loaded plugin.
type Report struct {
	Name      string   `json:"name"`
	Path      string   `json:"path"`
	SHA256    string   `json:"sha256"`
	Size      int      `json:"size"`
	Hooks     []string `json:"hooks"`
	OnFailure string   `json:"on_failure"`
	Shared    bool     `json:"shared"`
	// Image is the size of the memory that all instances of the file share, in bytes.
	Image int64        `json:"image"`
	Hosts []HostReport `json:"hosts"`

	core uint64 // number of the loaded plugin; see [Plugin.Reports]
}

// HostReport is the state of a plugin for one host.
type HostReport struct {
	Host string `json:"host"`
	// Idle and Busy are numbers of instances.
	Idle int `json:"idle"`
	Busy int `json:"busy"`
	// Memory is what the instances are charged of EngineConfig.Memory, LinearMemory is the size of
	// their memories, both in bytes.
	Memory       int64 `json:"memory"`
	LinearMemory int64 `json:"linear_memory"`
	// Breaker is "closed", "open" or "half-open".
	Breaker string `json:"breaker"`
	// Failures is the number of failed calls since the plugin was first used for the host.
	// LastFailure is the text of the latest.
	Failures    uint64 `json:"failures"`
	LastFailure string `json:"last_failure,omitempty"`
	// StoreBytes and StoreEntries are the size of what the plugin stores for the host, as it counts
	// for Limits.KV. Plugins with one name share a store: it is in one of their reports.
	StoreBytes   int64 `json:"store_bytes,omitempty"`
	StoreEntries int   `json:"store_entries,omitempty"`
}

type storeLabels struct{ plugin, host string }

// addStores adds the sizes of stores that are not told yet.
func (r *Report) addStores(c *core, told map[storeLabels]bool) {
	for _, size := range c.stores.sizes(c, c.engine.clock()) {
		labels := storeLabels{c.name, size.host}
		if told[labels] {
			continue
		}
		told[labels] = true
		i := slices.IndexFunc(r.Hosts, func(h HostReport) bool { return h.Host == size.host })
		if i < 0 { // the host was idle
			i = len(r.Hosts)
			r.Hosts = append(r.Hosts, HostReport{Host: size.host, Breaker: "closed"})
		}
		r.Hosts[i].StoreBytes, r.Hosts[i].StoreEntries = size.bytes, size.entries
	}
}
