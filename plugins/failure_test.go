package plugins

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const forever = `(loop $l (br $l)) (i64.const 0)`

// failures are guests that fail in classify, with their reasons.
var failures = map[string]struct {
	text   string
	limits Limits
	reason Reason
	says   string
}{
	"endless loop": {classifier(forever), Limits{ClassifyTimeout: time.Minute}, ReasonBudget, "budget of 1000000 steps spent (classify_budget)"},
	"endless loop, large budget": {
		classifier(forever), Limits{ClassifyBudget: maxBudget, ClassifyTimeout: time.Millisecond}, ReasonTimeout, "ended after 1ms (classify_timeout), in $",
	},
	"endless recursion": {
		guest(`(func $f (param i32) (result i32) (i32.add (i32.const 1) (call $f (local.get 0))))
			(func (export "rollcall_classify") (param i32 i32) (result i64) (drop (call $f (i32.const 0))) (i64.const 0))`),
		Limits{ClassifyTimeout: time.Minute},
		ReasonTrap, "", // before the budget is spent, because the call depth is limited
	},
	"trap":       {classifier(`unreachable`), Limits{}, ReasonTrap, "unreachable"},
	"bad access": {classifier(`(i64.load (i32.const -8))`), Limits{}, ReasonTrap, "out of bounds"},
	"division":   {classifier(`(i64.div_s (i64.const 1) (i64.const 0))`), Limits{}, ReasonTrap, "divide by zero"},
	"exit": {
		guest(`(func (export "rollcall_classify") (param i32 i32) (result i64) (call $exit (i32.const 3)) (i64.const 0))`,
			`(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))`),
		Limits{},
		ReasonExit, "exit_code(3)",
	},
	"abort": {
		guest(`(data (i32.const 96) "\04\00\00\00n\00o\00")
			(func (export "rollcall_classify") (param i32 i32) (result i64)
				(call $abort (i32.const 100) (i32.const 0) (i32.const 7) (i32.const 9)) (i64.const 0))`,
			`(import "env" "abort" (func $abort (param i32 i32 i32 i32)))`),
		Limits{},
		ReasonTrap, "abort: no in (nothing):7:9",
	},
	"log outside the memory": {
		classifier(`(call $log (i32.const 1) (i32.const -1) (i32.const 5)) (i64.const 0)`), Limits{}, ReasonTrap, "outside the memory",
	},
	"error result": {classifier(`(i64.const -1)`), Limits{}, ReasonBadResult, "(-1)"},
	"start function that never ends": {
		guest(`(func $s (loop $l (br $l))) (start $s)
			(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 0))`),
		Limits{InitBudget: 1_000_000},
		ReasonInit, "start function: budget of 1000000 steps spent (init_budget), in $",
	},
	"_initialize that never ends": {
		guest(`(func (export "_initialize") (loop $l (br $l)))
			(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 0))`),
		Limits{InitBudget: 1_000_000},
		ReasonInit, "_initialize: budget of 1000000 steps spent (init_budget), in $",
	},
	"refused configuration": {
		guest(`(data (i32.const 64) "no rule")
			(func (export "rollcall_configure") (param i32 i32) (result i32)
				(call $log (i32.const 3) (i32.const 64) (i32.const 7)) (i32.const 5))
			(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 0))`),
		Limits{},
		ReasonConfigure, "code 5; the guest said: no rule",
	},
}

// The text of a limit names the option, never the trap that enforces it.
func TestTheTextOfAFailureNamesTheLimit(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	hook := func(name, params string) string {
		return guest(`(func (export "` + name + `") (param ` + params + `) (result i64) ` + forever + `)`)
	}
	members := func(c *Chain) error {
		ada := []User{{ID: "ada"}, {ID: "bob"}}
		_, err := c.Members(t.Context(), EndpointUsers, "h", nil, func() (u User, ok bool) {
			if ok = len(ada) > 0; ok {
				u, ada = ada[0], ada[1:]
			}
			return u, ok
		}).Next()
		return err
	}
	shape := func(c *Chain) error {
		_, err := c.Shape(t.Context(), EndpointUsers, "h", nil, []byte(`{}`))
		return err
	}
	authorize := func(c *Chain) error {
		_, err := c.Authorize("h", "c", Authenticated, nil)
		return err
	}
	show := func(c *Chain) error {
		_, err := c.Show(EndpointLive, "h", nil, []User{{ID: "ada"}})
		return err
	}
	for want, test := range map[string]struct {
		text   string
		limits Limits
		call   func(*Chain) error
	}{
		"budget of 1000 steps spent (classify_budget)": {
			hook("rollcall_authorize", "i32 i32"), Limits{ClassifyBudget: 1000, ClassifyTimeout: time.Minute}, authorize,
		},
		"budget of 1002000 steps spent (members_budget)": {
			hook("rollcall_members", "i32 i32 i32"), Limits{MembersBudget: 1000, ShapeTimeout: time.Minute}, members,
		},
		"budget of 5000 steps spent (shape_budget)": {
			hook("rollcall_shape", "i32 i32 i32"), Limits{ShapeBudget: 5000, ShapeTimeout: time.Minute}, shape,
		},
		"budget of 1001000 steps spent (members_budget)": {
			live(hook("rollcall_members", "i32 i32 i32")), Limits{MembersBudget: 1000, MessageTimeout: time.Minute}, show,
		},
		"ended after 3ms (message_timeout)": {
			live(hook("rollcall_members", "i32 i32 i32")), Limits{MembersBudget: maxBudget / 10, MessageTimeout: 3 * time.Millisecond}, show,
		},
		"ended after 3ms (shape_timeout)": {
			hook("rollcall_shape", "i32 i32 i32"), Limits{ShapeBudget: maxBudget, ShapeTimeout: 3 * time.Millisecond}, shape,
		},
	} {
		t.Run(want, func(t *testing.T) {
			p := load(t, e, Spec{Path: wat(t, test.text), Limits: test.limits})
			err := test.call(NewChain(p))
			if err == nil || !strings.Contains(err.Error(), want+", in $") || strings.Contains(err.Error(), "unreachable") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestEveryFailureHasItsReasonAndIsCounted(t *testing.T) {
	for name, test := range failures {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, EngineConfig{})
			counters := new(Counters)
			p := load(t, e, Spec{
				Path: wat(t, test.text), Limits: test.limits, Counters: func(string) *Counters { return counters },
			})
			start := time.Now()
			_, err := NewChain(p).Classify("a.example.com", "lobby", Authenticated)
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			var failure *Error
			if !errors.As(err, &failure) || failure.Reason != test.reason || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want the reason %s and %q", err, test.reason, test.says)
			}
			r := reasonIndex(test.reason)
			if s := counters.Read(); s.Failed[HookClassify][r] != 1 || s.Restarts[r] == 0 || s.OK[HookClassify] != 0 {
				t.Errorf("counters: %+v", s)
			}
		})
	}
}

