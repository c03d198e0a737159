package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/internal/wat"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// hang blocks a reload until the test releases it. As a log, it blocks on lines of plugins, and so
// blocks the call of the plugin.
type hang struct {
	zapcore.LevelEnabler
	began chan struct{}
	end   chan struct{}
}

func (h *hang) wait() {
	select {
	case h.began <- struct{}{}:
	default:
	}
	<-h.end
}

func (h *hang) With([]zapcore.Field) zapcore.Core { return h }

func (h *hang) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return ce.AddCore(e, h)
}

func (h *hang) Write(e zapcore.Entry, _ []zapcore.Field) error {
	if strings.HasPrefix(e.LoggerName, "rollcall.plugin") {
		h.wait()
	}
	return nil
}

func (*hang) Sync() error { return nil }

// hangingPods are a cluster that hangs when it is closed, or when its sites change.
type hangingPods struct {
	*fakeCluster
	close, sites func()
}

func (p *hangingPods) Close() error { p.close(); return p.fakeCluster.Close() }

// SetSites hangs from the second time on.
func (p *hangingPods) SetSites(sites []message.Site) {
	if p.clusterLog.sites != nil {
		p.sites()
	}
	p.fakeCluster.SetSites(sites)
}

// hangingPlugin denies all channels that begin with a. It logs when it receives its configuration,
// or when it classifies such a channel.
func hangingPlugin(t *testing.T, configure, classify bool) string {
	t.Helper()
	log := map[bool]string{true: "(call $log (i32.const 1) (i32.const 0) (i32.const 5))"}
	file := filepath.Join(t.TempDir(), "hanging.wasm")
	wat.Compile(t, file, `(module
		(import "rollcall" "log" (func $log (param i32 i32 i32)))
		(memory (export "memory") 2)
		(data (i32.const 0) "hello")
		(func (export "rollcall_abi_v1"))
		(func (export "rollcall_buffer") (param i32) (result i32) (i32.const 1024))
		(func (export "rollcall_configure") (param i32 i32) (result i32) `+log[configure]+` (i32.const 0))
		(func (export "rollcall_classify") (param $p i32) (param $n i32) (result i64)
			(if (i32.ne (i32.const 0x61) (i32.load8_u (i32.add
				(i32.add (local.get $p) (i32.const 16)) (i32.load16_u offset=4 (local.get $p)))))
				(then (return (i64.const 0))))
			`+log[classify]+` (i64.const 3)))`)
	return plugin(file, "")
}

