package caddymodule

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"
)

// scriptedPod is a pod for audits that does with users what a test wants. Its answers list the
// watcher, and say that they are incomplete, so that none is wrong. The watcher's connection ends
// when the audit has begun, and messages are refused, so that the audit does not wait for frames
// and messages.
type scriptedPod struct {
	handshake func(w http.ResponseWriter) bool // answers a user instead of the pod; may be nil
	close     int                              // code with which a user is closed instead of greeted; 0 for none
	join      string                           // answer to a user's join, without its id; if empty, the user joins
	lies      bool                             // its answers are complete, and list a user who was never there

	watcher atomic.Pointer[string] // its name, once it came
}

func (p *scriptedPod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/socket") {
		p.answer(w, r)
		return
	}
	user := subject(r)
	isWatcher := strings.Contains(user, "watcher")
	if isWatcher && !p.watcher.CompareAndSwap(nil, &user) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !isWatcher && p.handshake != nil && p.handshake(w) {
		return
	}
	u := websocket.Upgrader{Subprotocols: []string{"rollcall.v1"}}
	conn, err := u.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	if !isWatcher && p.close > 0 {
		_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(p.close, "go away"))
		return
	}
	_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"welcome","connection":"c"}`))
	if isWatcher {
		defer time.AfterFunc(500*time.Millisecond, func() { conn.Close() }).Stop()
	}
	for {
		var command struct{ ID, Type, Channel string }
		if conn.ReadJSON(&command) != nil {
			return
		}
		answer := `"type":"ok"}`
		switch command.Type {
		case "send":
			answer = `"type":"error","code":"not_allowed"}`
		case "join":
			answer = `"type":"joined","channel":"` + command.Channel + `","members":[]}`
			if !isWatcher && p.join != "" {
				answer = p.join
			}
		}
		_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"id":"`+command.ID+`",`+answer))
	}
}

// subject returns the user of the token, without checking it.
func subject(r *http.Request) string {
	parts := strings.Split(r.Header.Get("Authorization"), ".")
	if len(parts) < 2 {
		return ""
	}
	raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ Sub string }
	_ = json.Unmarshal(raw, &claims)
	return claims.Sub
}

func (p *scriptedPod) answer(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/users") {
		_, _ = io.WriteString(w, "{}")
		return
	}
	list := []map[string]string{}
	if watcher := p.watcher.Load(); watcher != nil {
		list = append(list, map[string]string{"id": *watcher})
		if p.lies {
			list = append(list, map[string]string{"id": *watcher + "-ghost"})
		}
	}
	if p.lies {
		w.Header().Set("Rollcall-Complete", "true")
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"eu": map[string]any{"authenticated": list}})
}

// noWriter is a full disk.
type noWriter struct{}

func (noWriter) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestAuditStatus has users who cannot join, and reports that cannot be printed: neither may look
// like an audit that found nothing wrong, or like one that found a wrong answer.
func TestAuditStatus(t *testing.T) {
	t.Parallel()
	unauthorized := func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusUnauthorized); return true }
	hangUp := func(w http.ResponseWriter) bool {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
		return true
	}
	const nobody = "no user joined a channel on eu/b, so nothing was judged there"
	const wrong = "complete answers that are wrong: "
	const refused = `"type":"error","code":"not_allowed"}`
	cases := []*struct {
		name   string
		pod    scriptedPod // eu/b; all is well on eu/a
		isFull bool        // the report cannot be printed
		status int
		failed string // kind of failure that eu/b has; empty for none
		wants  []string

		out bytes.Buffer
		err error
	}{
		{name: "all is well"},
		{name: "users cannot connect", pod: scriptedPod{handshake: hangUp}, status: 2, failed: "not_connected", wants: []string{nobody, "EOF"}},
		{name: "the pod is ending", pod: scriptedPod{close: 1012}, status: 2, failed: "not_connected", wants: []string{nobody, "1012"}},
		{name: "the token is refused", pod: scriptedPod{handshake: unauthorized}, status: 2, failed: "not_logged_in", wants: []string{nobody, "401"}},
		{name: "a plugin refuses them", pod: scriptedPod{close: 4005}, status: 2, failed: "not_logged_in", wants: []string{nobody, "4005"}},
		{name: "they may not join", pod: scriptedPod{join: refused}, status: 2, failed: "not_joined", wants: []string{nobody, "not_allowed"}},
		{name: "an answer is wrong", pod: scriptedPod{lies: true}, status: 1, wants: []string{wrong}},
		{name: "a wrong answer besides", pod: scriptedPod{lies: true, join: refused}, status: 1, failed: "not_joined", wants: []string{nobody, wrong}},
		{name: "the report has no space", isFull: true, status: 2, wants: []string{"printing the report: ", "no space left"}},
	}
	file := filepath.Join(t.TempDir(), "Caddyfile")
	site := "http://audit.example.com {\nrollcall {\napi_key a-key-of-the-site-for-audits\njwt {\nkey \"a secret of the site for audits\"\n}\n}\n}\n"
	if err := os.WriteFile(file, []byte(site), 0o600); err != nil {
		t.Fatal(err)
	}
	var audits sync.WaitGroup // all at once: each mostly waits
	for _, c := range cases {
		a, b := httptest.NewServer(new(scriptedPod)), httptest.NewServer(&c.pod)
		t.Cleanup(a.Close)
		t.Cleanup(b.Close)
		cmd := &cobra.Command{Use: "rollcall", SilenceUsage: true}
		caddycmd.Commands()["rollcall"].CobraFunc(cmd)
		cmd.SetArgs([]string{
			"audit", "--pod", "eu/a=" + a.URL, "--pod", "eu/b=" + b.URL, "--host", "audit.example.com", "--config", file,
			"--adapter", "caddyfile", "--users", "4", "--duration", "2s", "--json",
		})
		cmd.SetOut(&c.out)
		if c.isFull {
			cmd.SetOut(noWriter{})
		}
		cmd.SetErr(io.Discard)
		audits.Go(func() { c.err = cmd.ExecuteContext(t.Context()) })
	}
	audits.Wait()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := exitStatus(c.err); got != c.status {
				t.Errorf("status %d, want %d: %v", got, c.status, c.err)
			}
			for _, want := range c.wants {
				if c.err == nil || !strings.Contains(c.err.Error(), want) {
					t.Errorf("got %v, want %q", c.err, want)
				}
			}
			if c.isFull {
				return
			}
			var r struct {
				Pods []struct{ Users map[string]any }
			}
			if err := json.Unmarshal(c.out.Bytes(), &r); err != nil || len(r.Pods) != 2 {
				t.Fatalf("%v: %s", err, &c.out)
			}
			if n, _ := r.Pods[0].Users["joined"].(float64); n == 0 {
				t.Errorf("nobody joined on eu/a: %v", r.Pods[0].Users)
			}
			for _, kind := range []string{"not_connected", "not_logged_in", "not_joined"} {
				if n, _ := r.Pods[1].Users[kind].(float64); (n > 0) != (kind == c.failed) {
					t.Errorf("%s is %v on eu/b", kind, n)
				}
			}
		})
	}
}

// exitStatus returns the status with which Caddy exits after an error of a command.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() == reflect.Struct {
		if code := v.FieldByName("ExitCode"); code.IsValid() {
			return int(code.Int())
		}
	}
	return 1
}
