package caddymodule

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
)

// copyCounters are the numbers of one host about copies to its backend.
type copyCounters struct {
	mu        sync.Mutex
	delivered uint64
	failed    map[backend.Reason]uint64 // attempts
	refused   map[backend.Reason]uint64
	dropped   map[backend.Reason]uint64
}

// What is read of the copies at the moment of a scrape.
var (
	backendWaitingDesc   = hostDesc("backend_queued_messages", "Messages that wait for the backend now, by host.")
	backendBytesDesc     = hostDesc("backend_queued_bytes", "Bytes of the messages that wait for the backend now, by host.")
	backendOldestDesc    = hostDesc("backend_oldest_seconds", "Age of the oldest message that waits for the backend, by host.")
	backendDeliveredDesc = hostDesc("backend_delivered_total", "Messages that the backend took, by host.")
	backendFailedDesc    = hostDesc("backend_failures_total", "Attempts that failed, by host and reason.", "reason")
	backendRefusedDesc   = hostDesc("backend_refused_total", "Messages that were refused since they could not be queued, by host and reason.", "reason")
	backendDroppedDesc   = hostDesc("backend_dropped_total", "Messages that were given up, by host and reason.", "reason")
)

// copies returns the numbers of a host.
func (m *metrics) copies(host presence.HostName) *copyCounters {
	label := otherHosts
	if now := m.hub.configurations(); len(now) > 0 {
		label = now[0].label(host)
	}
	return &m.host(label).copies
}

// Delivered implements backend.Observer.
func (m *metrics) Delivered(host presence.HostName) {
	c := m.copies(host)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delivered++
}

// Failed implements backend.Observer.
func (m *metrics) Failed(host presence.HostName, why backend.Reason) {
	c := m.copies(host)
	c.mu.Lock()
	defer c.mu.Unlock()
	count(&c.failed, why)
}

// NotTaken implements backend.Observer.
func (m *metrics) NotTaken(host presence.HostName, why backend.Reason) {
	c := m.copies(host)
	c.mu.Lock()
	defer c.mu.Unlock()
	count(&c.refused, why)
}

// Dropped implements backend.Observer.
func (m *metrics) Dropped(host presence.HostName, why backend.Reason) {
	c := m.copies(host)
	c.mu.Lock()
	defer c.mu.Unlock()
	count(&c.dropped, why)
}

// count counts a reason in a map that is made when there is one.
func count(by *map[backend.Reason]uint64, why backend.Reason) {
	if *by == nil {
		*by = make(map[backend.Reason]uint64)
	}
	(*by)[why]++
}

// collect reports the numbers of one host that has any.
func (c *copyCounters) collect(ch chan<- prometheus.Metric, label string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.delivered > 0 {
		ch <- counter(backendDeliveredDesc, c.delivered, label)
	}
	for desc, by := range map[*prometheus.Desc]map[backend.Reason]uint64{
		backendFailedDesc: c.failed, backendRefusedDesc: c.refused, backendDroppedDesc: c.dropped,
	} {
		for why, n := range by {
			ch <- counter(desc, n, label, string(why))
		}
	}
}

// collectWaiting reports what waits, for each host that the configuration names and has a backend for, and together for
// all others.
func (m *metrics) collectWaiting(ch chan<- prometheus.Metric) {
	now, courier := m.hub.current(), m.hub.copies.courier.Load()
	if now == nil || courier == nil {
		return
	}
	byLabel := make(map[string]backend.Waiting)
	for name, s := range now.names() {
		if s.backend != nil {
			byLabel[name] = backend.Waiting{}
		}
	}
	courier.Waiting(func(host presence.HostName, w backend.Waiting) {
		sum := byLabel[now.label(host)]
		sum.Messages += w.Messages
		sum.Bytes += w.Bytes
		if sum.Oldest.IsZero() || !w.Oldest.IsZero() && w.Oldest.Before(sum.Oldest) {
			sum.Oldest = w.Oldest
		}
		byLabel[now.label(host)] = sum
	})
	for label, w := range byLabel {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
		}
		gauge(backendWaitingDesc, float64(w.Messages))
		gauge(backendBytesDesc, float64(w.Bytes))
		age := 0.0
		if !w.Oldest.IsZero() {
			age = max(time.Since(w.Oldest).Seconds(), 0)
		}
		gauge(backendOldestDesc, age)
	}
}

var _ backend.Observer = (*metrics)(nil)
