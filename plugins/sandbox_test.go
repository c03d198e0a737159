package plugins

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func observed(t *testing.T) (*Engine, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return newEngine(t, EngineConfig{Logger: zap.New(core)}), logs
}

func TestGuestLogsAreNamedCutAndLimited(t *testing.T) {
	e, logs := observed(t)
	counters := new(Counters)
	p := load(t, e, Spec{
		Name: "talker", Counters: func(string) *Counters { return counters },
		Path: wat(t, guest(`(data (i32.const 64) "hello \ff")
			(func (export "rollcall_classify") (param i32 i32) (result i64)
			(local $i i32)
			(call $log (i32.const 2) (i32.const 64) (i32.const 7))
			(call $log (i32.const 9) (i32.const 64) (i32.const 5000))
			(loop $l
				(call $log (i32.const 0) (i32.const 64) (i32.const 5))
				(br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
			(i64.const 0))`)), Limits: Limits{ClassifyTimeout: time.Minute},
	})
	if _, err := NewChain(p).Classify("h", "c", Authenticated); err != nil {
		t.Fatal(err)
	}
	all := logs.All()
	if len(all) < 100 || len(all) > 110 {
		t.Fatalf("%d lines", len(all))
	}
	if l := all[0]; l.Level != zapcore.WarnLevel || l.Message != "hello \uFFFD" || l.ContextMap()["plugin"] != "talker" || l.ContextMap()["host"] != "h" {
		t.Errorf("got %+v", l)
	}
	if l := all[1]; l.Level != zapcore.ErrorLevel || len(l.Message) > 1<<10+3 || len(l.Message) < 1<<10 {
		t.Errorf("level %v, %d bytes", l.Level, len(l.Message))
	}
	if dropped := counters.Read().LogDropped; dropped != 1002-uint64(len(all)) {
		t.Errorf("%d lines dropped", dropped)
	}
}

func TestWhatAGuestPrintsBecomesLogLines(t *testing.T) {
	e, logs := observed(t)
	p := load(t, e, Spec{Path: wat(t, guest(`
		(data (i32.const 64) "one\ntwo, unfinished")
		(data (i32.const 128) "\40\00\00\00\08\00\00\00\48\00\00\00\0b\00\00\00")
		(func (export "rollcall_classify") (param i32 i32) (result i64)
			(i64.extend_i32_u (call $write (i32.const 2) (i32.const 128) (i32.const 2) (i32.const 200))))`,
		`(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))`))})
	if d, err := NewChain(p).Classify("h", "c", Authenticated); err != nil || d.Kind != 0 {
		t.Fatal(d, err)
	}
	var got []string
	for _, l := range logs.All() {
		got = append(got, l.Level.String()+" "+l.Message)
	}
	if want := "warn one|warn two, unfinished"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestThereIsNothingOutsideTheSandbox(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	for name, test := range map[string]struct {
		params, call string
		want         int // result of the function
	}{
		"open a file":           {"i32 i32 i32 i32 i32 i64 i64 i32 i32", "path_open", wasiBadFD},
		"first folder":          {"i32 i32", "fd_prestat_get", wasiBadFD},
		"renumber":              {"i32 i32", "fd_renumber", wasiBadFD},
		"accept":                {"i32 i32 i32", "sock_accept", wasiBadFD},
		"arguments":             {"i32 i32", "args_sizes_get", wasiOK},
		"environment":           {"i32 i32", "environ_sizes_get", wasiOK},
		"much randomness":       {"i32 i32", "random_get", wasiOK},
		"no subscription":       {"i32 i32 i32 i32", "poll_oneoff", wasiInval},
		"a close of descriptor": {"i32", "fd_close", wasiOK},
	} {
		t.Run(name, func(t *testing.T) {
			var args []string
			for p := range strings.FieldsSeq(test.params) {
				args = append(args, "("+p+".const 0)")
			}
			p := load(t, e, Spec{Path: wat(t, guest(fmt.Sprintf(`(func (export "rollcall_classify") (param i32 i32) (result i64)
				(i64.extend_i32_u (i32.ne (i32.const %d) (call $f %s))))`, test.want, strings.Join(args, " ")),
				fmt.Sprintf(`(import "wasi_snapshot_preview1" "%s" (func $f (param %s) (result i32)))`, test.call, test.params)))})
			if d, err := NewChain(p).Classify("h", "c", Authenticated); err != nil || d.Kind != NoOpinion {
				t.Errorf("got %v, %v", d.Kind, err)
			}
		})
	}
}
