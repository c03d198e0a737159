package copies

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
)

func TestMetricsNameHostAndReason(t *testing.T) {
	m := newMetrics(func(presence.HostName) string { return "_other" })
	var host presence.HostName
	m.NotTaken(host, backend.ReasonFull)
	m.Dropped(host, backend.ReasonRefused)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m.refused, m.dropped)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = metric.GetCounter().GetValue()
		}
	}
	for _, want := range []string{
		"caddy_rollcall_backend_refused_total _other full", "caddy_rollcall_backend_dropped_total _other refused",
	} {
		if got[want] != 1 {
			t.Errorf("%s is %v, want 1", want, got[want])
		}
	}
}
