package plugins

import (
	"context"
	"errors"
	"testing"
)

func TestACancelledTryMakesNoInstance(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: wat(t, classifier(`(i64.const 0)`))})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Try(ctx, "h"); !errors.Is(err, context.Canceled) || e.memory.Used() != 0 {
		t.Errorf("got %v, %d bytes", err, e.memory.Used())
	}
}

func TestACancelledLoadLeavesNothing(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	spec := Spec{Path: wat(t, classifier(`(i64.const 0)`))}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Load(ctx, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(e.programs)+len(e.cores)+len(e.loaded) != 0 {
		t.Errorf("left are %d programs, %d cores, %d handles", len(e.programs), len(e.cores), len(e.loaded))
	}
	load(t, e, spec)
}

// Two callers load the same file, and the one that compiles it is canceled.
func TestAWaiterOfACanceledLoadCompilesItself(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	spec := Spec{Path: wat(t, classifier(`(i64.const 0)`))}
	first := load1(t, e, spec)
	limits := first.anchor.limits
	key := first.anchor.program.key
	first.Release()

	other := newEngine(t, EngineConfig{})
	builder := &program{key: key, ready: make(chan struct{}), users: 1}
	other.programs[key] = builder
	loaded := make(chan error)
	go func() {
		p, err := other.Load(t.Context(), Spec{Path: spec.Path, Limits: limits})
		if err == nil {
			p.Release()
		}
		loaded <- err
	}()
	await(t, "the other to wait", func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		return builder.users == 2
	})
	other.mu.Lock()
	builder.err = context.Canceled
	delete(other.programs, key)
	other.releaseProgram(builder)
	other.mu.Unlock()
	close(builder.ready)
	if err := <-loaded; err != nil {
		t.Error(err)
	}
}

func TestWhoWaitsForALoadCanBeCancelled(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	spec := Spec{Path: wat(t, classifier(`(i64.const 0)`))}
	key := load(t, e, spec).anchor.program.key

	other := newEngine(t, EngineConfig{})
	other.programs[key] = &program{key: key, ready: make(chan struct{}), users: 1}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := other.Load(ctx, spec); !errors.Is(err, context.Canceled) || other.programs[key].users != 1 {
		t.Errorf("got %v, %d users", err, other.programs[key].users)
	}
}