// Plugins and NATS can be slow at a reload. Only the reload waits for them.
func TestReloadThatHangsHoldsUpNobody(t *testing.T) {
	const joining = "{\n\trollcall {\n\t\tcluster {\n" + overNATS + "\n\t\t}\n\t}\n}\n"
	none := func(*testing.T) string { return "" }
	start := func(*hang) gateway.Pods { return &fakeCluster{clusterLog: new(clusterLog)} }
	for _, test := range []struct {
		name          string
		before, after string                     // global options
		plugin        func(t *testing.T) string  // plugin of the new configuration
		start         func(h *hang) gateway.Pods // joins the cluster
		replaced      bool                       // the new configuration is in effect when the reload hangs
	}{
		{
			name:   "a plugin that is tried",
			plugin: func(t *testing.T) string { return hangingPlugin(t, true, false) }, start: start,
		},
		{
			name:   "a plugin that is asked about active channels",
			plugin: func(t *testing.T) string { return hangingPlugin(t, false, true) }, start: start, replaced: true,
		},
		{
			name: "a cluster that is joined", after: joining, plugin: none, replaced: true,
			start: func(h *hang) gateway.Pods { h.wait(); return start(h) },
		},
		{
			name: "a cluster that is left", before: joining, plugin: none, replaced: true,
			start: func(h *hang) gateway.Pods {
				return &hangingPods{&fakeCluster{clusterLog: new(clusterLog)}, h.wait, func() {}}
			},
		},
		{
			name: "a cluster that receives the offered sites", before: joining, after: joining, plugin: none,
			start: func(h *hang) gateway.Pods {
				return &hangingPods{&fakeCluster{clusterLog: new(clusterLog)}, func() {}, h.wait}
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("XDG_DATA_HOME", t.TempDir())
			h := &hang{zapcore.DebugLevel, make(chan struct{}, 1), make(chan struct{})}
			release := sync.OnceFunc(func() { close(h.end) })
			defer release() // before the configurations are cleaned up
			site := func(host, key, options string) string {
				return "http://" + host + " {\n\trollcall {\n\t\tapi_key " + key + "\n" + options + "\n\t}\n}\n"
			}
			const portal, other = "portal.example.com", "other.example.com"

			first := mustLoad(t, test.before+site(portal, "before", "")+site(other, "before", ""))
			stage(t, first.app.hub, func(cluster.Config) (gateway.Pods, error) { return test.start(h), nil })
			first.snapshot().Logger = zap.New(h)
			if err := first.app.Start(); err != nil {
				t.Fatal(err)
			}
			visitors := make(map[string]*websocket.Conn)
			for host, server := range first.doors(t) {
				visitors[host] = mustDial(t, server, host)
				welcome(t, visitors[host])
				expectAnswer(t, visitors[host], `{"type":"join","channel":"anonymousChat"}`, `"joined"`)
			}

			options := test.plugin(t)
			second := mustLoad(t, test.after+site(portal, "after", options)+
				site(other, "after", "channels {\nauthenticated anonymous*\n}"))
			second.snapshot().Logger = zap.New(h)
			reloaded := make(chan error, 1)
			go func() { // ends with the reload
				err := second.app.Start()
				if err == nil {
					err = first.app.Stop()
				}
				reloaded <- err
			}()
			select {
			case <-h.began:
			case err := <-reloaded:
				t.Fatalf("the reload did not hang: %v", err)
			}

			now, keys := first, map[string]int{"before": http.StatusOK, "after": http.StatusUnauthorized}
			if test.replaced {
				now, keys = second, map[string]int{"before": http.StatusUnauthorized, "after": http.StatusOK}
				expectFrame(t, visitors[other], `"reason":"denied"`)
			}
			for host, server := range now.doors(t) {
				expectAnswer(t, visitors[host], `{"type":"ping"}`, `"pong"`)
				conn := mustDial(t, server, host, "Test-User", "ada")
				welcome(t, conn)
				expectAnswer(t, conn, `{"type":"join","channel":"room"}`, `"joined"`)
				for key, want := range keys {
					if got := askAt(t, server, host, key); got != want {
						t.Errorf("%s, the key %q: status %d, want %d", host, key, got, want)
					}
				}
			}

			release()
			if err := <-reloaded; err != nil {
				t.Fatal(err)
			}
			if !test.replaced {
				expectFrame(t, visitors[other], `"reason":"denied"`)
			}
			if options != "" {
				expectFrame(t, visitors[portal], `"reason":"denied"`)
			}
			for _, conn := range visitors {
				conn.Close() // the drain waits for clients that do not read
			}
		})
	}
}

// doors serves the handlers of a configuration, by a host of each.
func (c configured) doors(t *testing.T) map[string]*httptest.Server {
	t.Helper()
	servers := make(map[string]*httptest.Server)
	for name, of := range c.snapshot().Names() {
		for _, h := range c.app.handlers {
			if h.rollcall.Site == of {
				servers[name] = listen(t, h)
			}
		}
	}
	return servers
}

func expectFrame(t *testing.T, conn *websocket.Conn, want string) {
	t.Helper()
	if _, frame, err := conn.ReadMessage(); err != nil || !strings.Contains(string(frame), want) {
		t.Errorf("a client reads %s, error %v, want %s", frame, err, want)
	}
}

func expectAnswer(t *testing.T, conn *websocket.Conn, frame, want string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		t.Fatal(err)
	}
	expectFrame(t, conn, want)
}

// askAt asks who is connected to a host, and returns the status.
func askAt(t *testing.T, server *httptest.Server, host, key string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, server.URL+"/message/users", strings.NewReader(fmt.Sprintf(`{"apiKey":%q}`, key)))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	w, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	w.Body.Close()
	return w.StatusCode
}
