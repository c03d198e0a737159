package rest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/wat"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// judge refuses messages with !, replaces those with ?, and fails with ~.
const judge = `(module
  (memory (export "memory") 2)
  (data (i32.const 16) "{\"event\":\"other\",\"data\":\"2\"}")
  (func (export "rollcall_abi_v1"))
  (func (export "rollcall_buffer") (param i32) (result i32) (i32.const 1024))
` + wat.Has + `
  (func (export "rollcall_message") (param i32 i32) (result i64)
    (if (call $has (i32.const 33) (local.get 0) (local.get 1)) (then (return (i64.const 1))))
    (if (call $has (i32.const 63) (local.get 0) (local.get 1)) (then (return (i64.const 0x100000001c))))
    (if (call $has (i32.const 126) (local.get 0) (local.get 1)) (then (unreachable)))
    (i64.const 0)))`

// withPlugin gives the site of a pod a plugin, as WebAssembly text.
func (p *pod) withPlugin(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plugin.wasm")
	wat.Compile(t, file, text)
	engine, err := plugins.NewEngine(plugins.EngineConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	plugin, err := engine.Load(t.Context(), plugins.Spec{Path: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plugin.Release)
	p.site.Chain = plugins.NewChain(plugin)
}

// A plugin leaves users out of lists, and changes no count. Its failure withholds the list.
func TestMembersPassPlugins(t *testing.T) {
	mask, err := os.ReadFile(filepath.Join("..", "..", "testdata", "plugins", "mask.wat"))
	if err != nil {
		t.Fatal(err)
	}
	p := newPod(t)
	p.withPlugin(t, string(mask))
	for i, user := range []string{"ada", "secret", "bob"} {
		c, _ := p.arrive(t, user, "1."+string('1'+rune(i)))
		as := &presence.Identity{ID: user, Email: user + "@example.com", Info: `{"name":"x"}`}
		if err := c.Enter("presence-a", presence.Entry{Proof: true, Member: as}); err != nil {
			t.Fatal(err)
		}
	}
	want(t, p.get("channels/presence-a/users"), 200, `{"users":[{"id":"ada"},{"id":"bob"}]}`)
	want(t, p.get("channels/presence-a/users?with_user_info=1"), 200,
		`{"users":[{"id":"ada","user_info":{"name":"x"}},{"id":"bob","user_info":{"name":"x"}}]}`)
	want(t, p.get("channels/presence-a?info=user_count"), 200, `{"occupied":true,"user_count":3}`)
	want(t, p.get("channels/presence-b/users"), 200, `{"users":[]}`)
	p.arrive(t, "trap", "1.9", "presence-a")
	wantError(t, p.get("channels/presence-a/users"), 503, "a plugin of this site failed")
}

// A plugin refuses an event, and with it its batch, or replaces it.
func TestEventsPassPlugins(t *testing.T) {
	p := newPod(t)
	_, ear := p.arrive(t, "", "1.1", "news", "private-a")
	ear.Take()
	p.withPlugin(t, judge)
	wantError(t, p.post("events", `{"name":"no!","channel":"news","data":"1"}`), 403, "refuses the event in channel news")
	wantError(t, p.post("batch_events", `{"batch":[{"name":"e1","channel":"private-a","data":"1"},{"name":"no!","channel":"news","data":"1"}]}`), 403, "batch[1]: a plugin")
	w := p.post("events", `{"name":"trap~","channel":"news","data":"1"}`)
	wantError(t, w, 503, "a plugin of this site failed")
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	want(t, p.post("events", `{"name":"some?","channel":"news","data":"1"}`), 200, `{}`)
	ear.Hears(t, sentFrame("news", `{"event":"other","data":"2"}`))
	want(t, p.post("events", `{"name":"yes","channel":"news","data":" 1 "}`), 200, `{}`)
	ear.Hears(t, sentFrame("news", `{"event":"yes","data": 1 }`))
}
