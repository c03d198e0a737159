package rest

import (
	"fmt"
	"slices"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/rollcall-gateway/rollcall/caddymodule/tracing"
)

// TestSpans: each request to an endpoint has a span with the host of the app.
func TestSpans(t *testing.T) {
	p := newPod(t)
	spans := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	p.Tracer = new(tracing.Tracer)
	ask := func(q query) {
		ctx, request := provider.Tracer("caddy").Start(t.Context(), "handler")
		defer request.End()
		p.do(q.request().WithContext(ctx))
	}
	ask(query{method: "GET", path: "/apps/3/channels"})
	ask(query{method: "GET", path: "/apps/9/channels"})
	ask(query{method: "GET", path: "/apps/3/nothing"})
	var got []string
	for _, s := range spans.Ended() {
		if s.Name() != "handler" {
			got = append(got, fmt.Sprint(s.Name(), " ", s.Attributes()[0].Value.AsString(), " ", s.Attributes()[1].Value.AsInt64(), " ", s.Status().Description))
		}
	}
	if want := []string{"rollcall apps/channels " + portal + " 200 ", "rollcall apps/channels " + portal + " 404 404"}; !slices.Equal(got, want) {
		t.Errorf("spans %q, want %q", got, want)
	}
}
