package plugins

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
)

func TestARehearsalLeavesThePluginAsItWas(t *testing.T) {
	e, logs := observed(t)
	counters := new(Counters)
	p := load(t, e, Spec{
		Path: wat(t, classifier(`(call $log (i32.const 3) (i32.const 0) (i32.const 1)) unreachable`)), OnFailure: Pass,
		Counters: func(string) *Counters { return counters },
	})
	calls := 0
	rehearse := func() error {
		return p.Rehearse(time.Second, func(double *Plugin) (err error) {
			calls++
			for range 10 { // enough to open a breaker
				_, err = NewChain(double).Classify("h", "c", Authenticated)
			}
			return err
		})
	}
	err := rehearse()
	if failure, ok := errors.AsType[*Error](err); !ok || failure.Reason != ReasonBreaker {
		t.Errorf("got %v, want the breaker of the copy", err)
	}
	other := load(t, e, Spec{Path: p.Path(), OnFailure: Pass, Counters: func(string) *Counters { return counters }})
	if again := rehearse(); !errors.Is(again, err) || calls != 1 {
		t.Errorf("%d rehearsals, the second with %v", calls, again)
	}
	if again := other.Rehearse(time.Second, func(*Plugin) error { return nil }); !errors.Is(again, err) {
		t.Errorf("another handle: %v", again)
	}
	if s := counters.Read(); s != (CountersSnapshot{}) {
		t.Errorf("counted: %+v", s)
	}
	if hosts := e.Report()[0].Hosts; len(hosts) != 0 || len(e.Report()) != 1 {
		t.Errorf("reported: %+v", hosts)
	}
	for _, l := range logs.FilterLevelExact(zapcore.ErrorLevel).All() {
		t.Errorf("logged: %s", l.Message)
	}
	if used := e.memory.Used(); used != 0 {
		t.Errorf("%d bytes are in use after it", used)
	}
}

func TestARehearsalThatWasCalledOffIsTriedAgain(t *testing.T) {
	p := load(t, newEngine(t, EngineConfig{}), Spec{Path: wat(t, classifier(`(i64.const 0)`))})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := 0
	for _, ctx := range []context.Context{ctx, t.Context(), t.Context()} {
		err := p.Rehearse(time.Second, func(double *Plugin) error {
			calls++
			return double.Try(ctx, "h")
		})
		if !errors.Is(err, ctx.Err()) {
			t.Errorf("got %v", err)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
}

func TestARehearsalEndsItsCalls(t *testing.T) {
	p := load(t, newEngine(t, EngineConfig{}), Spec{
		Path: wat(t, classifier(forever)), Limits: Limits{ClassifyBudget: maxBudget, ClassifyTimeout: time.Minute},
	})
	err := p.Rehearse(10*time.Millisecond, func(double *Plugin) error {
		_, err := NewChain(double).Classify("h", "c", Authenticated)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "ended after 10ms") {
		t.Errorf("got %v", err)
	}
}
