package authorize

import (
	"io"
	"net/http"
	"slices"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/tracing"
	"github.com/rollcall-gateway/rollcall/presence"
)

// A span has the status of the answer, also of one that allows or denies.
func TestSpansHaveTheStatus(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	ctx, request := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)).Tracer("caddy").Start(t.Context(), "handler")
	defer request.End()
	tracer := new(tracing.Tracer)
	tracer.FromRequest(ctx, "handshake")
	a := New(Config{Label: presence.HostName.String, Logger: zap.NewNop(), Tracer: tracer})
	t.Cleanup(a.Close)
	for channel, status := range map[string]int{"allowed": 200, "denied": 403, "failed": 500} {
		to := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"allow":true}`)
		})
		_, _ = a.Ask(t.Context(), to, question(t, "ada", channel))
		ended := spans.Ended()
		if len(ended) == 0 {
			t.Fatal("no span")
		}
		span := ended[len(ended)-1]
		if want := attribute.Int("http.response.status_code", status); !slices.Contains(span.Attributes(), want) {
			t.Errorf("%s: attributes %v, want %v", channel, span.Attributes(), want)
		}
	}
}
