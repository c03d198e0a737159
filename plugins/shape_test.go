package plugins

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// echo is a shape that returns up to 32 bytes of the request's body.
const echo = `(func (export "rollcall_shape") (param i32 i32 i32) (result i64)
	(i64.or (i64.const 0x10000000000) (i64.extend_i32_u (call $request (i32.const 256) (i32.const 32)))))`

func TestShapeSendsWhatTheGuestReturns(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	c := NewChain(load(t, e, Spec{Path: wat(t, guest(echo))}))
	got, err := c.Shape(t.Context(), EndpointUsers, "h", []byte(`{"channel":"a"}`), []byte(`{}`))
	if err != nil || string(got) != `{"channel":"a"}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestShapeThatReturnsNothingChangesNothing(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	c := NewChain(load(t, e, Spec{Path: wat(t, guest(`(func (export "rollcall_shape") (param i32 i32 i32) (result i64) (i64.const 0))`))}))
	if got, err := c.Shape(t.Context(), EndpointUsers, "h", nil, []byte(`{"a":1}`)); err != nil || string(got) != `{"a":1}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestShapeFailures(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	for name, test := range map[string]struct {
		text   string
		limits Limits
		body   string
		reason Reason
	}{
		"above the limit": {guest(echo), Limits{Document: 5}, `{"a":1}`, ReasonTooLarge},
		"not JSON":        {guest(echo), Limits{}, `{}`, ReasonBadResult}, // the request is not JSON
		"no room":         {guest(echo), Limits{Document: 1 << 20}, `"` + strings.Repeat("a", 200_000) + `"`, ReasonMemory},
		"error":           {guest(`(func (export "rollcall_shape") (param i32 i32 i32) (result i64) (i64.const -1))`), Limits{}, `{}`, ReasonBadResult},
		"budget":          {guest(`(func (export "rollcall_shape") (param i32 i32 i32) (result i64) ` + forever + `)`), Limits{ShapeBudget: 1_000_000}, `{}`, ReasonBudget},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, Spec{Path: wat(t, test.text), Limits: test.limits})
			got, err := NewChain(p).Shape(t.Context(), EndpointUsers, "h", []byte("no JSON"), []byte(test.body))
			var failure *Error
			if !errors.As(err, &failure) || failure.Reason != test.reason || failure.Hook != HookShape || got != nil {
				t.Errorf("got %s, %v, want %s", got, err, test.reason)
			}
			passing := load(t, e, Spec{Path: p.Path(), Limits: test.limits, OnFailure: Pass})
			got, err = NewChain(passing).Shape(t.Context(), EndpointUsers, "h", []byte("no JSON"), []byte(test.body))
			if err != nil || string(got) != test.body {
				t.Errorf("pass: got %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestAuthorizeNeedsTheConsentOfAll(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	// The guest denies anonymous connections and users whose ID has one letter.
	p := load(t, e, Spec{Path: wat(t, guest(`(func (export "rollcall_authorize") (param i32 i32) (result i64)
		(i64.extend_i32_u (i32.or (i32.load16_u offset=2 (local.get 0)) (i32.eq (i32.const 1) (i32.load16_u offset=8 (local.get 0))))))`))})
	bad := load(t, e, Spec{Path: wat(t, guest(`(func (export "rollcall_authorize") (param i32 i32) (result i64) (i64.const 2))`))})
	for _, test := range []struct {
		user *User
		want bool
	}{{nil, false}, {&User{ID: "a"}, false}, {&User{ID: "ab"}, true}} {
		if got, err := NewChain(p).Authorize("h", "c", Authenticated, test.user); got != test.want || err != nil {
			t.Errorf("%v: got %v, %v", test.user, got, err)
		}
	}
	if ok, err := NewChain(p, bad).Authorize("h", "c", Authenticated, &User{ID: "ab"}); ok || err == nil {
		t.Errorf("got %v, %v", ok, fmt.Sprint(err))
	}
}
