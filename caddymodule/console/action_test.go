package console

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
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
	s.reports = []plugins.Report{{Name: "mine", Path: "mine"}, {Name: "ours", Path: "mine"}, {Name: "ours", Path: "theirs"}, {Name: "theirs"}, {Name: "common", Path: "mine"}}
	s.visit.Loads = func(r *plugins.Report) bool { return r.Path == "mine" }
	s.visit.Alone = func(r *plugins.Report) bool { return r.Name != "common" }
	own := strings.TrimSuffix(s.url, "/console")
	const kick = `{"action":"disconnect","host":"a.example.com","users":["bob"]}`
	for name, c := range map[string]struct {
		origin, kind, body string
		status             int
	}{
		"no origin":                  {"", "application/json", kick, http.StatusForbidden},
		"another origin":             {"http://evil.example.com", "application/json", kick, http.StatusForbidden},
		"another scheme":             {strings.Replace(own, "http:", "https:", 1), "application/json", kick, http.StatusForbidden},
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
		"a plugin of two sites":      {own, "application/json", `{"action":"reset","host":"","plugin":"ours"}`, http.StatusNotFound},
		"a plugin with other sites":  {own, "application/json", `{"action":"reset","host":"","plugin":"common"}`, http.StatusForbidden},
		"a label":                    {own, "application/json", `{"action":"reset","host":"_other","plugin":"mine"}`, http.StatusNotFound},
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

// deadlines records the read deadlines of a response.
type deadlines struct {
	*httptest.ResponseRecorder

	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// slowBody calls a function before it has a body.
type slowBody struct {
	io.Reader

	before func()
}

func (b *slowBody) Read(p []byte) (int, error) {
	b.before()
	return b.Reader.Read(p)
}

func (s *scene) act(t *testing.T, w http.ResponseWriter, before func()) {
	t.Helper()
	body := &slowBody{strings.NewReader(`{"action":"disconnect","host":"a.example.com","users":["bob"]}`), before}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://a.example.com/console/action", body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", "http://a.example.com")
	s.server.Serve(w, r, "/action", s.visit)
}

func TestABodyHasADeadline(t *testing.T) {
	s := newScene(t)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	s.act(t, w, func() {
		if len(w.set) != 1 || time.Until(w.set[0]) <= 0 {
			t.Errorf("the body is read with the deadlines %v", w.set)
		}
	})
	if w.Code != http.StatusOK || len(w.set) != 2 || !w.set[1].IsZero() {
		t.Errorf("status %d, deadlines %v: the connection serves no other request", w.Code, w.set)
	}
}

// TestNothingIsDoneAfterAReload ends the configuration that let the user in while the body arrives.
func TestNothingIsDoneAfterAReload(t *testing.T) {
	for name, end := range map[string]func(*Visit) func(){
		"the server shuts down": func(v *Visit) func() {
			ended := make(chan struct{})
			v.Ended = ended
			return sync.OnceFunc(func() { close(ended) })
		},
		"another is in effect": func(v *Visit) func() {
			v.Retired = new(atomic.Bool)
			return func() { v.Retired.Store(true) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			w := httptest.NewRecorder()
			s.act(t, w, end(&s.visit))
			if w.Code != http.StatusServiceUnavailable || s.did() != nil {
				t.Errorf("status %d, did %q", w.Code, s.did())
			}
		})
	}
}

// FuzzAction checks that no body makes it panic, and that one that is no JSON does nothing.
func FuzzAction(f *testing.F) {
	f.Add([]byte(`{"action":"send","host":"a.example.com","channel":"room","message":{"text":1}}`))
	f.Add([]byte(`{"action":"reset","host":"","plugin":"\ud800"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := &scene{fake: new(fake)}
		s.server = New(Config{Operator: s.fake, Pod: s.fake, Draining: func() bool { return false }})
		v := Visit{User: "ada", Sees: func(presence.HostName) bool { return true }, Loads: func(*plugins.Report) bool { return true }, Alone: func(*plugins.Report) bool { return true }}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://a.example.com/console/action", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "http://a.example.com")
		if a, p := s.server.readAction(httptest.NewRecorder(), r, &v); p == nil {
			_, _ = s.server.act(r, &v, a)
		}
	})
}
