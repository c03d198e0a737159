package copies

import (
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

func TestMetricsNameHostAndReason(t *testing.T) {
	m := newMetrics(func(presence.HostName) string { return "_other" })
	m.NotTaken(backend.Stream{}, backend.ReasonFull, 1)
	m.Dropped(backend.Stream{}, backend.ReasonRefused, 1)
	got := testkit.Metrics(t, m.Refused, m.Discarded)
	for _, want := range []string{
		"caddy_rollcall_backend_refused_total _other full", "caddy_rollcall_backend_dropped_total _other refused",
	} {
		if got[want] != 1 {
			t.Errorf("%s is %v, want 1", want, got[want])
		}
	}
}
