package main

import (
	"testing"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
)

// setUp configures the plugin with options, as Rollcall does.
func setUp(t *testing.T, options string) {
	t.Helper()
	c, err := rollcall.ParseConfig([]byte(`{"host":"example.com","plugin":"PLUGIN_NAME","config":` + options + `}`))
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

func TestKind(t *testing.T) {
	setUp(t, `{"open":["lobby-","help"]}`)
	tests := map[string]rollcall.Decision{
		"lobby-1":  rollcall.Anonymous,
		"helpdesk": rollcall.Anonymous,
		"sales":    rollcall.NoOpinion,
	}
	for channel, want := range tests {
		if got := kind(&rollcall.Request{Channel: channel}); got != want {
			t.Errorf("%s: got %d, want %d", channel, got, want)
		}
	}
}

func TestShow(t *testing.T) {
	setUp(t, `{"badge":"guest"}`)
	m := members.New("u1", "ada@example.com")
	show(rollcall.Users, m)
	if got := m.Get("badge"); got != "guest" {
		t.Errorf("badge is %q", got)
	}
}
