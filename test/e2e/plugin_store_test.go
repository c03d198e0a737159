package e2e

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/wat"
)

// buildLimiter builds a plugin that refuses the messages of a host after the third, for a day.
// Versions do the same.
func buildLimiter(t *testing.T, file string, version int) {
	t.Helper()
	wat.Compile(t, file, `(module
		(import "rollcall" "kv_add" (func $kv_add (param i32 i32 i64 i64) (result i64)))
		(import "rollcall" "count" (func $count (param i32 i32 i64)))
		(memory (export "memory") 2)
		(data (i32.const 16) "messages") (data (i32.const 32) "version `+strconv.Itoa(version)+`")
		(func (export "rollcall_abi_v1"))
		(func (export "rollcall_buffer") (param i32) (result i32) (i32.const 65536))
		(func (export "rollcall_message") (param i32 i32) (result i64)
			(call $count (i32.const 16) (i32.const 8) (i64.const 1))
			(i64.extend_i32_u (i64.gt_s (call $kv_add (i32.const 16) (i32.const 8) (i64.const 1) (i64.const 86400000)) (i64.const 3)))))`)
}

// What a plugin stores outlives reloads, another file and another plugin_memory, and ends when the
// plugin or the host leaves the configuration.
func TestWhatAPluginStoresOutlivesReloads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "limit.wasm")
	buildLimiter(t, file, 1)
	block := "plugin " + file + " {\nmessage_timeout 30s\n}"
	p := start(t, setup{globals: "metrics", options: block})
	send := func(want string) {
		t.Helper()
		c := p.site.Dial(t)
		c.Join(t, "anonymous-lobby")
		c.Send(t, `{"type":"send","id":1,"channels":["anonymous-lobby"],"echo":false,"message":{}}`)
		if want == "sent" {
			c.Expect(t, `{"type":"sent","id":1}`)
		} else {
			c.ExpectError(t, "1", want)
		}
		c.Close(t)
	}
	change := func(s setup) {
		t.Helper()
		p.write(t, s)
		if out, err := p.reload(t); err != nil {
			t.Fatalf("caddy reload: %v\n%s", err, out)
		}
	}
	send("sent")
	change(setup{globals: "metrics", options: block})
	send("sent")
	buildLimiter(t, file, 2)
	change(setup{globals: "metrics\nrollcall {\nplugin_memory 300MiB\n}", options: block})
	send("sent")
	send("denied")
	const labels = `{plugin="limit"}`
	for series, want := range map[string]float64{
		"caddy_rollcall_plugin_store_entries" + labels: 1, "caddy_rollcall_plugin_store_bytes" + labels: 8 + 8 + 64,
		`caddy_rollcall_plugin_counter_total{name="messages",plugin="limit"}`: 4,
	} {
		if got := p.metric(t, series); got != want {
			t.Errorf("%s %g, want %g", series, got, want)
		}
	}
	if report := p.get(t, "/rollcall/plugins"); !strings.Contains(report, `"store_bytes":80,"store_entries":1`) {
		t.Errorf("the report is %s", report)
	}

	// Another site with the same plugin keeps nothing of this host.
	other := "http://other.example.com:%d {\nrollcall {\napi_key other-key\n" + block + "\n}\n}\n"
	change(setup{globals: "metrics", options: block, sites: other})
	send("denied")
	change(setup{globals: "metrics", sites: other})
	send("sent")
	change(setup{globals: "metrics", options: block, sites: other})
	for range 3 {
		send("sent")
	}
	send("denied")
}
