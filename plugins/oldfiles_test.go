package plugins

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// Files of all SDKs that were built before there were connect, message and the store. They load
// without a warning, answer as they did, and are not asked about logins and messages.
func TestFilesFromBeforeMessagesWorkUnchanged(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	people := []User{{ID: "ada", Email: "ada@example.com"}, {ID: "sam", Email: "sam@staff.example"}}
	list := func(c *Chain) string {
		left := slices.Clone(people)
		listed, err := collect(c.Members(t.Context(), EndpointUsers, "h", nil, func() (u User, ok bool) {
			if ok = len(left) > 0; ok {
				u, left = left[0], left[1:]
			}
			return u, ok
		}))
		return fmt.Sprint(strings.Join(listed, " "), err)
	}
	show := func(c *Chain) string {
		shown, err := c.Show(EndpointLive, "h", []string{"email"}, people)
		return fmt.Sprint(strings.Join(records(shown), " "), err)
	}
	both := func(c *Chain) string {
		if got, want := show(c), list(c); got != want {
			return "browsers: " + got + ", not " + want
		}
		return list(c)
	}
	const ada, sam = `{"id":"ada","email":"ada@example.com"}`, `{"id":"sam","email":"sam@staff.example"}`
	for _, tt := range []struct {
		name, config string
		hooks        []string
		answers      map[string]func(*Chain) string // by what they must be
	}{
		{"hidden-staff", `{"domains":"staff.example"}`, []string{"members", "members_live"}, map[string]func(*Chain) string{
			ada + " -<nil>": both,
		}},
		{"mask-email", `{"except":"staff.example"}`, []string{"members", "members_live"}, map[string]func(*Chain) string{
			`{"id":"ada","email":"a***@example.com"} ` + sam + "<nil>": both,
		}},
		{"naming-rules", `{"denied":"*-closed","hidden":"*-secret","email_domain":{"acme-*":"acme.example"}}`, []string{"classify", "authorize"}, map[string]func(*Chain) string{
			"denied true": func(c *Chain) string {
				closed, err := c.Classify("h", "lobby-closed", Authenticated)
				secret, err2 := c.Classify("h", "lobby-secret", Authenticated)
				if err != nil || err2 != nil {
					t.Error(err, err2)
				}
				return fmt.Sprint(closed.Kind, " ", secret.Hidden)
			},
			"true false": func(c *Chain) string {
				in, err := c.Authorize("h", "acme-1", Authenticated, &User{ID: "u", Email: "ann@acme.example"})
				out, err2 := c.Authorize("h", "acme-1", Authenticated, &User{ID: "u", Email: "eve@evil.example"})
				if err != nil || err2 != nil {
					t.Error(err, err2)
				}
				return fmt.Sprint(in, " ", out)
			},
		}},
		{"team-totals", `{"separator":"::"}`, []string{"shape"}, map[string]func(*Chain) string{
			`{"teams":{"a":{"total":0,"counted":3,"channels":["a::b","a::c"],"users":[]}},"total":0,"counted":3}<nil>`: func(c *Chain) string {
				got, err := c.Shape(t.Context(), EndpointUsers, "h", nil, []byte(`{"a::b":1,"a::c":2}`))
				return fmt.Sprint(string(got), err)
			},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			core, logs := observer.New(zapcore.WarnLevel)
			p := load(t, e, Spec{
				Path: filepath.Join("testdata", "before-messages", tt.name+".wasm"), Config: json.RawMessage(tt.config), Logger: zap.New(core),
			})
			if got := p.Hooks().Names(); !slices.Equal(got, tt.hooks) {
				t.Errorf("hooks %v, want %v", got, tt.hooks)
			}
			c := NewChain(p)
			for want, answer := range tt.answers {
				if got := answer(c); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			connected, err := c.Connect("h", Login{ID: "C0", User: &User{ID: "ada"}})
			if err != nil || connected.HasInfo || connected.Grants != nil {
				t.Errorf("connect: %+v, %v", connected, err)
			}
			if err := send(c, "h"); err != nil {
				t.Errorf("message: %v", err)
			}
			if got := logs.All(); len(got) > 0 || len(e.config.Stores.plugins) > 0 {
				t.Errorf("logged %v, stores %v", got, e.config.Stores.plugins)
			}
		})
	}
}
