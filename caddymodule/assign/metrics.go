package assign

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// metrics are the metrics of assignments.
type metrics struct {
	writes                      *prometheus.CounterVec
	total, unsaved, revocations prometheus.GaugeFunc // read at a scrape
}

func newMetrics(book *assignment.Book) metrics {
	m := metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_rollcall_assignment_writes_total",
			Help: "Requests to adduser, removeuser, and disconnect with revoke, that were to be kept, by result: ok, limit or unavailable.",
		}, []string{"result"}),
		total: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "caddy_rollcall_assignments",
			Help: "Assignments of users to channels, of all hosts.",
		}, func() float64 { return float64(book.Len()) }),
		revocations: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "caddy_rollcall_revocations",
			Help: "Users whose tokens are revoked, of all hosts.",
		}, func() float64 { return float64(book.Revocations()) }),
		unsaved: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "caddy_rollcall_assignments_unsaved",
			Help: "Changes of assignments by other pods that this pod could not write to its file yet.",
		}, func() float64 { return float64(book.Unsaved()) }),
	}
	for _, result := range []string{"ok", "limit", "unavailable"} {
		m.writes.WithLabelValues(result)
	}
	return m
}

// Collectors returns the metrics of assignments.
func (m *metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.writes, m.total, m.unsaved, m.revocations}
}

// countWrite counts a request.
func (m *metrics) countWrite(err error) {
	result := "ok"
	switch {
	case errors.Is(err, assignment.ErrUnavailable):
		result = "unavailable"
	case err != nil:
		result = "limit"
	}
	m.writes.WithLabelValues(result).Inc()
}
