package authorize

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

const testSecret = "a secret of this test"

// newAsker returns an Asker and its log.
func newAsker(t testing.TB) (*Asker, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	a := New(Config{Label: presence.HostName.String, Logger: zap.New(core)})
	t.Cleanup(a.Close)
	return a, logs
}

// serve starts a backend.
func serve(t testing.TB, f http.HandlerFunc) *Endpoint {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return endpointAt(server.URL)
}

func endpointAt(url string) *Endpoint {
	return &Endpoint{URL: url, Secrets: []backend.Secret{backend.Secret(testSecret)}, Timeout: 10 * time.Second, Cache: 30 * time.Second}
}

func question(t testing.TB, user, channel string) Question {
	t.Helper()
	return Question{
		Host: testkit.MustHost(t, "portal.example.com"), Channel: channel,
		User: presence.User{ID: user, Email: user + "@example.com"},
	}
}

// mustAsk returns the answer to a question.
func mustAsk(t testing.TB, a *Asker, to *Endpoint, q Question) Answer {
	t.Helper()
	answer, err := a.Ask(t.Context(), to, q)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// mustFail asks a question that has no answer.
func mustFail(t testing.TB, a *Asker, to *Endpoint, q Question) {
	t.Helper()
	answer, err := a.Ask(t.Context(), to, q)
	if !errors.Is(err, ErrUnavailable) || answer != (Answer{}) {
		t.Fatalf("got %+v, %v, want ErrUnavailable", answer, err)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// waitingOf returns the number of calls of Ask that wait.
func waitingOf(a *Asker) (n int) {
	a.waiting(func(_ presence.HostName, waiting int) { n += waiting })
	return n
}

// roundTrips is a transport without a network, for tests in fake time.
type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// respond returns a response with a body.
func respond(status int, text string) *http.Response {
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	w.WriteString(text)
	return w.Result()
}

// outcome is what a call of Ask returned.
type outcome struct {
	answer Answer
	err    error
}

// ask starts Ask and returns what it will return.
func ask(ctx context.Context, a *Asker, to *Endpoint, q Question) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		answer, err := a.Ask(ctx, to, q)
		done <- outcome{answer, err}
	}()
	return done
}
