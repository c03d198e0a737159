package main

import (
	"testing"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	// [hook authorize]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/authorize"
	// [end]
	// [hook connect]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/connect"
	// [end]
	// [hook message]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/kv"
	// [end]
	// [hook members]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
	// [end]
	// [hook message]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/message"
	// [end]
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

// [hook connect]

func TestLogin(t *testing.T) {
	setUp(t, `{"ban":"mallory"}`)
	for user, refused := range map[string]bool{"mallory": true, "ada": false} {
		if got := login(&connect.Login{UserID: user}); got.Refused() != refused {
			t.Errorf("%s: refused %t", user, got.Refused())
		}
	}
}

// [end]
// [hook classify]

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

// [end]
// [hook authorize]

func TestJoin(t *testing.T) {
	setUp(t, `{"staff":"example.com"}`)
	for email, want := range map[string]authorize.Verdict{
		"ada@example.com": authorize.NoObjection, "bob@example.org": authorize.Denied, "": authorize.Denied,
	} {
		if got := join(&rollcall.Request{Channel: "staff-room", Email: email}); got != want {
			t.Errorf("%q: got %d, want %d", email, got, want)
		}
	}
}

// [end]
// [hook message]

func TestSend(t *testing.T) {
	setUp(t, `{"words":["darn","heck"],"limit":"2"}`)
	t.Cleanup(func() { kv.Delete("m|ada") })
	if !send(message.New("sales", "bob", `{"text":"oh h\u0065ck"}`)).Refused() {
		t.Error("a word gets through")
	}
	for i, refused := range []bool{false, false, true} {
		if got := send(message.New("sales", "ada", `{"text":"hello"}`)); got.Refused() != refused {
			t.Errorf("message %d: refused %t", i+1, got.Refused())
		}
	}
}

// [end]
// [hook members]

func TestShow(t *testing.T) {
	setUp(t, `{"badge":"guest"}`)
	m := members.New("u1", "ada@example.com")
	show(rollcall.Users, m)
	if got := m.Get("badge"); got != "guest" {
		t.Errorf("badge is %q", got)
	}
}

// [end]
// [hook shape]

func TestAnswer(t *testing.T) {
	setUp(t, `{"wrap":"channels"}`)
	if got, err := answer(rollcall.Users, []byte(`{}`)); err != nil || string(got) != `{"channels":{}}` {
		t.Errorf("got %s, %v", got, err)
	}
}

// [end]
