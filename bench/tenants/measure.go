package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// spec is one row.
type spec struct {
	Plugin string
	Hosts  int
	Calls  int   // for each host
	Memory int64 // for all plugins, in bytes
	Own    bool  // each instance fills its initial memory by itself
	Pace   time.Duration
	Cache  string
}

// figures are the results. Memory is in KB; Warm and Open are medians in microseconds.
type figures struct {
	Open, First, Last, Most, End, Warm, Collection float64
	Answered, Refused, Opened, Live                int
}

// configs are the configurations of plugins that need one.
var configs = map[string]string{"hidden-staff": `{"domains":"staff.example"}`}

// row is the state of a measurement.
type row struct {
	spec
	figures
	counters plugins.Counters
	engine   *plugins.Engine
	chain    *plugins.Chain
	before   float64
}

func measure(ctx context.Context, text string) error {
	r := new(row)
	if err := json.Unmarshal([]byte(text), &r.spec); err != nil {
		return err
	}
	var err error
	r.engine, err = plugins.NewEngine(plugins.EngineConfig{CacheDir: filepath.Join(r.Cache, "code"), Memory: r.Memory, WithoutImages: r.Own})
	if err != nil {
		return err
	}
	plugin, err := r.engine.Load(ctx, plugins.Spec{
		Path:     filepath.Join("..", "examples", r.Plugin, r.Plugin+".wasm"),
		Config:   json.RawMessage(configs[r.Plugin]),
		Limits:   plugins.Limits{Instances: 1, ShapeTimeout: 10 * time.Second, ClassifyTimeout: 10 * time.Second},
		Counters: func(string) *plugins.Counters { return &r.counters },
	})
	if err != nil {
		return err
	}
	r.chain = plugins.NewChain(plugin)
	if err := plugin.Try(ctx, r.host(0)); err != nil {
		return err
	}
	one := r.counters.Read().InitSteps
	debug.FreeOSMemory()
	if r.before, err = resident(); err != nil {
		return err
	}
	if err := r.ask(ctx, plugin); err != nil {
		return err
	}
	r.Opened = int((r.counters.Read().InitSteps + one/2) / one)
	for _, report := range r.engine.Report() {
		for _, h := range report.Hosts {
			r.Live += h.Idle + h.Busy
		}
	}
	var collections []float64
	for range 5 {
		start := time.Now()
		runtime.GC()
		collections = append(collections, float64(time.Since(start))/1e6)
	}
	r.Collection = median(collections)
	return json.NewEncoder(os.Stdout).Encode(r.figures)
}

func (r *row) host(i int) string { return fmt.Sprintf("portal-%05d.example.com", i) }

// ask asks all hosts in turn, as often as the row says.
func (r *row) ask(ctx context.Context, plugin *plugins.Plugin) error {
	var opens, calls []float64
	start := time.Now()
	for n := range r.Calls {
		for i := range r.Hosts {
			if r.Pace > 0 {
				time.Sleep(time.Until(start.Add(r.Pace * time.Duration(i) / time.Duration(r.Hosts))))
			}
			if n == 0 {
				at := time.Now()
				if err := plugin.Try(ctx, r.host(i)); err != nil {
					r.Refused++
					continue
				}
				opens = append(opens, float64(time.Since(at))/1e3)
			}
			at := time.Now()
			if err := r.call(ctx, i); err != nil {
				r.Refused++
				continue
			}
			r.Answered++
			if n == r.Calls-1 {
				calls = append(calls, float64(time.Since(at))/1e3)
			}
			if r.Pace > 0 && i%200 == 0 {
				if err := r.look(nil); err != nil {
					return err
				}
			}
		}
		if n == 0 {
			if err := r.look(&r.First); err != nil {
				return err
			}
		}
	}
	r.Open, r.Warm = median(opens), median(calls)
	return r.look(&r.Last)
}

// look reads the memory of the process. Into to goes what it grew by since the first instance,
// after a collection.
func (r *row) look(to *float64) error {
	now, err := resident()
	r.Most = max(r.Most, now)
	if to == nil || err != nil {
		return err
	}
	debug.FreeOSMemory()
	now, err = resident()
	*to = now - r.before
	r.End = now
	return err
}

// call asks a host the question of the plugin's hook.
func (r *row) call(ctx context.Context, i int) error {
	switch {
	case r.chain.Has(plugins.HookClassify):
		_, err := r.chain.Classify(r.host(i), "lobby-1", plugins.Authenticated)
		return err
	case r.chain.Has(plugins.HookShape):
		_, err := r.chain.Shape(ctx, plugins.EndpointUsers, r.host(i), nil, []byte(`{"room":[{"id":"ada","email":"ada@example.com"}]}`))
		return err
	}
	n := 0
	m := r.chain.Members(ctx, plugins.EndpointUsers, r.host(i), nil, func() (plugins.User, bool) {
		n++
		return plugins.User{ID: "8f14e45fceea167a", Email: "somebody.else@example.com"}, n <= 10
	})
	for {
		if _, err := m.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// resident returns the process's part of the machine's memory in KB: a page that several mappings
// share counts once.
func resident() (float64, error) {
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "\nPss:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return 0, fmt.Errorf("smaps_rollup has no Pss: %w", err)
	}
	return kb * 1.024, nil
}
