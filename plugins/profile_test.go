package plugins

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// profiledGuest calls $slow twice, which calls $leaf; $deep calls itself for channels of five
// letters, and traps for those of six.
var profiledGuest = guest(`
	(func $leaf (local $i i32)
		(local.set $i (i32.const 1000))
		(loop $again (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))
	(func $slow (local $i i32)
		(local.set $i (i32.const 5000))
		(loop $again (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
		(call $leaf))
	(func $deep (param $n i32)
		(if (local.get $n) (then (call $deep (i32.sub (local.get $n) (i32.const 1)))) (else (call $leaf))))
	(func $ends unreachable)
	(func $hook (export "rollcall_classify") (param $p i32) (param i32) (result i64)
		(call $slow) (call $slow)
		(if (i32.eq (i32.load16_u offset=6 (local.get $p)) (i32.const 5)) (then (call $deep (i32.const 2000))))
		(if (i32.eq (i32.load16_u offset=6 (local.get $p)) (i32.const 6)) (then (call $ends)))
		(i64.const 0))`)

func TestProfile(t *testing.T) {
	for _, test := range []struct {
		channel string
		want    []FunctionSteps // without the steps, which the cost of an instruction decides
		folded  []string
	}{
		{
			"four",
			[]FunctionSteps{{Name: "slow", Calls: 2}, {Name: "leaf", Calls: 2}, {Name: "hook", Calls: 1}},
			[]string{"hook ", "hook;slow ", "hook;slow;leaf "},
		},
		{
			"deep!",
			[]FunctionSteps{{Name: "slow", Calls: 2}, {Name: "leaf", Calls: 3}, {Name: "deep", Calls: 2001}, {Name: "hook", Calls: 1}},
			[]string{"hook;slow;leaf ", "hook;deep;deep;deep "},
		},
		{
			"a trap",
			[]FunctionSteps{{Name: "slow", Calls: 2}, {Name: "leaf", Calls: 2}, {Name: "hook", Calls: 1}, {Name: "ends", Calls: 1}},
			[]string{"hook;ends "},
		},
	} {
		t.Run(test.channel, func(t *testing.T) {
			profile, counters := NewProfile(), new(Counters)
			e := newEngine(t, EngineConfig{Profile: profile})
			p := load(t, e, Spec{
				Path:     wat(t, profiledGuest, "--debug-names"),
				Limits:   Limits{ClassifyTimeout: time.Minute},
				Counters: func(string) *Counters { return counters },
			})
			if err := p.Try(context.Background(), "h"); err != nil {
				t.Fatal(err)
			}
			profile.Reset()
			_, err := NewChain(p).Classify("h", test.channel, Authenticated)
			if failure, ok := errors.AsType[*Error](err); err != nil && (!ok || failure.Reason != ReasonTrap) || (err != nil) != (test.channel == "a trap") {
				t.Fatal(err)
			}
			// An instance that trapped is replaced in the background, which calls the export of the
			// buffer.
			got := slices.DeleteFunc(profile.Functions(), func(f FunctionSteps) bool { return f.Name == exportBuffer })
			if len(got) != len(test.want) {
				t.Fatalf("got %+v, want %+v", got, test.want)
			}
			var own, root int64
			for i, f := range got {
				own += f.Own
				if f.Name == "hook" {
					root = f.Total
				}
				if want := test.want[i]; f.Name != want.Name || f.Calls != want.Calls || !f.Named {
					t.Errorf("place %d: got %+v, want %+v", i, f, want)
				}
			}
			if used := counters.Read().StepsSum[HookClassify]; own != root || uint64(own) != used && err == nil || own == 0 {
				t.Errorf("the functions have %d steps of their own and the hook %d in total, the call %d", own, root, used)
			}
			var folded strings.Builder
			if err := profile.WriteFolded(&folded); err != nil {
				t.Fatal(err)
			}
			for _, want := range test.folded {
				if !strings.Contains("\n"+folded.String(), "\n"+want) {
					t.Errorf("no line %q in\n%.500s", want, folded.String())
				}
			}
		})
	}
}
