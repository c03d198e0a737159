package guest

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/plugins"
)

const host = "portal.example.com"

// Load creates an engine and a chain of one plugin, and returns the chain and its log.
func Load(t testing.TB, spec plugins.Spec) (*plugins.Chain, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	spec.Logger = zap.New(core)
	engine, err := plugins.NewEngine(plugins.EngineConfig{Logger: spec.Logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	plugin, err := engine.Load(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := plugin.Try(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	return plugins.NewChain(plugin), logs
}

// List passes users through the hook members and returns the JSON of the users that are shown.
func List(t testing.TB, chain *plugins.Chain, users ...plugins.User) (shown []string, err error) {
	t.Helper()
	next := func() (plugins.User, bool) {
		if len(users) == 0 {
			return plugins.User{}, false
		}
		user := users[0]
		users = users[1:]
		return user, true
	}
	members := chain.Members(t.Context(), plugins.EndpointUsers, host, []byte(`{}`), next)
	for {
		object, err := members.Next()
		if errors.Is(err, io.EOF) {
			return shown, nil
		}
		if err != nil {
			return shown, err
		}
		if object != nil {
			shown = append(shown, string(object))
		}
	}
}

// InHost runs the probe of an SDK in the host, with its limits, log and metering.
func InHost(t *testing.T, file []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "probe.wasm")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	chain, logs := Load(t, plugins.Spec{Path: path, Config: json.RawMessage(`{"words":["a","b"]}`)})
	expectLog(t, logs, host+"|probe|none|a+b|false|-1|none")

	decision, err := chain.Classify(host, "anonymous+hidden+count", plugins.Authenticated)
	if want := (plugins.Decision{Kind: plugins.Anonymous, Hidden: true, CountOnly: true}); err != nil || decision != want {
		t.Errorf("classify: got %+v, %v; want %+v", decision, err, want)
	}
	for site, needed := range map[plugins.Kind]bool{plugins.Authenticated: false, plugins.Granted: true} {
		decision, err := chain.Classify(host, "flag+grant", site)
		if want := (plugins.Decision{Hidden: needed, Grant: true}); err != nil || decision != want {
			t.Errorf("classify %s: got %+v, %v; want %+v", site, decision, err, want)
		}
	}
	for id, want := range map[string]bool{"ann": true, "eve": false} {
		allowed, err := chain.Authorize(host, "team", plugins.Authenticated, &plugins.User{ID: id, Email: "e@x"})
		if err != nil || allowed != want {
			t.Errorf("authorize %s: got %t, %v; want %t", id, allowed, err, want)
		}
	}
	expectLog(t, logs, host+"|team|1|known|ann|e@x")

	users := make([]plugins.User, 0, 1000)
	for range 250 {
		users = append(users, plugins.User{ID: "1", Email: "a@b"}, plugins.User{ID: "hide"}, plugins.User{ID: "mask"},
			plugins.User{ID: "rename", Email: "ü\"@b"})
	}
	shown, err := List(t, chain, users...)
	one := []string{`{"id":"1","email":"a@b"}`, `{"id":"mask","email":"***"}`, `{"id":"rename","mail":"ü\"@b"}`}
	if want := strings.Repeat(strings.Join(one, ""), 250); err != nil || strings.Join(shown, "") != want {
		t.Errorf("members: got %d users, %v; want 750", len(shown), err)
	}

	browsers, err := chain.Show(plugins.EndpointLive, host, []string{"email"}, []plugins.User{{ID: "mask", Email: "a@b"}, {ID: "hide"}})
	if err != nil || browsers[0].Record != `{"id":"mask","email":"***"}` || browsers[1].Record != "" {
		t.Errorf("members for browsers: got %+v, %v", browsers, err)
	}

	member := func(id string) plugins.Login {
		return plugins.Login{ID: "C1", User: &plugins.User{ID: id}, Claims: `{"role":"host"}`}
	}
	if got, err := chain.Connect(host, member("info")); err != nil || !got.HasInfo || got.Info != `{"role":"host"}` {
		t.Errorf("connect: got %+v, %v", got, err)
	}
	if got, err := chain.Connect(host, member("eve")); !errors.Is(err, plugins.ErrRefused) {
		t.Errorf("connect of eve: got %+v, %v; want a refusal", got, err)
	}
	for channel, want := range map[string]string{"team": `{"text":"hi"}`, "replace": `{"text":"hi!"}`, "refuse": ""} {
		from := plugins.Sender{User: &plugins.User{ID: "ann", Email: "e@x"}, Connection: "C1"}
		got, err := chain.Message(host, channel, plugins.Authenticated, from, []byte(`{"text":"hi"}`), 1000)
		if string(got) != want || errors.Is(err, plugins.ErrRefused) != (channel == "refuse") || err != nil && channel != "refuse" {
			t.Errorf("message to %s: got %s, %v; want %q", channel, got, err, want)
		}
	}
	expectLog(t, logs, host+"|team|1|known|ann|e@x|C1|hi")

	for body, want := range map[string]string{
		`"unchanged"`: `"unchanged"`, `"request"`: `"{\"channel\":\"x\"}"`, `{"a": [1, "\u00fc"]}`: `{"a":[1,"ü"]}`,
	} {
		got, err := chain.Shape(t.Context(), plugins.EndpointUsers, host, []byte(`{"channel":"x"}`), []byte(body))
		if err != nil || string(got) != want {
			t.Errorf("shape %s: got %s, %v; want %s", body, got, err, want)
		}
	}

	_, err = chain.Classify(host, "fail", plugins.Authenticated)
	var failure *plugins.Error
	if !errors.As(err, &failure) || failure.Hook != plugins.HookClassify {
		t.Errorf("a panic: got %v", err)
	}
	expectLog(t, logs, "asked to fail")
	decision, err = chain.Classify(host, "denied", plugins.Authenticated)
	if err != nil || decision.Kind != plugins.Denied {
		t.Errorf("after a panic: got %+v, %v", decision, err)
	}
}

// expectLog expects a log line with the text in its message or in a field.
func expectLog(t *testing.T, logs *observer.ObservedLogs, text string) {
	t.Helper()
	for _, entry := range logs.All() {
		if strings.Contains(entry.Message, text) {
			return
		}
		for _, field := range entry.Context {
			if strings.Contains(field.String, text) || strings.Contains(errorText(field.Interface), text) {
				return
			}
		}
	}
	t.Errorf("no line of the log has %q: %v", text, logs.All())
}

func errorText(value any) string {
	if err, ok := value.(error); ok {
		return err.Error()
	}
	return ""
}
