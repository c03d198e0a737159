package plugins

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// counting denies every second call: a global counts them.
const counting = `(global $n (mut i64) (i64.const 0))
	(func (export "rollcall_classify") (param i32 i32) (result i64)
		(global.set $n (i64.xor (global.get $n) (i64.const 3)))
		(global.get $n))`

func TestHostsNeverShareAnInstance(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	file := wat(t, guest(counting))
	kind := func(c *Chain, host string) Kind {
		d, err := c.Classify(host, "c", Authenticated)
		if err != nil {
			t.Fatal(err)
		}
		return d.Kind
	}
	own := NewChain(load(t, e, Spec{Path: file, Limits: Limits{Instances: 1}}))
	for range 3 {
		if a, b := kind(own, "a"), kind(own, "b"); a != b {
			t.Errorf("the instances of two hosts share a count: %v, %v", a, b)
		}
	}
	shared := NewChain(load(t, e, Spec{Path: file, Shared: true, Limits: Limits{Instances: 1}}))
	if a, b := kind(shared, "a"), kind(shared, "b"); a == b {
		t.Errorf("a shared plugin does not share: %v, %v", a, b)
	}
}

func TestLoadingTheSameGivesTheSame(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	file := wat(t, guest(counting))
	first := load(t, e, Spec{Path: file})
	same := load(t, e, Spec{Path: file, Config: []byte(" {} ")})
	other := load(t, e, Spec{Path: file, Config: []byte(`{"a":1}`)})
	if first.anchor != same.anchor || first.anchor == other.anchor || first.anchor.program != other.anchor.program {
		t.Error("equal loads do not share a core, or different ones do")
	}
	if err := first.Try(t.Context(), "h"); err != nil {
		t.Fatal(err)
	}
	first.Release()
	first.Release()
	if r := e.Report(); len(r) != 2 || e.memory.Used() == 0 {
		t.Errorf("a handle was released twice: %+v", r)
	}
	same.Release()
	if e.memory.Used() != 0 {
		t.Errorf("%d bytes are in use after the last release", e.memory.Used())
	}
	// A holder can still call it, and it keeps no memory.
	if _, err := NewChain(first).Classify("h", "c", Authenticated); err != nil || e.memory.Used() != 0 {
		t.Errorf("%v, %d bytes", err, e.memory.Used())
	}
	// It can be loaded again.
	again := load(t, e, Spec{Path: file})
	if err := again.Try(t.Context(), "h"); err != nil || e.memory.Used() == 0 {
		t.Errorf("%v, %d bytes", err, e.memory.Used())
	}
}

func TestNothingIsLeftAfterTheLastReference(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	file := wat(t, guest(counting))
	for range 3 {
		c := NewChain(load1(t, e, Spec{Path: file}), load1(t, e, Spec{Path: file, Name: "other"}))
		for _, host := range []string{"a", "b"} {
			if _, err := c.Classify(host, "c", Authenticated); err != nil {
				t.Fatal(err)
			}
		}
		// Not released, because its owner forgot it.
	}
	await(t, "everything to be taken down", func() bool {
		runtime.GC()
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.programs)+len(e.cores)+len(e.loaded) == 0 && e.memory.Used() == 0
	})
}

func load1(t testing.TB, e *Engine, s Spec) *Plugin {
	t.Helper()
	p, err := e.Load(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("not within 20 s: " + what)
		}
		runtime.Gosched()
	}
}

func TestIdleInstancesAreClosedAfterAMinute(t *testing.T) {
	file := wat(t, guest(counting))
	synctest.Test(t, func(t *testing.T) {
		e, _ := NewEngine(EngineConfig{})
		defer e.Close()
		p := load1(t, e, Spec{Path: file})
		defer p.Release()
		c := NewChain(p)
		for range 10 {
			c.Classify("busy", "c", Authenticated)
			c.Classify("idle", "c", Authenticated)
			time.Sleep(10 * time.Second)
		}
		for range 10 {
			c.Classify("busy", "c", Authenticated)
			time.Sleep(10 * time.Second)
		}
		if h := e.Report()[0].Hosts; len(h) == 0 || e.memory.Used() != 3*pageSize {
			t.Errorf("%d bytes, hosts: %+v", e.memory.Used(), h)
		}
		time.Sleep(3 * time.Minute)
		if h := e.Report()[0].Hosts; len(h) != 0 || e.memory.Used() != 0 {
			t.Errorf("%d bytes, hosts: %+v", e.memory.Used(), h)
		}
		if _, err := c.Classify("idle", "c", Authenticated); err != nil || e.memory.Used() == 0 {
			t.Errorf("%v, %d bytes", err, e.memory.Used())
		}
		time.Sleep(time.Second)
	})
}

