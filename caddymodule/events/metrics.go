package events

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
)

// observer counts what happens to queued events. Those that were not queued are counted by Events:
// the queue may get room.
type observer struct{ *backend.Metrics }

// NotTaken implements backend.Observer.
func (observer) NotTaken(backend.Stream, backend.Reason, int) {}

// newMetrics returns the metrics of events, by host and receiver.
func newMetrics(label func(presence.HostName) string, receivers func(presence.HostName) []*Receiver) *backend.Metrics {
	labels := []string{"host", "receiver"}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(labels[:2:2], more...))
	}
	gauge := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, labels, nil) }
	m := &backend.Metrics{
		Labels: func(of backend.Stream) []string {
			for _, r := range receivers(of.Host) {
				if r.ID == of.Receiver {
					return []string{label(of.Host), r.Number}
				}
			}
			return []string{label(of.Host), ""}
		},
		Accepted:  counter("caddy_rollcall_events_delivered_total", "Events that the receiver accepted, by host and receiver."),
		Failures:  counter("caddy_rollcall_events_failures_total", "Requests that failed, by host, receiver and reason.", "reason"),
		Discarded: counter("caddy_rollcall_events_dropped_total", "Events that were thrown away, by host, receiver and reason.", "reason"),
		Number:    gauge("caddy_rollcall_events_queued", "Events queued now, by host and receiver."),
		Bytes:     gauge("caddy_rollcall_events_queued_bytes", "Bytes of the events queued now, by host and receiver."),
		Oldest:    gauge("caddy_rollcall_events_oldest_seconds", "Age of the oldest event queued, by host and receiver."),
	}
	m.Refused = m.Discarded
	return m
}

// Collectors returns the metrics of events. known returns the labels of the receivers of hosts that
// the configuration names.
func (e *Events) Collectors(known func() [][]string) []prometheus.Collector {
	m := e.metrics
	return []prometheus.Collector{m.Accepted, m.Failures, m.Discarded, m.Queued(e.Keeper, known)}
}
