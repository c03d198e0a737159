package hostile

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// beginnings are the places whose code runs before the first call of a hook.
var beginnings = []struct {
	name   string
	put    func(g *guest, b behaviour)
	reason plugins.Reason
}{
	{"start function", func(g *guest, b behaviour) { g.start = b.do }, plugins.ReasonInit},
	{"_initialize", func(g *guest, b behaviour) { g.initialize = b.do }, plugins.ReasonInit},
	{"configure", func(g *guest, b behaviour) { g.configure = b.do }, plugins.ReasonConfigure},
	{"rollcall_buffer", func(g *guest, b behaviour) { g.buffer, g.configure = b.do, nothing }, ""},
}

// TestNoInstanceIsMadeOfGuestsThatBeginBadly tries all behaviours at all these places.
func TestNoInstanceIsMadeOfGuestsThatBeginBadly(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for _, b := range slices.Concat(endless, sudden) {
		for _, place := range beginnings {
			t.Run(b.name+" in "+place.name, func(t *testing.T) {
				g := guest{fields: b.fields, classify: nothing}
				place.put(&g, b)
				reasons := append(slices.Clone(b.reasons), plugins.ReasonInit, plugins.ReasonConfigure)
				if place.reason != "" {
					reasons = []plugins.Reason{place.reason}
				}
				harmless := !slices.ContainsFunc(endless, func(e behaviour) bool { return e.name == b.name }) &&
					(len(b.reasons) == 0 || slices.Contains(b.reasons, ""))
				if !harmless {
					reasons = append(reasons, budget)
				}
				begin(t, e, g, stepLimits, harmless, reasons...)
			})
		}
	}
	settled(t, e)
}

// slowBeginnings never end, and take a long time for each step.
var slowBeginnings = func() []behaviour {
	// Each call of an import costs 64 steps, and this one does much for them: 1,024 lines of one
	// byte.
	lines := behaviour{name: "short lines", do: `(memory.fill (i32.const 0x20000) (i32.const 0x0a) (i32.const 2048))
		(local.set $j (i32.const 0x20000)) (loop $f (i32.store8 (local.get $j) (i32.const 0x78))
		(local.set $j (i32.add (local.get $j) (i32.const 2))) (br_if $f (i32.lt_u (local.get $j) (i32.const 0x20800))))` +
		iovec(1, 0x20000, 2048) + `(loop $l (drop (call $fd_write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 1016)))
		(br $l))`}
	list := []behaviour{lines}
	for _, b := range endless {
		switch b.name {
		case "loop", "loop of divisions", "memory.fill", "random bytes for all of memory":
			list = append(list, b)
		}
	}
	return list
}()

// TestTheClockEndsBadBeginnings gives an endless beginning as many steps as it likes.
//
//nolint:tparallel // its cases wait in parallel, but not with other tests of memory
func TestTheClockEndsBadBeginnings(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for _, place := range beginnings {
		for i, b := range slowBeginnings {
			if i > 0 && place.name != beginnings[0].name {
				break // one is enough if the other places were tried as part of a hook
			}
			t.Run(b.name+" in "+place.name, func(t *testing.T) {
				t.Parallel()
				g := guest{fields: b.fields, classify: nothing}
				place.put(&g, b)
				p := load(t, e, plugins.Spec{Path: g.file(t), Limits: clockLimits})
				// No limit ends it sooner: the steps are practically unlimited, and the context is
				// that of the test.
				if err := p.Try(t.Context(), host); err == nil || !strings.Contains(err.Error(), "ended after 2s") {
					t.Errorf("got %v", err)
				}
			})
		}
	}
	t.Cleanup(func() { settled(t, e) })
}