func TestSwapsUnderLoadLoseNoCall(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	files := []string{wat(t, classifier(`(i64.const 1)`)), wat(t, classifier(`(i64.const 2)`))}
	current := load1(t, e, Spec{Path: files[0]})
	c := NewChain(current)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if d, err := c.Classify("h", "c", Authenticated); err != nil && !isBusy(err) || err == nil && d.Kind == NoOpinion {
					t.Errorf("got %+v, %v", d, err)
				}
			}
		})
	}
	for i := range 30 {
		next := load1(t, e, Spec{Path: files[i%2]})
		if err := next.Try(t.Context(), "h"); err != nil {
			t.Error(err)
		}
		if !c.Replace(current, next) {
			t.Error("the old plugin is not in the chain")
		}
		current.Release()
		current = next
	}
	close(stop)
	wg.Wait()
	c.Release()
	if n := e.memory.Used(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// isBusy allows for a machine on which a goroutine that holds an instance does not run for the
// whole timeout.
func isBusy(err error) bool {
	var failure *Error
	return errors.As(err, &failure) && failure.Reason == ReasonBusy
}

func TestMemoryBudgetBoundsAllInstances(t *testing.T) {
	e := newEngine(t, EngineConfig{Memory: 8 * pageSize})
	file := wat(t, guest(`(func (export "rollcall_classify") (param i32 i32) (result i64)
		(i64.extend_i32_u (i32.eq (memory.grow (i32.const 4)) (i32.const -1))))`))
	c := NewChain(load(t, e, Spec{Path: file, Limits: Limits{Instances: 1}}))
	for i, want := range []Kind{NoOpinion, Authenticated} {
		if d, err := c.Classify("a", "c", Authenticated); err != nil || d.Kind != want {
			t.Fatalf("call %d: got %v, %v", i, d, err)
		}
	}
	// The instance of the next host replaces an idle one.
	if _, err := c.Classify("b", "c", Authenticated); err != nil {
		t.Fatal(err)
	}
	if used := e.memory.Used(); used > 8*pageSize {
		t.Errorf("%d bytes are in use", used)
	}
	tight := newEngine(t, EngineConfig{Memory: 2 * pageSize})
	_, err := NewChain(load(t, tight, Spec{Path: file})).Classify("a", "c", Authenticated)
	var failure *Error
	if !errors.As(err, &failure) || failure.Reason != ReasonMemory || !strings.Contains(err.Error(), "196608 bytes wanted") {
		t.Errorf("got %v", err)
	}
}

// A Go guest allocates most of its memory when it starts.
func TestAMemoryThatGrowsTakesThatOfIdleInstances(t *testing.T) {
	e := newEngine(t, EngineConfig{Memory: 11 * pageSize})
	c := NewChain(load(t, e, Spec{Path: wat(t, guest(`(func (export "rollcall_classify") (param i32 i32) (result i64)
		(i64.extend_i32_u (i32.eq (memory.grow (i32.const 4)) (i32.const -1))))`)), Limits: Limits{Instances: 1}}))
	for _, host := range []string{"a", "b", "c"} {
		if d, err := c.Classify(host, "c", Authenticated); err != nil || d.Kind != NoOpinion {
			t.Errorf("host %s: got %v, %v", host, d, err)
		}
		if used := e.memory.Used(); used > 11*pageSize {
			t.Errorf("%d bytes are in use", used)
		}
	}
}

// On a site for any host, clients choose the names of hosts, and so can make instances of its
// plugin.
func TestRoomIsMadeByThePluginThatHasMost(t *testing.T) {
	e := newEngine(t, EngineConfig{Memory: 12 * pageSize})
	file := wat(t, classifier(`(i64.const 1)`))
	one := NewChain(load(t, e, Spec{Name: "one", Path: file, Limits: Limits{Instances: 1}}))
	if _, err := one.Classify("a", "c", Authenticated); err != nil {
		t.Fatal(err)
	}
	many := NewChain(load(t, e, Spec{Name: "many", Path: file, Limits: Limits{Instances: 1}}))
	for i := range 10 {
		if _, err := many.Classify(fmt.Sprintf("h%d", i), "c", Authenticated); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range e.Report() {
		if r.Name == "one" && (len(r.Hosts) != 1 || r.Hosts[0].Idle != 1) {
			t.Errorf("the hosts of one: %+v", r.Hosts)
		}
	}
}

// A plugin with many new hosts does not keep others from making room.
func TestRoomIsMadeForEachPlugin(t *testing.T) {
	e := newEngine(t, EngineConfig{Memory: 12 * pageSize})
	file := wat(t, classifier(`(i64.const 1)`))
	many := NewChain(load(t, e, Spec{Name: "many", Path: file, Limits: Limits{Instances: 1}}))
	refused := 0
	for i := range 100 {
		if _, err := many.Classify(fmt.Sprintf("h%d", i), "c", Authenticated); err != nil {
			refused++
		}
	}
	if refused > 0 {
		t.Errorf("%d hosts were refused, although others are idle", refused)
	}
	one := NewChain(load(t, e, Spec{Name: "one", Path: file, Limits: Limits{Instances: 1}}))
	if _, err := one.Classify("a", "c", Authenticated); err != nil {
		t.Error(err)
	}
}

// On a site for any host, clients choose the names of hosts, and each name could have its own
// lines.
func TestLinesOfAPluginAreBoundedForAllHosts(t *testing.T) {
	for _, test := range []struct {
		name, text, message string
		hosts, lines        int
	}{
		{"failures", `(unreachable)`, "plugin failed", 300, 100},
		{"what the guest says", `(call $log (i32.const 3) (i32.const 0x400) (i32.const 4)) (i64.const 1)`, `\x00\x00\x00\x00`, 1200, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := wat(t, classifier(test.text))
			core, logs := observer.New(zap.ErrorLevel)
			e := newEngine(t, EngineConfig{})
			c := NewChain(load(t, e, Spec{Path: file, Logger: zap.New(core), Limits: Limits{Instances: 1}}))
			start := time.Now()
			for i := range test.hosts {
				_, _ = c.Classify(fmt.Sprintf("h%d", i), "c", Authenticated)
			}
			most := test.lines + int(time.Since(start).Seconds()*float64(test.lines)/10) + 1
			if n := logs.FilterMessage(test.message).Len(); n < test.lines || n > most {
				t.Errorf("%d lines, want %d to %d", n, test.lines, most)
			}
		})
	}
}

func TestAFailedInstanceIsReplacedInTheBackground(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: wat(t, classifier(flaky)), Limits: Limits{Instances: 1}})
	NewChain(p).Classify("h", "trap", Authenticated)
	await(t, "a new instance", func() bool { return e.Report()[0].Hosts[0].Idle == 1 })
}
