package authorize

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/loopback"
)

func TestQuestion(t *testing.T) {
	a, _ := newAsker(t)
	to := serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		const want = `{"type":"authorize","host":"portal.example.com","channel":"a<b>","user":{"id":"ada","email":"ada@example.com","info":{"name":"<Ada>"}}}`
		if string(text) != want || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s %s %v", r.Method, text, r.Header)
		}
		seconds, err := strconv.ParseInt(r.Header.Get("Webhook-Timestamp"), 10, 64)
		if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
			t.Errorf("asked at %s", r.Header.Get("Webhook-Timestamp"))
		}
		mac := hmac.New(sha256.New, []byte(testSecret))
		mac.Write([]byte(r.Header.Get("Webhook-Id") + "." + r.Header.Get("Webhook-Timestamp") + "." + want))
		if got := r.Header.Get("Webhook-Signature"); got != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			t.Errorf("the signature is %s", got)
		}
		io.WriteString(w, `{"allow":true,"send":false,"expires_in":60}`)
	})
	before := time.Now()
	q := question(t, "ada", "a<b>")
	q.User.Info = `{"name":"<Ada>"}`
	got := mustAsk(t, a, to, q)
	if end := got.Until.Sub(before); !got.Allow || got.Send || !got.See || end < time.Minute || end > 2*time.Minute {
		t.Errorf("got %+v", got)
	}
}

// No response but a yes lets a user in.
func TestBackendsThatDoNotAnswer(t *testing.T) {
	// hang waits until the client is gone, which the server notices once it has read the body.
	hang := func(r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	tenMB := strings.Repeat(" ", 10<<20)
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	const yes = `{"allow":true}`
	var read atomic.Int64
	for _, test := range []struct {
		name, reason string
		f            http.HandlerFunc
	}{
		{"302", "redirect", status(http.StatusFound, yes)},
		{"307", "redirect", status(http.StatusTemporaryRedirect, yes)},
		{"500", "server_error", status(http.StatusInternalServerError, yes)},
		{"401", "refused", status(http.StatusUnauthorized, yes)},
		{"429", "busy", status(http.StatusTooManyRequests, yes)},
		{"201", "invalid", status(http.StatusCreated, yes)},
		{"204", "invalid", status(http.StatusNoContent, "")},
		{"rubbish", "invalid", status(http.StatusOK, "<html>yes</html>")},
		{"10 MB", "invalid", func(w http.ResponseWriter, _ *http.Request) {
			for range 10 << 4 { // more than any buffer of the kernel
				n, err := io.WriteString(w, tenMB[:1<<16])
				read.Add(int64(n))
				if err != nil {
					return
				}
			}
			io.WriteString(w, yes)
		}},
		{"slow", "timeout", func(_ http.ResponseWriter, r *http.Request) { hang(r) }},
		{"slow body", "timeout", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, yes[:5])
			w.(http.Flusher).Flush()
			hang(r)
		}},
		{"broken", "network", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, logs := newAsker(t)
			to := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" {
					t.Errorf("asked at %s", r.URL)
				}
				test.f(w, r)
			})
			if test.reason == "timeout" {
				to.Timeout = 50 * time.Millisecond
			}
			mustFail(t, a, to, question(t, "ada", "room"))
			if _, ok := a.Kept(to, question(t, "ada", "room")); ok {
				t.Error("an answer is kept")
			}
			eventually(t, "the log", func() bool { return logs.Len() == 1 }) // it is written without the lock
			if got := logs.All()[0]; got.Message != "backend does not answer authorize, joins are refused" || got.ContextMap()["reason"] != test.reason {
				t.Errorf("logged %s %v", got.Message, got.ContextMap())
			}
			mustFail(t, a, to, question(t, "ada", "room"))
			if logs.Len() != 1 {
				t.Error("logged twice")
			}
		})
	}
}

func TestDeadBackend(t *testing.T) {
	a, _ := newAsker(t)
	to := endpointAt("http://" + loopback.AddressFor(t) + "/?token=hidden")
	_, logs := newAsker(t)
	mustFail(t, a, to, question(t, "ada", "room"))
	for _, entry := range logs.All() {
		if strings.Contains(entry.Message, "hidden") {
			t.Errorf("the log shows the URL: %v", entry)
		}
	}
}

func TestForbiddenIsANo(t *testing.T) {
	a, logs := newAsker(t)
	to := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"allow":true}`)
	})
	if got := mustAsk(t, a, to, question(t, "ada", "room")); got != (Answer{}) || logs.Len() != 0 {
		t.Errorf("got %+v, logged %v", got, logs.All())
	}
}

// answers is a backend that counts its requests.
type answers struct {
	text atomic.Value // string
	n    atomic.Int64
}

func (s *answers) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.n.Add(1)
	io.WriteString(w, s.text.Load().(string))
}

func TestNoAfterYes(t *testing.T) {
	a, _ := newAsker(t)
	var s answers
	to := serve(t, s.ServeHTTP)
	q := question(t, "ada", "room")
	step := func(what string, got Answer, allow bool, asked int64) {
		t.Helper()
		if got.Allow != allow || s.n.Load() != asked {
			t.Errorf("%s: %+v after %d requests, want allow %t after %d", what, got, s.n.Load(), allow, asked)
		}
	}
	s.text.Store(`{"allow":true}`)
	step("first", mustAsk(t, a, to, q), true, 1)
	step("kept", mustAsk(t, a, to, q), true, 1)
	s.text.Store(`{"allow":false}`)
	step("still kept", mustAsk(t, a, to, q), true, 1)
	again, err := a.AskAgain(t.Context(), to, q)
	if err != nil {
		t.Fatal(err)
	}
	step("again", again, false, 2)
	step("the no is kept", mustAsk(t, a, to, q), false, 2)
	a.Forget(q.Host, []string{"grace"})
	step("another user", mustAsk(t, a, to, q), false, 2)
	s.text.Store(`{"allow":true}`)
	a.Forget(q.Host, []string{"grace", "ada"})
	step("forgotten", mustAsk(t, a, to, q), true, 3)
	s.text.Store(`{"allow":false}`)
	a.ForgetAll(question(t, "ada", "room").Host)
	step("all are forgotten", mustAsk(t, a, to, q), false, 4)
	s.text.Store(`{"allow":true}`)
	step("another text", mustAsk(t, a, to, question(t, "ada", "hall")), true, 5)
	other := *to
	other.URL += "/other"
	step("another URL", mustAsk(t, a, &other, q), true, 6)
}
