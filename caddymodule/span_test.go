package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// Spans of handshakes have the canonical host, as those of endpoints do, and the status 101 unless they are refused.
func TestSpansOfHandshakes(t *testing.T) {
	h := loadHandler(t, "api_key k")
	spans := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	var handlers sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		ctx, request := provider.Tracer("caddy").Start(r.Context(), "handler")
		defer request.End()
		w = wrapped{w}
		if err := h.ServeHTTP(w, prepare(w, r.WithContext(ctx)), notFound); err != nil {
			t.Errorf("ServeHTTP: %v", err)
		}
	}))
	t.Cleanup(server.Close)
	welcome(t, mustDial(t, server, "PORTAL.example.com:80"))
	closedWith(t, mustDial(t, server, "portal.example.com", "Origin", "http://evil.example"))
	if _, _, err := dial(t, server, "no..host"); err == nil {
		t.Error("a text that is no host is accepted")
	}
	handlers.Wait()
	var got []string
	for _, s := range spans.Ended() {
		if s.Name() == "rollcall handshake" {
			text := s.Status().Description
			for _, a := range s.Attributes() {
				text += fmt.Sprintf(" %s=%v", a.Key, a.Value.AsInterface())
			}
			got = append(got, text)
		}
	}
	slices.Sort(got)
	want := []string{
		" rollcall.host=portal.example.com http.response.status_code=101",
		"refused rollcall.host=", "refused rollcall.host=portal.example.com",
	}
	if !slices.Equal(got, want) {
		t.Errorf("spans %q, want %q", got, want)
	}
}