// TestACallerEndsBadBeginnings cancels the context of the caller before any limit ends the call.
func TestACallerEndsBadBeginnings(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for _, place := range beginnings {
		t.Run(place.name, func(t *testing.T) {
			g := guest{classify: nothing}
			place.put(&g, behaviour{do: `(call $log (i32.const 1) (i32.const 0) (i32.const 1)) (loop $l (br $l))`})
			p := load(t, e, plugins.Spec{Path: g.file(t), Limits: clockLimits})
			for name, limit := range map[string]func() (context.Context, context.CancelFunc){
				"canceled": func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) },
				"deadline": func() (context.Context, context.CancelFunc) {
					return context.WithTimeout(t.Context(), 20*time.Millisecond)
				},
			} {
				ctx, cancel := limit()
				done := make(chan error, 1)
				go func() { done <- p.Try(ctx, host) }()
				if name == "canceled" {
					awaitBusy(t, e)
					cancel()
				}
				err := <-done
				cancel()
				if !errors.Is(err, ctx.Err()) || strings.Contains(err.Error(), "ended after") {
					t.Errorf("%s: got %v", name, err)
				}
			}
			p.Release()
		})
	}
	settled(t, e)
}

// awaitBusy waits until a guest of the engine runs.
func awaitBusy(t *testing.T, e *plugins.Engine) {
	t.Helper()
	busy := func(r plugins.Report) bool {
		return slices.ContainsFunc(r.Hosts, func(h plugins.HostReport) bool { return h.Busy > 0 })
	}
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !slices.ContainsFunc(e.Report(), busy) {
		if time.Now().After(deadline) {
			t.Fatalf("no guest runs after %s", patience)
		}
		<-tick.C
	}
}

// begin tries a plugin, and then calls it: both must fail in the same way in bounded time.
func begin(t *testing.T, e *plugins.Engine, g guest, l plugins.Limits, harmless bool, reasons ...plugins.Reason) {
	t.Helper()
	path := g.file(t)
	for _, policy := range []plugins.Policy{plugins.Deny, plugins.Pass} {
		p := load(t, e, plugins.Spec{Path: path, OnFailure: policy, Limits: l})
		start := time.Now()
		err := p.Try(t.Context(), host)
		if d := time.Since(start); d > patience {
			t.Errorf("Try took %s", d)
		}
		if err == nil {
			if !harmless {
				t.Error("Try succeeds")
			}
			await(t, p.chain, plugins.HookClassify)
			p.Release()
			continue
		}
		if harmless && !slices.Contains(reasons, "") && len(reasons) == 0 {
			t.Errorf("Try: %v", err)
		}
		start = time.Now()
		got := ask(t, p.chain, plugins.HookClassify, host, false)
		if d := time.Since(start); d > patience+grace {
			t.Errorf("the call took %s", d)
		}
		if policy == plugins.Deny {
			failure(t, got.err, plugins.HookClassify, append(reasons, plugins.ReasonBreaker)...)
		} else if got.err != nil || got.text != untouched[plugins.HookClassify] {
			t.Errorf("got %q and %v under pass", got.text, got.err)
		}
		if len(p.complaints()) == 0 {
			t.Error("the failure is not logged")
		}
		p.Release()
	}
}

// TestManyBadBeginningsAreFewInstances calls a plugin that cannot start ten thousand times: not
// every call may make an instance.
func TestManyBadBeginningsAreFewInstances(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	p := load(t, e, plugins.Spec{Path: guest{initialize: `(unreachable)`, classify: nothing}.file(t), Limits: stepLimits})
	const calls = 10_000
	start := time.Now()
	for range calls {
		if got := ask(t, p.chain, plugins.HookClassify, host, false); got.err == nil {
			t.Fatal("a call succeeds")
		}
	}
	// At least five failures open the breaker for a second. Then one call at a time probes.
	most := 20 + 12*int(time.Since(start).Seconds()+1)
	if n := restarts(p.counters.of(host).Read()); n > most {
		t.Errorf("%d instances were made and discarded, want at most %d", n, most)
	}
	if n := len(p.complaints()); n > most {
		t.Errorf("%d lines were logged, want at most %d", n, most)
	}
	if n := p.counters.failed(plugins.HookClassify, plugins.ReasonBreaker); n < calls-most {
		t.Errorf("the breaker answered %d calls of %d, want at least %d", n, calls, calls-most)
	}
}
