package console

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

// post sends an action from a page of the origin, "" for none.
func (s *scene) post(t *testing.T, origin, contentType, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/action", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestActions(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"disconnect a user": {
			`{"action":"disconnect","host":"a.example.com","users":["bob"]}`,
			`ada a.example.com disconnect {"reason":"disconnected by an operator","users":["bob"]}`,
		},
		"disconnect connections": {
			`{"action":"disconnect","host":"A.example.com:80","connections":["c"]}`,
			`ada a.example.com disconnect {"connections":["c"],"reason":"disconnected by an operator"}`,
		},
		"end memberships": {
			`{"action":"leave","host":"a.example.com","connections":["c"],"channel":"room"}`,
			`ada a.example.com leave {"channels":["room"],"connections":["c"]}`,
		},
		"send to a channel": {
			`{"action":"send","host":"a.example.com","channel":"room","message":{"text":"<b>"}}`,
			`ada a.example.com sendmessage {"channels":["room"],"message":{"text":"\u003cb\u003e"}}`,
		},
		"send to a user": {
			`{"action":"send","host":"a.example.com","users":["bob"],"message":{}}`,
			`ada a.example.com sendmessage {"message":{},"users":["bob"]}`,
		},
		"reset a breaker": {
			`{"action":"reset","host":"a.example.com","plugin":"mask"}`,
			`ada a.example.com reset mask`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			origin := strings.TrimSuffix(s.url, "/console")
			status, answer := s.post(t, origin, "application/json; charset=utf-8", c.body)
			if status != http.StatusOK || !strings.Contains(answer, `"complete":true`) {
				t.Fatalf("status %d: %s", status, answer)
			}
			if did := s.did(); !slices.Equal(did, []string{c.want}) {
				t.Errorf("did %q, want %q", did, c.want)
			}
		})
	}
}

// TestNothingIsDoneForOthers sends an action that would be done, in ways in which it is not.
func TestNothingIsDoneForOthers(t *testing.T) {
	s := newScene(t)
	s.visit.All, s.visit.Sees = false, func(host presence.HostName) bool { return host.String() == "a.example.com" }
	s.visit.Names = func(plugin string) bool { return plugin == "mine" }
	own := strings.TrimSuffix(s.url, "/console")
	const kick = `{"action":"disconnect","host":"a.example.com","users":["bob"]}`
	for name, c := range map[string]struct {
		origin, kind, body string
		status             int
	}{
		"no origin":                  {"", "application/json", kick, http.StatusForbidden},
		"another origin":             {"http://evil.example.com", "application/json", kick, http.StatusForbidden},
		"another port":               {"http://127.0.0.1:1", "application/json", kick, http.StatusForbidden},
		"an opaque origin":           {"null", "application/json", kick, http.StatusForbidden},
		"every origin":               {"*", "application/json", kick, http.StatusForbidden},
		"a form":                     {own, "application/x-www-form-urlencoded", kick, http.StatusForbidden},
		"a text":                     {own, "text/plain", kick, http.StatusForbidden},
		"no type":                    {own, "", kick, http.StatusForbidden},
		"a host of others":           {own, "application/json", strings.Replace(kick, "a.ex", "b.ex", 1), http.StatusNotFound},
		"no host":                    {own, "application/json", `{"action":"disconnect","users":["bob"]}`, http.StatusNotFound},
		"a plugin of others":         {own, "application/json", `{"action":"reset","host":"a.example.com","plugin":"theirs"}`, http.StatusNotFound},
		"a plugin, a host of others": {own, "application/json", `{"action":"reset","host":"b.example.com","plugin":"mine"}`, http.StatusNotFound},
		"an unknown action":          {own, "application/json", `{"action":"drop","host":"a.example.com"}`, http.StatusBadRequest},
		"no JSON":                    {own, "application/json", `disconnect`, http.StatusBadRequest},
		"a huge body":                {own, "application/json", kick + strings.Repeat(" ", maxAction), http.StatusBadRequest},
		"what the endpoint refuses":  {own, "application/json", `{"action":"disconnect","host":"a.example.com","users":["refuse"]}`, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			if status, answer := s.post(t, c.origin, c.kind, c.body); status != c.status {
				t.Errorf("status %d, want %d: %s", status, c.status, answer)
			}
			if did := s.did(); did != nil {
				t.Errorf("did %q", did)
			}
		})
	}
	if resp := s.get(t, "/action"); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET has status %s", resp.Status)
	}
}

// FuzzAction checks that no body makes it panic, and that one that is no JSON does nothing.
func FuzzAction(f *testing.F) {
	f.Add([]byte(`{"action":"send","host":"a.example.com","channel":"room","message":{"text":1}}`))
	f.Add([]byte(`{"action":"reset","host":"","plugin":"\ud800"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := &scene{fake: new(fake)}
		s.server = New(Config{Operator: s.fake, Pod: s.fake, Draining: func() bool { return false }})
		v := Visit{User: "ada", Sees: func(presence.HostName) bool { return true }, Names: func(string) bool { return true }}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://a.example.com/console/action", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "http://a.example.com")
		if a, p := s.server.readAction(r, &v); p == nil {
			_, _ = s.server.act(r, &v, a)
		}
	})
}
