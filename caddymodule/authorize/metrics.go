package authorize

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/presence"
)

// metrics are the metrics of questions, by host, since the start of the process.
type metrics struct {
	label     func(presence.HostName) string
	questions *prometheus.CounterVec
	duration  *prometheus.HistogramVec
}

func newMetrics(label func(presence.HostName) string) *metrics {
	return &metrics{
		label: label,
		questions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_rollcall_authorize_questions_total",
			Help: "Questions to the backend whether a user may join a channel, by host and result.",
		}, []string{"host", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "caddy_rollcall_authorize_duration_seconds",
			Help:    "How long the backend took to answer whether a user may join a channel, or to fail, by host.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5},
		}, []string{"host"}),
	}
}

// count counts a question that was not asked.
func (m *metrics) count(host presence.HostName, r result) {
	m.questions.WithLabelValues(m.label(host), string(r)).Inc()
}

// asked counts a question that was asked.
func (m *metrics) asked(host presence.HostName, r result, took time.Duration) {
	m.count(host, r)
	m.duration.WithLabelValues(m.label(host)).Observe(took.Seconds())
}

var waitingDesc = prometheus.NewDesc("caddy_rollcall_authorize_waiting",
	"Joins that wait for the backend to say whether the user may join, by host.", []string{"host"}, nil)

// Collectors returns the metrics of questions. hosts returns the labels of the hosts that ask.
func (a *Asker) Collectors(hosts func() []string) []prometheus.Collector {
	return []prometheus.Collector{a.metrics.questions, a.metrics.duration, &waitingJoins{a, hosts}}
}

// waitingJoins collects the number of waiting joins.
type waitingJoins struct {
	*Asker
	hosts func() []string
}

// Describe implements prometheus.Collector.
func (c *waitingJoins) Describe(ch chan<- *prometheus.Desc) { ch <- waitingDesc }

// Collect implements prometheus.Collector. It reports each named host that asks, and the sum of all
// other hosts.
func (c *waitingJoins) Collect(ch chan<- prometheus.Metric) {
	byLabel := make(map[string]int)
	for _, name := range c.hosts() {
		byLabel[name] = 0
	}
	c.waiting(func(host presence.HostName, waiting int) { byLabel[c.metrics.label(host)] += waiting })
	for label, n := range byLabel {
		ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(n), label)
	}
}
