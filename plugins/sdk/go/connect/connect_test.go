package connect

import "testing"

func TestHandle(t *testing.T) {
	t.Cleanup(func() { handler = nil })
	const input = `{"host":"h","connection":"c","user":{"id":"ada","email":"a@b","info":{"n":1}},"claims":{"role":"host"}}`
	if _, err := call([]byte(input)); err == nil {
		t.Error("no error without a handler")
	}
	var got Login
	Handle(func(l *Login) Result {
		got = *l
		return Accept.WithInfo(`{"role":"host"}`).WithChannels(`a"b`, "news-*")
	})
	result, err := call([]byte(input))
	if err != nil || got.Host != "h" || got.Connection != "c" || got.Anonymous || got.UserID != "ada" || got.Email != "a@b" ||
		string(got.Info.JSON()) != `{"n":1}` || got.Claims.Get("role").Text() != "host" {
		t.Errorf("got %+v, %v", got, err)
	}
	if want := `{"info":{"role":"host"},"channels":["a\"b","news-*"]}`; result.JSON() != want || result.Refused() {
		t.Errorf("got %s, want %s", result.JSON(), want)
	}
	if _, err := call([]byte(`{"host":"h","connection":"c","user":null,"claims":null}`)); err != nil || !got.Anonymous || got.UserID != "" || got.Info.Exists() || got.Claims.Exists() {
		t.Errorf("anonymous: got %+v, %v", got, err)
	}
	for _, bad := range []string{``, `{`, `{}`} {
		if _, err := call([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestResults(t *testing.T) {
	for want, r := range map[string]Result{
		"":                                Accept,
		`{"info":null}`:                   Accept.WithInfo("null"),
		`{"channels":[]}`:                 Accept.WithChannels(),
		`{"channels":{"news-*":["see"]}}`: Accept.WithGrants(`{"news-*":["see"]}`),
	} {
		if got := r.JSON(); got != want || r.Refused() {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if !Refuse.Refused() || Refuse.WithInfo("{}").JSON() != "" {
		t.Error("what is refused has a result")
	}
}
