package backend

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

func TestRequestIsWhatTheDocumentationSays(t *testing.T) {
	got := newReceived()
	headers := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.record(r)
		headers <- r.Header
	}))
	defer server.Close()
	s, host := newScene(t, nil), testkit.MustHost(t, "portal.example.com")
	s.endpoints.set(host, endpointAt(server.URL+"/rollcall?x=1"))
	s.mustAdd(t, host, Message{
		Channel: "sales <&> ü", Mode: Receive, From: &presence.User{ID: "ada", Email: "ada@example.com"},
		Connection: presence.ID{}, Message: []byte(`{"text":"<b>","x":1.50}`), Sent: time.UnixMilli(1_700_000_000_123),
	})
	header := <-headers
	testkit.Eventually(t, "the message is removed", func() bool { return s.waiting(host).Messages == 0 })

	body, id := got.bodies[0], header.Get("Webhook-Id")
	want := `{"id":"` + id + `","type":"message","host":"portal.example.com","channel":"sales <&> ü","mode":"receive",` +
		`"from":{"id":"ada","email":"ada@example.com"},"connection":"AAAAAAAAAAAAAAAAAAAAAA",` +
		`"message":{"text":"<b>","x":1.50},"sent":1700000000123}`
	if body != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	seconds, err := strconv.ParseInt(header.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
		t.Errorf("timestamp %q", header.Get("Webhook-Timestamp"))
	}
	if sig := signature([]Secret{Secret(testSecret)}, id, time.Unix(seconds, 0), []byte(body)); header.Get("Webhook-Signature") != sig {
		t.Errorf("signature %q, want %q", header.Get("Webhook-Signature"), sig)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "Rollcall", "Rollcall-Attempt": "1",
	} {
		if header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, header.Get(name), want)
		}
	}
}

func TestMessageOfAnAnonymousConnectionIsFromNobody(t *testing.T) {
	m := message("lobby", 1)
	m.From = nil
	raw, err := m.encode("id", testkit.MustHost(t, "a.example"))
	if err != nil || !strings.Contains(string(raw), `"from":null`) {
		t.Errorf("%s, %v", raw, err)
	}
	m.Message = []byte(`{"open":`)
	if raw, err := m.encode("id", testkit.MustHost(t, "a.example")); err == nil {
		t.Errorf("a message that is not JSON becomes %s", raw)
	}
	if !json.Valid(raw) {
		t.Errorf("%s is not JSON", raw)
	}
}

func TestAnswersAreJudgedByTheirStatus(t *testing.T) {
	for _, test := range []struct {
		statuses []int
		why      Reason
		final    bool
	}{
		{[]int{200, 201, 202, 204, 299}, "", false},
		{[]int{301, 302, 307, 308}, ReasonRedirect, false},
		{[]int{400, 402, 409, 410, 413, 415, 422}, ReasonRefused, true},
		{[]int{401, 403, 404, 405, 407, 408, 421, 425}, ReasonRefused, false},
		{[]int{429}, ReasonBusy, false},
		{[]int{500, 501, 502, 503, 504, 599}, ReasonServer, false},
	} {
		for _, status := range test.statuses {
			o := answered(status, "", time.Time{})
			if o.why != test.why || o.final != test.final || o.status != status || (o.err == nil) != (test.why == "") {
				t.Errorf("%d is %+v", status, o)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-3": 0, "0": 0, "7": 7 * time.Second, "100000": maxRetryAfter,
		"4294967295": maxRetryAfter, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
		"Sat, 02 Jan 2027 03:04:15 GMT": maxRetryAfter,
	} {
		if got := parseRetryAfter(text, now); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	if o := answered(429, "3", now); o.after != 3*time.Second {
		t.Errorf("429 waits %s", o.after)
	}
	if o := answered(500, "3", now); o.after != 0 {
		t.Errorf("500 waits %s", o.after)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	followed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		followed = followed || r.URL.Path == "/other"
		http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	o := post(t.Context(), NewClient(nil), endpointAt(server.URL), "id", nil, 1)
	if o.why != ReasonRedirect || followed {
		t.Errorf("%+v, followed: %t", o, followed)
	}
}

func TestErrorsDoNotShowTheURL(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	o := post(t.Context(), NewClient(nil), endpointAt("http://"+address+"/path?token=hidden"), "id", nil, 1)
	if o.why != ReasonNetwork || strings.Contains(o.err.Error(), "hidden") {
		t.Errorf("%+v", o)
	}
}

func TestSilentBackendTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		start := time.Now()
		o := post(context.Background(), NewClient(silent), endpointAt("http://a.example"), "id", nil, 1)
		if o.why != ReasonTimeout || time.Since(start) != 10*time.Second {
			t.Errorf("%+v after %s", o, time.Since(start))
		}
		if !errors.Is(o.err, context.DeadlineExceeded) && !os.IsTimeout(o.err) {
			t.Errorf("the error is %v", o.err)
		}
	})
}

// An endless body must not delay the delivery.
func TestLongAnswerIsCut(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		block := make([]byte, 64<<10)
		for { // ends when the client has closed the connection
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	if o := post(t.Context(), NewClient(nil), endpointAt(server.URL), "id", nil, 1); o.why != "" {
		t.Errorf("%+v", o)
	}
	<-done
}

// The body of an answer that switches protocols has no deadline: it must delay neither the delivery
// nor the exit.
func TestSwitchOfProtocolsIsNotFollowed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn) // ends when the client has closed the connection
	}))
	defer server.Close()
	s, host := newScene(t, nil), testkit.MustHost(t, "portal.example.com")
	to := endpointAt(server.URL)
	to.Timeout = 100 * time.Millisecond
	s.endpoints.set(host, to)
	s.mustAdd(t, host, message("sales", 0))
	testkit.Eventually(t, "it is tried again", func() bool { return s.counts.get("failed redirect") > 1 })
}
