package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// loadAsking returns a site whose channels team-* need a grant, which the backend at the URL gives.
func loadAsking(t *testing.T, url, options string) *Handler {
	t.Helper()
	return loadHandler(t, "api_key k\nchannels {\ngranted team-*\n}\nauthorize "+url+" {\nsecret "+backendSecret+"\n"+options+"\n}")
}

// asks sends a frame and returns the answer.
func asks(t *testing.T, conn *websocket.Conn, frame string) string {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		t.Fatal(err)
	}
	_, answer, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// Whatever a backend does, only a yes opens a channel.
func TestBackendDecidesWhoJoins(t *testing.T) {
	page := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/yes")
			w.WriteHeader(status)
			io.WriteString(w, text)
		}
	}
	const yes = `{"allow":true}`
	for _, test := range []struct {
		name    string
		backend http.HandlerFunc // nil: dead
		want    string
	}{
		{"yes", page(http.StatusOK, yes), `"type":"joined","id":1`},
		{"no", page(http.StatusOK, `{"allow":false}`), `"id":1,"code":"denied"`},
		{"403", page(http.StatusForbidden, yes), `"id":1,"code":"denied"`},
		{"dead", nil, `"id":1,"code":"unavailable"`},
		{"slow", func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // only then is the context done when the client is gone
			<-r.Context().Done()
		}, `"id":1,"code":"unavailable"`},
		{"302", page(http.StatusFound, yes), `"id":1,"code":"unavailable"`},
		{"500", page(http.StatusInternalServerError, yes), `"id":1,"code":"unavailable"`},
		{"rubbish", page(http.StatusOK, "yes"), `"id":1,"code":"unavailable"`},
		{"10 MB", page(http.StatusOK, strings.Repeat(" ", 10<<20)+yes), `"id":1,"code":"unavailable"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := "http://" + loopback.AddressFor(t)
			if test.backend != nil {
				mux := http.NewServeMux()
				mux.HandleFunc("/may-join", test.backend)
				mux.HandleFunc("/yes", page(http.StatusOK, yes))
				server := httptest.NewServer(mux)
				t.Cleanup(server.Close)
				url = server.URL
			}
			h := loadAsking(t, url+"/may-join", "timeout 300ms")
			server := listen(t, h)
			ada := mustDial(t, server, "portal.example.com", "Test-User", "ada")
			welcome(t, ada)
			if got := asks(t, ada, `{"type":"join","channel":"team-a","id":1}`); !strings.Contains(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := asks(t, ada, `{"type":"join","channel":"open","id":2}`); !strings.Contains(got, `"joined","id":2`) {
				t.Errorf("another channel: %s", got)
			}
			visitor := mustDial(t, server, "portal.example.com")
			welcome(t, visitor)
			if got := asks(t, visitor, `{"type":"join","channel":"team-a"}`); !strings.Contains(got, `"code":"login_required"`) {
				t.Errorf("a visitor: %s", got)
			}
			listed := strings.Contains(post(t, h, "/message/channels", `{"apiKey":"k"}`).Body.String(), "team-a")
			if opened := strings.Contains(test.want, "joined"); listed != opened {
				t.Errorf("the channel is listed: %t", listed)
			}
		})
	}
}

// removeuser forgets a yes, also of a user without assignments.
func TestNoAfterYes(t *testing.T) {
	var answer atomic.Value
	answer.Store(`{"allow":true}`)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer.Load().(string)) }))
	t.Cleanup(backend.Close)
	h := loadAsking(t, backend.URL, "")
	ada := mustDial(t, listen(t, h), "portal.example.com", "Test-User", "ada")
	welcome(t, ada)
	step := func(frame, want string) {
		t.Helper()
		if got := asks(t, ada, frame); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", frame, got, want)
		}
	}
	const join, leave = `{"type":"join","channel":"team-a"}`, `{"type":"leave","channel":"team-a"}`
	step(join, `"type":"joined"`)
	step(leave, `"type":"left"`)
	answer.Store(`{"allow":false}`)
	step(join, `"type":"joined"`) // the yes is kept
	step(leave, `"type":"left"`)
	if w := post(t, h, "/message/removeuser", `{"apiKey":"k","users":[{"id":"ada"}]}`); w.Code != http.StatusCreated {
		t.Fatalf("removeuser: %d %s", w.Code, w.Body)
	}
	step(join, `"code":"denied"`)
}

// A crowd that joins at once asks once for each user and channel, and never more than 64 at a time.
func TestCrowdAsksOnce(t *testing.T) {
	// All have to join within the backend's timeout, on a busy machine, too.
	const conns, channels, maxBusy = 2000, 200, 64
	var now, most, all atomic.Int64
	allWait := make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Add(1)
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		body, _ := io.ReadAll(r.Body)
		<-allWait
		fmt.Fprintf(w, `{"allow":%t}`, strings.Contains(string(body), `"channel":"team-yes-`))
	}))
	t.Cleanup(backend.Close)
	open := sync.OnceFunc(func() { close(allWait) })
	t.Cleanup(open) // so that the backend can close
	h := loadAsking(t, backend.URL, "timeout 30s")
	server := listen(t, h)
	channelOf := func(i int) string {
		n := i % channels
		if n%2 == 0 {
			return fmt.Sprintf("team-yes-%d", n)
		}
		return fmt.Sprintf("team-no-%d", n)
	}
	var crowd [conns]*websocket.Conn
	inParallel := func(f func(i int)) {
		var workers sync.WaitGroup
		var next atomic.Int64
		for range 16 {
			workers.Go(func() {
				for i := int(next.Add(1)) - 1; i < conns && !t.Failed(); i = int(next.Add(1)) - 1 {
					f(i)
				}
			})
		}
		workers.Wait()
	}
	inParallel(func(i int) {
		conn, _, err := dial(t, server, "portal.example.com", "Test-User", fmt.Sprintf("user-%d", i%channels))
		if err == nil {
			_, _, err = conn.ReadMessage() // the welcome
		}
		if err != nil {
			t.Errorf("dialing: %v", err)
			return
		}
		crowd[i] = conn
	})
	if t.Failed() {
		t.FailNow()
	}
	inParallel(func(i int) {
		if err := crowd[i].WriteMessage(websocket.TextMessage, []byte(`{"type":"join","channel":"`+channelOf(i)+`"}`)); err != nil {
			t.Errorf("joining: %v", err)
		}
	})
	testkit.Eventually(t, "all wait, and the backend is busy", func() bool {
		if now.Load() != maxBusy { // less work than the metrics
			return false
		}
		waiting := 0.0
		for name, n := range testkit.Metrics(t, h.app.hub.Collectors()...) {
			if strings.HasPrefix(name, "caddy_rollcall_authorize_waiting ") {
				waiting += n
			}
		}
		return waiting == conns
	})
	open()
	inParallel(func(i int) {
		_, got, err := crowd[i].ReadMessage()
		want := `"code":"denied"`
		if strings.HasPrefix(channelOf(i), "team-yes") {
			want = `"type":"joined"`
		}
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %s, %v", channelOf(i), got, err)
		}
	})
	if all.Load() != channels || most.Load() != maxBusy {
		t.Errorf("%d questions, %d at a time, want %d and %d", all.Load(), most.Load(), channels, maxBusy)
	}
	host := h.app.hub.Registry.Host(testkit.MustHost(t, "portal.example.com"))
	if got := host.Stats().Channels; got != channels/2 {
		t.Errorf("%d channels are active, want %d", got, channels/2)
	}
	inParallel(func(i int) { crowd[i].Close() })
}
