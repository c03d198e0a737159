package copies

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
)

// newMetrics returns the metrics of copies to backends, by host.
func newMetrics(label func(presence.HostName) string) *backend.Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"host"}, labels...))
	}
	gauge := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"host"}, nil)
	}
	return &backend.Metrics{
		Labels:    func(of backend.Stream) []string { return []string{label(of.Host)} },
		Accepted:  counter("caddy_rollcall_backend_delivered_total", "Messages that the backend took, by host."),
		Failures:  counter("caddy_rollcall_backend_failures_total", "Attempts that failed, by host and reason.", "reason"),
		Refused:   counter("caddy_rollcall_backend_refused_total", "Messages that were refused since they could not be queued, by host and reason.", "reason"),
		Discarded: counter("caddy_rollcall_backend_dropped_total", "Messages that were given up, by host and reason.", "reason"),
		Number:    gauge("caddy_rollcall_backend_queued_messages", "Messages that wait for the backend now, by host."),
		Bytes:     gauge("caddy_rollcall_backend_queued_bytes", "Bytes of the messages that wait for the backend now, by host."),
		Oldest:    gauge("caddy_rollcall_backend_oldest_seconds", "Age of the oldest message that waits for the backend, by host."),
	}
}

// Collectors returns the metrics of copies. hosts returns the labels of the hosts that have a
// backend.
func (c *Copies) Collectors(hosts func() []string) []prometheus.Collector {
	m := c.metrics
	known := func() (all [][]string) {
		for _, host := range hosts() {
			all = append(all, []string{host})
		}
		return all
	}
	return []prometheus.Collector{m.Accepted, m.Failures, m.Refused, m.Discarded, m.Queued(c.Keeper, known)}
}
