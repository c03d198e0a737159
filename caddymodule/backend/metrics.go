package backend

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the metrics of a courier since the start of the process. All fields are required.
type Metrics struct {
	Labels func(Stream) []string // labels of a stream: those of all metrics below

	// Counters. All but Accepted have the label reason in addition.
	Accepted, Failures, Refused, Discarded *prometheus.CounterVec

	// Metrics that are read at a scrape: of what is queued, the number, the bytes and the age of
	// the oldest.
	Number, Bytes, Oldest *prometheus.Desc
}

var _ Observer = (*Metrics)(nil)

// Delivered implements Observer.
func (m *Metrics) Delivered(of Stream, messages int) {
	m.Accepted.WithLabelValues(m.Labels(of)...).Add(float64(messages))
}

// Failed implements Observer.
func (m *Metrics) Failed(of Stream, why Reason) { m.count(m.Failures, of, why, 1) }

// NotTaken implements Observer.
func (m *Metrics) NotTaken(of Stream, why Reason, messages int) {
	m.count(m.Refused, of, why, messages)
}

// Dropped implements Observer.
func (m *Metrics) Dropped(of Stream, why Reason, messages int) {
	m.count(m.Discarded, of, why, messages)
}

func (m *Metrics) count(counter *prometheus.CounterVec, of Stream, why Reason, n int) {
	counter.WithLabelValues(append(m.Labels(of), string(why))...).Add(float64(n))
}

// Queued returns a collector of what is queued. known returns the labels of streams that are
// configured: they are reported even if nothing is queued.
func (m *Metrics) Queued(keeper *Keeper, known func() [][]string) prometheus.Collector {
	return &queued{m, keeper, known}
}

type queued struct {
	*Metrics
	keeper *Keeper
	known  func() [][]string
}

// Describe implements prometheus.Collector.
func (c *queued) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.Number
	ch <- c.Bytes
	ch <- c.Oldest
}

// Collect implements prometheus.Collector. It reports the sums of streams with the same labels.
func (c *queued) Collect(ch chan<- prometheus.Metric) {
	for _, labels := range c.known() {
		for _, why := range []Reason{ReasonRefused, ReasonDamaged} { // at 0, so that increase() sees the first
			c.Discarded.WithLabelValues(append(slices.Clone(labels), string(why))...)
		}
	}
	courier := c.keeper.Courier()
	if courier == nil {
		return
	}
	type sum struct {
		Waiting
		labels []string
	}
	sums := make(map[string]*sum)
	of := func(labels []string) *sum {
		key := strings.Join(labels, " ")
		if sums[key] == nil {
			sums[key] = &sum{labels: labels}
		}
		return sums[key]
	}
	for _, labels := range c.known() {
		of(labels)
	}
	courier.Waiting(func(stream Stream, w Waiting) {
		s := of(c.Labels(stream))
		s.Messages += w.Messages
		s.Waiting.Bytes += w.Bytes
		if s.Waiting.Oldest.IsZero() || !w.Oldest.IsZero() && w.Oldest.Before(s.Waiting.Oldest) {
			s.Waiting.Oldest = w.Oldest
		}
	})
	for _, s := range sums {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.labels...)
		}
		gauge(c.Number, float64(s.Messages))
		gauge(c.Bytes, float64(s.Waiting.Bytes))
		age := 0.0
		if !s.Waiting.Oldest.IsZero() {
			age = max(time.Since(s.Waiting.Oldest).Seconds(), 0)
		}
		gauge(c.Oldest, age)
	}
}
