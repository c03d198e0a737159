package copies

import (
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

func TestMetricsNameHostAndReason(t *testing.T) {
	m := newMetrics(func(presence.HostName) string { return "_other" })
	var host presence.HostName
	m.NotTaken(host, backend.ReasonFull)
	m.Dropped(host, backend.ReasonRefused)
	got := testkit.Metrics(t, m.refused, m.dropped)
	for _, want := range []string{
		"caddy_rollcall_backend_refused_total _other full", "caddy_rollcall_backend_dropped_total _other refused",
	} {
		if got[want] != 1 {
			t.Errorf("%s is %v, want 1", want, got[want])
		}
	}
}
