package plugins

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// slow runs forever when its channel starts with "s".
const slow = `(loop $l (br_if $l (i32.eq (i32.const 115)
	(i32.load8_u (i32.add (i32.add (local.get 0) (i32.const 16)) (i32.load16_u offset=4 (local.get 0))))))) (i64.const 1)`

func TestWatchdogEndsOneCallAndNoOther(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: wat(t, classifier(slow)), Limits: Limits{
		ClassifyBudget: maxBudget, ClassifyTimeout: 20 * time.Millisecond, Instances: 8,
	}})
	c := NewChain(p)
	var wg sync.WaitGroup
	ended := make(chan Reason, 4)
	for range 4 {
		wg.Go(func() {
			_, err := c.Classify("slow", "slow", Authenticated)
			if failure, ok := errors.AsType[*Error](err); ok {
				ended <- failure.Reason
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 20_000 {
				if d, err := c.Classify("quick", "quick", Authenticated); err != nil || d.Kind != Authenticated {
					if failure, ok := errors.AsType[*Error](err); !ok || failure.Reason != ReasonBusy {
						t.Errorf("got %v, %v", d, err)
					}
				}
			}
		})
	}
	wg.Wait()
	close(ended)
	n := 0
	for reason := range ended {
		if n++; reason != ReasonTimeout {
			t.Errorf("a call ended with %s", reason)
		}
	}
	if n != 4 {
		t.Errorf("%d of 4 calls were ended", n)
	}
	awaitWatchdog(t, e)
}

func awaitWatchdog(t *testing.T, e *Engine) {
	t.Helper()
	await(t, "the watchdog to end", func() bool {
		e.watchdog.mu.Lock()
		defer e.watchdog.mu.Unlock()
		return !e.watchdog.running
	})
}

func TestACallWaitsForAnInstanceNoLongerThanItsTimeout(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: wat(t, classifier(`(i64.const 1)`)), Limits: Limits{Instances: 1}})
	pool := p.anchor.pool("h")
	s, f := pool.tryAcquire(t.Context())
	if f != nil {
		t.Fatal(f)
	}
	_, err := NewChain(p).Classify("h", "c", Authenticated)
	if failure, ok := errors.AsType[*Error](err); !ok || failure.Reason != ReasonBusy {
		t.Errorf("got %v", err)
	}
	pool.freeSlot(s, slotIdle)
	if _, err := NewChain(p).Classify("h", "c", Authenticated); err != nil {
		t.Error(err)
	}
}

func TestTheTimeOfWaitingIsTimeOfTheCall(t *testing.T) {
	pool, s := held(t, `(i64.const 0)`)
	s.waited.Store(int64(DefaultClassifyTimeout - idleAge))
	for i, want := range []uint64{slotBusy, slotEnded} {
		if pool.sampleCalls(longestAge); s.status() != want {
			t.Errorf("tick %d: status %d, want %d", i, s.status(), want)
		}
	}
	s.endCall()
	pool.discard(s)
}

func TestAnOldInstanceIsReplacedInGoodOrder(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	counters := new(Counters)
	// A second call grows the memory to its limit.
	p := load(t, e, Spec{
		Path: wat(t, guest(`(func (export "rollcall_classify") (param i32 i32) (result i64)
			(drop (memory.grow (i32.const 13))) (i64.const 1))`)),
		Limits:   Limits{Memory: 16 * pageSize, Instances: 1},
		Counters: func(string) *Counters { return counters },
	})
	c := NewChain(p)
	for range recycleLeast + 10 {
		if _, err := c.Classify("h", "c", Authenticated); err != nil && !isBusy(err) {
			t.Fatal(err)
		}
	}
	await(t, "a new instance", func() bool { return counters.Read().Recycled > 0 })
	s := counters.Read()
	if s.Recycled != 1 || s.Restarts != [len(Reasons)]uint64{} {
		t.Errorf("%d recycled, %v restarted", s.Recycled, s.Restarts)
	}
	if s.OK[HookClassify] < recycleLeast || s.StepsSum[HookClassify] == 0 {
		t.Errorf("counters: %+v", s)
	}
}

// held returns a slot of a pool that is in a call of classify with a timeout of 5 ms, unwatched.
func held(t *testing.T, body string) (*pool, *slot) {
	t.Helper()
	e := newEngine(t, EngineConfig{})
	p := load(t, e, Spec{Path: wat(t, classifier(body)), Limits: Limits{ClassifyBudget: maxBudget, Instances: 1}})
	pool := p.anchor.pool("h")
	s, f := pool.tryAcquire(t.Context())
	if f != nil {
		t.Fatal(f)
	}
	awaitWatchdog(t, e) // it had to watch the making of the instance
	s.startCall(classShort)
	return pool, s
}

func TestACallThatRunsAgesByAllOfALongTick(t *testing.T) {
	pool, s := held(t, forever)
	done := make(chan error)
	go func() { done <- s.instance.callGuest(s.instance.hooks[HookClassify]) }()
	pool.sampleCalls(0)
	await(t, "the guest to run", func() (ran bool) {
		s.withSteps(s.state.Load(), s.state.Load(), func(steps api.MutableGlobal) { ran = steps.Get() != s.left })
		return ran
	})
	pool.sampleCalls(DefaultClassifyTimeout)
	if s.status() != slotEnded {
		t.Fatalf("status %d after %v", s.status(), s.age)
	}
	if err := <-done; err == nil {
		t.Error("the guest keeps running")
	}
	if !s.endCall() {
		t.Error("the call does not know that it was ended")
	}
	pool.discard(s)
}

func TestACallThatStoodStillAgesLittleInALongTick(t *testing.T) {
	pool, s := held(t, `(i64.const 0)`)
	for i, want := range []uint64{slotBusy, slotBusy, slotBusy, slotEnded} {
		if pool.sampleCalls(longestAge); s.status() != want {
			t.Errorf("tick %d: status %d, want %d", i, s.status(), want)
		}
	}
	s.endCall()
	pool.discard(s)
}
