package plugins

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// busyShape is a plugin whose shape runs forever, and whose classify answers at once.
var busyShape = guest(`
	(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 1))
	(func (export "rollcall_shape") (param i32 i32 i32) (result i64) ` + forever + `)`)

func TestAnswersLeaveAnInstanceToJoins(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	c := NewChain(load(t, e, Spec{Path: wat(t, busyShape), Limits: Limits{
		Instances: 2, ShapeBudget: maxBudget, ShapeTimeout: 3 * time.Second, ClassifyTimeout: 500 * time.Millisecond,
	}}))
	var wg sync.WaitGroup
	ended := make(chan error, 3)
	for range cap(ended) {
		wg.Go(func() {
			_, err := c.Shape(t.Context(), EndpointUsers, "h", nil, []byte(`{}`))
			ended <- err
		})
	}
	p := c.Plugins()[0].anchor.pool("h")
	for deadline := time.Now().Add(2 * time.Second); len(p.long) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	for range 5 {
		if _, err := c.Classify("h", "room", Anonymous); err != nil {
			t.Error(err)
		}
	}
	if len(ended) > 0 {
		t.Error("a call of shape had ended already: this shows nothing")
	}
	wg.Wait()
	reasons := make(map[Reason]int)
	for range cap(ended) {
		failure, ok := errors.AsType[*Error](<-ended)
		if !ok {
			t.Fatal("a call that runs forever succeeded")
		}
		reasons[failure.Reason]++
	}
	if reasons[ReasonTimeout] == 0 || reasons[ReasonTimeout]+reasons[ReasonBusy] != cap(ended) {
		t.Errorf("the calls of shape ended by %v", reasons)
	}
	if len(p.long) != 0 {
		t.Errorf("%d calls are still counted", len(p.long))
	}
}
