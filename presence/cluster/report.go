package cluster

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Report is the deployment as this pod sees it.
type Report struct {
	Name    string      `json:"name"`
	Ready   bool        `json:"ready"` // has heard who else is there
	Bus     bus.State   `json:"nats"`
	Pods    []PodReport `json:"pods"` // this one first, then by data center and name
	Ignored Ignored     `json:"ignored"`
	// Resyncs counts the copies of channels on this pod that were found to be wrong, by a gap or by a check.
	Resyncs uint64 `json:"resyncs"`
	// QueriesDropped counts the queries of other pods that this one was too busy to answer: they name it as missing.
	QueriesDropped uint64 `json:"queries_dropped"`
	// Unsent counts the payloads that the bus did not accept from this pod.
	Unsent   uint64   `json:"unsent"`
	Messages Messages `json:"messages"`
}

// PodReport is one pod as this one sees it.
type PodReport struct {
	DataCenter  string  `json:"data_center"`
	Pod         string  `json:"pod"`
	Incarnation string  `json:"incarnation"`
	State       string  `json:"state"` // self, alive, suspect, draining, unreachable
	Started     string  `json:"started"`
	Heartbeat   float64 `json:"heartbeat_age_seconds"`
	RoundTrip   float64 `json:"round_trip_ms,omitempty"` // of a ping that was sent for this report; 0: no reply
	Connections uint64  `json:"connections"`
	Hosts       uint64  `json:"hosts"`
	Conflict    bool    `json:"conflict,omitempty"` // another process has the same name
}

// Ignored counts payloads that were not used, by reason.
type Ignored struct {
	Malformed uint64 `json:"malformed"`
	Oversized uint64 `json:"oversized"`
	Forged    uint64 `json:"forged"` // without or with a wrong authentication, or with this pod as its sender
	Version   uint64 `json:"version"`
	Unknown   uint64 `json:"unknown"`  // of a pod that is not alive, or an answer that nobody waits for
	Repeated  uint64 `json:"repeated"` // that came before, or is too old
}

// Report says how the deployment looks from here. It pings every pod, unless the context has ended before.
func (c *Cluster) Report(ctx context.Context) Report {
	took := c.ping(ctx)
	r := Report{
		Name:    c.name,
		Ready:   c.members.pulse.knows(),
		Ignored: c.link.ignored(),
		Resyncs: c.replicator.resyncs(),

		QueriesDropped: c.responder.dropped.Load(),
		Unsent:         c.link.unsent.Load(),
		Messages:       c.messenger.report(),
	}
	if b, ok := c.bus.(interface{ State() bus.State }); ok {
		r.Bus = b.State()
	}
	for _, pod := range c.members.report() {
		pod.report.RoundTrip = float64(took[pod.peer].Microseconds()) / 1000
		r.Pods = append(r.Pods, pod.report)
	}
	return r
}

// ping asks all pods for a reply, and returns how long each took.
func (c *Cluster) ping(ctx context.Context) map[peer]time.Duration {
	took := make(map[peer]time.Duration)
	named := c.members.everybody()
	if ctx.Err() != nil || len(named) == 0 {
		return took
	}
	col := c.asking.begin(named, c.members, c.timing)
	defer c.asking.end(col)
	c.link.send(c.link.queries(), &message.Query{ID: col.id, Kind: message.KindPing})
	stop := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() { close(stop) })
	col.wait(stop, c.stop)
	cancel()
	replies, _ := col.result()
	for _, r := range replies {
		took[r.peer] = r.took
	}
	return took
}

// podOf is a pod with what is told of it.
type podOf struct {
	peer
	report PodReport
}

// report tells of all pods, this one first.
func (m *members) report() []podOf {
	connections, hosts := m.load()
	now := time.Now()
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := make([]podOf, 1, 1+len(m.pods)+len(m.lost))
	all[0] = m.describe(m.self, "self")
	all[0].report.Connections, all[0].report.Hosts, all[0].report.Conflict = connections, hosts, m.selfConflict
	for p, pod := range m.pods {
		state := "alive"
		switch {
		case pod.suspect:
			state = "suspect"
		case pod.draining:
			state = "draining"
		}
		d := m.describe(p, state)
		d.report.Heartbeat = now.Sub(pod.heard).Seconds()
		d.report.Connections, d.report.Hosts, d.report.Conflict = pod.connections, pod.hosts, pod.conflict
		all = append(all, d)
	}
	for _, lost := range m.lost {
		d := m.describe(lost.peer, "unreachable")
		d.report.Heartbeat = (now.Sub(lost.at) + m.timing.gone).Seconds()
		all = append(all, d)
	}
	slices.SortFunc(all[1:], func(a, b podOf) int {
		return cmp.Or(cmp.Compare(a.dc, b.dc), cmp.Compare(a.pod, b.pod), compareIncarnations(a.inc, b.inc))
	})
	return all
}

func (m *members) describe(p peer, state string) podOf {
	return podOf{p, PodReport{
		DataCenter:  p.dc,
		Pod:         p.pod,
		Incarnation: incarnationText(p.inc),
		State:       state,
		Started:     time.UnixMilli(p.inc.Started).UTC().Format(time.RFC3339),
	}}
}
