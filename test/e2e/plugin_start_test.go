package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/wat"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// startPlugin compiles a plugin with a start function.
func startPlugin(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "start.wasm")
	wat.Compile(t, path, `(module
		(import "rollcall" "log" (func $log (param i32 i32 i32)))
		(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
		(memory (export "memory") 1)
		(data (i32.const 64) "made an instance")
		(func (export "rollcall_abi_v1"))
		(func (export "rollcall_buffer") (param i32) (result i32) (i32.const 1024))
		(func (export "rollcall_classify") (param i32 i32) (result i64) (i64.const 0))
		(func $now (result i64) (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 16))) (i64.load (i32.const 16)))
		(func $start (local $end i64) `+body+`)
		(start $start))`)
	return path
}

// slowStart is a start function that takes 1.5 s: less than the limit.
const slowStart = `(local.set $end (i64.add (call $now) (i64.const 1500000000)))
	(loop $l (br_if $l (i64.lt_u (call $now) (local.get $end))))
	(call $log (i32.const 1) (i32.const 64) (i32.const 16))`

// startSites returns sites that each have their own plugin file.
func startSites(n int, file string) (text string) {
	for i := range n {
		text += pluginSite(fmt.Sprintf("slow-%d.example.com", i),
			fmt.Sprintf("plugin %s {\ninit_budget 100G\nconfig {\nsite %d\n}\n}", file, i))
	}
	return text
}

func TestAReloadRefusesAPluginWhoseStartNeverEnds(t *testing.T) {
	p := start(t, setup{})
	status, body, err := p.load(setup{sites: startSites(30, startPlugin(t, `(loop $l (br $l))`))})
	if err != nil || status != 400 || !strings.Contains(body, "start function: ended after 2s") {
		t.Errorf("status %d, %v: %s", status, err, body)
	}
	p.get(t, "/config/")
	if _, err := p.site.Ask("users", `{}`); err != nil {
		t.Errorf("the configuration in effect: %v", err)
	}
}

// TestTerminationDoesNotWaitForSlowPlugins terminates Caddy during a reload that would take 45 s.
func TestTerminationDoesNotWaitForSlowPlugins(t *testing.T) {
	p := start(t, setup{})
	loaded := make(chan error, 1)
	go func() { // it ends with the process
		_, _, err := p.load(setup{sites: startSites(30, startPlugin(t, slowStart))})
		loaded <- err
	}()
	ws.Poll(t, ws.Patience, func() error {
		if !strings.Contains(p.log.String(), "made an instance") {
			return fmt.Errorf("no plugin is being tried")
		}
		return nil
	})
	p.signal(t, syscall.SIGTERM)
	if code := p.await(t, ws.Patience); code != 0 { // all starts take 45 s
		t.Errorf("exit code %d", code)
	}
	<-loaded
}
