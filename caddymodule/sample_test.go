package caddymodule

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/internal/wat"
)

const sampleWarning = "plugin loaded, but a sample call fails: run caddy rollcall-plugin check"

// startObserved starts a configuration with one site, and returns its log from level warn.
func startObserved(t *testing.T, c configured) *observer.ObservedLogs {
	t.Helper()
	core, lines := observer.New(zap.WarnLevel)
	c.app.logger = zap.New(core)
	for _, h := range c.app.handlers {
		h.plugins.Logger = c.app.logger
	}
	if err := c.app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.app.Stop(); err != nil {
			t.Error(err)
		}
	})
	return lines
}

// badSamples are plugins for which check reports a failed sample call, with the reason.
var badSamples = []struct{ name, guest, from, to, says string }{
	{"traps in classify", "rules", "0x74)) (then (unreachable", "0x73)) (then (unreachable", "classify: trap: wasm error: unreachable, in "},
	{"never ends in classify", "rules", "0x77)) (then (loop", "0x73)) (then (loop", "classify: budget: budget of 1000000 steps spent (classify_budget), in "},
	{"traps in authorize", "rules", "0x79)) (then (unreachable", "0x75)) (then (unreachable", "authorize: trap: "},
}

func TestPluginWhoseSampleCallFailsIsLoadedWithAWarning(t *testing.T) {
	for _, test := range badSamples {
		for _, policy := range []string{"deny", "pass"} {
			t.Run(test.name+" "+policy, func(t *testing.T) {
				file := assemble(t, test.guest, test.from, test.to)
				c := mustLoad(t, pluginSite(t, "portal.example.com", plugin(file, "on_failure "+policy)))
				all := startObserved(t, c).All()
				if len(all) != 1 || all[0].Message != sampleWarning {
					t.Fatalf("logged %v", all)
				}
				fields := all[0].ContextMap()
				if !strings.Contains(fields["error"].(string), test.says) || fields["file"] != file || fields["plugin"] != "rules" {
					t.Errorf("fields %v", fields)
				}
				if got := scrape(t, c.ctx.GetMetricsRegistry()); strings.Contains(got, "plugin_calls_total{") ||
					strings.Contains(got, "reason=trap} 1") {
					t.Errorf("a sample call is counted:\n%s", got)
				}
				if _, _, err := runPlugin(t, "", "check", file); err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("check says %v", err)
				}
			})
		}
	}
}

func TestPluginsThatWorkAreLoadedWithoutAWarning(t *testing.T) {
	for _, name := range []string{"rules", "shape"} {
		c := mustLoad(t, pluginSite(t, "portal.example.com", plugin(assemble(t, name), "document 1KiB")))
		if all := startObserved(t, c).All(); len(all) != 0 {
			t.Errorf("%s: logged %v", name, all)
		}
	}
}

// Names in a module cannot forge lines of check's output.
func TestPluginCheckPrintsNoNamesRaw(t *testing.T) {
	file := assemble(t, "rules", `(func (export "rollcall_abi_v1"))`,
		`(func (export "rollcall_abi_v1")) (func (export "x\1b[2J\0d\0asha256  0000\09\c2\9b1m\e2\80\ae"))`)
	out, _, err := runPlugin(t, "", "check", file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out, "\x1b\r\t\u009b\u202e") || !strings.Contains(out, `x\x1b[2J\r\nsha256  0000\t\u009b1m\u202e func ()`) {
		t.Errorf("got %q", out)
	}
	if strings.Count(out, "\nsha256") != 1 {
		t.Errorf("a forged line in\n%s", out)
	}
}

// The output keeps the value of a plugin's answer, and the answer cannot hide a part of itself on a
// terminal.
func TestPluginCallPrintsNoAnswerRaw(t *testing.T) {
	const answer = `{"a":\0d[1,\0a\092], "b\7f\c2\9b1m":"\e2\80\ae\f3\a0\80\81 \5cu001b Gr\c3\bc\c3\9fe"}`
	file := filepath.Join(t.TempDir(), "shape.wasm")
	wat.Compile(t, file, `(module (memory (export "memory") 1) (data (i32.const 64) "`+strings.ReplaceAll(answer, `"`, `\22`)+`")
		(func (export "rollcall_abi_v1"))
		(func (export "rollcall_buffer") (param i32) (result i32) (i32.const 1024))
		(func (export "rollcall_shape") (param i32 i32 i32) (result i64) (i64.const 0x4000000031)))`)
	out, _, err := runPlugin(t, `{}`, "call", file, "shape")
	const want = `{"a":[1,2],"b\u007f\u009b1m":"\u202e\udb40\udc01 \u001b Grüße"}` + "\n"
	if err != nil || out != want {
		t.Errorf("%v, got\n%q\nwant\n%q", err, out, want)
	}
}
