package gateway

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// clusterMetrics are the metrics of queries to other pods.
type clusterMetrics struct {
	queries  *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newClusterMetrics() clusterMetrics {
	return clusterMetrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_rollcall_cluster_queries_total",
			Help: "Questions to the pods of the cluster, by kind and whether the answer was complete; a question of several is one.",
		}, []string{"kind", "complete"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "caddy_rollcall_cluster_query_duration_seconds",
			Help:    "How long the pods of the cluster took to answer, by kind.",
			Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 1.5, 2.5},
		}, []string{"kind"}),
	}
}

// queried counts a query.
func (m *clusterMetrics) queried(kind string, complete bool, took time.Duration) {
	m.duration.WithLabelValues(kind).Observe(took.Seconds())
	m.queries.WithLabelValues(kind, strconv.FormatBool(complete)).Inc()
}

// Metrics that are read at a scrape.
var (
	clusterPodsDesc       = clusterDesc("caddy_rollcall_cluster_pods", "Pods of the cluster as this one sees them, by state.", "state")
	clusterConnectedDesc  = clusterDesc("caddy_rollcall_cluster_connected", "1 while this pod is connected to NATS.")
	clusterIgnoredDesc    = clusterDesc("caddy_rollcall_cluster_ignored_total", "Payloads that were not used, by reason.", "reason")
	clusterResyncsDesc    = clusterDesc("caddy_rollcall_cluster_resyncs_total", "Times that a part of a channel on another pod was learned anew.")
	clusterMessagesDesc   = clusterDesc("caddy_rollcall_cluster_messages_total", "Messages to channels between pods: out, in, and dropped of those that came in.", "what")
	clusterUnansweredDesc = clusterDesc("caddy_rollcall_cluster_queries_dropped_total", "Questions of other pods that this one was too busy to answer.")
	clusterUnsentDesc     = clusterDesc("caddy_rollcall_cluster_unsent_total", "Payloads to other pods that NATS did not accept.")
	clusterDroppedDesc    = clusterDesc("caddy_rollcall_cluster_dropped_total", "Payloads that came faster than they were taken.")
)

func clusterDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// collectCluster reports the state of the cluster, if there is one.
func (m *metrics) collectCluster(ch chan<- prometheus.Metric) {
	if m.hub.cluster.Load() == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // so that the report does not wait for pings
	r := m.hub.ClusterReport(ctx)
	states := map[string]int{"alive": 0, "suspect": 0, "draining": 0, "unreachable": 0}
	for _, p := range r.Pods {
		states[p.State]++
	}
	for state, n := range states {
		ch <- prometheus.MustNewConstMetric(clusterPodsDesc, prometheus.GaugeValue, float64(n), state)
	}
	connected := 0.0
	if r.Bus.Connected {
		connected = 1
	}
	ch <- prometheus.MustNewConstMetric(clusterConnectedDesc, prometheus.GaugeValue, connected)
	for reason, n := range map[string]uint64{
		"malformed": r.Ignored.Malformed, "oversized": r.Ignored.Oversized, "forged": r.Ignored.Forged,
		"version": r.Ignored.Version, "unknown": r.Ignored.Unknown, "repeated": r.Ignored.Repeated,
	} {
		ch <- counter(clusterIgnoredDesc, n, reason)
	}
	ch <- counter(clusterResyncsDesc, r.Resyncs)
	for what, n := range map[string]uint64{"out": r.Messages.Out, "in": r.Messages.In, "dropped": r.Messages.Dropped} {
		ch <- counter(clusterMessagesDesc, n, what)
	}
	ch <- counter(clusterUnansweredDesc, r.QueriesDropped)
	ch <- counter(clusterUnsentDesc, r.Unsent)
	ch <- counter(clusterDroppedDesc, r.Bus.Dropped)
}

func counter(d *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}