func TestPassGoesOnWithoutThePlugin(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	works := load(t, e, Spec{Path: wat(t, classifier(byFirstLetter))})
	for name, test := range failures {
		t.Run(name, func(t *testing.T) {
			fails := load(t, e, Spec{Path: wat(t, test.text), Limits: test.limits, OnFailure: Pass})
			got, err := NewChain(fails, works).Classify("a.example.com", "anon", Authenticated)
			if want := (Decision{Kind: Anonymous, Failed: true}); err != nil || got != want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// flaky traps while its host's channel starts with "t".
const flaky = `(if (i32.eq (i32.load8_u (i32.add (i32.add (local.get 0) (i32.const 16)) (i32.load16_u offset=4 (local.get 0))))
	(i32.const 116)) (then unreachable)) (i64.const 1)`

func TestBreakerOpensAndProbes(t *testing.T) {
	file := wat(t, classifier(flaky))
	synctest.Test(t, func(t *testing.T) {
		e, err := NewEngine(EngineConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		p, err := e.Load(t.Context(), Spec{Path: file})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Release()
		defer time.Sleep(time.Second) // let the watchdog end
		c := NewChain(p)
		reason := func(channel string) Reason {
			_, err := c.Classify("h", channel, Authenticated)
			if failure, ok := errors.AsType[*Error](err); ok {
				return failure.Reason
			}
			return ""
		}
		expect := func(channel string, want Reason) {
			t.Helper()
			if got := reason(channel); got != want {
				t.Fatalf("%q: got %q, want %q", channel, got, want)
			}
		}
		for range 5 {
			expect("trap", ReasonTrap)
		}
		expect("good", ReasonBreaker)
		if got := e.Report()[0].Hosts[0].Breaker; got != "open" {
			t.Errorf("breaker is %s", got)
		}
		if _, err := c.Classify("other", "good", Authenticated); err != nil {
			t.Errorf("another host: %v", err)
		}
		time.Sleep(time.Second)
		expect("trap", ReasonTrap) // the probe
		time.Sleep(time.Second)
		expect("good", ReasonBreaker) // the pause has doubled
		time.Sleep(time.Second)
		expect("good", "")
		if got := e.Report()[0].Hosts; got[0].Breaker != "closed" && got[1].Breaker != "closed" {
			t.Errorf("breakers: %+v", got)
		}
		// A few failures among many good calls do not open the breaker.
		for range 10 {
			expect("trap", ReasonTrap)
			expect("good", "")
			expect("good", "")
		}
	})
}

func TestFailuresAreLoggedOncePerReasonIn10Seconds(t *testing.T) {
	file := wat(t, classifier(flaky))
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		e, _ := NewEngine(EngineConfig{Logger: zap.New(core)})
		defer e.Close()
		p, err := e.Load(t.Context(), Spec{Path: file, Name: "flaky"})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Release()
		defer time.Sleep(time.Second) // let the watchdog end
		c := NewChain(p)
		for range 3 {
			c.Classify("h", "trap", Authenticated)
		}
		time.Sleep(11 * time.Second)
		c.Classify("h", "trap", Authenticated)
		found := logs.FilterMessage("plugin failed").All()
		if len(found) != 2 {
			t.Fatalf("%d lines, want 2", len(found))
		}
		fields := found[1].ContextMap()
		if fields["plugin"] != "flaky" || fields["host"] != "h" || fields["reason"] != "trap" || fields["not_logged_before"] != int64(2) {
			t.Errorf("fields: %v", fields)
		}
	})
}
