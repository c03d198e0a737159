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

// Without a series at 0, increase() does not see the first message that is dropped.
func TestDroppedMessagesCountFromZero(t *testing.T) {
	c := New(Config{Label: func(presence.HostName) string { return "_other" }})
	collectors := c.Collectors(func() []string { return []string{"portal.example.com"} })
	testkit.Metrics(t, collectors...) // a scrape before the first message
	got := testkit.Metrics(t, collectors...)
	for _, reason := range []string{"refused", "damaged"} {
		if n, ok := got["caddy_rollcall_backend_dropped_total portal.example.com "+reason]; !ok || n != 0 {
			t.Errorf("%s is %v, want a series of 0", reason, n)
		}
	}
}
