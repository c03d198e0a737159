package copies

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
)

// metrics are the metrics of copies to backends, by host, since the start of the process.
type metrics struct {
	label                               func(presence.HostName) string
	delivered, failed, refused, dropped *prometheus.CounterVec
}

func newMetrics(label func(presence.HostName) string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"host"}, labels...))
	}
	return &metrics{
		label:     label,
		delivered: counter("caddy_rollcall_backend_delivered_total", "Messages that the backend took, by host."),
		failed:    counter("caddy_rollcall_backend_failures_total", "Attempts that failed, by host and reason.", "reason"),
		refused:   counter("caddy_rollcall_backend_refused_total", "Messages that were refused since they could not be queued, by host and reason.", "reason"),
		dropped:   counter("caddy_rollcall_backend_dropped_total", "Messages that were given up, by host and reason.", "reason"),
	}
}

// Delivered implements backend.Observer.
func (m *metrics) Delivered(host presence.HostName) {
	m.delivered.WithLabelValues(m.label(host)).Inc()
}

// Failed implements backend.Observer.
func (m *metrics) Failed(host presence.HostName, why backend.Reason) {
	m.failed.WithLabelValues(m.label(host), string(why)).Inc()
}

// NotTaken implements backend.Observer.
func (m *metrics) NotTaken(host presence.HostName, why backend.Reason) {
	m.refused.WithLabelValues(m.label(host), string(why)).Inc()
}

// Dropped implements backend.Observer.
func (m *metrics) Dropped(host presence.HostName, why backend.Reason) {
	m.dropped.WithLabelValues(m.label(host), string(why)).Inc()
}

var _ backend.Observer = (*metrics)(nil)

// Metrics that are read at a scrape.
var (
	messagesDesc = waitingDesc("caddy_rollcall_backend_queued_messages", "Messages that wait for the backend now, by host.")
	bytesDesc    = waitingDesc("caddy_rollcall_backend_queued_bytes", "Bytes of the messages that wait for the backend now, by host.")
	oldestDesc   = waitingDesc("caddy_rollcall_backend_oldest_seconds", "Age of the oldest message that waits for the backend, by host.")
)

func waitingDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"host"}, nil)
}

// Collectors returns the metrics of copies. hosts returns the labels of the hosts that have a
// backend.
func (c *Copies) Collectors(hosts func() []string) []prometheus.Collector {
	return []prometheus.Collector{
		c.metrics.delivered, c.metrics.failed, c.metrics.refused, c.metrics.dropped, &waitingCopies{c, hosts},
	}
}

// waitingCopies collects the metrics of the queue.
type waitingCopies struct {
	*Copies
	hosts func() []string
}

// Describe implements prometheus.Collector.
func (c *waitingCopies) Describe(ch chan<- *prometheus.Desc) {
	ch <- messagesDesc
	ch <- bytesDesc
	ch <- oldestDesc
}

// Collect implements prometheus.Collector. It reports each named host that has a backend, and the
// sum of all other hosts.
func (c *waitingCopies) Collect(ch chan<- prometheus.Metric) {
	courier := c.courier.Load()
	if courier == nil {
		return
	}
	byLabel := make(map[string]backend.Waiting)
	for _, name := range c.hosts() {
		byLabel[name] = backend.Waiting{}
	}
	courier.Waiting(func(host presence.HostName, w backend.Waiting) {
		label := c.cfg.Label(host)
		sum := byLabel[label]
		sum.Messages += w.Messages
		sum.Bytes += w.Bytes
		if sum.Oldest.IsZero() || !w.Oldest.IsZero() && w.Oldest.Before(sum.Oldest) {
			sum.Oldest = w.Oldest
		}
		byLabel[label] = sum
	})
	for label, w := range byLabel {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
		}
		gauge(messagesDesc, float64(w.Messages))
		gauge(bytesDesc, float64(w.Bytes))
		age := 0.0
		if !w.Oldest.IsZero() {
			age = max(time.Since(w.Oldest).Seconds(), 0)
		}
		gauge(oldestDesc, age)
	}
}
