package main

import (
	"testing"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/connect"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
)

// setUp configures the plugin with options, as Rollcall does.
func setUp(t *testing.T, options string) {
	t.Helper()
	c, err := rollcall.ParseConfig([]byte(`{"host":"example.com","plugin":"roles","config":` + options + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := configure(c); err != nil {
		t.Fatal(err)
	}
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, text string) rollcall.Value {
	t.Helper()
	v, err := rollcall.ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLogin(t *testing.T) {
	setUp(t, `{"opens":{"host":["stage-*","backstage"],"guest":"stage-*"},"refuse":"banned"}`)
	for _, test := range []struct {
		name, claims, info, want string
		refused                  bool
	}{
		{"a role", `{"role":"guest"}`, `{}`, `{"info":{"role":"guest"},"channels":["stage-*"]}`, false},
		{"several", `{"role":["guest","host"]}`, `{"name":"Ada"}`, `{"info":{"name":"Ada","role":"guest"},"channels":["stage-*","backstage"]}`, false},
		{"a role of the page itself is replaced", `{"role":"guest"}`, `{"role":"host"}`, `{"info":{"role":"guest"},"channels":["stage-*"]}`, false},
		{"an unknown role", `{"role":"king"}`, `{}`, ``, false},
		{"no role", `{}`, `{}`, ``, false},
		{"a role that is none", `{"role":{"host":true}}`, `{}`, ``, false},
		{"a refused role", `{"role":["host","banned"]}`, `{}`, ``, true},
	} {
		got := login(&connect.Login{UserID: "ada", Info: value(t, test.info), Claims: value(t, test.claims)})
		if got.JSON() != test.want || got.Refused() != test.refused {
			t.Errorf("%s: got %s, refused %t", test.name, got.JSON(), got.Refused())
		}
	}
	if got := login(&connect.Login{Anonymous: true}); got.JSON() != "" || got.Refused() {
		t.Errorf("anonymous: got %s", got.JSON())
	}
	if got := login(&connect.Login{UserID: "ada", Claims: value(t, `{"role":"guest"}`)}); got.JSON() != `{"info":{"role":"guest"},"channels":["stage-*"]}` {
		t.Errorf("without info: got %s", got.JSON())
	}
}

func TestBadge(t *testing.T) {
	for info, want := range map[string]string{`{"role":"host","name":"Ada"}`: "host", `{}`: "", ``: ""} {
		m := members.New("ada", "ada@example.com")
		if info != "" {
			m.SetJSON("info", info)
		}
		if badge(rollcall.Live, m); m.Get("badge") != want {
			t.Errorf("%s: badge %q, want %q", info, m.Get("badge"), want)
		}
	}
}

func TestConfigure(t *testing.T) {
	c, err := rollcall.ParseConfig([]byte(`{"config":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if configure(c) == nil {
		t.Error("a plugin without rules is accepted")
	}
}
