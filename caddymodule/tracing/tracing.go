// Package tracing makes OpenTelemetry spans with the provider of Caddy's handler tracing. Where
// that handler is not used, it makes none and costs no memory.
package tracing

import (
	"context"
	"net/http"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of the instrumentation in spans.
const scope = "github.com/rollcall-gateway/rollcall"

// Tracer makes spans. The zero value and nil are ready to use. Its methods are safe for concurrent
// use.
type Tracer struct {
	provider atomic.Pointer[trace.TracerProvider] // of the last request with a span; nil before the first
}

// Span is a span under way. nil is one that is not recorded.
type Span struct{ span trace.Span }

// FromRequest begins a span, whose name begins with rollcall, below the one that Caddy has begun
// for a request, and remembers the provider for [Tracer.New]. Without one, it returns ctx and nil.
func (t *Tracer) FromRequest(ctx context.Context, name string) (context.Context, *Span) {
	parent := trace.SpanFromContext(ctx)
	if t == nil || !parent.IsRecording() {
		return ctx, nil
	}
	provider := parent.TracerProvider()
	if known := t.provider.Load(); known == nil || *known != provider {
		t.provider.Store(&provider)
	}
	return begin(ctx, provider, name, trace.SpanKindInternal)
}

// New begins a span of a request to a backend, which belongs to no request of a client. It returns
// nil if no request has had a span.
func (t *Tracer) New(ctx context.Context, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	provider := t.provider.Load()
	if provider == nil {
		return ctx, nil
	}
	return begin(ctx, *provider, name, trace.SpanKindClient)
}

func begin(ctx context.Context, provider trace.TracerProvider, name string, kind trace.SpanKind) (context.Context, *Span) {
	ctx, span := provider.Tracer(scope).Start(ctx, "rollcall "+name, trace.WithSpanKind(kind))
	return ctx, &Span{span}
}

// Inject adds the header traceparent to a request with a span, so that its receiver continues the
// trace.
func Inject(ctx context.Context, header http.Header) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
	}
}

// End ends the span with the host, the HTTP status, 0 for none, and the reason of a failure, "" for
// none.
func (s *Span) End(host string, status int, failure string) {
	if s == nil {
		return
	}
	s.span.SetAttributes(attribute.String("rollcall.host", host))
	if status != 0 {
		s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if failure != "" {
		s.span.SetStatus(codes.Error, failure)
	}
	s.span.End()
}
