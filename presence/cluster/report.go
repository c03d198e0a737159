package cluster

import (
	"context"

	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
)

// Report describes the deployment as this pod sees it.
type Report struct {
	Name    string      `json:"name"`
	Ready   bool        `json:"ready"` // had time to discover other pods
	Bus     bus.State   `json:"nats"`
	Pods    []PodReport `json:"pods"`              // this one first, then by data center and name
	Crashed []string    `json:"crashed,omitempty"` // pods that count as crashed, as DC/POD, sorted
	Ignored Ignored     `json:"ignored"`
	// Resyncs counts copies of channels on this pod that were found to be wrong, by a gap or by a
	// check.
	Resyncs uint64 `json:"resyncs"`
	// QueriesDropped counts the queries of other pods that this one was too busy to answer. Their
	// answers name it as missing.
	QueriesDropped uint64 `json:"queries_dropped"`
	// Unsent counts the payloads that the bus did not accept from this pod.
	Unsent   uint64   `json:"unsent"`
	Messages Messages `json:"messages"`
}

// Report describes the deployment as this pod sees it. It pings every pod, unless the context has
// ended.
func (c *Cluster) Report(ctx context.Context) Report {
	took := c.queries.Ping(ctx)
	r := Report{
		Name:    c.name,
		Ready:   c.members.KnowsPods(),
		Crashed: c.members.CrashedNames(),
		Ignored: c.link.Ignored(),
		Resyncs: c.replicator.Resyncs(),

		QueriesDropped: c.responder.Dropped(),
		Unsent:         c.link.Unsent(),
		Messages:       c.messenger.Counts(),
	}
	if b, ok := c.bus.(interface{ State() bus.State }); ok {
		r.Bus = b.State()
	}
	for _, pod := range c.members.Report() {
		pod.Report.RoundTrip = float64(took[pod.Peer].Microseconds()) / 1000
		r.Pods = append(r.Pods, pod.Report)
	}
	return r
}
