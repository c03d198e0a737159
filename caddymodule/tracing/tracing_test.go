package tracing

import (
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestSpans(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	ctx, request := provider.Tracer("caddy").Start(t.Context(), "handler")
	var tracer Tracer
	if _, early := tracer.New(t.Context(), "webhook"); early != nil {
		t.Error("a span without a provider")
	}
	_, inner := tracer.FromRequest(ctx, "users")
	inner.End("a.example", 200, "")
	outer, webhook := tracer.New(t.Context(), "webhook")
	header := http.Header{}
	Inject(outer, header)
	webhook.End("a.example", 503, "server_error")
	request.End()

	ended := spans.Ended()
	if len(ended) != 3 {
		t.Fatalf("%d spans, want 3", len(ended))
	}
	users, sent := ended[0], ended[1]
	if users.Name() != "rollcall users" || users.Parent().SpanID() != request.SpanContext().SpanID() || users.Status().Code != codes.Unset || len(users.Attributes()) != 2 {
		t.Errorf("users: %+v", users)
	}
	if sent.Name() != "rollcall webhook" || sent.Parent().IsValid() || sent.Status().Description != "server_error" || header.Get("Traceparent") == "" {
		t.Errorf("webhook: %+v, header %v", sent, header)
	}
}

// Without Caddy's tracing, spans cost no memory.
func TestNoSpansCostNothing(t *testing.T) {
	var tracer Tracer
	ctx, header := t.Context(), http.Header{}
	if n := testing.AllocsPerRun(100, func() {
		c, span := tracer.FromRequest(ctx, "users")
		span.End("a.example", 200, "")
		c, span = tracer.New(c, "webhook")
		Inject(c, header)
		span.End("a.example", 200, "")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
