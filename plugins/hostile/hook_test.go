package hostile

import (
	"slices"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// hook returns the statements of a hook.
func (g *guest) hook(h plugins.Hook) *string {
	return map[plugins.Hook]*string{
		plugins.HookClassify: &g.classify, plugins.HookAuthorize: &g.authorize,
		plugins.HookMembers: &g.members, plugins.HookShape: &g.shape,
		plugins.HookConnect: &g.connect, plugins.HookMessage: &g.message,
	}[h]
}

// in returns a guest that runs b in one hook.
func (b behaviour) in(h plugins.Hook) guest {
	g := guest{fields: b.fields}
	*g.hook(h) = b.do
	return g
}

func TestEndlessCallsEndWithTheirBudget(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for _, b := range endless {
		t.Run(b.name, func(t *testing.T) {
			for _, h := range hooks {
				contained(t, e, h, b.in(h), stepLimits, append(b.reasons, budget)...)
			}
		})
	}
	settled(t, e)
}

func TestEndlessCallsEndWithTheirTime(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for _, b := range endless {
		t.Run(b.name, func(t *testing.T) {
			for _, h := range []plugins.Hook{plugins.HookClassify, plugins.HookShape, plugins.HookMessage} {
				contained(t, e, h, b.in(h), clockLimits, append(b.reasons, timeout)...)
			}
		})
	}
	settled(t, e)
}

func TestSuddenFailuresAndVainAttempts(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for _, b := range sudden {
		t.Run(b.name, func(t *testing.T) {
			for _, h := range hooks {
				contained(t, e, h, b.in(h), stepLimits, b.reasons...)
			}
		})
	}
	settled(t, e)
}

// contained runs a guest that fails in a hook for bad input, under both policies. Without a reason,
// or with "", the guest may also succeed.
func contained(t *testing.T, e *plugins.Engine, h plugins.Hook, g guest, l plugins.Limits, reasons ...plugins.Reason) {
	t.Helper()
	path := g.file(t)
	harmless := len(reasons) == 0 || slices.Contains(reasons, "")
	longest := max(l.ClassifyTimeout, l.ShapeTimeout, l.MessageTimeout) + grace
	for _, policy := range []plugins.Policy{plugins.Deny, plugins.Pass} {
		p := load(t, e, plugins.Spec{Path: path, OnFailure: policy, Limits: l})
		await(t, p.chain, h)
		before := p.counters.of(host).Read()
		start := time.Now()
		got := ask(t, p.chain, h, host, true)
		if d := time.Since(start); d > longest {
			t.Errorf("%s: the call took %s, want at most %s", h, d, longest)
		}
		after := p.counters.of(host).Read()
		failed := after.OK[h] == before.OK[h]
		switch {
		case !failed && harmless:
			if got.err != nil || got.text != touched[h] {
				t.Errorf("%s: got %q and %v, want %q", h, got.text, got.err, touched[h])
			}
		case policy == plugins.Deny:
			r := failure(t, got.err, h, reasons...)
			i := slices.Index(plugins.Reasons[:], r)
			if n := after.Failed[h][i] - before.Failed[h][i]; n != 1 {
				t.Errorf("%s: %d failures are counted for %s, want 1", h, n, r)
			}
		case got.err != nil || got.text != untouched[h]:
			t.Errorf("%s: got %q and %v under pass, want %q", h, got.text, got.err, untouched[h])
		}
		if failed && restarts(after) != restarts(before)+1 {
			t.Errorf("%s: %d instances were discarded, want 1", h, restarts(after)-restarts(before))
		}
		if failed && len(p.complaints()) == 0 {
			t.Errorf("%s: the failure is not logged", h)
		}
		await(t, p.chain, h)
		p.Release()
	}
}

// settled checks that an engine has no instances left after all plugins were released.
func settled(t *testing.T, e *plugins.Engine) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := memory(e); n != 0; n = memory(e) {
		if time.Now().After(deadline) {
			t.Fatalf("instances have %d bytes %s after their plugins were released: %+v", n, patience, e.Report())
		}
		<-tick.C
	}
}
